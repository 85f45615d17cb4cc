import type { JoinEvent } from "./group-types.ts";
import type { TransactionalWriter } from "./ports.ts";

/** Requests and results of the coordinator, free of wire versions. */

export interface JoinRequest extends Omit<JoinEvent, "kind" | "request" | "uuid"> {
  readonly groupId: string;
}

export interface MemberRequest {
  readonly groupId: string;
  readonly memberId: string;
  readonly groupInstanceId: string | null;
  readonly generationId: number;
}

export interface SyncRequest extends MemberRequest {
  readonly protocolType: string | null;
  readonly protocolName: string | null;
  readonly assignments: readonly { readonly memberId: string; readonly assignment: Uint8Array }[];
}

export interface LeaveRequest {
  readonly groupId: string;
  readonly members: readonly {
    readonly memberId: string;
    readonly groupInstanceId: string | null;
  }[];
}

export interface CommitPartition {
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
  readonly offset: number;
  readonly leaderEpoch: number;
  /** null is stored as "". */
  readonly metadata: string | null;
}

export interface CommitRequest extends MemberRequest {
  /** −1: the broker's retention time. */
  readonly retentionTimeMs: number;
  /** What a member of an unknown group is told: it differs by version. */
  readonly unknownGroupError: number;
  readonly apiVersion: number;
  readonly partitions: readonly CommitPartition[];
}

/** TxnOffsetCommit. Old clients say nothing of the member: then none is checked. */
export interface TransactionalCommitRequest extends MemberRequest {
  readonly writer: TransactionalWriter;
  readonly partitions: readonly CommitPartition[];
}

export interface FetchedPartition {
  readonly partition: number;
  readonly errorCode: number;
  /** −1: nothing committed. */
  readonly offset: number;
  readonly leaderEpoch: number;
  readonly metadata: string;
}

export interface FetchedTopic {
  readonly topic: string;
  readonly partitions: readonly FetchedPartition[];
}

export interface FetchResult {
  readonly errorCode: number;
  readonly topics: readonly FetchedTopic[];
}

export interface TopicPartitions {
  readonly topic: string;
  readonly partitions: readonly number[];
}

export interface DeleteOffsetsResult {
  readonly errorCode: number;
  readonly partitions: readonly {
    readonly topic: string;
    readonly partition: number;
    readonly errorCode: number;
  }[];
}

export interface ListedGroup {
  readonly groupId: string;
  readonly protocolType: string;
  readonly state: string;
  readonly type: string;
}

export interface NamedPartitions {
  readonly topicId: string;
  readonly topic: string;
  readonly partitions: readonly number[];
}

export interface DescribedConsumerMember {
  readonly memberId: string;
  readonly instanceId: string | null;
  readonly rackId: string | null;
  readonly memberEpoch: number;
  readonly clientId: string;
  readonly clientHost: string;
  readonly topicNames: readonly string[];
  readonly topicRegex: string | null;
  readonly assignment: readonly NamedPartitions[];
  readonly target: readonly NamedPartitions[];
  readonly isClassic: boolean;
}

export interface ConsumerGroupDescription {
  readonly errorCode: number;
  readonly errorMessage: string | null;
  readonly groupId: string;
  readonly state: string;
  readonly groupEpoch: number;
  readonly assignmentEpoch: number;
  readonly assignorName: string;
  readonly members: readonly DescribedConsumerMember[];
}

export interface DescribedGroup {
  readonly errorCode: number;
  readonly groupId: string;
  readonly state: string;
  readonly protocolType: string;
  /** Protocol name; only in Stable. */
  readonly protocolData: string;
  readonly members: readonly {
    readonly memberId: string;
    readonly groupInstanceId: string | null;
    readonly clientId: string;
    readonly clientHost: string;
    /** Only in Stable. */
    readonly metadata: Uint8Array;
    readonly assignment: Uint8Array;
  }[];
}

/** Where a group's coordinator is. */
export interface CoordinatorAddress {
  readonly errorCode: number;
  readonly nodeId: number;
  readonly host: string;
  readonly port: number;
}
