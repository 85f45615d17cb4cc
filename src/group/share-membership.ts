import { ErrorCode } from "../protocol/error-code.ts";
import type { Entry } from "./entry.ts";
import type { RecordStep, StepContext } from "./group-kinds.ts";
import type { GroupShards } from "./group-shards.ts";
import type { ShareStates } from "./ports.ts";
import type { GroupShard } from "./shard.ts";
import { ShareGroup, type ShareHeartbeat, type ShareHeartbeatAnswer } from "./share-group.ts";
import type { ShareMember, StatefulTopic, StatefulTopics } from "./share-state.ts";

export interface ShareHeartbeatRequest extends Omit<ShareHeartbeat, "initialized"> {
  readonly groupId: string;
}

export interface DescribedShareGroup {
  readonly errorCode: number;
  readonly groupId: string;
  readonly state: string;
  readonly epoch: number;
  readonly assignmentEpoch: number;
  readonly members: readonly ShareMember[];
}

export interface ShareOffset {
  readonly topicId: string;
  readonly partition: number;
  readonly startOffset: number;
}

type ShareLookup =
  | { readonly errorCode: typeof ErrorCode.NONE; readonly shard: GroupShard; readonly entry: Entry }
  | { readonly errorCode: number; readonly shard: null };

const noTopics: StatefulTopics = new Map();

/**
 * Share groups in the coordinator: heartbeats, descriptions, and setting where they read. A
 * partition is assigned only once its share state is durable.
 */
export class ShareMembership {
  private readonly shards: GroupShards;
  private readonly states: ShareStates;

  constructor(shards: GroupShards, states: ShareStates) {
    this.shards = shards;
    this.states = states;
  }

  /** Answered when what the heartbeat changes is durable. */
  async heartbeat(request: ShareHeartbeatRequest): Promise<ShareHeartbeatAnswer> {
    const { groupId, memberEpoch, topicNames } = request;
    const lookup = await this.find(groupId);
    const mayJoin = memberEpoch === 0 && this.isMissing(groupId, lookup);
    if (lookup.shard === null && !mayJoin) return refused(lookup.errorCode, groupId);
    const bytes = (topicNames ?? []).reduce((sum, name) => sum + name.length, 0);
    if (!this.shards.hasRoomFor(bytes)) {
      return refused(ErrorCode.COORDINATOR_NOT_AVAILABLE, groupId);
    }
    const group = lookup.shard === null ? null : shareOf(lookup.entry);
    const initialized = await this.initialize(groupId, group, request);
    if (typeof initialized === "number") return refused(initialized, groupId);
    // The group may have come or gone meanwhile.
    const { outcome, errorCode } = await this.step(groupId, memberEpoch === 0, (one, context) =>
      one.heartbeat({ ...request, initialized }, context),
    );
    return outcome ?? refused(errorCode, groupId);
  }

  /** Resolves with an ErrorCode, when the departure is durable. */
  async leave(groupId: string, memberId: string): Promise<number> {
    const { outcome, errorCode } = await this.step(groupId, false, (group, context) =>
      group.leave(memberId, context),
    );
    return outcome ?? errorCode;
  }

  async describe(groupId: string): Promise<DescribedShareGroup> {
    const lookup = await this.find(groupId);
    if (lookup.shard === null) {
      const nothing = { state: "", epoch: 0, assignmentEpoch: 0, members: [] };
      return { errorCode: lookup.errorCode, groupId, ...nothing };
    }
    const group = shareOf(lookup.entry);
    const { epoch, targetEpoch, members } = group.state;
    return {
      errorCode: ErrorCode.NONE,
      groupId,
      state: group.stateName,
      epoch,
      assignmentEpoch: targetEpoch,
      members: [...members.values()],
    };
  }

  /** Partitions with a share state; none for a group that does not exist. */
  async initializedPartitions(groupId: string): Promise<StatefulTopics> {
    const lookup = await this.find(groupId);
    return lookup.shard === null ? noTopics : shareOf(lookup.entry).state.initialized;
  }

  /** Sets where an empty group, new or old, reads on. Partitions exist; an ErrorCode for all. */
  async alterOffsets(groupId: string, offsets: readonly ShareOffset[]): Promise<number> {
    const lookup = await this.find(groupId);
    if (lookup.errorCode !== ErrorCode.NONE && !this.isMissing(groupId, lookup)) {
      return lookup.errorCode;
    }
    const group = lookup.shard === null ? null : shareOf(lookup.entry);
    if (group?.isUnused === false) return ErrorCode.NON_EMPTY_GROUP;
    const epoch = (group?.state.epoch ?? 0) + 1;
    const refusal = firstError(await this.states.initialize(groupId, epoch, offsets, true));
    if (refusal !== ErrorCode.NONE) return refusal;
    const { outcome, errorCode } = await this.step(groupId, true, (one, context) =>
      one.initialize(this.topicsOf(offsets), context),
    );
    return outcome ?? errorCode;
  }

  /** Forgets where an empty group was in the topics; an ErrorCode for the whole request. */
  async deleteOffsets(groupId: string, topicIds: ReadonlySet<string>): Promise<number> {
    const lookup = await this.find(groupId);
    if (lookup.shard === null) return lookup.errorCode;
    const { isUnused, state } = shareOf(lookup.entry);
    if (!isUnused) return ErrorCode.NON_EMPTY_GROUP;
    const gone = new Map([...state.initialized].filter(([id]) => topicIds.has(id)));
    const refusal = await this.removeStates(groupId, gone);
    if (refusal !== ErrorCode.NONE) return refusal;
    const { outcome, errorCode } = await this.step(groupId, false, (group, context) =>
      group.uninitialize(topicIds, context),
    );
    return outcome ?? errorCode;
  }

