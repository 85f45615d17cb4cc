import type { MemberProtocol } from "./group-types.ts";

/** Topic id → partition → epoch since which the member may own it. */
export type OwnedPartitions = ReadonlyMap<string, ReadonlyMap<number, number>>;
/** Topic id → partitions in rising order. */
export type TargetPartitions = ReadonlyMap<string, readonly number[]>;

/** How far a member is on its way to its target; the numbers are stored. */
export const MemberState = {
  STABLE: 0,
  /** Must give partitions up before it may go to the next epoch. */
  UNREVOKED_PARTITIONS: 1,
  /** Is in the newest epoch and waits for partitions others still hold. */
  UNRELEASED_PARTITIONS: 2,
  /** Stored by a later version. */
  UNKNOWN: 127,
} as const;

export const leaveEpoch = -1;
/** A static member that is away and keeps its partitions. */
export const staticLeaveEpoch = -2;

/** A member that speaks the classic protocol inside a consumer group. */
export interface ClassicMetadata {
  readonly sessionTimeoutMs: number;
  /** In order of preference, never empty. */
  readonly protocols: readonly MemberProtocol[];
}

/** What a member says of itself: record type 5. */
export interface MemberMetadata {
  readonly instanceId: string | null;
  readonly rackId: string | null;
  readonly clientId: string;
  readonly clientHost: string;
  /** Distinct, in code unit order. */
  readonly topicNames: readonly string[];
  /** null or "": none. */
  readonly topicRegex: string | null;
  /** −1 while not known. */
  readonly rebalanceTimeoutMs: number;
  readonly serverAssignor: string | null;
  readonly classic: ClassicMetadata | null;
}

/** What a member has been told: record type 8. */
export interface CurrentAssignment {
  readonly epoch: number;
  readonly previousEpoch: number;
  readonly state: number;
  readonly assigned: OwnedPartitions;
  readonly pendingRevocation: OwnedPartitions;
}

/** One member of a consumer group. Never changed: replaced. */
export interface ConsumerMember extends MemberMetadata, CurrentAssignment {
  readonly memberId: string;
}

const noPartitions: OwnedPartitions = new Map();

export const noMetadata: MemberMetadata = {
  instanceId: null,
  rackId: null,
  clientId: "",
  clientHost: "",
  topicNames: [],
  topicRegex: "",
  rebalanceTimeoutMs: -1,
  serverAssignor: null,
  classic: null,
};

export const noCurrent: CurrentAssignment = {
  epoch: 0,
  previousEpoch: -1,
  state: MemberState.STABLE,
  assigned: noPartitions,
  pendingRevocation: noPartitions,
};

export function newMember(memberId: string): ConsumerMember {
  return { memberId, ...noMetadata, ...noCurrent };
}

/** Names once each, in an order of their own. */
export function distinctNames(names: readonly string[]): readonly string[] {
  return [...new Set(names)].sort();
}

export function sameMetadata(left: MemberMetadata, right: MemberMetadata): boolean {
  return (
    left.instanceId === right.instanceId &&
    left.rackId === right.rackId &&
    left.clientId === right.clientId &&
    left.clientHost === right.clientHost &&
    sameNames(left.topicNames, right.topicNames) &&
    left.topicRegex === right.topicRegex &&
    left.rebalanceTimeoutMs === right.rebalanceTimeoutMs &&
    left.serverAssignor === right.serverAssignor &&
    sameClassic(left.classic, right.classic)
  );
}

export function sameCurrent(left: CurrentAssignment, right: CurrentAssignment): boolean {
  return (
    left.epoch === right.epoch &&
    left.previousEpoch === right.previousEpoch &&
    left.state === right.state &&
    sameOwned(left.assigned, right.assigned) &&
    sameOwned(left.pendingRevocation, right.pendingRevocation)
  );
}

export function sameNames(left: readonly string[], right: readonly string[]): boolean {
  return left.length === right.length && left.every((name, index) => name === right[index]);
}

export function sameOwned(left: OwnedPartitions, right: OwnedPartitions): boolean {
  if (left === right) return true;
  if (left.size !== right.size) return false;
  for (const [topicId, partitions] of left) {
    const others = right.get(topicId);
    if (others === undefined || others.size !== partitions.size) return false;
    for (const [partition, epoch] of partitions) {
      if (others.get(partition) !== epoch) return false;
    }
  }
  return true;
}

export function sameTarget(left: TargetPartitions, right: TargetPartitions): boolean {
  if (left === right) return true;
  if (left.size !== right.size) return false;
  for (const [topicId, partitions] of left) {
    const others = right.get(topicId);
    if (others === undefined || others.length !== partitions.length) return false;
    if (!partitions.every((partition, index) => partition === others[index])) return false;
  }
  return true;
}

/** Does the member subscribe by a regular expression? */
export function regexOf(member: MemberMetadata): string | null {
  return member.topicRegex === null || member.topicRegex === "" ? null : member.topicRegex;
}

/** Is the member in this epoch, with everything it is to have there? */
export function isReconciledTo(member: CurrentAssignment, targetEpoch: number): boolean {
  return member.state === MemberState.STABLE && member.epoch === targetEpoch;
}

/** Bytes a member takes, roughly. */
export function consumerMemberBytes(member: ConsumerMember): number {
  const fixedBytes = 512;
  const entryBytes = 48;
  let bytes = fixedBytes + 2 * (member.memberId.length + member.clientId.length);
  bytes += 2 * ((member.topicRegex?.length ?? 0) + (member.instanceId?.length ?? 0));
  for (const name of member.topicNames) bytes += 2 * name.length + 16;
  for (const protocol of member.classic?.protocols ?? []) {
    bytes += 2 * protocol.name.length + protocol.metadata.length + 64;
  }
  for (const owned of [member.assigned, member.pendingRevocation]) {
    for (const partitions of owned.values()) bytes += 128 + entryBytes * partitions.size;
  }
  return bytes;
}

export function targetBytes(target: TargetPartitions): number {
  let bytes = 128;
  for (const partitions of target.values()) bytes += 96 + 8 * partitions.length;
  return bytes;
}

function sameClassic(left: ClassicMetadata | null, right: ClassicMetadata | null): boolean {
  if (left === null || right === null) return left === right;
  if (left.sessionTimeoutMs !== right.sessionTimeoutMs) return false;
  if (left.protocols.length !== right.protocols.length) return false;
  return left.protocols.every((protocol, index) => {
    const other = right.protocols[index];
    if (other === undefined || other.name !== protocol.name) return false;
    const { metadata } = protocol;
    if (metadata.length !== other.metadata.length) return false;
    return metadata.every((byte, at) => byte === other.metadata[at]);
  });
}
