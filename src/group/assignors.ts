import { assert } from "../lib/assert.ts";
import type { TargetPartitions } from "./consumer-member.ts";

/** A member as an assignor sees it. */
export interface AssignedMember {
  readonly instanceId: string | null;
  /** Ids of the existing topics it reads. */
  readonly topicIds: ReadonlySet<string>;
  /** What it was given last; only `uniform` looks at it. */
  readonly current: TargetPartitions;
}

export interface AssignmentTask {
  readonly members: ReadonlyMap<string, AssignedMember>;
  /** Partitions of every topic that a member reads. */
  readonly partitionCounts: ReadonlyMap<string, number>;
}

export type Assignment = ReadonlyMap<string, TargetPartitions>;
export type Assignor = (task: AssignmentTask) => Assignment;

/** The server-side assignors, by the names clients and `group.consumer.assignors` use. */
export const assignors: ReadonlyMap<string, Assignor> = new Map<string, Assignor>([
  ["uniform", (task) => (isHomogeneous(task) ? spreadEvenly(task) : balance(task))],
  ["range", assignRanges],
]);

/** Do all members read the same topics? */
export function isHomogeneous({ members }: AssignmentTask): boolean {
  let first: ReadonlySet<string> | null = null;
  for (const { topicIds } of members.values()) {
    first ??= topicIds;
    if (topicIds === first) continue;
    if (topicIds.size !== first.size) return false;
    for (const topicId of topicIds) if (!first.has(topicId)) return false;
  }
  return true;
}

/**
 * Range: of each topic every member that reads it gets one run of partitions, by the order of
 * instance ids, then of member ids; the first members get one more where it does not divide.
 */
function assignRanges({ members, partitionCounts }: AssignmentTask): Assignment {
  const order = [...members].sort(([leftId, left], [rightId, right]) => {
    const leftKey = [left.instanceId === null ? 1 : 0, left.instanceId ?? leftId] as const;
    const rightKey = [right.instanceId === null ? 1 : 0, right.instanceId ?? rightId] as const;
    if (leftKey[0] !== rightKey[0]) return leftKey[0] - rightKey[0];
    return leftKey[1] < rightKey[1] ? -1 : 1;
  });
  const readers = new Map<string, number>();
  for (const [, { topicIds }] of order) {
    for (const topicId of topicIds) readers.set(topicId, (readers.get(topicId) ?? 0) + 1);
  }
  const next = new Map<string, { start: number; extra: number }>();
  const assignment = new Map<string, TargetPartitions>();
  for (const [memberId, { topicIds }] of order) {
    const target = new Map<string, readonly number[]>();
    for (const topicId of topicIds) {
      const count = partitionCounts.get(topicId) ?? 0;
      const readerCount = readers.get(topicId) ?? 1;
      const place = next.get(topicId) ?? { start: 0, extra: count % readerCount };
      const quota = Math.floor(count / readerCount) + (place.extra > 0 ? 1 : 0);
      const end = Math.min(place.start + quota, count);
      if (end > place.start) {
        target.set(
          topicId,
          Array.from({ length: end - place.start }, (_, i) => place.start + i),
        );
      }
      next.set(topicId, { start: end, extra: Math.max(place.extra - 1, 0) });
    }
    assignment.set(memberId, target);
  }
  return assignment;
}

/** A target under construction. */
type Draft = Map<string, Set<number>>;

/**
 * Uniform, where all members read the same topics: everyone gets as many partitions as anyone else
 * (one more for some), and keeps what it has as far as that allows.
 */
function spreadEvenly({ members, partitionCounts }: AssignmentTask): Assignment {
  const unassigned = unassignedPartitions(members, partitionCounts);
  let total = 0;
  for (const count of partitionCounts.values()) total += count;
  const quotaMin = Math.floor(total / Math.max(members.size, 1));
  let extrasLeft = total % Math.max(members.size, 1);
  const drafts = new Map<string, Draft>();
  const unfilled: { readonly draft: Draft; readonly quota: number }[] = [];
  let membersLeft = members.size;
  for (const [memberId, member] of members) {
    let quota = quotaMin + (extrasLeft > 0 ? 1 : 0);
    let hasExtra = extrasLeft > 0;
    const draft = keepUpTo(member.current, partitionCounts, quota, unassigned);
    drafts.set(memberId, draft);
    for (const partitions of draft.values()) quota -= partitions.size;
    // The last members must take the extra ones; others leave theirs to who has it already.
    if (quota > 0 && hasExtra && membersLeft > extrasLeft) {
      quota--;
      hasExtra = false;
    }
    if (quota > 0) unfilled.push({ draft, quota });
    if (hasExtra) extrasLeft--;
    membersLeft--;
  }
  let index = 0;
  for (const { draft, quota } of unfilled) {
    for (const { topicId, partition } of unassigned.slice(index, index + quota)) {
      give(draft, topicId, partition);
    }
    index += quota;
  }
  assert(members.size === 0 || index >= unassigned.length, "a partition was left over");
  return finished(drafts);
}

/** The part of `current` that fits into the quota; what does not joins `unassigned`. */
function keepUpTo(
  current: TargetPartitions,
  partitionCounts: ReadonlyMap<string, number>,
  quota: number,
  unassigned: { topicId: string; partition: number }[],
): Draft {
  const draft: Draft = new Map();
  let left = quota;
  for (const [topicId, partitions] of current) {
    const count = partitionCounts.get(topicId) ?? 0;
    for (const partition of partitions) {
      if (partition >= count) continue;
      if (left > 0) {
        left--;
        give(draft, topicId, partition);
      } else {
        unassigned.push({ topicId, partition });
      }
    }
  }
  return draft;
}