  /** Before a share group is deleted: its states go first. Resolves with an ErrorCode. */
  async erase(_shard: GroupShard, { groupId, group }: Entry): Promise<number> {
    if (!(group instanceof ShareGroup)) return ErrorCode.NONE;
    return await this.removeStates(groupId, group.state.initialized);
  }

  /** The states themselves go with the topic. */
  async topicDeleted(shard: GroupShard, entry: Entry, topicId: string): Promise<void> {
    const { group } = entry;
    if (!(group instanceof ShareGroup) || !group.state.initialized.has(topicId)) return;
    await shard.records.run(entry, (context) => group.uninitialize(new Set([topicId]), context));
  }

  private removeStates(groupId: string, topics: StatefulTopics): Promise<number> {
    const partitions = [...topics].flatMap(([topicId, one]) =>
      [...one.partitions].map((partition) => ({ topicId, partition })),
    );
    return this.states.remove(groupId, partitions).then(firstError);
  }

  /** Makes the states exist of what the member reads; the new ones, or an ErrorCode. */
  private async initialize(
    groupId: string,
    group: ShareGroup | null,
    request: ShareHeartbeatRequest,
  ): Promise<StatefulTopics | number> {
    const member = group?.state.members.get(request.memberId);
    const names = request.topicNames ?? member?.topicNames ?? [];
    // A member that joins makes sure that nothing was lost on the way.
    const isJoin = request.memberEpoch === 0;
    const missing: ShareOffset[] = [];
    for (const name of new Set(names)) {
      const topicId = this.shards.topics.topicId(name);
      const count = this.shards.topics.partitionCountOf(name);
      if (topicId === null || count === null) continue;
      const known = group?.state.initialized.get(topicId)?.partitions;
      for (let partition = 0; partition < count; partition++) {
        const isKnown = known?.has(partition) ?? false;
        if (isKnown && (!isJoin || this.states.has(groupId, topicId, partition))) continue;
        missing.push({ topicId, partition, startOffset: -1 });
      }
    }
    if (missing.length === 0) return noTopics;
    const epoch = (group?.state.epoch ?? 0) + 1;
    const errorCodes = await this.states.initialize(groupId, epoch, missing, false);
    const errorCode = firstError(errorCodes);
    return errorCode === ErrorCode.NONE ? this.topicsOf(missing) : errorCode;
  }

  private topicsOf(offsets: readonly ShareOffset[]): StatefulTopics {
    const topics = new Map<string, StatefulTopic & { readonly partitions: Set<number> }>();
    for (const { topicId, partition } of offsets) {
      const name = this.shards.topics.topicName(topicId);
      if (name === null) continue;
      const known = topics.get(topicId) ?? { name, partitions: new Set<number>() };
      known.partitions.add(partition);
      topics.set(topicId, known);
    }
    return topics;
  }

  private async find(groupId: string): Promise<ShareLookup> {
    const { shard, errorCode } = await this.shards.ready(groupId);
    return errorCode === ErrorCode.NONE ? lookUp(shard, groupId) : { errorCode, shard: null };
  }

  /** Whether the id is free: no group of any kind has it. */
  private isMissing(groupId: string, { errorCode }: ShareLookup): boolean {
    if (errorCode !== ErrorCode.GROUP_ID_NOT_FOUND) return false;
    return this.shards.shardOf(groupId).find(groupId) === null;
  }

  /**
   * One step of the group, made if need be and allowed; the outcome is null with an error. What is
   * found is used at once: a group that nobody has joined yet is forgotten as soon as it is idle.
   */
  private async step<Outcome>(
    groupId: string,
    mayCreate: boolean,
    decide: (group: ShareGroup, context: StepContext) => RecordStep<Outcome>,
  ): Promise<{ readonly outcome: Outcome | null; readonly errorCode: number }> {
    const { shard, errorCode } = await this.shards.ready(groupId);
    if (errorCode !== ErrorCode.NONE) return { outcome: null, errorCode };
    const isNew = mayCreate && shard.find(groupId) === null;
    if (isNew && shard.create(groupId, new ShareGroup(groupId)) === null) {
      return { outcome: null, errorCode: ErrorCode.COORDINATOR_NOT_AVAILABLE };
    }
    const lookup = lookUp(shard, groupId);
    if (lookup.shard === null) return { outcome: null, errorCode: lookup.errorCode };
    const { entry } = lookup;
    const step = await shard.records.run(entry, (context) => decide(shareOf(entry), context));
    return { outcome: step.answer, errorCode: step.errorCode };
  }
}

/** A group of another kind is no share group. */
function lookUp(shard: GroupShard, groupId: string): ShareLookup {
  const entry = shard.find(groupId);
  if (entry === null || !(entry.group instanceof ShareGroup)) {
    return { errorCode: ErrorCode.GROUP_ID_NOT_FOUND, shard: null };
  }
  if (entry.isDeleting) return { errorCode: ErrorCode.COORDINATOR_NOT_AVAILABLE, shard: null };
  return { errorCode: ErrorCode.NONE, shard, entry };
}

function shareOf({ group }: Entry): ShareGroup {
  if (group instanceof ShareGroup) return group;
  throw new TypeError("share groups stay share groups");
}

function firstError(errorCodes: readonly number[]): number {
  return errorCodes.find((errorCode) => errorCode !== ErrorCode.NONE) ?? ErrorCode.NONE;
}

function refused(errorCode: number, groupId: string): ShareHeartbeatAnswer {
  const isMissing = errorCode === ErrorCode.GROUP_ID_NOT_FOUND;
  const message = isMissing ? `Share group ${groupId} not found.` : "";
  return { errorCode, message, memberId: null };
}
