import { ErrorCode, errorName } from "../../../src/protocol/error-code.ts";
import {
  type Decision,
  decideAdd,
  decideEnd,
  decideInit,
  type EndRequest,
  verify,
} from "../../../src/transaction/decisions.ts";
import { decodeState, encodeState } from "../../../src/transaction/records.ts";
import { Transaction } from "../../../src/transaction/transaction.ts";
import {
  noPartitions,
  partitionsIn,
  type TransactionData,
  type TransactionVersion,
} from "../../../src/transaction/transaction-types.ts";
import { type Player, parseCommand } from "../play.ts";

const empty: TransactionData = {
  state: "Empty",
  producerId: 100,
  prevProducerId: -1,
  nextProducerId: -1,
  producerEpoch: -1,
  lastProducerEpoch: -1,
  timeoutMs: 60_000,
  partitions: noPartitions,
  startMs: -1,
  lastUpdateMs: 0,
  clientVersion: 0,
};

/**
 * Plays a transcript against the state machine of one transactional id. A transcript is a list of
 * blocks: `#` comments, a command line, `----`, and what came of it; the last line of a block is
 * the state after it. Producer ids count from 100. Changes are written at once; after `writes
 * manual` they wait for `written` or `refused`.
 *
 *   init [pid= epoch=] [timeout=60000]     add t-0,t-1 [pid= epoch=] [v=2]
 *   verify t-0 [pid= epoch=]               end commit|abort [pid= epoch=] [v=2]
 *   timeout                                markers
 *   epoch 32766 (as if that many ends had been)   advance 1000   reload   writes auto|manual
 *   written   refused NAME
 *
 * pid and epoch are the current ones unless given; init has none unless given.
 */
export class TransactionPlayer implements Player {
  private transaction = new Transaction(empty);
  private stored: TransactionData | null = null;
  private nextId = 101;
  private nowMs = 1_000;
  private autoWrite = true;
  private waiting: { next: TransactionData; failedFence: boolean } | null = null;
  private lines: string[] = [];

  run(line: string): string[] {
    this.lines = [];
    const { command, words, args } = parseCommand(line);
    this.command(command, words[0] ?? "", args);
    this.lines.push(`= ${this.describe()}`);
    return this.lines;
  }

  private command(command: string, word: string, args: Map<string, string>): void {
    const { data } = this.transaction;
    const producer = {
      producerId: Number(args.get("pid") ?? data.producerId),
      producerEpoch: Number(args.get("epoch") ?? data.producerEpoch),
    };
    switch (command) {
      case "init":
        this.init(args, producer);
        break;
      case "add": {
        const partitions = word.split(",").map(partitionOf);
        const version = Number(args.get("v") ?? 2) as TransactionVersion;
        this.take(decideAdd(this.transaction, producer, partitions, version, this.nowMs));
        break;
      }
      case "verify": {
        const { topic, partition } = partitionOf(word);
        this.lines.push(errorName(verify(data, producer, topic, partition)));
        break;
      }
      case "end": {
        const clientVersion = Number(args.get("v") ?? 2) as TransactionVersion;
        this.end({ ...producer, commit: word === "commit", isFromClient: true, clientVersion });
        break;
      }
      case "timeout":
        this.fence(this.transaction.prepareFence());
        break;
      case "markers":
        this.write(this.transaction.prepareComplete(this.nowMs), false);
        break;
      default:
        this.control(command, word);
    }
  }

  private control(command: string, word: string): void {
    switch (command) {
      case "epoch": {
        const producerEpoch = Number(word);
        this.transaction = new Transaction({ ...this.transaction.data, producerEpoch });
        break;
      }
      case "advance":
        this.nowMs += Number(word);
        break;
      case "reload":
        this.reload();
        break;
      case "writes":
        this.autoWrite = word === "auto";
        break;
      case "written":
        this.settle(ErrorCode.NONE);
        break;
      case "refused":
        this.settle(ErrorCode[word as keyof typeof ErrorCode]);
        break;
      default:
        throw new Error(`no command ${command}`);
    }
  }