/**
 * Uniform, where members read different topics: everyone keeps what it has, the rest goes to who
 * has least, and then partitions move from who has more to who has less until no single move
 * within a topic evens anything out.
 */
function balance({ members, partitionCounts }: AssignmentTask): Assignment {
  const drafts = new Map<string, Draft>();
  const loads = new Map<string, number>();
  const readers = new Map<string, string[]>();
  const owners = new Map<string, Map<number, string>>();
  for (const topicId of partitionCounts.keys()) owners.set(topicId, new Map());
  for (const [memberId, { topicIds, current }] of members) {
    const draft: Draft = new Map();
    let load = 0;
    for (const topicId of topicIds) {
      const list = readers.get(topicId) ?? [];
      list.push(memberId);
      readers.set(topicId, list);
      for (const partition of current.get(topicId) ?? []) {
        const taken = owners.get(topicId);
        if (partition >= (partitionCounts.get(topicId) ?? 0) || taken?.has(partition)) continue;
        taken?.set(partition, memberId);
        give(draft, topicId, partition);
        load++;
      }
    }
    drafts.set(memberId, draft);
    loads.set(memberId, load);
  }
  // Topics with few readers first: the others can make up for what those get.
  const topics = [...partitionCounts.keys()].sort(
    (left, right) => (readers.get(left)?.length ?? 0) - (readers.get(right)?.length ?? 0),
  );
  for (const topicId of topics) {
    const heap = readers.get(topicId) ?? [];
    for (let partition = 0; partition < (partitionCounts.get(topicId) ?? 0); partition++) {
      if (owners.get(topicId)?.has(partition)) continue;
      const poorest = extreme(heap, loads, (load, best) => load < best);
      if (poorest === null) continue;
      give(drafts.get(poorest) ?? new Map(), topicId, partition);
      loads.set(poorest, (loads.get(poorest) ?? 0) + 1);
    }
  }
  evenOut(topics, readers, drafts, loads);
  return finished(drafts);
}

/** Every move lowers the sum of squared loads, so this ends; rounds have a bound all the same. */
function evenOut(
  topics: readonly string[],
  readers: ReadonlyMap<string, readonly string[]>,
  drafts: ReadonlyMap<string, Draft>,
  loads: Map<string, number>,
): void {
  const roundsMax = 16;
  for (let round = 0, moved = true; moved && round < roundsMax; round++) {
    moved = false;
    for (const topicId of topics) {
      const list = readers.get(topicId) ?? [];
      for (;;) {
        const poorest = extreme(list, loads, (load, best) => load < best);
        const holders = list.filter((memberId) => drafts.get(memberId)?.get(topicId)?.size);
        const richest = extreme(holders, loads, (load, best) => load > best);
        if (poorest === null || richest === null) break;
        const [low, high] = [loads.get(poorest) ?? 0, loads.get(richest) ?? 0];
        if (high - low <= 1) break;
        const from = drafts.get(richest);
        const partition = [...(from?.get(topicId) ?? [])].pop();
        assert(from !== undefined && partition !== undefined, "a holder holds a partition");
        take(from, topicId, partition);
        give(drafts.get(poorest) ?? new Map(), topicId, partition);
        loads.set(richest, high - 1);
        loads.set(poorest, low + 1);
        moved = true;
      }
    }
  }
}

function extreme(
  memberIds: readonly string[],
  loads: ReadonlyMap<string, number>,
  isBetter: (load: number, best: number) => boolean,
): string | null {
  let found: string | null = null;
  let best = 0;
  for (const memberId of memberIds) {
    const load = loads.get(memberId) ?? 0;
    if (found === null || isBetter(load, best)) [found, best] = [memberId, load];
  }
  return found;
}

function unassignedPartitions(
  members: ReadonlyMap<string, AssignedMember>,
  partitionCounts: ReadonlyMap<string, number>,
): { topicId: string; partition: number }[] {
  const assigned = new Map<string, Set<number>>();
  for (const { current } of members.values()) {
    for (const [topicId, partitions] of current) {
      for (const partition of partitions) give(assigned, topicId, partition);
    }
  }
  const unassigned: { topicId: string; partition: number }[] = [];
  for (const [topicId, count] of partitionCounts) {
    const taken = assigned.get(topicId);
    for (let partition = 0; partition < count; partition++) {
      if (!taken?.has(partition)) unassigned.push({ topicId, partition });
    }
  }
  return unassigned;
}

function give(draft: Draft, topicId: string, partition: number): void {
  const partitions = draft.get(topicId);
  if (partitions === undefined) draft.set(topicId, new Set([partition]));
  else partitions.add(partition);
}

function take(draft: Draft, topicId: string, partition: number): void {
  const partitions = draft.get(topicId);
  partitions?.delete(partition);
  if (partitions?.size === 0) draft.delete(topicId);
}

function finished(drafts: ReadonlyMap<string, Draft>): Assignment {
  const assignment = new Map<string, TargetPartitions>();
  for (const [memberId, draft] of drafts) {
    const target = new Map<string, readonly number[]>();
    for (const [topicId, partitions] of draft) {
      target.set(
        topicId,
        [...partitions].sort((left, right) => left - right),
      );
    }
    assignment.set(memberId, target);
  }
  return assignment;
}
