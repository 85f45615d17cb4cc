import { assert } from "../lib/assert.ts";
import { Pace, type Portions } from "../lib/turn-budget.ts";
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
/** Takes its time: hundreds of thousands of partitions are not spread in one go. */
export type Assignor = (task: AssignmentTask) => Portions<Assignment>;

/** The server-side assignors, by the names clients and `group.consumer.assignors` use. */
export const assignors: ReadonlyMap<string, Assignor> = new Map<string, Assignor>([
  ["uniform", assignUniformly],
  ["range", assignRanges],
]);

function* assignUniformly(task: AssignmentTask): Generator<void, Assignment> {
  const isHomogeneous = yield* readTheSame(task);
  return yield* isHomogeneous ? spreadEvenly(task) : balance(task);
}

/** Do all members read the same topics? */
function* readTheSame({ members }: AssignmentTask): Generator<void, boolean> {
  const pace = new Pace();
  let first: ReadonlySet<string> | null = null;
  for (const { topicIds } of members.values()) {
    first ??= topicIds;
    if (topicIds === first) continue;
    if (topicIds.size !== first.size) return false;
    for (const topicId of topicIds) if (!first.has(topicId)) return false;
    if (pace.isDue(topicIds.size)) yield;
  }
  return true;
}

/** Member ids in the order of instance ids, then of member ids. */
function rangeOrder(members: AssignmentTask["members"]): string[] {
  const keys = [...members].map(([memberId, { instanceId }]) => {
    return { memberId, isDynamic: instanceId === null, key: instanceId ?? memberId };
  });
  keys.sort((left, right) => {
    if (left.isDynamic !== right.isDynamic) return left.isDynamic ? 1 : -1;
    return left.key < right.key ? -1 : 1;
  });
  return keys.map(({ memberId }) => memberId);
}

/** Of each topic its readers, in the order of `memberIds`; one list where all read the same. */
function* readersOf(
  { members, partitionCounts }: AssignmentTask,
  memberIds: readonly string[],
  pace: Pace,
): Generator<void, (topicId: string) => readonly string[]> {
  const first = members.get(memberIds[0] ?? "")?.topicIds;
  if (memberIds.every((memberId) => members.get(memberId)?.topicIds === first)) {
    return (topicId) => (first?.has(topicId) ? memberIds : []);
  }
  const readers = new Map<string, string[]>();
  for (const topicId of partitionCounts.keys()) readers.set(topicId, []);
  for (const memberId of memberIds) {
    for (const topicId of members.get(memberId)?.topicIds ?? []) {
      readers.get(topicId)?.push(memberId);
      if (pace.isDue(1)) yield;
    }
  }
  return (topicId) => readers.get(topicId) ?? [];
}

/**
 * Range: of each topic every member that reads it gets one run of partitions, by the order of
 * instance ids, then of member ids; the first members get one more where it does not divide.
 */
function* assignRanges(task: AssignmentTask): Generator<void, Assignment> {
  const pace = new Pace();
  const order = rangeOrder(task.members);
  const readersBy = yield* readersOf(task, order, pace);
  const assignment = new Map<string, Map<string, readonly number[]>>();
  for (const memberId of order) assignment.set(memberId, new Map());
  for (const [topicId, count] of task.partitionCounts) {
    const readers = readersBy(topicId);
    const quota = Math.floor(count / Math.max(readers.length, 1));
    let extras = count % Math.max(readers.length, 1);
    let start = 0;
    for (const memberId of readers) {
      // The others get nothing of it: there are fewer partitions than readers.
      if (start >= count) break;
      const end = start + quota + (extras > 0 ? 1 : 0);
      const partitions: number[] = [];
      for (let partition = start; partition < end; partition++) partitions.push(partition);
      assignment.get(memberId)?.set(topicId, partitions);
      if (pace.isDue(1 + partitions.length)) yield;
      start = end;
      extras--;
    }
  }
  return assignment;
}

/** A target under construction. */
type Draft = Map<string, Set<number>>;

/**
 * Uniform, where all members read the same topics: everyone gets as many partitions as anyone else
 * (one more for some), and keeps what it has as far as that allows.
 */
function* spreadEvenly({ members, partitionCounts }: AssignmentTask): Generator<void, Assignment> {
  const pace = new Pace();
  const unassigned = yield* unassignedPartitions(members, partitionCounts, pace);
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
    const draft = yield* keepUpTo(member.current, partitionCounts, quota, unassigned, pace);
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
      if (pace.isDue(1)) yield;
    }
    index += quota;
  }
  assert(members.size === 0 || index >= unassigned.length, "a partition was left over");
  return yield* finished(drafts, pace);
}

