import { assert } from "../lib/assert.ts";
import { ConsumerReplay } from "./consumer-group.ts";
import type { KindReplay, RecordGroup } from "./group-kinds.ts";
import type { GroupSnapshot } from "./group-types.ts";
import { GroupOffsets } from "./offsets.ts";
import type { LogReplay } from "./ports.ts";
import { decodeRecord, recordTypeOf } from "./records.ts";
import { ShareReplay } from "./share-group.ts";

/** What a partition's log says about one group. */
export interface ReplayedGroup {
  readonly groupId: string;
  /** A classic group, or null. */
  snapshot: GroupSnapshot | null;
  /** A group that is stored as records of its own types, or null. */
  group: RecordGroup | null;
  readonly offsets: GroupOffsets;
}

/** Every kind of group that is stored as records of its own types. */
const recordKinds: readonly (() => KindReplay)[] = [
  () => new ConsumerReplay(),
  () => new ShareReplay(),
];

/** Gathers groups and offsets from the records of one partition, in the order of the log. */
export class GroupReplay implements LogReplay {
  private readonly found = new Map<string, ReplayedGroup>();
  private readonly kinds: readonly KindReplay[] = recordKinds.map((open) => open());
  private readonly kindOf = new Map<number, KindReplay>();
  /** Groups with offsets in an open transaction, by producer. */
  private readonly openOf = new Map<number, Set<ReplayedGroup>>();

  constructor() {
    for (const kind of this.kinds) {
      for (const recordType of kind.recordTypes) {
        assert(!this.kindOf.has(recordType), `record type ${recordType} has two kinds`);
        this.kindOf.set(recordType, kind);
      }
    }
  }

  /** Throws ProtocolError on bytes that are not a record; keeps none of them. `producerId` is −1
   * outside of transactions. */
  record(key: Uint8Array, value: Uint8Array | null, producerId: number): void {
    const recordType = recordTypeOf(key);
    const kind = this.kindOf.get(recordType);
    if (kind !== undefined) {
      kind.replay(recordType, key.subarray(2), value);
      return;
    }
    const record = decodeRecord(key, value);
    if (record.kind === "other") return;
    const state = this.stateOf(record.groupId);
    if (record.kind === "group") {
      state.snapshot = record.value;
      return;
    }
    const { topic, partition, value: offset } = record;
    if (producerId < 0 || offset === null) {
      state.offsets.apply(topic, partition, offset);
      return;
    }
    state.offsets.applyTransactional(producerId, topic, partition, offset);
    this.openOf.set(producerId, (this.openOf.get(producerId) ?? new Set()).add(state));
  }

  /** A transaction's end. */
  marker(producerId: number, commit: boolean): void {
    for (const { offsets } of this.openOf.get(producerId) ?? []) {
      offsets.endTransaction(producerId, commit);
    }
    this.openOf.delete(producerId);
  }

  /** Groups of which anything is left. */
  groups(): ReplayedGroup[] {
    for (const kind of this.kinds) {
      for (const group of kind.groups()) {
        if (!group.isVacant) this.stateOf(group.groupId).group = group;
      }
    }
    return [...this.found.values()].filter(
      ({ snapshot, group, offsets }) => snapshot !== null || group !== null || !offsets.isEmpty,
    );
  }

  private stateOf(groupId: string): ReplayedGroup {
    const known = this.found.get(groupId);
    if (known !== undefined) return known;
    const fresh = { groupId, snapshot: null, group: null, offsets: new GroupOffsets() };
    this.found.set(groupId, fresh);
    return fresh;
  }
}
