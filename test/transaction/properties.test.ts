/** Random histories of producers, rivals, timeouts, refused writes, markers that fail and crashes:
 * every transaction is whole, ends as its producer was told, and holds nothing back for ever. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import {
  checkData,
  checkMarker,
  type ProducerEntry,
  withData,
  withMarker,
} from "../../src/log/producer-entry.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import type { MarkerOutcome, MarkerWriter } from "../../src/transaction/ports.ts";
import { encodeState } from "../../src/transaction/records.ts";
import {
  noPartitions,
  producerEpochMax,
  type TransactionVersion,
} from "../../src/transaction/transaction-types.ts";
import { Harness, MemoryMarkers, MemoryStateLog, settle } from "./harness.ts";

type Step =
  | { kind: "init"; id: number; version: 0 | 2 }
  | { kind: "recover"; who: number }
  | { kind: "produce"; who: number; partition: number }
  | { kind: "end"; who: number; commit: boolean }
  | { kind: "log" | "markers"; mode: "held" | "failing" | "fine" }
  | { kind: "advance"; ms: number }
  | { kind: "level"; level: TransactionVersion }
  | { kind: "crash" };

const ids = ["a", "b"];
const partitions = 3;
const timeoutMs = 30_000;
const who = fc.nat(5);
const levels: readonly TransactionVersion[] = [0, 1, 2];
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("init" as const),
      id: fc.nat(ids.length - 1),
      version: fc.constantFrom(0 as const, 2 as const),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("recover" as const), who }) },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("produce" as const),
      who,
      partition: fc.nat(partitions - 1),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant("end" as const), who, commit: fc.boolean() }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constantFrom("log" as const, "markers" as const),
      mode: fc.constantFrom("held" as const, "failing" as const, "fine" as const, "fine" as const),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("advance" as const),
      ms: fc.constantFrom(50, 200, 15_000, 45_000),
    }),
  },
  { weight: 2, arbitrary: fc.constant({ kind: "crash" as const }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("level" as const),
      level: fc.constantFrom(...levels),
    }),
  },
);

type Fate = "open" | "commit" | "abort";

interface Written {
  readonly txn: Txn;
  fate: Fate;
}

/** What one producer wrote between two ends. */
interface Txn {
  readonly records: Written[];
  /** The end its producer asked for. */
  asked: Fate;
  /** The end its producer was told of. */
  told: Fate;
}

/** One instance of an application; another of the same id fences it. */
interface Client {
  readonly transactionalId: string;
  readonly version: 0 | 2;
  producerId: number;
  producerEpoch: number;
  sequences: Map<number, number>;
  txn: Txn;
  /** Waits for an answer, or was told to give up. */
  state: "free" | "busy" | "dead";
}

const newTxn = (): Txn => ({ records: [], asked: "open", told: "open" });
/** After these a client asks again. */
const retriable: ReadonlySet<number> = new Set([
  ErrorCode.CONCURRENT_TRANSACTIONS,
  ErrorCode.COORDINATOR_NOT_AVAILABLE,
  ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
  ErrorCode.NOT_ENOUGH_REPLICAS,
]);

/** A partition's producers and what they wrote; refuses and accepts as the log does. */
class ModelPartition {
  readonly entries = new Map<number, ProducerEntry>();
  readonly written = new Map<number, Written[]>();
  private end = 0;

  write(client: Client, sequence: number): boolean {
    const { producerId, producerEpoch, version: transactionVersion, txn } = client;
    const entry = this.entries.get(producerId) ?? null;
    const sequences = { baseSequence: sequence, lastSequence: sequence };
    const fields = { producerId, producerEpoch, ...sequences, transactionVersion };
    const data = { ...fields, isTransactional: true };
    if (checkData(entry, data).kind !== "accept") return false;
    this.entries.set(producerId, withData(entry, data, this.place()));
    const record: Written = { txn, fate: "open" };
    txn.records.push(record);
    this.written.set(producerId, [...(this.written.get(producerId) ?? []), record]);
    return true;
  }

