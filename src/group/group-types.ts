/** What goes into a classic group (events), what comes out (effects), and its stored form. */

export type GroupStateName =
  | "Empty"
  | "PreparingRebalance"
  | "CompletingRebalance"
  | "Stable"
  | "Dead";

/** One assignment strategy a member offers; `metadata` is opaque to the broker. */
export interface MemberProtocol {
  readonly name: string;
  readonly metadata: Uint8Array;
}

/** Names one waiting request; the shell maps it back to the connection. Never reused. */
export type RequestToken = number;
/** Names one write the group has asked for; comes back in `persisted`. Never reused. */
export type PersistToken = number;

export interface JoinEvent {
  readonly kind: "join";
  readonly request: RequestToken;
  /** "" when the member has no id yet. */
  readonly memberId: string;
  readonly groupInstanceId: string | null;
  readonly clientId: string;
  readonly clientHost: string;
  readonly sessionTimeoutMs: number;
  readonly rebalanceTimeoutMs: number;
  readonly protocolType: string;
  readonly protocols: readonly MemberProtocol[];
  /** JoinGroup v4+: a dynamic member must first be told its id. */
  readonly requiresMemberId: boolean;
  /** JoinGroup v9+: a returning static leader may be told to skip the assignment. */
  readonly canSkipAssignment: boolean;
  /** Random part of the id given to a member that has none. */
  readonly uuid: string;
}

export interface SyncEvent {
  readonly kind: "sync";
  readonly request: RequestToken;
  readonly memberId: string;
  readonly groupInstanceId: string | null;
  readonly generationId: number;
  /** null before v5. */
  readonly protocolType: string | null;
  readonly protocolName: string | null;
  readonly assignments: readonly { memberId: string; assignment: Uint8Array }[];
}

export interface HeartbeatEvent {
  readonly kind: "heartbeat";
  readonly request: RequestToken;
  readonly memberId: string;
  readonly groupInstanceId: string | null;
  readonly generationId: number;
}

export interface LeavingMember {
  readonly memberId: string;
  readonly groupInstanceId: string | null;
}

export interface LeaveEvent {
  readonly kind: "leave";
  readonly request: RequestToken;
  readonly members: readonly LeavingMember[];
}

/** Asks whether an offset commit is allowed; a commit also keeps the member's session alive. */
export interface CommitEvent {
  readonly kind: "commit";
  readonly request: RequestToken;
  readonly memberId: string;
  readonly groupInstanceId: string | null;
  /** −1: not a member (simple consumer or an administrator). */
  readonly generationId: number;
}

export type GroupEvent =
  | JoinEvent
  | SyncEvent
  | HeartbeatEvent
  | LeaveEvent
  | CommitEvent
  /** A timer set by an earlier effect has run out. */
  | { readonly kind: "timer"; readonly timer: string }
  /** A write asked for by an earlier effect is durable (0) or has failed. */
  | { readonly kind: "persisted"; readonly token: PersistToken; readonly errorCode: number }
  /** The group was read back from the log, or was of another kind before: sessions start anew. */
  | { readonly kind: "loaded"; readonly rebalances?: boolean }
  /**
   * The coordinator gives the group up (partition moved away, shutdown, or the group becomes one of
   * another kind); `errorCode` is what who waits is told, NOT_COORDINATOR by default.
   */
  | { readonly kind: "unload"; readonly errorCode?: number };

export interface JoinedMember {
  readonly memberId: string;
  readonly groupInstanceId: string | null;
  readonly metadata: Uint8Array;
}

export interface JoinResponse {
  readonly errorCode: number;
  readonly memberId: string;
  readonly generationId: number;
  readonly protocolType: string | null;
  readonly protocolName: string | null;
  readonly leader: string;
  readonly skipAssignment: boolean;
  readonly members: readonly JoinedMember[];
}

export interface SyncResponse {
  readonly errorCode: number;
  readonly protocolType: string | null;
  readonly protocolName: string | null;
  readonly assignment: Uint8Array;
}

export interface LeaveResponse {
  readonly errorCode: number;
  readonly members: readonly (LeavingMember & { readonly errorCode: number })[];
}

export type GroupEffect =
  | {
      readonly kind: "respondJoin";
      readonly request: RequestToken;
      readonly response: JoinResponse;
    }
  | {
      readonly kind: "respondSync";
      readonly request: RequestToken;
      readonly response: SyncResponse;
    }
  | {
      readonly kind: "respondHeartbeat";
      readonly request: RequestToken;
      readonly errorCode: number;
    }
  /** To be sent only after the `persist` effects of the same step are durable. */
  | {
      readonly kind: "respondLeave";
      readonly request: RequestToken;
      readonly response: LeaveResponse;
    }
  | { readonly kind: "respondCommit"; readonly request: RequestToken; readonly errorCode: number }
  /** Starts the timer, or moves its deadline if it runs already. */
  | { readonly kind: "setTimer"; readonly timer: string; readonly delayMs: number }
  | { readonly kind: "cancelTimer"; readonly timer: string }
  /** Write `snapshot`; answers that depend on it follow the `persisted` event. */
  | { readonly kind: "persist"; readonly token: PersistToken; readonly snapshot: GroupSnapshot };

export interface MemberSnapshot {
  readonly memberId: string;
  readonly groupInstanceId: string | null;
  readonly clientId: string;
  readonly clientHost: string;
  readonly rebalanceTimeoutMs: number;
  readonly sessionTimeoutMs: number;
  readonly subscription: Uint8Array;
  readonly assignment: Uint8Array;
}

/** What `__consumer_offsets` stores of a group. */
export interface GroupSnapshot {
  /** "" while no member has ever joined. */
  readonly protocolType: string;
  readonly generationId: number;
  readonly protocolName: string | null;
  readonly leader: string | null;
  /** −1 when unknown. */
  readonly stateTimestampMs: number;
  readonly members: readonly MemberSnapshot[];
}
