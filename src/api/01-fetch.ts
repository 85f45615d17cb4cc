/**
 * Fetch, v4–18. Without sessions: every answer says session id 0, so clients send full requests.
 * One deadline a request, however many partitions; parked until high watermarks moved by
 * `min_bytes`, an error shows, or `max_wait_ms` is over.
 *
 * v5 log start · v9 leader epoch of the client · v11 rack · v12 flexible, last fetched epoch ·
 * v13 topic ids. Omitted: fetch sessions; preferred read replica (−1); follower fetch: a replica id
 * is answered NOT_LEADER_OR_FOLLOWER.
 */
import type { Partition } from "../log/partition.ts";
import type { ReadResult } from "../log/partition-reader.ts";
import type { Decoded } from "../protocol/api-codec.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type FetchRequest,
  type FetchRequestFetchPartition,
  type FetchResponse,
  type FetchResponsePartitionData,
  fetchApi,
} from "../protocol/messages/01-fetch.ts";
import type { ApiHandler, RequestContext } from "./context.ts";
import { epochError, type Found, findById, findByName } from "./find-partition.ts";

type Request = Decoded<FetchRequest>;

const topicIdsFrom = 13;
const readCommitted = 1;
const noRecords = new Uint8Array(0);

/** One partition of the request, found once. */
interface Target {
  readonly ask: Decoded<FetchRequestFetchPartition>;
  readonly found: Found;
}

interface Round {
  readonly answers: FetchResponsePartitionData[];
  readonly bytes: number;
  /** A partition has an error or diverged: answer at once. */
  readonly urgent: boolean;
}

export const fetchHandler: ApiHandler<FetchRequest, FetchResponse> = {
  codec: fetchApi,
  minVersion: 4,
  maxVersion: 18,

  handle(context, request, version) {
    const sessionError = checkSession(request);
    if (sessionError !== ErrorCode.NONE) {
      return { throttleTimeMs: 0, errorCode: sessionError, sessionId: 0, responses: [] };
    }
    return fetch(context, request, version);
  },

  failure: (_request, _version, errorCode) => ({
    throttleTimeMs: 0,
    errorCode,
    sessionId: 0,
    responses: [],
  }),
};

/** Only a full request can be served: epoch −1 (no session) or 0 (make one, declined). */
function checkSession({ sessionEpoch }: Request): number {
  const isFull = sessionEpoch === 0 || sessionEpoch === -1;
  return isFull ? ErrorCode.NONE : ErrorCode.FETCH_SESSION_ID_NOT_FOUND;
}

async function fetch(
  context: RequestContext,
  request: Request,
  version: number,
): Promise<FetchResponse> {
  const { clock, partitions } = context.services;
  const targets = findTargets(context, request, version);
  const bytesMax = Math.min(request.maxBytes, context.services.config.limits.fetchBytesMax);
  const bytesMin = Math.min(request.minBytes, bytesMax);
  const endMs = clock.monotonicMs() + request.maxWaitMs;
  for (;;) {
    const before = bytesAdvanced(targets);
    const round = await readRound(context, targets, request, bytesMax);
    const waitMs = endMs - clock.monotonicMs();
    const enough = round.urgent || round.bytes >= bytesMin || targets.length === 0;
    if (enough || waitMs <= 0 || context.signal.aborted) return respond(request, round.answers);
    const sources = openPartitions(targets);
    // A round may take its time over a disk: what came meanwhile wakes nobody later.
    const missing = Math.max(1, bytesMin - round.bytes) - (bytesAdvanced(targets) - before);
    if (missing <= 0) continue;
    const parked = partitions.waiters.park(sources, missing, waitMs, context.signal);
    if (parked === null) return respond(request, round.answers);
    await parked;
  }
}

function findTargets(context: RequestContext, request: Request, version: number): Target[] {
  const { services } = context;
  // From v15 on the replica's id is in a tagged field.
  const replicaId = version >= 15 ? request.replicaState.replicaId : request.replicaId;
  return request.topics.flatMap(({ topic, topicId, partitions }) =>
    partitions.map((ask) => {
      if (replicaId >= 0) return { ask, found: ErrorCode.NOT_LEADER_OR_FOLLOWER };
      const found =
        version >= topicIdsFrom
          ? findById(services, topicId, ask.partition)
          : findByName(services, topic, ask.partition);
      return { ask, found };
    }),
  );
}

