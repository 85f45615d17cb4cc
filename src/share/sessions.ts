import { ErrorCode } from "../protocol/error-code.ts";

/** A partition as share requests name it. */
export interface TopicIdPartition {
  readonly topicId: string;
  readonly partition: number;
}

/** What a member reads, kept between its requests (KIP-932). Its epoch goes up by each request. */
export interface ShareSession {
  readonly groupId: string;
  readonly memberId: string;
  readonly connectionId: number;
  /** That of the next request. */
  epoch: number;
  /** In the order in which they were added, by topic id and partition. */
  readonly partitions: Map<string, TopicIdPartition>;
}

export interface SessionLimits {
  readonly sessionsMax: number;
  readonly sessionPartitionsMax: number;
}

export interface SessionRequest {
  readonly groupId: string;
  readonly memberId: string;
  readonly epoch: number;
  readonly connectionId: number;
  readonly added: readonly TopicIdPartition[];
  readonly forgotten: readonly TopicIdPartition[];
  readonly acknowledges: boolean;
}

export type SessionOutcome =
  | { readonly errorCode: typeof ErrorCode.NONE; readonly partitions: readonly TopicIdPartition[] }
  | { readonly errorCode: number; readonly partitions: null };

const initialEpoch = 0;
const finalEpoch = -1;
const epochMax = 2_147_483_647;

/** The share sessions of this broker: one a member, bounded, gone with their connection. */
export class ShareSessions {
  private readonly limits: SessionLimits;
  private readonly sessions = new Map<string, ShareSession>();

  constructor(limits: SessionLimits) {
    this.limits = limits;
  }

  get count(): number {
    return this.sessions.size;
  }

  find(groupId: string, memberId: string): ShareSession | null {
    return this.sessions.get(nameOf(groupId, memberId)) ?? null;
  }

  hasGroup(groupId: string): boolean {
    for (const session of this.sessions.values()) if (session.groupId === groupId) return true;
    return false;
  }

  /** A ShareFetch: makes, changes or (final epoch) only finds the session; what it is to read. */
  fetch(request: SessionRequest): SessionOutcome {
    const session = this.find(request.groupId, request.memberId);
    if (request.epoch === finalEpoch) {
      if (session === null) return refused(ErrorCode.SHARE_SESSION_NOT_FOUND);
      return { errorCode: ErrorCode.NONE, partitions: [] };
    }
    if (request.epoch === initialEpoch) return this.create(request);
    if (session === null) return refused(ErrorCode.SHARE_SESSION_NOT_FOUND);
    if (session.epoch !== request.epoch) return refused(ErrorCode.INVALID_SHARE_SESSION_EPOCH);
    const { partitions } = session;
    for (const one of request.added) partitions.set(partitionName(one), one);
    for (const one of request.forgotten) partitions.delete(partitionName(one));
    session.epoch = nextEpoch(session.epoch);
    if (partitions.size > this.limits.sessionPartitionsMax) {
      this.remove(session);
      return refused(ErrorCode.SHARE_SESSION_LIMIT_REACHED);
    }
    return { errorCode: ErrorCode.NONE, partitions: [...partitions.values()] };
  }

  /** A ShareAcknowledge; resolves with an ErrorCode. */
  acknowledge(groupId: string, memberId: string, epoch: number): number {
    if (epoch === initialEpoch) return ErrorCode.INVALID_SHARE_SESSION_EPOCH;
    const session = this.find(groupId, memberId);
    if (session === null) return ErrorCode.SHARE_SESSION_NOT_FOUND;
    if (epoch === finalEpoch) return ErrorCode.NONE;
    if (session.epoch !== epoch) return ErrorCode.INVALID_SHARE_SESSION_EPOCH;
    session.epoch = nextEpoch(session.epoch);
    return ErrorCode.NONE;
  }

  remove(session: ShareSession): void {
    const name = nameOf(session.groupId, session.memberId);
    if (this.sessions.get(name) === session) this.sessions.delete(name);
  }

  /** Sessions that were made over a connection and not made again over another. */
  ofConnection(connectionId: number): ShareSession[] {
    return [...this.sessions.values()].filter((one) => one.connectionId === connectionId);
  }

  private create(request: SessionRequest): SessionOutcome {
    if (request.acknowledges) return refused(ErrorCode.INVALID_REQUEST);
    const { groupId, memberId, connectionId, added } = request;
    const name = nameOf(groupId, memberId);
    this.sessions.delete(name);
    const isFull = this.sessions.size >= this.limits.sessionsMax;
    if (isFull || added.length > this.limits.sessionPartitionsMax) {
      return refused(ErrorCode.SHARE_SESSION_LIMIT_REACHED);
    }
    const partitions = new Map(added.map((one) => [partitionName(one), one]));
    const epoch = nextEpoch(initialEpoch);
    this.sessions.set(name, { groupId, memberId, connectionId, epoch, partitions });
    return { errorCode: ErrorCode.NONE, partitions: [...partitions.values()] };
  }
}

/** Epochs wrap to 1: 0 begins a session. */
function nextEpoch(epoch: number): number {
  return epoch === epochMax ? 1 : epoch + 1;
}

/** Group ids may hold any character; a member's has a length of its own. */
function nameOf(groupId: string, memberId: string): string {
  return `${memberId.length}:${memberId}${groupId}`;
}

export function partitionName({ topicId, partition }: TopicIdPartition): string {
  return `${topicId}:${partition}`;
}

function refused(errorCode: number): SessionOutcome {
  return { errorCode, partitions: null };
}