  mark(marker: Parameters<MarkerWriter["write"]>[2]): MarkerOutcome {
    const { producerId, commit } = marker;
    const entry = this.entries.get(producerId) ?? null;
    if (checkMarker(entry, marker).kind !== "accept") {
      return { kind: "failed", errorCode: ErrorCode.INVALID_PRODUCER_EPOCH };
    }
    this.entries.set(producerId, withMarker(entry, marker, this.place()));
    for (const record of this.written.get(producerId) ?? []) {
      if (record.fate === "open") record.fate = commit ? "commit" : "abort";
    }
    return { kind: "written" };
  }

  private place() {
    const offset = this.end++;
    return { firstOffset: offset, lastOffset: offset, timestamp: 0 };
  }
}

class World {
  readonly harness = new Harness({ concurrentWaitMs: 100 });
  readonly log = Array.from({ length: partitions }, () => new ModelPartition());
  readonly clients: Client[] = [];
  readonly txns: Txn[] = [];
  /** Producer ids and epochs given out by InitProducerId. */
  private readonly given = new Set<string>();
  private markerMode: "held" | "failing" | "fine" = "fine";
  private heldMarkers: (() => void)[] = [];
  private generation = 0;

  async start(epoch: number, level: TransactionVersion): Promise<void> {
    this.harness.transactionVersion = level;
    for (const [at, id] of ids.entries()) {
      if (epoch < 0) continue;
      const producer = { producerId: at + 1, producerEpoch: epoch, prevProducerId: -1 };
      const past = { nextProducerId: -1, lastProducerEpoch: -1, startMs: 1, lastUpdateMs: 1 };
      const rest = { timeoutMs, partitions: noPartitions, clientVersion: 2 as const };
      const data = { state: "CompleteCommit" as const, ...producer, ...past, ...rest };
      this.harness.logOf(id).durable.push(encodeState(id, data, 2, 1));
    }
    await this.restart();
  }

  run(one: Step): void | Promise<void> {
    switch (one.kind) {
      case "init":
        return this.init(ids[one.id] ?? "a", one.version);
      case "recover":
        return this.withClient(one.who, (client) => {
          // A producer of version 1 comes back under its id alone.
          if (client.version === 2 && client.txn.asked === "open") this.recover(client);
        });
      case "produce":
        return this.withClient(one.who, (client) => this.produce(client, one.partition));
      case "end":
        return this.withClient(one.who, (client) => this.end(client, one.commit));
      case "log":
        for (const log of this.logs()) setMode(log, one.mode);
        return;
      case "markers":
        this.markerMode = one.mode;
        if (one.mode !== "held") for (const finish of this.heldMarkers.splice(0)) finish();
        return;
      case "advance":
        return this.harness.clock.advance(one.ms);
      case "level":
        this.harness.transactionVersion = one.level;
        return;
      case "crash":
        return this.restart();
    }
  }

  /** Only what was durable is there; whoever waited for an answer gets none. */
  private async restart(): Promise<void> {
    this.generation++;
    this.heldMarkers = [];
    for (const [partition, log] of [...this.harness.logs]) {
      const next = new MemoryStateLog();
      next.durable.push(...log.durable);
      this.harness.logs.set(partition, next);
    }
    for (const client of this.clients) if (client.state === "busy") client.state = "free";
    const before = await this.states();
    this.harness.newMarkers = () => this.markers();
    await this.harness.restart();
    await settle();
    this.checkReloaded(before, await this.states());
  }

  private markers(): MemoryMarkers {
    const markers = new MemoryMarkers();
    markers.write = (_topic, partition, marker) => {
      const apply = () => this.log[partition]!.mark(marker);
      if (this.markerMode === "fine") return Promise.resolve(apply());
      const errorCode = ErrorCode.KAFKA_STORAGE_ERROR;
      if (this.markerMode === "failing") return Promise.resolve({ kind: "failed", errorCode });
      return new Promise((resolve) => this.heldMarkers.push(() => resolve(apply())));
    };
    return markers;
  }

