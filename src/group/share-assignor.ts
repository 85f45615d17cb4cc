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
  const topicIds = new Set<string>();
  // Members that read the same mostly share one set.
  for (const ids of new Set([...members.values()].map((one) => one.topicIds))) {
    for (const topicId of ids) topicIds.add(topicId);
  }
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

/** Of each slot the members that have it now, in their order. */
function holdersOf(
  slots: Pool["slots"],
  memberIds: readonly string[],
  members: ReadonlyMap<string, SharingMember>,
): string[][] {
  const holders: string[][] = slots.map(() => []);
  const places = new Map<string, Map<number, number>>();
  for (const [index, { topicId, partition }] of slots.entries()) {
    const ofTopic = places.get(topicId) ?? new Map<number, number>();
    places.set(topicId, ofTopic.set(partition, index));
  }
  for (const memberId of memberIds) {
    for (const [topicId, partitions] of members.get(memberId)?.current ?? []) {
      const ofTopic = places.get(topicId);
      if (ofTopic === undefined) continue;
      for (const partition of partitions) holders[ofTopic.get(partition) ?? -1]?.push(memberId);
    }
  }
  return holders;
}

/** Round and round: whoever has room, and not this partition yet, is one of its sharers. */
function fillUp(
  sharers: readonly Set<string>[],
  sharing: number,
  memberIds: readonly string[],
  room: Map<string, number>,
): void {
  // A ring, which members without room leave.
  let ring = memberIds.filter((memberId) => (room.get(memberId) ?? 0) > 0);
  let next = 0;
  let hasGone = 0;
  for (const keepers of sharers) {
    const once = ring.length;
    for (let turns = 0; turns < once && keepers.size < sharing; turns++) {
      const memberId = ring[next] ?? "";
      next = (next + 1) % ring.length;
      const left = room.get(memberId) ?? 0;
      if (left <= 0 || keepers.has(memberId)) continue;
      keepers.add(memberId);
      room.set(memberId, left - 1);
      if (left === 1) hasGone++;
    }
    if (2 * hasGone <= ring.length) continue;
    const behind = [...ring.slice(next), ...ring.slice(0, next)];
    ring = behind.filter((memberId) => (room.get(memberId) ?? 0) > 0);
    next = 0;
    hasGone = 0;
  }
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
  const holders = holdersOf(slots, memberIds, members);
  const sharers = slots.map((_, index) => {
    const keepers = new Set<string>();
    for (const memberId of holders[index] ?? []) {
      const left = room.get(memberId) ?? 0;
      if (left <= 0 || keepers.size >= sharing) continue;
      keepers.add(memberId);
      room.set(memberId, left - 1);
    }
    return keepers;
  });
  fillUp(sharers, sharing, memberIds, room);
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
