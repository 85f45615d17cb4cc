import { ErrorCode } from "../protocol/error-code.ts";
import type {
  KindReplay,
  RecordGroup,
  RecordStep,
  StepContext,
  TimerEffect,
} from "./group-kinds.ts";
import type { ExpiryRule } from "./offsets.ts";
import type { CoordinatorTopics, OffsetsRecord } from "./ports.ts";
import { assignShared, type SharedPartitions, type SharingMember } from "./share-assignor.ts";
import {
  applyShareChange,
  decodeShareRecord,
  encodeShareChange,
  type ShareChange,
  shareRecordTypes,
} from "./share-records.ts";
import { type ShareSettings, shareSettings } from "./share-settings.ts";
import {
  emptyShareGroup,
  newShareMember,
  nothingAssigned,
  type ShareGroupState,
  type ShareMember,
  type StatefulTopics,
  sameNames,
  samePartitions,
  shareGroupBytes,
} from "./share-state.ts";

export interface ShareHeartbeat {
  readonly memberId: string;
  /** 0: joins. */
  readonly memberEpoch: number;
  readonly rackId: string | null;
  /** null: as before. */
  readonly topicNames: readonly string[] | null;
  readonly clientId: string;
  readonly clientHost: string;
  /** Partitions whose share state was made to exist for this request. */
  readonly initialized: StatefulTopics;
}

export type ShareHeartbeatAnswer =
  | {
      readonly errorCode: typeof ErrorCode.NONE;
      readonly memberId: string;
      readonly memberEpoch: number;
      readonly heartbeatIntervalMs: number;
      /** null: as it was. */
      readonly assignment: SharedPartitions | null;
    }
  | { readonly errorCode: number; readonly message: string; readonly memberId: null };

/** Membership of a share group (KIP-932): who reads which partitions. Partitions are shared. */
export class ShareGroup implements RecordGroup {
  readonly kind = "share";
  readonly protocolType = "share";
  readonly groupId: string;
  private current: ShareGroupState;
  private bytes: { readonly of: ShareGroupState; readonly count: number } | null = null;

  constructor(groupId: string, state: ShareGroupState = emptyShareGroup) {
    this.groupId = groupId;
    this.current = state;
  }

  get state(): ShareGroupState {
    return this.current;
  }

  get stateName(): string {
    return this.current.members.size === 0 ? "Empty" : "Stable";
  }

  get sizeBytes(): number {
    if (this.bytes?.of !== this.current) {
      this.bytes = { of: this.current, count: shareGroupBytes(this.current) };
    }
    return this.bytes.count;
  }

  get isVacant(): boolean {
    const { members, epoch, initialized } = this.current;
    return members.size === 0 && epoch === emptyShareGroup.epoch && initialized.size === 0;
  }

  get isUnused(): boolean {
    return this.current.members.size === 0;
  }

  isSubscribedTo(topic: string): boolean {
    return [...this.current.members.values()].some((one) => one.topicNames.includes(topic));
  }

  /** Share groups have no committed offsets, and stay until they are deleted. */
  expiryRule(): ExpiryRule | null {
    return null;
  }

  tombstones(timestamp: number): OffsetsRecord[] {
    const { members, targets } = this.current;
    const ids = [...new Set([...members.keys(), ...targets.keys()])];
    const changes: ShareChange[] = [
      ...ids.flatMap(removal),
      { type: "targetEpoch", value: null },
      { type: "initialized", value: null },
      { type: "group", value: null },
    ];
    return changes.map((change) => encodeShareChange(this.groupId, change, timestamp));
  }

  heartbeat(request: ShareHeartbeat, context: StepContext): RecordStep<ShareHeartbeatAnswer> {
    const refusal = this.refusal(request, context);
    if (refusal !== null) return unchanged(refusal);
    const { memberId, memberEpoch, topicNames } = request;
    const draft = new Draft(this.current, context);
    const known = this.current.members.get(memberId) ?? null;
    const before = known ?? newShareMember(memberId);
    const hasChanged = draft.updateMember(before, request);
    draft.addInitialized(request.initialized);
    draft.updateEpoch(hasChanged);
    const settings = shareSettings(this.groupId, context);
    draft.updateTargets(settings);
    const after = draft.reconcile(memberId, before);
    const isTold =
      memberEpoch === 0 ||
      topicNames !== null ||
      known === null ||
      !samePartitions(known.assigned, after.assigned);
    const timers: TimerEffect[] = [
      { kind: "setTimer", timer: sessionTimer(memberId), delayMs: settings.sessionTimeoutMs },
    ];
    return this.commit(draft, timers, {
      errorCode: ErrorCode.NONE,
      memberId,
      memberEpoch: after.epoch,
      heartbeatIntervalMs: settings.heartbeatIntervalMs,
      assignment: isTold ? after.assigned : null,
    });
  }