  private init(args: Map<string, string>, producer: { producerId: number; producerEpoch: number }) {
    const timeoutMs = Number(args.get("timeout") ?? 60_000);
    const expected = args.has("pid") || args.has("epoch") ? producer : null;
    const request = { timeoutMs, expected };
    let decision = decideInit(this.transaction, request, null, this.nowMs);
    const freshId = decision.kind === "needsProducerId" ? this.nextId++ : null;
    if (freshId !== null) {
      this.lines.push(`new producer id ${freshId}`);
      decision = decideInit(this.transaction, request, freshId, this.nowMs);
    }
    const isFence = decision.kind === "append" && decision.next.state === "PrepareEpochFence";
    if (isFence && decision.kind === "append") this.fence(decision.next, freshId);
    else this.take(decision);
  }

  private fence({ producerId, producerEpoch }: TransactionData, freshId: number | null = null) {
    this.lines.push(`fence ${producerId}/${producerEpoch}`);
    this.end(
      { producerId, producerEpoch, commit: false, isFromClient: false, clientVersion: 2 },
      freshId,
    );
  }

  private end(request: EndRequest, freshId: number | null = null): void {
    let decision = decideEnd(this.transaction, request, freshId, this.nowMs);
    if (decision.kind === "needsProducerId") {
      this.lines.push(`new producer id ${this.nextId}`);
      decision = decideEnd(this.transaction, request, this.nextId++, this.nowMs);
    }
    this.take(decision);
  }

  private take(decision: Decision): void {
    if (decision.kind === "error") this.lines.push(errorName(decision.errorCode));
    else if (decision.kind === "done") {
      this.lines.push(`done ${decision.producerId}/${decision.producerEpoch}`);
    } else if (decision.kind === "append") this.write(decision.next, decision.failedFence);
    else this.lines.push(decision.kind);
  }

  private write(next: TransactionData, failedFence: boolean): void {
    this.lines.push(`write ${describe(next)}`);
    this.waiting = { next, failedFence };
    if (this.autoWrite) this.settle(ErrorCode.NONE);
  }

  private settle(errorCode: number): void {
    if (this.waiting === null) throw new Error("nothing is being written");
    const { next, failedFence } = this.waiting;
    this.waiting = null;
    if (errorCode === ErrorCode.NONE) {
      this.transaction.complete(next);
      this.stored = next;
      return;
    }
    this.transaction.cancel();
    if (failedFence) this.transaction.hasFailedEpochFence = true;
  }

  /** Through the records, as after a crash. */
  private reload(): void {
    const data = this.stored ?? empty;
    const { key, value } = encodeState("id", data, 2, 0);
    const decoded = decodeState(key, value);
    if (decoded.kind !== "state" || decoded.data === null) throw new Error("no state");
    this.transaction = new Transaction(decoded.data);
    this.waiting = null;
  }

  private describe(): string {
    const { data, pending } = this.transaction;
    return `${describe(data)}${pending === null ? "" : ` → ${pending}`}`;
  }
}

function partitionOf(text: string): { topic: string; partition: number } {
  const at = text.lastIndexOf("-");
  return { topic: text.slice(0, at), partition: Number(text.slice(at + 1)) };
}

function describe(data: TransactionData): string {
  const { producerId, producerEpoch, prevProducerId, nextProducerId, lastProducerEpoch } = data;
  const parts = [data.state, `${producerId}/${producerEpoch}`];
  if (prevProducerId !== -1 && prevProducerId !== producerId) parts.push(`prev=${prevProducerId}`);
  if (nextProducerId !== -1) parts.push(`next=${nextProducerId}`);
  if (lastProducerEpoch !== -1) parts.push(`last=${lastProducerEpoch}`);
  const partitions = [...partitionsIn(data.partitions)].map(
    (one) => `${one.topic}-${one.partition}`,
  );
  if (partitions.length > 0) parts.push(`{${partitions.join(" ")}}`);
  if (data.startMs !== -1) parts.push(`since=${data.startMs}`);
  return parts.join(" ");
}