/** The part of `current` that fits into the quota; what does not joins `unassigned`. */
function* keepUpTo(
  current: TargetPartitions,
  partitionCounts: ReadonlyMap<string, number>,
  quota: number,
  unassigned: { topicId: string; partition: number }[],
  pace: Pace,
): Generator<void, Draft> {
  const draft: Draft = new Map();
  let left = quota;
  for (const [topicId, partitions] of current) {
    const count = partitionCounts.get(topicId) ?? 0;
    if (pace.isDue(1 + partitions.length)) yield;
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
function* balance(task: AssignmentTask): Generator<void, Assignment> {
  const { members, partitionCounts } = task;
  const pace = new Pace();
  const drafts = new Map<string, Draft>();
  const loads = new Map<string, number>();
  const owned = new Map<string, Set<number>>();
  for (const topicId of partitionCounts.keys()) owned.set(topicId, new Set());
  const readersBy = yield* readersOf(task, [...members.keys()], pace);
  for (const [memberId, { topicIds, current }] of members) {
    const draft: Draft = new Map();
    let load = 0;
    for (const [topicId, partitions] of current) {
      if (!topicIds.has(topicId)) continue;
      const taken = owned.get(topicId);
      if (pace.isDue(1 + partitions.length)) yield;
      for (const partition of partitions) {
        if (partition >= (partitionCounts.get(topicId) ?? 0) || taken?.has(partition)) continue;
        taken?.add(partition);
        give(draft, topicId, partition);
        load++;
      }
    }
    drafts.set(memberId, draft);
    loads.set(memberId, load);
  }
  // Topics with few readers first: the others can make up for what those get.
  const topics = [...partitionCounts.keys()]
    .map((topicId) => ({ topicId, readers: readersBy(topicId) }))
    .sort((left, right) => left.readers.length - right.readers.length);
  for (const { topicId, readers } of topics) {
    const count = partitionCounts.get(topicId) ?? 0;
    const taken = owned.get(topicId);
    if (readers.length === 0 || taken?.size === count) continue;
    const poorest = new Poorest(readers, loads);
    if (pace.isDue(readers.length)) yield;
    for (let partition = 0; partition < count; partition++) {
      if (taken?.has(partition)) continue;
      give(drafts.get(poorest.takesOne()) ?? new Map(), topicId, partition);
      if (pace.isDue(8)) yield;
    }
  }
  yield* evenOut(topics, drafts, loads, pace);
  return yield* finished(drafts, pace);
}

/** The readers of one topic as a heap: who has least, and among equals the first, is on top. */
class Poorest {
  private readonly readers: readonly string[];
  private readonly loads: Map<string, number>;
  /** Indexes of readers. */
  private readonly heap: number[];

  constructor(readers: readonly string[], loads: Map<string, number>) {
    this.readers = readers;
    this.loads = loads;
    this.heap = readers.map((_, index) => index);
    for (let at = this.heap.length >> 1; at >= 0; at--) this.sink(at);
  }

  /** Who has least, which then has one more. */
  takesOne(): string {
    const memberId = this.memberAt(0);
    this.loads.set(memberId, this.loadAt(0) + 1);
    this.sink(0);
    return memberId;
  }

  private memberAt(at: number): string {
    return this.readers[this.heap[at] ?? -1] ?? "";
  }

  private loadAt(at: number): number {
    return this.loads.get(this.memberAt(at)) ?? 0;
  }

  private isBefore(left: number, right: number): boolean {
    const [leftLoad, rightLoad] = [this.loadAt(left), this.loadAt(right)];
    if (leftLoad !== rightLoad) return leftLoad < rightLoad;
    return (this.heap[left] ?? 0) < (this.heap[right] ?? 0);
  }

  private sink(from: number): void {
    const { heap } = this;
    for (let at = from; ; ) {
      let first = at;
      for (const child of [2 * at + 1, 2 * at + 2]) {
        if (child < heap.length && this.isBefore(child, first)) first = child;
      }
      if (first === at) return;
      [heap[at], heap[first]] = [heap[first] ?? 0, heap[at] ?? 0];
      at = first;
    }
  }
}

/** Every move lowers the sum of squared loads, so this ends; rounds have a bound all the same. */
function* evenOut(
  topics: readonly { readonly topicId: string; readonly readers: readonly string[] }[],
  drafts: ReadonlyMap<string, Draft>,
  loads: Map<string, number>,
  pace: Pace,
): Generator<void, void> {
  const roundsMax = 16;
  for (let round = 0, moved = true; moved && round < roundsMax; round++) {
    moved = false;
    for (const { topicId, readers } of topics) {
      for (;;) {
        if (pace.isDue(2 * readers.length)) yield;
        const poorest = extreme(readers, loads, (load, best) => load < best);
        const richest = extreme(
          readers,
          loads,
          (load, best) => load > best,
          (memberId) => drafts.get(memberId)?.has(topicId) ?? false,
        );
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
  isCandidate: (memberId: string) => boolean = () => true,
): string | null {
  let found: string | null = null;
  let best = 0;
  for (const memberId of memberIds) {
    const load = loads.get(memberId) ?? 0;
    const isFound = found === null || isBetter(load, best);
    if (isFound && isCandidate(memberId)) [found, best] = [memberId, load];
  }
  return found;
}

function* unassignedPartitions(
  members: ReadonlyMap<string, AssignedMember>,
  partitionCounts: ReadonlyMap<string, number>,
  pace: Pace,
): Generator<void, { topicId: string; partition: number }[]> {
  const assigned = new Map<string, Set<number>>();
  for (const { current } of members.values()) {
    for (const [topicId, partitions] of current) {
      for (const partition of partitions) give(assigned, topicId, partition);
      if (pace.isDue(1 + partitions.length)) yield;
    }
  }
  const unassigned: { topicId: string; partition: number }[] = [];
  for (const [topicId, count] of partitionCounts) {
    const taken = assigned.get(topicId);
    if (pace.isDue(1 + count)) yield;
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

function* finished(drafts: ReadonlyMap<string, Draft>, pace: Pace): Generator<void, Assignment> {
  const assignment = new Map<string, TargetPartitions>();
  for (const [memberId, draft] of drafts) {
    const target = new Map<string, readonly number[]>();
    for (const [topicId, partitions] of draft) {
      target.set(
        topicId,
        [...partitions].sort((left, right) => left - right),
      );
      if (pace.isDue(1 + partitions.size)) yield;
    }
    assignment.set(memberId, target);
  }
  return assignment;
}