  /** Resolves with an ErrorCode. */
  leave(memberId: string, context: StepContext): RecordStep<number> {
    if (!this.current.members.has(memberId)) return unchanged(ErrorCode.UNKNOWN_MEMBER_ID);
    return this.remove(memberId, context, ErrorCode.NONE);
  }

  /** A group that nobody has joined yet, made by setting its offsets. */
  initialize(topics: StatefulTopics, context: StepContext): RecordStep<number> {
    if (!this.isUnused) return unchanged(ErrorCode.NON_EMPTY_GROUP);
    const draft = new Draft(this.current, context);
    draft.addInitialized(topics);
    draft.bumpEpoch();
    return this.commit(draft, [], ErrorCode.NONE);
  }

  /** The topics' states are gone. */
  uninitialize(topicIds: ReadonlySet<string>, context: StepContext): RecordStep<number> {
    const draft = new Draft(this.current, context);
    draft.removeInitialized(topicIds);
    return this.commit(draft, [], ErrorCode.NONE);
  }

  onTimer(timer: string, context: StepContext): RecordStep<void> {
    const memberId = timer.slice(sessionTimer("").length);
    if (!this.current.members.has(memberId)) return unchanged(undefined);
    return this.remove(memberId, context, undefined);
  }

  restartTimers(context: StepContext): readonly TimerEffect[] {
    const { sessionTimeoutMs: delayMs } = shareSettings(this.groupId, context);
    return [...this.current.members.keys()].map((memberId) => {
      return { kind: "setTimer", timer: sessionTimer(memberId), delayMs };
    });
  }

  private refusal(
    { memberId, memberEpoch }: ShareHeartbeat,
    { config }: StepContext,
  ): ShareHeartbeatAnswer | null {
    const member = this.current.members.get(memberId);
    const refused = (errorCode: number, message: string) => ({
      errorCode,
      message,
      memberId: null,
    });
    const { groupSizeMax } = config.share;
    if (member === undefined && this.current.members.size >= groupSizeMax) {
      const text = `The share group has reached its maximum capacity of ${groupSizeMax} members.`;
      return refused(ErrorCode.GROUP_MAX_SIZE_REACHED, text);
    }
    if (memberEpoch === 0) return null;
    if (member === undefined) {
      const text = `Member ${memberId} is not a member of group ${this.groupId}.`;
      return refused(ErrorCode.UNKNOWN_MEMBER_ID, text);
    }
    // The answer that told the newest epoch may have been lost.
    if (memberEpoch === member.epoch || memberEpoch === member.previousEpoch) return null;
    const text =
      `The share group member has epoch ${memberEpoch}, the group coordinator knows ` +
      `${member.epoch}. The member must abandon all its partitions and rejoin.`;
    return refused(ErrorCode.FENCED_MEMBER_EPOCH, text);
  }

  private remove<Answer>(
    memberId: string,
    context: StepContext,
    answer: Answer,
  ): RecordStep<Answer> {
    const draft = new Draft(this.current, context);
    for (const change of removal(memberId)) draft.change(change);
    draft.bumpEpoch();
    return this.commit(draft, [{ kind: "cancelTimer", timer: sessionTimer(memberId) }], answer);
  }

  private commit<Answer>(
    draft: Draft,
    timers: readonly TimerEffect[],
    answer: Answer,
  ): RecordStep<Answer> {
    this.current = draft.state;
    const undo = (kept: number): void => {
      this.current = draft.stateAfter(kept);
    };
    const { breaks } = draft;
    return { answer, records: draft.records(this.groupId), breaks, timers, undo };
  }
}

/** One step while it is decided. */
class Draft {
  state: ShareGroupState;
  private readonly before: ShareGroupState;
  private readonly context: StepContext;
  private readonly changes: ShareChange[] = [];
  /** Targets stand alone, for the group asks for new ones until their epoch is there. */
  readonly breaks: number[] = [];

  constructor(state: ShareGroupState, context: StepContext) {
    this.state = state;
    this.before = state;
    this.context = context;
  }

