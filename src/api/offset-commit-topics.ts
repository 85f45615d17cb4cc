/** The topics of OffsetCommit and TxnOffsetCommit: which of their partitions can be committed. */
import type { CommitPartition } from "../group/api-types.ts";
import type { CoordinatorTopics } from "../group/ports.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import { zeroUuid } from "../protocol/uuid.ts";

interface AskedTopic {
  readonly name: string;
  readonly topicId: string;
  readonly partitions: readonly {
    readonly partitionIndex: number;
    readonly committedOffset: number;
    readonly committedLeaderEpoch: number;
    readonly committedMetadata: string | null;
  }[];
}

interface AnsweredTopic {
  name: string;
  topicId: string;
  partitions: { partitionIndex: number; errorCode: number }[];
}

interface FoundTopic {
  readonly name: string;
  readonly id: string;
  readonly errorCode: number;
  readonly partitionCount: number;
}

export interface CommitTopics {
  /** The answers, in the order asked; those that the commit decides still say NONE. */
  readonly topics: AnsweredTopic[];
  /** What exists and is to be committed. */
  readonly valid: readonly CommitPartition[];
  /** Enters what the commit decided: ErrorCodes in the order of `valid`. */
  settle(errorCodes: readonly number[]): void;
}

/** Topics and partitions that do not exist are refused one by one; a known
 * topic without partitions is not answered. */
export function commitTopics(
  known: CoordinatorTopics,
  asked: readonly AskedTopic[],
  byId: boolean,
): CommitTopics {
  const valid: CommitPartition[] = [];
  const open: { errorCode: number }[] = [];
  const topics: AnsweredTopic[] = [];
  for (const topic of asked) {
    const found = resolve(known, topic, byId);
    const isNothing = topic.partitions.length === 0 && found.errorCode === ErrorCode.NONE;
    if (isNothing) continue;
    const partitions = topic.partitions.map((one) => {
      const partition = one.partitionIndex;
      const answer = { partitionIndex: partition, errorCode: errorFor(found, partition) };
      if (answer.errorCode !== ErrorCode.NONE) return answer;
      open.push(answer);
      valid.push({
        topic: found.name,
        topicId: found.id,
        partition,
        offset: one.committedOffset,
        leaderEpoch: one.committedLeaderEpoch,
        metadata: one.committedMetadata,
      });
      return answer;
    });
    topics.push({ name: found.name, topicId: topic.topicId, partitions });
  }
  const settle = (errorCodes: readonly number[]): void => {
    for (const [index, answer] of open.entries()) {
      answer.errorCode = errorCodes[index] ?? ErrorCode.UNKNOWN_SERVER_ERROR;
    }
  };
  return { topics, valid, settle };
}

/** The same answer for every partition asked about. */
export function commitFailure(asked: readonly AskedTopic[], errorCode: number): AnsweredTopic[] {
  return asked.map(({ name, topicId, partitions }) => ({
    name,
    topicId,
    partitions: partitions.map(({ partitionIndex }) => ({ partitionIndex, errorCode })),
  }));
}

/** The topic of a commit, as named or by its id. */
function resolve(topics: CoordinatorTopics, topic: AskedTopic, byId: boolean): FoundTopic {
  const name = byId ? topics.topicName(topic.topicId) : topic.name;
  const partitionCount = name === null ? null : topics.partitionCountOf(name);
  if (name === null || partitionCount === null) {
    const errorCode = byId ? ErrorCode.UNKNOWN_TOPIC_ID : ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
    return { name: topic.name, id: topic.topicId, errorCode, partitionCount: 0 };
  }
  const id = topics.topicId(name) ?? zeroUuid;
  return { name, id, errorCode: ErrorCode.NONE, partitionCount };
}

/** May offsets of this partition be committed? An ErrorCode. */
function errorFor(topic: FoundTopic, partition: number): number {
  if (topic.errorCode !== ErrorCode.NONE) return topic.errorCode;
  const exists = partition >= 0 && partition < topic.partitionCount;
  return exists ? ErrorCode.NONE : ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
}
