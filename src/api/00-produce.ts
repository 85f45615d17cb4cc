/**
 * Produce, v3–13. Each partition's batch is validated, gets its offsets and is submitted before the
 * first await, in the order of the request; the response waits for the fsync of all of them
 * whatever `acks` says. acks=0 gets no response: an error closes the connection.
 *
 * v3 the only format is v2 · v5 log start · v7 zstd · v8 record errors · v9 flexible ·
 * v10 leader hints (KIP-951) · v11 TRANSACTION_ABORTABLE · v12 partitions join the
 * transaction on the way · v13 topic ids.
 *
 * Batches of a transaction are checked with its coordinator; those of one producer to one partition
 * then keep their order, whichever of them has to wait for that. Transactional batches without a
 * transactional id are answered TRANSACTIONAL_ID_AUTHORIZATION_FAILED.
 */
import { CloseConnection } from "../lib/errors.ts";
import type { AppendResult } from "../log/appender.ts";
import type { Partition } from "../log/partition.ts";
import type { Decoded } from "../protocol/api-codec.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type ProduceRequest,
  type ProduceRequestTopicProduceData,
  type ProduceResponse,
  type ProduceResponsePartitionProduceResponse,
  produceApi,
} from "../protocol/messages/00-produce.ts";
import { batchHeaderBytes, isTransactional } from "../protocol/record-batch.ts";
import { zeroUuid } from "../protocol/uuid.ts";
import type { ApiHandler, RequestContext } from "./context.ts";
import { type Found, findById, findByName } from "./find-partition.ts";
import { currentLeader, leaderEndpoints } from "./leader-hints.ts";
import { appendInTransaction, type Refused } from "./transactional-append.ts";

/** Errors beside which Kafka does not tell where the log starts. */
const withoutLogStart: ReadonlySet<number> = new Set([
  ErrorCode.CORRUPT_MESSAGE,
  ErrorCode.MESSAGE_TOO_LARGE,
  ErrorCode.KAFKA_STORAGE_ERROR,
  ErrorCode.NOT_LEADER_OR_FOLLOWER,
]);

type Answer = ProduceResponsePartitionProduceResponse;
type Request = Decoded<ProduceRequest>;

const leaderHintsFrom = 10;
const topicIdsFrom = 13;
const zstdFrom = 7;
const zstd = 4;
const compressionMask = 0x07;
const attributesAt = 21;
/** Kafka lets this client write internal topics. */
const adminClientId = "__admin_client";

export const produceHandler: ApiHandler<ProduceRequest, ProduceResponse> = {
  codec: produceApi,
  minVersion: 3,
  maxVersion: 13,
  chargesItself: true,

  handle(context, request, version) {
    const refused = refuse(request);
    if (refused !== ErrorCode.NONE) return failAll(request, refused, null);
    const answers = request.topicData.map((topic) =>
      topic.partitionData.map(({ index, records }) =>
        produce(context, find(context, topic, index, version), index, records, request, version),
      ),
    );
    return collect(context, request, answers);
  },

  failure: (request, _version, errorCode, message) => failAll(request, errorCode, message),
};

/** What is wrong with the request as a whole. */
function refuse(request: Request): number {
  const { acks, transactionalId, topicData } = request;
  if (acks !== 0 && acks !== 1 && acks !== -1) return ErrorCode.INVALID_REQUIRED_ACKS;
  const isOpenToAll = transactionalId !== null || !topicData.some(hasTransactionalBatch);
  return isOpenToAll ? ErrorCode.NONE : ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
}

function hasTransactionalBatch(topic: Decoded<ProduceRequestTopicProduceData>): boolean {
  return topic.partitionData.some(
    ({ records }) => records !== null && isTransactional(attributesOf(records)),
  );
}

function find(
  context: RequestContext,
  topic: Decoded<ProduceRequestTopicProduceData>,
  index: number,
  version: number,
): Found {
  const { services } = context;
  return version >= topicIdsFrom
    ? findById(services, topic.topicId, index)
    : findByName(services, topic.name, index);
}

/** Submits one partition's batch before it returns. */
function produce(
  context: RequestContext,
  partition: Found,
  index: number,
  records: Uint8Array | null,
  request: Request,
  version: number,
): Answer | Promise<Answer> {
  if (typeof partition === "number") return failed(index, partition, null);
  if (partition.internal && context.header.clientId !== adminClientId) {
    return failed(index, ErrorCode.INVALID_TOPIC_EXCEPTION, "the topic is internal");
  }
  if (records === null || records.length === 0) {
    return failed(index, ErrorCode.INVALID_RECORD, "a record batch is missing");
  }
  const attributes = attributesOf(records);
  if ((attributes & compressionMask) === zstd && version < zstdFrom) {
    const text = `zstd needs version ${zstdFrom} of Produce`;
    return failed(index, ErrorCode.UNSUPPORTED_COMPRESSION_TYPE, text);
  }
  if (request.acks === -1 && !hasEnoughReplicas(context, partition)) {
    return failed(index, ErrorCode.NOT_ENOUGH_REPLICAS, null);
  }
  const { transactionalId } = request;
  const appended =
    transactionalId !== null && isTransactional(attributes)
      ? appendInTransaction(context, partition, records, { ...request, transactionalId }, version)
      : partition.append(records, { origin: "client", timeoutMs: request.timeoutMs });
  return appended.then((result) => answerOf(index, result));
}