  change(change: ShareChange): void {
    this.state = applyShareChange(this.state, change);
    this.changes.push(change);
  }

  /** After the first changes. */
  stateAfter(count: number): ShareGroupState {
    return this.changes.slice(0, count).reduce(applyShareChange, this.before);
  }

  private mayBreak(): void {
    if (this.changes.length > 0) this.breaks.push(this.changes.length);
  }

  records(groupId: string): OffsetsRecord[] {
    return this.changes.map((one) => encodeShareChange(groupId, one, this.context.nowMs));
  }

  /** True when the member reads other topics than before. */
  updateMember(before: ShareMember, request: ShareHeartbeat): boolean {
    const { memberId, rackId, clientId, clientHost } = request;
    const asked =
      request.topicNames === null ? before.topicNames : [...new Set(request.topicNames)].sort();
    // Members mostly read the same: then they share one list.
    const { value: first } = this.state.members.values().next();
    const topicNames = first && sameNames(first.topicNames, asked) ? first.topicNames : asked;
    const value = { rackId: rackId ?? before.rackId, clientId, clientHost, topicNames };
    const reads = sameNames(before.topicNames, topicNames);
    const isSame =
      reads &&
      before.rackId === value.rackId &&
      before.clientId === clientId &&
      before.clientHost === clientHost;
    if (!isSame || !this.state.members.has(memberId)) {
      this.change({ type: "member", memberId, value });
    }
    return !reads;
  }

  addInitialized(topics: StatefulTopics): void {
    const merged = new Map(this.state.initialized);
    let isNew = false;
    for (const [topicId, { name, partitions }] of topics) {
      const known = merged.get(topicId)?.partitions ?? new Set<number>();
      const all = new Set([...known, ...partitions]);
      isNew ||= all.size > known.size;
      merged.set(topicId, { name, partitions: all });
    }
    if (isNew) this.change({ type: "initialized", value: merged });
  }

  removeInitialized(topicIds: ReadonlySet<string>): void {
    const left = new Map([...this.state.initialized].filter(([id]) => !topicIds.has(id)));
    if (left.size < this.state.initialized.size) this.change({ type: "initialized", value: left });
  }

  /** Asks for a new assignment when subscriptions, topics or their states changed. */
  updateEpoch(hasChanged: boolean): void {
    const { epoch, targetEpoch } = this.state;
    const isPending = targetEpoch >= epoch && hasUnassigned(this.state);
    const metadataHash = topicsHash(this.state, this.context.topics);
    if (hasChanged || isPending || metadataHash !== this.state.metadataHash) this.bumpEpoch();
  }

  bumpEpoch(): void {
    const metadataHash = topicsHash(this.state, this.context.topics);
    this.change({ type: "group", value: { epoch: this.state.epoch + 1, metadataHash } });
  }

  updateTargets({ assignmentIntervalMs }: ShareSettings): void {
    const { state, context } = this;
    if (state.targetEpoch >= state.epoch) return;
    const nextMs = state.targetTimestampMs + assignmentIntervalMs;
    // A clock that went back must not keep a group from its assignment.
    if (context.nowMs < nextMs && context.nowMs >= state.targetTimestampMs) return;
    const members = new Map<string, SharingMember>();
    /** Members with the same subscription share one set. */
    let last: { readonly names: readonly string[]; readonly topicIds: Set<string> } | null = null;
    for (const { memberId, topicNames: names } of state.members.values()) {
      const current = state.targets.get(memberId) ?? nothingAssigned;
      if (last === null || !sameNames(last.names, names)) {
        last = { names, topicIds: idsOf(names, context.topics) };
      }
      members.set(memberId, { topicIds: last.topicIds, current });
    }
    const assignable = new Map(
      [...state.initialized].map(([topicId, { partitions }]) => [topicId, partitions]),
    );
    // All in one new map: a thousand targets are not worth a thousand copies of them.
    const targets = new Map(state.targets);
    for (const [memberId, value] of assignShared(members, assignable)) {
      const before = targets.get(memberId);
      if (before !== undefined && samePartitions(before, value)) continue;
      this.mayBreak();
      this.changes.push({ type: "target", memberId, value });
      targets.set(memberId, value);
    }
    this.state = { ...state, targets };
    this.mayBreak();
    const value = { epoch: state.epoch, timestampMs: context.nowMs };
    this.change({ type: "targetEpoch", value });
  }