  private states(): Promise<string[]> {
    return Promise.all(ids.map((id) => this.harness.state(id)));
  }

  /** What requests were answered by was durable, and is there again. */
  private checkReloaded(before: string[], after: string[]): void {
    for (const [at, state] of before.entries()) {
      // An id that is being made has no epoch yet; ends that were decided go on.
      if (/^(105|Prepare.*|.*\/-1)$/.test(state)) continue;
      // Below version 2 a fence counts before the abort it is for is durable.
      const isFence = state.startsWith("Ongoing");
      const seen = (text = "") => (isFence ? text.replace(/\d+$/, "") : text);
      expect(seen(after[at])).toBe(seen(state));
    }
  }

  private logs(): MemoryStateLog[] {
    return Array.from({ length: 3 }, (_, partition) => this.harness.log(partition));
  }

  private withClient(at: number, act: (client: Client) => void): void {
    const client = this.clients.at(-1 - at);
    if (client?.state === "free") act(client);
  }

  /** The answer, unless the broker is gone by then. */
  private ask<Answer>(
    client: Client | null,
    answer: Promise<Answer>,
    then: (answer: Answer) => void,
  ): void {
    const { generation } = this;
    if (client !== null) client.state = "busy";
    void answer.then((value) => {
      if (generation !== this.generation) return;
      if (client !== null) client.state = "free";
      then(value);
    });
  }

  private init(transactionalId: string, version: 0 | 2): void {
    const asked = this.harness.transactions.initProducerId({
      transactionalId,
      timeoutMs,
      expected: null,
    });
    this.ask(null, asked, ({ errorCode, producerId, producerEpoch }) => {
      if (errorCode !== ErrorCode.NONE) return;
      const name = `${producerId}/${producerEpoch}`;
      expect(this.given.has(name)).toBe(false);
      this.given.add(name);
      const sequences = new Map<number, number>();
      const producer = { transactionalId, version, producerId, producerEpoch, sequences };
      this.clients.push({ ...producer, txn: newTxn(), state: "free" });
    });
  }

  /** KIP-360: the producer goes on after an error, if nobody came in between. */
  private recover(client: Client): void {
    const { transactionalId, producerId, producerEpoch } = client;
    const expected = { producerId, producerEpoch };
    const asked = this.harness.transactions.initProducerId({
      transactionalId,
      timeoutMs,
      expected,
    });
    this.ask(client, asked, ({ errorCode, ...next }) => {
      if (errorCode === ErrorCode.NONE) this.goOn(client, next);
      else if (!retriable.has(errorCode)) client.state = "dead";
    });
  }

  private goOn(client: Client, next: { producerId: number; producerEpoch: number }): void {
    const isNew =
      client.producerId !== next.producerId || client.producerEpoch !== next.producerEpoch;
    if (isNew) client.sequences.clear();
    client.producerId = next.producerId;
    client.producerEpoch = next.producerEpoch;
    client.txn = newTxn();
  }

  private produce(client: Client, partition: number): void {
    if (client.txn.asked !== "open") return;
    const { transactions } = this.harness;
    const where = { ...client, topic: "t", partition };
    const verified =
      client.version === 2
        ? Promise.resolve(transactions.verifyOrAdd({ ...where, addIfMissing: true }))
        : transactions.addPartitions({
            ...client,
            partitions: [{ topic: "t", partition }],
            clientVersion: 0,
          });
    this.ask(client, verified, (errorCode) => {
      const denied = errorCode || transactions.appendError(where);
      if (denied !== ErrorCode.NONE) {
        if (!retriable.has(denied)) client.state = "dead";
        return;
      }
      const sequence = client.sequences.get(partition) ?? 0;
      if (client.txn.records.length === 0) this.txns.push(client.txn);
      // Who may write by the coordinator's word is not refused by the log.
      expect(this.log[partition]!.write(client, sequence)).toBe(true);
      client.sequences.set(partition, sequence + 1);
    });
  }