/** Reads every partition once, in order, within the limits of request and partition. */
async function readRound(
  context: RequestContext,
  targets: readonly Target[],
  request: Request,
  bytesMax: number,
): Promise<Round> {
  const { readBudget } = context.services.partitions;
  const granted = readBudget.grant(Math.max(0, bytesMax));
  const answers: FetchResponsePartitionData[] = [];
  let bytes = 0;
  let urgent = false;
  try {
    for (const { ask, found } of targets) {
      const outcome = check(found, ask);
      if (typeof outcome === "number") {
        answers.push(failed(ask.partition, outcome));
        urgent = true;
        continue;
      }
      const diverging = divergence(outcome, ask);
      if (diverging !== null) {
        answers.push(diverging);
        urgent = true;
        continue;
      }
      const reading = readOne(outcome, ask, request, granted - bytes, bytes === 0);
      const read = reading instanceof Promise ? await reading : reading;
      bytes += read.bytes;
      urgent ||= read.errorCode !== ErrorCode.NONE;
      answers.push(answerOf(outcome, ask, request, read));
    }
  } finally {
    readBudget.giveBack(granted);
  }
  return { answers, bytes, urgent };
}

/** The partition to read, or an ErrorCode. */
function check(found: Found, ask: Decoded<FetchRequestFetchPartition>): Found {
  if (typeof found === "number") return found;
  if (!found.isOpen) return ErrorCode.NOT_LEADER_OR_FOLLOWER;
  return epochError(found, ask.currentLeaderEpoch) || found;
}

/** The client read an epoch further than this log has it: it must truncate first. */
function divergence(
  partition: Partition,
  ask: Decoded<FetchRequestFetchPartition>,
): FetchResponsePartitionData | null {
  if (ask.lastFetchedEpoch < 0) return null;
  const end = partition.endOffsetForEpoch(ask.lastFetchedEpoch);
  if (end.endOffset < 0) return failed(ask.partition, ErrorCode.OFFSET_OUT_OF_RANGE);
  if (end.leaderEpoch >= ask.lastFetchedEpoch && end.endOffset >= ask.fetchOffset) return null;
  return {
    ...marks(partition, ask.partition),
    divergingEpoch: { epoch: end.leaderEpoch, endOffset: end.endOffset },
    abortedTransactions: null,
    records: noRecords,
  };
}

function readOne(
  partition: Partition,
  ask: Decoded<FetchRequestFetchPartition>,
  request: Request,
  bytesLeft: number,
  firstBatchAnyway: boolean,
): ReadResult | Promise<ReadResult> {
  const committed = request.isolationLevel === readCommitted;
  const offsetLimit = committed ? partition.lastStableOffset : partition.highWatermark;
  const bytesMax = Math.max(0, Math.min(ask.partitionMaxBytes, bytesLeft));
  return partition.read({ offset: ask.fetchOffset, bytesMax, offsetLimit, firstBatchAnyway });
}

function answerOf(
  partition: Partition,
  ask: Decoded<FetchRequestFetchPartition>,
  request: Request,
  read: ReadResult,
): FetchResponsePartitionData {
  if (read.errorCode !== ErrorCode.NONE) return failed(ask.partition, read.errorCode);
  return {
    ...marks(partition, ask.partition),
    // No transactions, hence none aborted; uncommitted readers get none told.
    abortedTransactions: request.isolationLevel === readCommitted ? [] : null,
    records: joined(read.chunks),
  };
}

function marks(partition: Partition, partitionIndex: number) {
  const { highWatermark, lastStableOffset, logStartOffset } = partition;
  return {
    partitionIndex,
    errorCode: ErrorCode.NONE,
    highWatermark,
    lastStableOffset,
    logStartOffset,
  };
}

function failed(partitionIndex: number, errorCode: number): FetchResponsePartitionData {
  return {
    partitionIndex,
    errorCode,
    highWatermark: -1,
    abortedTransactions: null,
    records: noRecords,
  };
}

function joined(chunks: readonly Uint8Array[]): Uint8Array {
  const [only] = chunks;
  if (only === undefined) return noRecords;
  return chunks.length === 1 ? only : Buffer.concat(chunks);
}

function openPartitions(targets: readonly Target[]): Partition[] {
  const partitions = new Set<Partition>();
  for (const { found } of targets) if (typeof found !== "number") partitions.add(found);
  return [...partitions];
}

/** Only its growth says something: a partition named twice counts twice, which reads once more. */
function bytesAdvanced(targets: readonly Target[]): number {
  let bytes = 0;
  for (const { found } of targets) if (typeof found !== "number") bytes += found.bytesAdvanced;
  return bytes;
}

/** In the shape of the request. */
function respond(request: Request, answers: readonly FetchResponsePartitionData[]): FetchResponse {
  let at = 0;
  const responses = request.topics.map(({ topic, topicId, partitions }) => {
    const from = at;
    at += partitions.length;
    return { topic, topicId, partitions: answers.slice(from, at) };
  });
  return { throttleTimeMs: 0, errorCode: ErrorCode.NONE, sessionId: 0, responses };
}