  /** Brings the member to its target: shared partitions need not be given up by others first. */
  reconcile(memberId: string, before: ShareMember): ShareMember {
    const target = this.state.targets.get(memberId) ?? nothingAssigned;
    const { targetEpoch } = this.state;
    const names = this.state.members.get(memberId)?.topicNames ?? [];
    const ids = idsOf(names, this.context.topics);
    const assigned = new Map([...target].filter(([topicId]) => ids.has(topicId)));
    const isSame = before.epoch === targetEpoch && samePartitions(before.assigned, assigned);
    if (!isSame) {
      const previousEpoch = before.epoch === targetEpoch ? before.previousEpoch : before.epoch;
      const value = { epoch: targetEpoch, previousEpoch, assigned };
      this.change({ type: "current", memberId, value });
    }
    return this.state.members.get(memberId) ?? before;
  }
}

/** By the targets they were computed for: every heartbeat asks, and targets rarely change. */
const unassignedBy = new WeakMap<
  ShareGroupState["targets"],
  Pick<ShareGroupState, "initialized" | "readers"> & { readonly found: boolean }
>();

/** Is there a partition that members read and nobody was given? */
function hasUnassigned({ targets, initialized, readers }: ShareGroupState): boolean {
  const known = unassignedBy.get(targets);
  if (known?.initialized === initialized && known.readers === readers) return known.found;
  const assigned = new Map<string, Set<number>>();
  for (const target of targets.values()) {
    for (const [topicId, partitions] of target) {
      const all = assigned.get(topicId) ?? new Set<number>();
      for (const partition of partitions) all.add(partition);
      assigned.set(topicId, all);
    }
  }
  const found = [...initialized].some(
    ([topicId, { name, partitions }]) =>
      readers.has(name) && assigned.get(topicId)?.size !== partitions.size,
  );
  unassignedBy.set(targets, { initialized, readers, found });
  return found;
}

/** The share groups among a partition's records. */
export class ShareReplay implements KindReplay {
  readonly recordTypes = shareRecordTypes;
  private readonly found = new Map<string, ShareGroupState>();

  replay(recordType: number, key: Uint8Array, value: Uint8Array | null): void {
    const { groupId, change } = decodeShareRecord(recordType, key, value);
    const state = this.found.get(groupId) ?? emptyShareGroup;
    this.found.set(groupId, applyShareChange(state, change));
  }

  *groups(): Iterable<ShareGroup> {
    for (const [groupId, state] of this.found) yield new ShareGroup(groupId, state);
  }
}

function removal(memberId: string): ShareChange[] {
  return [
    { type: "current", memberId, value: null },
    { type: "target", memberId, value: null },
    { type: "member", memberId, value: null },
  ];
}

function unchanged<Answer>(answer: Answer): RecordStep<Answer> {
  return { answer, records: [], timers: [], undo: () => undefined };
}

function sessionTimer(memberId: string): string {
  return `session/${memberId}`;
}

function idsOf(names: readonly string[], topics: CoordinatorTopics): Set<string> {
  return new Set(names.map((name) => topics.topicId(name)).filter((id) => id !== null));
}

/** By what is read; the hash was taken when the topics were in that version. */
const hashBy = new WeakMap<
  ShareGroupState["readers"],
  { readonly topicsVersion: number; readonly hash: bigint }
>();

/** Stands for the existing topics the group reads and their partition counts; not Kafka's hash. */
function topicsHash({ readers }: ShareGroupState, topics: CoordinatorTopics): bigint {
  const { topicsVersion } = topics;
  const known = hashBy.get(readers);
  if (known?.topicsVersion === topicsVersion) return known.hash;
  const hash = freshTopicsHash([...readers.keys()].sort(), topics);
  hashBy.set(readers, { topicsVersion, hash });
  return hash;
}

function freshTopicsHash(names: readonly string[], topics: CoordinatorTopics): bigint {
  let high = 0;
  let low = 0;
  for (const name of names) {
    const count = topics.partitionCountOf(name);
    if (count === null) continue;
    for (const unit of `${name} ${topics.topicId(name)} ${count} `) {
      low = Math.imul(low ^ (unit.codePointAt(0) ?? 0), 0x01000193) >>> 0;
      high = (Math.imul(high + low, 0x85ebca6b) ^ (high >>> 13)) >>> 0;
    }
  }
  return BigInt.asIntN(64, (BigInt(high) << 32n) | BigInt(low));
}