/** Waits for every partition, at most for the request's timeout; what is appended stays. */
function collect(
  context: RequestContext,
  request: Request,
  answers: (Answer | Promise<Answer>)[][],
): Promise<ProduceResponse | null> {
  const flat = answers.flat();
  const done: (Answer | null)[] = new Array(flat.length).fill(null);
  return new Promise((resolve, reject) => {
    let open = flat.length;
    const finish = () => {
      deadlines.remove(deadline);
      charge(context, request);
      const responses = hinted(context, assemble(request, done));
      if (request.acks !== 0) resolve(responses);
      else closeOrPass(responses, resolve, reject);
    };
    const { deadlines } = context.services.partitions;
    const deadline = deadlines.add(Math.max(0, request.timeoutMs), finish);
    if (open === 0) finish();
    for (const [at, answer] of flat.entries()) {
      if (!(answer instanceof Promise)) {
        done[at] = answer;
        if (--open === 0) finish();
        continue;
      }
      answer.then((settled) => {
        done[at] = settled;
        if (--open === 0) finish();
      }, reject);
    }
  });
}

/** Who is not answered is not throttled for the time that it took. */
function charge(context: RequestContext, { acks }: Request): void {
  const { client, requestBytes, services } = context;
  const { quotas, partitions } = services;
  context.throttle(quotas.produce(client, requestBytes));
  context.throttle(partitions.walSpace.throttleMs());
  if (acks !== 0 && quotas.countsRequests) {
    context.throttle(quotas.request(client, context.workMs()));
  }
}

/**
 * In the shape of the request, without topics that name no partition; a partition without an
 * answer ran into the timeout.
 */
function assemble(request: Request, done: readonly (Answer | null)[]): ProduceResponse {
  let at = 0;
  const asked = request.topicData.filter(({ partitionData }) => partitionData.length > 0);
  const responses = asked.map(({ name, topicId, partitionData }) => ({
    name,
    topicId,
    partitionResponses: partitionData.map(
      ({ index }) => done[at++] ?? failed(index, ErrorCode.REQUEST_TIMED_OUT, null),
    ),
  }));
  return { responses, throttleTimeMs: 0 };
}

/** Names the leader beside errors that mean another one. */
function hinted(context: RequestContext, response: ProduceResponse): ProduceResponse {
  if (context.header.apiVersion < leaderHintsFrom || !hasMoved(response)) return response;
  const leaderIds = new Set<number>();
  const responses = response.responses.map((topic) => {
    const { name = "", topicId = zeroUuid, partitionResponses } = topic;
    return {
      ...topic,
      partitionResponses: partitionResponses.map((answer) => {
        if (answer.errorCode !== ErrorCode.NOT_LEADER_OR_FOLLOWER) return answer;
        const leader = currentLeader(context.services, {
          topic: name,
          topicId,
          partition: answer.index,
        });
        leaderIds.add(leader.leaderId);
        return { ...answer, currentLeader: leader };
      }),
    };
  });
  return { ...response, responses, nodeEndpoints: leaderEndpoints(context, leaderIds) };
}

function hasMoved({ responses }: ProduceResponse): boolean {
  return responses.some(({ partitionResponses }) =>
    partitionResponses.some(({ errorCode }) => errorCode === ErrorCode.NOT_LEADER_OR_FOLLOWER),
  );
}

/** acks=0: nobody reads a response, so an error can only be told by closing. */
function closeOrPass(
  { responses }: ProduceResponse,
  resolve: (response: null) => void,
  reject: (error: CloseConnection) => void,
): void {
  for (const { name, topicId, partitionResponses } of responses) {
    const bad = partitionResponses.find(({ errorCode }) => errorCode !== ErrorCode.NONE);
    if (bad === undefined) continue;
    const topic = name === "" ? topicId : name;
    const text = `produce with acks=0 to ${topic}-${bad.index} failed with error ${bad.errorCode}`;
    reject(new CloseConnection(text));
    return;
  }
  resolve(null);
}

function failAll(request: Request, errorCode: number, message: string | null): ProduceResponse {
  if (request.acks === 0) {
    throw new CloseConnection(`produce with acks=0 failed with error ${errorCode}`);
  }
  const done = request.topicData.flatMap(({ partitionData }) =>
    partitionData.map(({ index }) => failed(index, errorCode, message)),
  );
  return assemble(request, done);
}

function failed(index: number, errorCode: number, errorMessage: string | null): Answer {
  return { index, errorCode, baseOffset: -1, errorMessage };
}

function answerOf(index: number, result: AppendResult | Refused): Answer {
  if ("refused" in result) return failed(index, result.refused, result.text);
  const { errorCode, errorMessage, baseOffset, logAppendTimeMs, logStartOffset } = result;
  if (errorCode === ErrorCode.NONE) {
    return { index, errorCode, baseOffset, logAppendTimeMs, logStartOffset };
  }
  const recordErrors = result.recordErrors.map(({ batchIndex, message }) => ({
    batchIndex,
    batchIndexErrorMessage: message,
  }));
  const answer = { index, errorCode, baseOffset, errorMessage, recordErrors };
  return withoutLogStart.has(errorCode) ? answer : { ...answer, logStartOffset };
}

/** Of the first batch; 0 where there is none, which the log will refuse. */
function attributesOf(records: Uint8Array): number {
  if (records.length < batchHeaderBytes) return 0;
  return ((records[attributesAt] ?? 0) << 8) | (records[attributesAt + 1] ?? 0);
}

/** A topic cannot ask for more copies in sync than it has replicas: the lesser number counts. */
function hasEnoughReplicas(context: RequestContext, partition: Partition): boolean {
  const topic = context.services.metadata.image.topicsById.get(partition.topicId);
  const image = topic?.partitions[partition.index];
  if (image === undefined) return true;
  return image.isr.length >= Math.min(partition.config.minInsyncReplicas, image.replicas.length);
}
