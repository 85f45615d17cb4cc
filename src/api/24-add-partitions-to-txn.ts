/**
 * AddPartitionsToTxn, v0 to v5: opens a transaction, or widens it, before the first batch to each
 * partition; producers of transaction version 2 leave that to Produce. v2 PRODUCER_FENCED ·
 * v4 many transactions at once and verify-only, which Kafka's brokers send.
 *
 * All or nothing for each transaction: where one partition does not exist, the others are answered
 * OPERATION_NOT_ATTEMPTED.
 */
import { batchSizeMax, inBatches } from "../group/in-batches.ts";
import type { Decoded } from "../protocol/api-codec.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type AddPartitionsToTxnRequest,
  type AddPartitionsToTxnRequestAddPartitionsToTxnTopic,
  type AddPartitionsToTxnRequestAddPartitionsToTxnTransaction,
  type AddPartitionsToTxnResponse,
  type AddPartitionsToTxnResponseAddPartitionsToTxnTopicResult,
  addPartitionsToTxnApi,
} from "../protocol/messages/24-add-partitions-to-txn.ts";
import type { ApiHandler, RequestContext } from "./context.ts";
import { fencedError } from "./transactional.ts";

type Topics = readonly Decoded<AddPartitionsToTxnRequestAddPartitionsToTxnTopic>[];
type TopicResults = AddPartitionsToTxnResponseAddPartitionsToTxnTopicResult[];
type Transaction = Decoded<AddPartitionsToTxnRequestAddPartitionsToTxnTransaction>;

const batchedFrom = 4;
const fencedFrom = 2;

export const addPartitionsToTxnHandler: ApiHandler<
  AddPartitionsToTxnRequest,
  AddPartitionsToTxnResponse
> = {
  codec: addPartitionsToTxnApi,
  minVersion: 0,
  maxVersion: 5,
  async handle(context, request, version) {
    if (version < batchedFrom) {
      const results = await answer(context, onlyTransaction(request), version);
      return { throttleTimeMs: 0, resultsByTopicV3AndBelow: results };
    }
    const resultsByTransaction = await inBatches(
      request.transactions,
      batchSizeMax,
      async (one) => ({
        transactionalId: one.transactionalId,
        topicResults: await answer(context, one, version),
      }),
    );
    return { throttleTimeMs: 0, errorCode: ErrorCode.NONE, resultsByTransaction };
  },
  failure(request, version, errorCode) {
    if (version >= batchedFrom) return { throttleTimeMs: 0, errorCode, resultsByTransaction: [] };
    const results = resultsOf(request.v3AndBelowTopics, () => errorCode);
    return { throttleTimeMs: 0, resultsByTopicV3AndBelow: results };
  },
};

function onlyTransaction(request: Decoded<AddPartitionsToTxnRequest>): Transaction {
  return {
    transactionalId: request.v3AndBelowTransactionalId,
    producerId: request.v3AndBelowProducerId,
    producerEpoch: request.v3AndBelowProducerEpoch,
    verifyOnly: false,
    topics: request.v3AndBelowTopics,
  };
}

async function answer(
  context: RequestContext,
  transaction: Transaction,
  version: number,
): Promise<TopicResults> {
  const { topics, verifyOnly, ...producer } = transaction;
  const { metadata, transactions } = context.services;
  const exists = (topic: string, partition: number) =>
    metadata.image.topicsByName.get(topic)?.partitions[partition] !== undefined;
  if (version < batchedFrom && topics.some(({ name }) => isInternal(context, name))) {
    return resultsOf(topics, (topic, partition) => {
      if (isInternal(context, topic)) return ErrorCode.TOPIC_AUTHORIZATION_FAILED;
      return exists(topic, partition)
        ? ErrorCode.OPERATION_NOT_ATTEMPTED
        : ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
    });
  }
  const partitions = topics.flatMap(({ name, partitions: indexes }) =>
    indexes.map((partition) => ({ topic: name, partition })),
  );
  if (!partitions.every(({ topic, partition }) => exists(topic, partition))) {
    return resultsOf(topics, (topic, partition) =>
      exists(topic, partition)
        ? ErrorCode.OPERATION_NOT_ATTEMPTED
        : ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    );
  }
  if (verifyOnly) {
    const errorCodes = await transactions.verifyPartitions(producer, partitions);
    let at = 0;
    return resultsOf(topics, () => errorCodes[at++] ?? ErrorCode.UNKNOWN_SERVER_ERROR);
  }
  const clientVersion = version >= batchedFrom ? 2 : 0;
  const errorCode = await transactions.addPartitions({ ...producer, partitions, clientVersion });
  return resultsOf(topics, () => fencedError(errorCode, version, fencedFrom));
}

/** The broker's own topics are not for producers; its own requests come in later versions. */
function isInternal({ services }: RequestContext, topic: string): boolean {
  return services.metadata.image.topicsByName.get(topic)?.internal === true;
}

function resultsOf(
  topics: Topics,
  errorOf: (topic: string, partition: number) => number,
): TopicResults {
  return topics.map(({ name, partitions }) => ({
    name,
    resultsByPartition: partitions.map((partitionIndex) => ({
      partitionIndex,
      partitionErrorCode: errorOf(name, partitionIndex),
    })),
  }));
}
