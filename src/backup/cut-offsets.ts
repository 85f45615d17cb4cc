/** Which records cut restored coordinators' state to the end of the restored logs. (pure) */

import { decodeRecord, encodeOffset, recordTypeOf } from "../group/records.ts";
import { GroupReplay } from "../group/replay.ts";
import {
  decodeRecord as decodeShareRecord,
  encodeSnapshot,
  type ShareKey,
  type ShareState,
  stateKey,
} from "../share/records.ts";
import { deliveryState, mergeStateBatches } from "../share/state-batches.ts";
import { decodeState } from "../transaction/records.ts";

/** A record of a coordinator's log. */
export interface CutRecord {
  readonly key: Uint8Array;
  readonly value: Uint8Array | null;
  readonly timestamp: number;
}

/** End of a restored partition; null where it is not a restored topic of users. */
export type EndOf = (topic: string, partition: number) => number | null;
export type EndById = (topicId: string, partition: number) => number | null;

/** A producer whose transaction is ended by an abort marker. */
export interface AbortedProducer {
  readonly producerId: number;
  readonly producerEpoch: number;
}

interface OpenProducer extends AbortedProducer {
  /** It committed an offset that lies past the end of a log. */
  reachesPast: boolean;
}

const offsetTypes: readonly number[] = [0, 1];

/** Producers whose transactions were prepared to commit: their markers will be written again. */
export class PreparedCommits {
  private readonly byId = new Map<string, number>();

  record(key: Uint8Array, value: Uint8Array | null): void {
    const state = decodeState(key, value);
    if (state.kind === "unknown") return;
    if (state.data?.state === "PrepareCommit") this.byId.set(state.id, state.data.producerId);
    else this.byId.delete(state.id);
  }

  producers(): Set<number> {
    return new Set(this.byId.values());
  }
}

/** One partition of `__consumer_offsets`, replayed. */
export class OffsetsCut {
  private readonly replay = new GroupReplay();
  private readonly open = new Map<number, OpenProducer>();
  private readonly endOf: EndOf;

  constructor(endOf: EndOf) {
    this.endOf = endOf;
  }

  /** `producerId` −1: outside of transactions. */
  record(
    key: Uint8Array,
    value: Uint8Array | null,
    { producerId, producerEpoch }: AbortedProducer,
  ): void {
    this.replay.record(key, value, producerId);
    if (producerId < 0) return;
    const before = this.open.get(producerId)?.reachesPast ?? false;
    const reachesPast = before || this.isPast(key, value);
    this.open.set(producerId, { producerId, producerEpoch, reachesPast });
  }

  marker(producerId: number, commit: boolean): void {
    this.replay.marker(producerId, commit);
    this.open.delete(producerId);
  }

  /** Transactions that nobody would end, and those that would commit what is not there: consumers
   * read again what they read in them. What was prepared to commit is ended by its coordinator. */
  aborts(prepared: ReadonlySet<number>): AbortedProducer[] {
    return [...this.open.values()].filter(
      ({ producerId, reachesPast }) => reachesPast || !prepared.has(producerId),
    );
  }

  /** Newer commits for offsets past the end of their logs. */
  cuts(nowMs: number): CutRecord[] {
    const records: CutRecord[] = [];
    for (const { groupId, offsets } of this.replay.groups()) {
      for (const [topic, partitions] of offsets.all()) {
        for (const [partition, committed] of partitions) {
          const end = this.endOf(topic, partition);
          if (end === null || committed.offset <= end) continue;
          const cut = { ...committed, offset: end, leaderEpoch: -1 };
          records.push(encodeOffset(groupId, topic, partition, cut, nowMs));
        }
      }
    }
    return records;
  }

  private isPast(key: Uint8Array, value: Uint8Array | null): boolean {
    if (value === null || !offsetTypes.includes(recordTypeOf(key))) return false;
    const record = decodeRecord(key, value);
    if (record.kind !== "offset" || record.value === null) return false;
    const end = this.endOf(record.topic, record.partition);
    return end !== null && record.value.offset > end;
  }
}

/** One partition of `__share_group_state`, replayed. */
export class ShareCut {
  private readonly states = new Map<string, { key: ShareKey; state: ShareState }>();
  private readonly endOf: EndById;

  constructor(endOf: EndById) {
    this.endOf = endOf;
  }

  record(keyBytes: Uint8Array, value: Uint8Array | null): void {
    const record = decodeShareRecord(keyBytes, value);
    if (record.kind === "other") return;
    const name = stateKey(record.key);
    if (record.kind === "snapshot") {
      if (record.state === null) this.states.delete(name);
      else this.states.set(name, { key: record.key, state: record.state });
      return;
    }
    const known = this.states.get(name);
    if (known === undefined) return;
    const { snapshotEpoch: _epoch, stateBatches, ...marks } = record.update;
    const startOffset = marks.startOffset === -1 ? known.state.startOffset : marks.startOffset;
    const merged = mergeStateBatches(known.state.stateBatches, stateBatches, startOffset);
    known.state = { ...known.state, ...marks, startOffset, stateBatches: merged };
  }

  /** Snapshots of states that reach past the end of their logs, without what lies there. */
  cuts(nowMs: number): CutRecord[] {
    const records: CutRecord[] = [];
    for (const { key, state } of this.states.values()) {
      const end = this.endOf(key.topicId, key.partition);
      const last = Math.max(state.startOffset - 1, ...state.stateBatches.map((b) => b.lastOffset));
      if (end === null || last < end) continue;
      const startOffset = Math.min(state.startOffset, end);
      const stateBatches = state.stateBatches
        .filter((batch) => batch.firstOffset < end)
        .map((batch) => ({ ...batch, lastOffset: Math.min(batch.lastOffset, end - 1) }));
      const complete = stateBatches.filter(
        (batch) =>
          batch.deliveryState === deliveryState.acknowledged ||
          batch.deliveryState === deliveryState.archived,
      );
      const cut = {
        ...state,
        snapshotEpoch: state.snapshotEpoch + 1,
        startOffset,
        stateBatches,
        deliveryCompleteCount: complete.reduce((n, b) => n + b.lastOffset - b.firstOffset + 1, 0),
        writeTimestampMs: nowMs,
      };
      records.push(encodeSnapshot(key, cut, nowMs));
    }
    return records;
  }
}
