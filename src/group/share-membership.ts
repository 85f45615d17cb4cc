import { ErrorCode } from "../protocol/error-code.ts";
import type { Entry } from "./entry.ts";
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
    if (lookup.shard === null) {
      const isMissing = lookup.errorCode === ErrorCode.GROUP_ID_NOT_FOUND;
      if (!isMissing || memberEpoch !== 0) return refused(lookup.errorCode, groupId);
    }
    const bytes = (topicNames ?? []).reduce((sum, name) => sum + name.length, 0);
    if (!this.shards.hasRoomFor(bytes)) {
      return refused(ErrorCode.COORDINATOR_NOT_AVAILABLE, groupId);
    }
    const group = lookup.shard === null ? null : shareOf(lookup.entry);
    const initialized = await this.initialize(groupId, group, request);
    if (typeof initialized === "number") return refused(initialized, groupId);
    // The group may have come or gone meanwhile.
    const target = await this.findOrCreate(groupId, memberEpoch === 0);
    if (target.shard === null) return refused(target.errorCode, groupId);
    const outcome = await target.shard.records.run(target.entry, (context) =>
      shareOf(target.entry).heartbeat({ ...request, initialized }, context),
    );
    return outcome.answer ?? refused(outcome.errorCode, groupId);
  }

  /** Resolves with an ErrorCode, when the departure is durable. */
  async leave(groupId: string, memberId: string): Promise<number> {
    const lookup = await this.find(groupId);
    if (lookup.shard === null) return lookup.errorCode;
    const outcome = await lookup.shard.records.run(lookup.entry, (context) =>
      shareOf(lookup.entry).leave(memberId, context),
    );
    return outcome.answer ?? outcome.errorCode;
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
    const lookup = await this.findOrCreate(groupId, true);
    if (lookup.shard === null) return lookup.errorCode;
    const { shard, entry } = lookup;
    const group = shareOf(entry);
    if (!group.isUnused) return ErrorCode.NON_EMPTY_GROUP;
    const epoch = group.state.epoch + 1;
    const errorCode = firstError(await this.states.initialize(groupId, epoch, offsets, true));
    if (errorCode !== ErrorCode.NONE) {
      shard.dropIfVacant(entry);
      return errorCode;
    }
    const again = await this.findOrCreate(groupId, true);
    if (again.shard === null) return again.errorCode;
    const outcome = await again.shard.records.run(again.entry, (context) =>
      shareOf(again.entry).initialize(this.topicsOf(offsets), context),
    );
    return outcome.answer ?? outcome.errorCode;
  }

  /** Forgets where an empty group was in the topics; an ErrorCode for the whole request. */
  async deleteOffsets(groupId: string, topicIds: ReadonlySet<string>): Promise<number> {
    const lookup = await this.find(groupId);
    if (lookup.shard === null) return lookup.errorCode;
    const { shard, entry } = lookup;
    if (!shareOf(entry).isUnused) return ErrorCode.NON_EMPTY_GROUP;
    const gone = new Map([...shareOf(entry).state.initialized].filter(([id]) => topicIds.has(id)));
    const errorCode = await this.removeStates(groupId, gone);
    if (errorCode !== ErrorCode.NONE) return errorCode;
    const outcome = await shard.records.run(entry, (context) =>
      shareOf(entry).uninitialize(topicIds, context),
    );
    return outcome.answer ?? outcome.errorCode;
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
    const ready = this.shards.ready(groupId);
    const { shard, errorCode } = ready instanceof Promise ? await ready : ready;
    if (errorCode !== ErrorCode.NONE) return { errorCode, shard: null };
    const entry = shard.find(groupId);
    if (entry === null || !(entry.group instanceof ShareGroup)) {
      return { errorCode: ErrorCode.GROUP_ID_NOT_FOUND, shard: null };
    }
    if (entry.isDeleting) return { errorCode: ErrorCode.COORDINATOR_NOT_AVAILABLE, shard: null };
    return { errorCode: ErrorCode.NONE, shard, entry };
  }

  private async findOrCreate(groupId: string, mayCreate: boolean): Promise<ShareLookup> {
    const lookup = await this.find(groupId);
    if (lookup.errorCode !== ErrorCode.GROUP_ID_NOT_FOUND || !mayCreate) return lookup;
    const shard = this.shards.shardOf(groupId);
    // A group of another kind has the id.
    if (shard.find(groupId) !== null) return lookup;
    const entry = shard.create(groupId, new ShareGroup(groupId));
    if (entry === null) return { errorCode: ErrorCode.COORDINATOR_NOT_AVAILABLE, shard: null };
    return { errorCode: ErrorCode.NONE, shard, entry };
  }
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