  private end(client: Client, commit: boolean): void {
    const { txn, version: clientVersion } = client;
    if (txn.records.length === 0) return;
    // An end that was asked for is asked for again, and no other.
    if (txn.asked === "open") txn.asked = commit ? "commit" : "abort";
    const request = { ...client, commit: txn.asked === "commit", clientVersion };
    this.ask(client, this.harness.transactions.endTransaction(request), (answer) => {
      const { errorCode, producerId, producerEpoch } = answer;
      if (errorCode !== ErrorCode.NONE) {
        if (!retriable.has(errorCode)) client.state = "dead";
        return;
      }
      txn.told = txn.asked;
      this.goOn(client, clientVersion === 2 ? { producerId, producerEpoch } : client);
    });
  }

  /** Holds at every moment. */
  check(): void {
    for (const { records, told } of this.txns) {
      const decided = new Set(records.map(({ fate }) => fate).filter((fate) => fate !== "open"));
      expect(decided.size).toBeLessThanOrEqual(1);
      if (told !== "open") for (const fate of decided) expect(fate).toBe(told);
    }
    const { transactions } = this.harness;
    const everything = { producerIds: [], durationMs: -1, matchesId: () => true };
    const list = transactions.list({ ...everything, states: ["Ongoing"] });
    if (list.errorCode === 0) expect(transactions.ongoingCount).toBe(list.transactions.length);
    expect(transactions.idCount).toBeLessThanOrEqual(ids.length);
  }

  /** Holds once nothing is in the way any more. */
  async checkAtRest(): Promise<void> {
    await this.run({ kind: "log", mode: "fine" });
    await this.run({ kind: "markers", mode: "fine" });
    for (let turn = 0; turn < 12; turn++) {
      await settle();
      this.harness.clock.advance(10_000);
    }
    await settle();
    this.check();
    const { ongoingCount, completingCount } = this.harness.transactions;
    expect({ ongoingCount, completingCount }).toEqual({ ongoingCount: 0, completingCount: 0 });
    for (const { entries } of this.log) {
      for (const { transactionStart } of entries.values()) expect(transactionStart).toBe(-1);
    }
    for (const { records, asked, told } of this.txns) {
      for (const { fate } of records) {
        expect(fate).not.toBe("open");
        if (told !== "open") expect(fate).toBe(told);
        // Nobody's records count without having been committed.
        if (asked !== "commit") expect(fate).toBe("abort");
      }
    }
  }
}

function setMode(log: MemoryStateLog, mode: "held" | "failing" | "fine"): void {
  log.isHeld = mode === "held";
  log.errorCode = mode === "failing" ? ErrorCode.KAFKA_STORAGE_ERROR : ErrorCode.NONE;
  if (mode !== "held") log.release();
}

test("transactions are whole and end as told, whatever happened", async () => {
  const shape = fc.record({
    steps: fc.array(step, { minLength: 10, maxLength: 80, size: "max" }),
    level: fc.constantFrom(...levels),
    epoch: fc.constantFrom(-1, 0, producerEpochMax - 6, producerEpochMax - 3, producerEpochMax - 2),
  });
  const told = { open: 0, commit: 0, abort: 0 };
  await fc.assert(
    fc.asyncProperty(shape, async ({ steps, epoch, level }) => {
      const world = new World();
      await world.start(epoch, level);
      for (const one of steps) {
        await world.run(one);
        await settle();
        world.check();
      }
      await world.checkAtRest();
      for (const txn of world.txns) told[txn.told]++;
    }),
    { numRuns: 600 },
  );
  // The histories come to ends of every kind.
  for (const count of Object.values(told)) expect(count).toBeGreaterThan(20);
}, 120_000);
