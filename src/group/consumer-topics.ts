import { Pace, type Portions } from "../lib/turn-budget.ts";
import type { AssignedMember, AssignmentTask } from "./assignors.ts";
import {
  type ConsumerMember,
  type MemberMetadata,
  regexOf,
  type TargetPartitions,
} from "./consumer-member.ts";
import type { ConsumerState, SubscriptionCount } from "./consumer-state.ts";
import type { CoordinatorTopics } from "./ports.ts";

/** Ids of the existing topics a member reads, by name and by what its expression has matched. */
export function subscribedTopicIds(
  member: MemberMetadata,
  state: Pick<ConsumerState, "regexes">,
  topics: CoordinatorTopics,
): ReadonlySet<string> {
  const ids = new Set<string>();
  const add = (name: string): void => {
    const topicId = topics.topicId(name);
    if (topicId !== null) ids.add(topicId);
  };
  for (const name of member.topicNames) add(name);
  const regex = regexOf(member);
  // An expression that was not resolved yet matches nothing.
  if (regex !== null) for (const name of state.regexes.get(regex)?.topics ?? []) add(name);
  return ids;
}

/** What the assignor needs to know of the group as it is now; the group may change meanwhile. */
export function assignmentTask(
  state: ConsumerState,
  topics: CoordinatorTopics,
): Portions<AssignmentTask> {
  const members = [...state.members.values()].map((member) => {
    return { member, current: state.targetOf(member.memberId) };
  });
  const names = [...state.subscriptions.keys()];
  return taskOf(members, names, new Map(state.regexes), topics);
}

function* taskOf(
  found: readonly { readonly member: ConsumerMember; readonly current: TargetPartitions }[],
  names: readonly string[],
  regexes: ConsumerState["regexes"],
  topics: CoordinatorTopics,
): Generator<void, AssignmentTask> {
  const pace = new Pace();
  const members = new Map<string, AssignedMember>();
  const partitionCounts = new Map<string, number>();
  /** Members with the same subscription share one set. */
  const known = new Map<string, ReadonlySet<string>>();
  for (const { member, current } of found) {
    const topicIds = sharedTopicIds(member, { regexes }, topics, known);
    const { memberId, instanceId } = member;
    members.set(memberId, { instanceId, topicIds, current });
    if (pace.isDue(1 + member.topicNames.length)) yield;
  }
  for (const name of names) {
    const topicId = topics.topicId(name);
    const count = topics.partitionCountOf(name);
    if (topicId !== null && count !== null) partitionCounts.set(topicId, count);
    if (pace.isDue(1)) yield;
  }
  return { members, partitionCounts };
}

function sharedTopicIds(
  member: ConsumerMember,
  state: Pick<ConsumerState, "regexes">,
  topics: CoordinatorTopics,
  known: Map<string, ReadonlySet<string>>,
): ReadonlySet<string> {
  const key = `${member.topicNames.join(",")} ${regexOf(member) ?? ""}`;
  const topicIds = known.get(key) ?? subscribedTopicIds(member, state, topics);
  known.set(key, topicIds);
  return topicIds;
}

/**
 * Stands for the topics the group reads: their names, ids and partition counts. When it changes,
 * the group needs a new assignment. 0 when none of them exists. Kafka's hash differs; after a move
 * from or to Kafka the group is assigned anew once.
 */
export function metadataHash(
  subscriptions: ReadonlyMap<string, SubscriptionCount>,
  topics: CoordinatorTopics,
): bigint {
  let hash = 0n;
  let count = 0;
  for (const name of [...subscriptions.keys()].sort()) {
    const topicId = topics.topicId(name);
    const partitions = topics.partitionCountOf(name);
    if (topicId === null || partitions === null) continue;
    count++;
    const text = `${name} ${topicId} ${partitions}`;
    const [high, low] = twoHashes(text);
    hash = BigInt.asIntN(64, hash * 1_000_003n + ((BigInt(high) << 32n) | BigInt(low)));
  }
  return count === 0 ? 0n : hash;
}

/** Two different 32-bit hashes of the text, each unsigned. */
function twoHashes(text: string): readonly [number, number] {
  let left = 0x811c9dc5;
  let right = 0x1000193;
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index);
    left = Math.imul(left ^ unit, 0x01000193);
    right = Math.imul(right + unit, 0x85ebca6b) ^ (right >>> 13);
  }
  return [left >>> 0, right >>> 0];
}
