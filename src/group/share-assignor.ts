/** Topic id → partitions. */
export type SharedPartitions = ReadonlyMap<string, ReadonlySet<number>>;

export interface SharingMember {
  readonly topicIds: ReadonlySet<string>;
  readonly current: SharedPartitions;
}

interface Slot {
  readonly topicId: string;
  readonly partition: number;
}

/** What is shared out among members that all read the same. */
interface Pool {
  readonly memberIds: readonly string[];
  readonly slots: readonly Slot[];
}

/**
 * The "simple" assignor of share groups (KIP-932): every partition goes to as many members as it
 * takes to give everybody work, loads differ by one at most among members that read the same, and
 * who has a partition keeps it where that allows. As Kafka's SimpleAssignor, topics are shared out
 * together where all members read the same, else one by one.
 */
export function assignShared(
  members: ReadonlyMap<string, SharingMember>,
  assignable: SharedPartitions,
): Map<string, SharedPartitions> {
  const assigned = new Map<string, Map<string, Set<number>>>();
  for (const memberId of members.keys()) assigned.set(memberId, new Map());
  for (const pool of poolsOf(members, assignable)) shareOut(pool, members, assigned);
  return assigned;
}

function poolsOf(
  members: ReadonlyMap<string, SharingMember>,
  assignable: SharedPartitions,
): Pool[] {
  const topicIds = new Set([...members.values()].flatMap((one) => [...one.topicIds]));
  const slotsOf = (topicId: string): Slot[] =>
    [...(assignable.get(topicId) ?? [])].map((partition) => ({ topicId, partition }));
  const readsAll = [...members.values()].every((one) => one.topicIds.size === topicIds.size);
  if (readsAll) {
    return [{ memberIds: [...members.keys()], slots: [...topicIds].flatMap(slotsOf) }];
  }
  return [...topicIds].map((topicId) => ({
    memberIds: [...members].filter(([, one]) => one.topicIds.has(topicId)).map(([id]) => id),
    slots: slotsOf(topicId),
  }));
}

function shareOut(
  { memberIds, slots }: Pool,
  members: ReadonlyMap<string, SharingMember>,
  assigned: ReadonlyMap<string, Map<string, Set<number>>>,
): void {
  if (slots.length === 0 || memberIds.length === 0) return;
  const sharing = Math.ceil(memberIds.length / slots.length);
  const upTo = (index: number) => Math.ceil((sharing * slots.length * index) / memberIds.length);
  const room = new Map(memberIds.map((id, index) => [id, upTo(index + 1) - upTo(index)]));
  const sharers = slots.map((slot) => {
    const keepers = new Set<string>();
    for (const memberId of memberIds) {
      const has = members.get(memberId)?.current.get(slot.topicId)?.has(slot.partition) ?? false;
      const left = room.get(memberId) ?? 0;
      if (!has || left <= 0 || keepers.size >= sharing) continue;
      keepers.add(memberId);
      room.set(memberId, left - 1);
    }
    return keepers;
  });
  let next = 0;
  for (const keepers of sharers) {
    // Once around: whoever has room and not this partition yet.
    for (let turns = 0; turns < memberIds.length && keepers.size < sharing; turns++) {
      const memberId = memberIds[next % memberIds.length] ?? "";
      next++;
      const left = room.get(memberId) ?? 0;
      if (left <= 0 || keepers.has(memberId)) continue;
      keepers.add(memberId);
      room.set(memberId, left - 1);
    }
  }
  for (const [index, { topicId, partition }] of slots.entries()) {
    const keepers = sharers[index] ?? new Set<string>();
    if (keepers.size === 0) keepers.add(memberIds[index % memberIds.length] ?? "");
    for (const memberId of keepers) {
      const topics = assigned.get(memberId);
      const partitions = topics?.get(topicId) ?? new Set<number>();
      topics?.set(topicId, partitions.add(partition));
    }
  }
}
