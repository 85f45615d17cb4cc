/**
 * DescribeProducers, v0: the producer ids a partition knows, their epochs, last sequences and open
 * transactions (KIP-664).
 */
import { checkTopicName } from "../metadata/topic-name.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type DescribeProducersRequest,
  type DescribeProducersResponse,
  type DescribeProducersResponsePartitionResponse,
  describeProducersApi,
} from "../protocol/messages/61-describe-producers.ts";
import type { ApiHandler, RequestContext } from "./context.ts";
import { findByName } from "./find-partition.ts";

const unknownText = "This server does not host this topic-partition.";

type Answer = DescribeProducersResponsePartitionResponse;

export const describeProducersHandler: ApiHandler<
  DescribeProducersRequest,
  DescribeProducersResponse
> = {
  codec: describeProducersApi,
  minVersion: 0,
  maxVersion: 0,

  handle: (context, request) => ({
    throttleTimeMs: 0,
    topics: request.topics.map(({ name, partitionIndexes }) => ({
      name,
      partitions: partitionIndexes.map((index) => describe(context, name, index)),
    })),
  }),

  failure: (request, _version, errorCode) => ({
    throttleTimeMs: 0,
    topics: request.topics.map(({ name, partitionIndexes }) => ({
      name,
      partitions: partitionIndexes.map((index) => failed(index, errorCode, null)),
    })),
  }),
};

function describe({ services }: RequestContext, topic: string, index: number): Answer {
  const problem = checkTopicName(topic);
  if (problem !== null) return failed(index, ErrorCode.INVALID_TOPIC_EXCEPTION, problem);
  const partition = findByName(services, topic, index);
  if (typeof partition === "number") {
    const isKnown = services.metadata.image.topicsByName.has(topic);
    return failed(index, partition, isKnown ? null : unknownText);
  }
  const { NONE } = ErrorCode;
  const activeProducers = [...partition.activeProducers()];
  return { partitionIndex: index, errorCode: NONE, errorMessage: null, activeProducers };
}

function failed(partitionIndex: number, errorCode: number, errorMessage: string | null): Answer {
  return { partitionIndex, errorCode, errorMessage, activeProducers: [] };
}
