import { deferred } from "../../src/lib/deferred.ts";
import type { BrokerError } from "../../src/lib/errors.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import type { ProducerIdResult, TransactionalProducer } from "../../src/transaction/api-types.ts";
import { type TransactionConfig, transactionConfigDefaults } from "../../src/transaction/config.ts";
import { TransactionCoordinator } from "../../src/transaction/coordinator.ts";
import type {
  EndMarker,
  MarkerOutcome,
  MarkerWriter,
  StateLog,
  StateRecord,
  StateTopic,
} from "../../src/transaction/ports.ts";
import { decodeState } from "../../src/transaction/records.ts";
import type { TransactionVersion } from "../../src/transaction/transaction-types.ts";
import { FakeClock } from "../support/fake-clock.ts";

/** A partition of `__transaction_state` in memory; holds writes back or fails them when told to. */
export class MemoryStateLog implements StateLog {
  readonly leaderEpoch = 5;
  readonly durable: StateRecord[] = [];
  isHeld = false;
  errorCode: number = ErrorCode.NONE;
  throwsOnAppend = false;
  replayFailure: Error | null = null;
  private held: (() => void)[] = [];

  append(records: readonly StateRecord[]): Promise<{ errorCode: number }> {
    if (this.throwsOnAppend) return Promise.reject(new Error("disk on fire"));
    const { errorCode } = this;
    const done = deferred<{ errorCode: number }>();
    const finish = (): void => {
      if (errorCode === ErrorCode.NONE) this.durable.push(...records);
      done.resolve({ errorCode });
    };
    if (this.isHeld) this.held.push(finish);
    else finish();
    return done.promise;
  }

  replay(onRecord: (key: Uint8Array, value: Uint8Array | null) => void): Promise<void> {
    if (this.replayFailure !== null) return Promise.reject(this.replayFailure);
    for (const { key, value } of this.durable) onRecord(key, value);
    return Promise.resolve();
  }

  release(): void {
    for (const finish of this.held.splice(0)) finish();
  }

  /** The states written, oldest first; null for a tombstone. */
  states(): (string | null)[] {
    return this.durable.map(({ key, value }) => {
      const record = decodeState(key, value);
      return record.kind === "state" ? (record.data?.state ?? null) : "unknown";
    });
  }
}

/** Markers as partitions got them; a partition answers as told, "hold" not until `release`. */
export class MemoryMarkers implements MarkerWriter {
  readonly written: { topic: string; partition: number; marker: EndMarker }[] = [];
  readonly answers = new Map<string, MarkerOutcome | "hold">();
  attempts = 0;
  private held: (() => void)[] = [];

  write(topic: string, partition: number, marker: EndMarker): Promise<MarkerOutcome> {
    this.attempts++;
    const answer = this.answers.get(`${topic}-${partition}`) ?? { kind: "written" };
    const done = deferred<MarkerOutcome>();
    const finish = (outcome: MarkerOutcome): void => {
      if (outcome.kind === "written") this.written.push({ topic, partition, marker });
      done.resolve(outcome);
    };
    if (answer === "hold") this.held.push(() => finish({ kind: "written" }));
    else finish(answer);
    return done.promise;
  }

  release(): void {
    for (const finish of this.held.splice(0)) finish();
  }

  /** As "t-0 commit 2": partition, result, epoch. */
  list(): string[] {
    return this.written.map(({ topic, partition, marker }) => {
      const result = marker.commit ? "commit" : "abort";
      return `${topic}-${partition} ${result} ${marker.producerId}/${marker.producerEpoch}`;
    });
  }
}

/** One broker's coordinator over memory; `restart` builds the next one over the same logs. */
export class Harness {
  readonly clock = new FakeClock();
  readonly logs = new Map<number, MemoryStateLog>();
  readonly problems: BrokerError[] = [];
  readonly config: TransactionConfig;
  markers = new MemoryMarkers();
  /** For what the next broker's coordinator writes from its start on. */
  newMarkers = () => new MemoryMarkers();
  transactions: TransactionCoordinator;
  /** The feature's level. */
  transactionVersion: TransactionVersion = 2;
  /** What InitProducerId fails with when no id can be had. */
  idFailure: BrokerError | null = null;
  private nextId = 100;

  constructor(config: Partial<TransactionConfig> = {}) {
    this.config = { ...transactionConfigDefaults, ...config };
    this.transactions = this.build();
  }

  log(partition: number): MemoryStateLog {
    const log = this.logs.get(partition) ?? new MemoryStateLog();
    this.logs.set(partition, log);
    return log;
  }

  logOf(id: string): MemoryStateLog {
    return this.log(this.transactions.partitionFor(id));
  }

  /** As after kill -9: nothing is closed in order, only what was durable is there. */
  async restart(): Promise<void> {
    this.transactions.close();
    this.markers = this.newMarkers();
    this.transactions = this.build();
    await this.transactions.start();
    await settle();
  }

  async init(id = "id", timeoutMs = 60_000): Promise<ProducerIdResult & TransactionalProducer> {
    const result = await this.transactions.initProducerId({
      transactionalId: id,
      timeoutMs,
      expected: null,
    });
    return { ...result, transactionalId: id };
  }

  add(producer: TransactionalProducer, ...names: string[]): Promise<number> {
    const partitions = names.map((name) => {
      const at = name.lastIndexOf("-");
      return { topic: name.slice(0, at), partition: Number(name.slice(at + 1)) };
    });
    return this.transactions.addPartitions({ ...producer, partitions, clientVersion: 2 });
  }

  end(producer: TransactionalProducer, commit = true): Promise<ProducerIdResult> {
    return this.transactions.endTransaction({ ...producer, commit, clientVersion: 2 });
  }

  async state(id = "id"): Promise<string> {
    const { errorCode, state, producerId, producerEpoch } = await this.transactions.describe(id);
    if (errorCode !== ErrorCode.NONE) return String(errorCode);
    return `${state} ${producerId}/${producerEpoch}`;
  }

  private build(): TransactionCoordinator {
    const { logs } = this;
    const topic: StateTopic = {
      partitionCount: 3,
      exists: () => logs.size > 0,
      stateLog: (partition) => Promise.resolve(this.log(partition)),
    };
    return new TransactionCoordinator({
      config: this.config,
      topic,
      nodes: { coordinatorOf: () => ({ nodeId: 1, host: "broker", port: 9092 }) },
      markers: this.markers,
      producerIds: {
        next: () =>
          this.idFailure === null
            ? Promise.resolve({ producerId: this.nextId++ })
            : Promise.reject(this.idFailure),
      },
      clock: this.clock,
      transactionVersion: () => this.transactionVersion,
      onProblem: (error) => this.problems.push(error),
    });
  }
}

/** Lets everything that is not waiting for a timer or a held write run. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 100; turn++) await Promise.resolve();
}
