import { assert } from "../lib/assert.ts";
import { ConsumerReplay } from "./consumer-group.ts";
import type { KindReplay, RecordGroup } from "./group-kinds.ts";
import type { GroupSnapshot } from "./group-types.ts";
import { GroupOffsets } from "./offsets.ts";
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
export class GroupReplay {
  private readonly found = new Map<string, ReplayedGroup>();
  private readonly kinds: readonly KindReplay[] = recordKinds.map((open) => open());
  private readonly kindOf = new Map<number, KindReplay>();

  constructor() {
    for (const kind of this.kinds) {
      for (const recordType of kind.recordTypes) {
        assert(!this.kindOf.has(recordType), `record type ${recordType} has two kinds`);
        this.kindOf.set(recordType, kind);
      }
    }
  }

  /** Throws ProtocolError on bytes that are not a record; keeps none of them. */
  take(key: Uint8Array, value: Uint8Array | null): void {
    const recordType = recordTypeOf(key);
    const kind = this.kindOf.get(recordType);
    if (kind !== undefined) {
      kind.replay(recordType, key.subarray(2), value);
      return;
    }
    const record = decodeRecord(key, value);
    if (record.kind === "other") return;
    const state = this.stateOf(record.groupId);
    if (record.kind === "group") state.snapshot = record.value;
    else state.offsets.apply(record.topic, record.partition, record.value);
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
