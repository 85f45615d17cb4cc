/**
 * Fetch, v4–18. One deadline a request, however many partitions; parked until high watermarks (for
 * read_committed: last stable offsets) moved by `min_bytes`, an error shows, or `max_wait_ms` is
 * over.
 *
 * v5 log start · v7 sessions (KIP-227) · v9 leader epoch of the client · v10 topics of
 * compression.type=zstd (KIP-110) · v11 rack, read and not used: the leader has the only copy ·
 * v12 flexible, last fetched epoch and diverging epoch (KIP-595) · v13 topic ids · v16 leader
 * hints (KIP-951).
 * Omitted: followers; a replica id is answered as by a Kafka leader that does not know it.
 */
import type { FetchAnswer, FetchAsk } from "../fetch/fetch-session.ts";
import type { AskAnswer, FetchContext, SessionAnswer } from "../fetch/fetch-sessions.ts";
import { ColdPatience } from "../log/cold-patience.ts";
import type { Partition } from "../log/partition.ts";
import type { ReadResult } from "../log/partition-reader.ts";
import { ReadGrant } from "../log/read-budget.ts";
import type { Decoded } from "../protocol/api-codec.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type FetchRequest,
  type FetchResponse,
  type FetchResponseFetchableTopicResponse,
  fetchApi,
} from "../protocol/messages/01-fetch.ts";
import { Pieces } from "../protocol/pieces.ts";
import type { FetchCharge } from "../quota/client-quotas.ts";
import type { ApiHandler, RequestContext } from "./context.ts";
import { epochError, type Found, findById, findByName } from "./find-partition.ts";
import { currentLeader, leaderEndpoints } from "./leader-hints.ts";

type Request = Decoded<FetchRequest>;

const storageErrorsFrom = 6;
const zstdFrom = 10;
const topicIdsFrom = 13;
const replicaStateFrom = 15;
const leaderHintsFrom = 16;
const readCommitted = 1;
const unsupportedCodec = ErrorCode.UNSUPPORTED_COMPRESSION_TYPE;
/** Beside its records, about. */
const partitionAnswerBytes = 48;
const noRecords = new Uint8Array(0);
/** Of one partition's archives in one answer: larger ones hold the loop up, and those who read the
 * newest records with it, for longer than they save requests. */
const coldAnswerBytesMax = 2 << 20;

/** One partition of the request, found once. */
interface Target {
  readonly ask: FetchAsk;
  readonly found: Found;
}

interface Round {
  readonly answers: AskAnswer[];
  readonly bytes: number;
  /** Some of it is of archives. */
  readonly isCold: boolean;
  /** A partition has an error or diverged: answer at once. */
  readonly urgent: boolean;
}

export const fetchHandler: ApiHandler<FetchRequest, FetchResponse> = {
  codec: fetchApi,
  minVersion: 4,
  maxVersion: 18,
  chargesItself: true,

  handle(context, request, version) {
    const { clock, fetchSessions } = context.services;
    const asked = sessionRequest(request, version);
    const session = fetchSessions.begin(asked, clock.monotonicMs());
    if (session.errorCode !== ErrorCode.NONE) return refused(session.errorCode);
    return fetch(context, request, version, session);
  },

  failure: (_request, _version, errorCode) => refused(errorCode),
};

function refused(errorCode: number): FetchResponse {
  return { throttleTimeMs: 0, errorCode, sessionId: 0, responses: [] };
}

/** The request as the sessions see it; before v7 there are none. */
function sessionRequest(request: Request, version: number) {
  return {
    sessionId: request.sessionId,
    epoch: request.sessionEpoch,
    usesTopicIds: version >= topicIdsFrom,
    isFollower: replicaIdOf(request, version) >= 0,
    asks: request.topics.flatMap(({ topic, topicId, partitions }) =>
      partitions.map((ask): FetchAsk => ({ topic, topicId, ...ask })),
    ),
    forget: request.forgottenTopicsData.flatMap(({ topic, topicId, partitions }) =>
      partitions.map((partition) => ({ topic, topicId, partition })),
    ),
  };
}

function isCommitted({ isolationLevel }: Request): boolean {
  return isolationLevel === readCommitted;
}

/** From v15 on the replica's id is in a tagged field; −1 for consumers. */
function replicaIdOf(request: Request, version: number): number {
  return version >= replicaStateFrom ? request.replicaState.replicaId : request.replicaId;
}

async function fetch(
  context: RequestContext,
  request: Request,
  version: number,
  session: FetchContext,
): Promise<FetchResponse> {
  const { clock, partitions } = context.services;
  const targets = findTargets(context, session.asks, version);
  const { fetchBytesMax } = context.services.config.limits;
  const quotaBytesMax = context.services.quotas.fetchBytesMax(context.client);
  const bytesMax = Math.min(request.maxBytes, fetchBytesMax, quotaBytesMax);
  const bytesMin = Math.min(request.minBytes, bytesMax);
  const endMs = clock.monotonicMs() + request.maxWaitMs;
  const patience = new ColdPatience(clock, clock.monotonicMs(), request.maxWaitMs);
  const isolation = isCommitted(request) ? "read_committed" : "read_uncommitted";
  const hasInteresting = targets.some(({ found }) => !isUnknown(found));
  for (;;) {
    const before = bytesAdvanced(targets, isolation);
    const reading = readRound(context, targets, request, version, bytesMax, patience);
    const round = await reading.finally(() => patience.end());
    const waitMs = endMs - clock.monotonicMs();
    if (round.isCold) context.giveWay();
    const enough = round.urgent || round.bytes >= bytesMin || !hasInteresting;
    const done = () => respond(context, request, version, session, round.answers);
    if (enough || waitMs <= 0 || context.signal.aborted) return done();
    const sources = openPartitions(targets);
    // A round may take its time over a disk: what came meanwhile wakes nobody later.
    const bytesSince = bytesAdvanced(targets, isolation) - before;
    const missing = Math.max(1, bytesMin - round.bytes) - bytesSince;
    if (missing <= 0) continue;
    const parked = partitions.waiters.park(sources, missing, waitMs, context.signal, isolation);
    if (parked === null) return done();
    await parked;
  }
}

function findTargets(
  { services }: RequestContext,
  asks: readonly FetchAsk[],
  version: number,
): Target[] {
  const byId = version >= topicIdsFrom;
  return asks.map((ask) => ({
    ask,
    found: byId
      ? findById(services, ask.topicId, ask.partition)
      : findByName(services, ask.topic, ask.partition),
  }));
}

/** Unknown partitions keep nobody waiting less, as in Kafka: a session may name some for long. */
function isUnknown(found: Found): boolean {
  return found === ErrorCode.UNKNOWN_TOPIC_OR_PARTITION || found === ErrorCode.UNKNOWN_TOPIC_ID;
}

/** Reads every partition once, in order, within the limits of request and partition. */
async function readRound(
  context: RequestContext,
  targets: readonly Target[],
  request: Request,
  version: number,
  bytesMax: number,
  patience: ColdPatience,
): Promise<Round> {
  const grant = new ReadGrant(context.services.partitions.readBudget, Math.max(0, bytesMax));
  const isFollower = replicaIdOf(request, version) >= 0;
  const answers: AskAnswer[] = [];
  let bytes = 0;
  let urgent = false;
  let isCold = false;
  try {
    for (const { ask, found } of targets) {
      const outcome = check(found, ask, isFollower, version);
      if (typeof outcome === "number") {
        answers.push({ ask, answer: failed(ask.partition, outcome) });
        urgent ||= !isUnknown(outcome);
        continue;
      }
      const diverging = divergence(outcome, ask);
      if (diverging !== null) {
        answers.push({ ask, answer: diverging });
        urgent = true;
        continue;
      }
      const left = Math.max(0, Math.min(ask.partitionMaxBytes, grant.bytes - bytes));
      const reading = readOne(outcome, ask, request, left, bytes === 0, patience);
      const read = reading instanceof Promise ? await grant.during(reading, bytes + left) : reading;
      bytes += read.bytes;
      isCold ||= read.isCold === true;
      urgent ||= read.errorCode !== ErrorCode.NONE;
      answers.push({ ask, answer: answerOf(outcome, ask, read) });
    }
  } finally {
    grant.end();
  }
  return { answers, bytes, urgent, isCold };
}

/** The partition to read, or an ErrorCode. */
function check(found: Found, ask: FetchAsk, isFollower: boolean, version: number): Found {
  if (typeof found === "number") return found;
  if (!found.isOpen) return ErrorCode.NOT_LEADER_OR_FOLLOWER;
  // Here, as in Kafka, any negative epoch is none.
  const stale = epochError(found, Math.max(-1, ask.currentLeaderEpoch));
  if (stale !== ErrorCode.NONE) return stale;
  if (!isFollower) return isReadable(found, version) ? found : unsupportedCodec;
  // No partition has followers: this one may come from a later epoch than ours, or is lost.
  return ask.currentLeaderEpoch >= 0
    ? ErrorCode.UNKNOWN_LEADER_EPOCH
    : ErrorCode.NOT_LEADER_OR_FOLLOWER;
}

/** Of a topic that is all zstd older clients are told so, instead of bytes they cannot read. */
function isReadable({ config }: Partition, version: number): boolean {
  return version >= zstdFrom || config.compression?.codec !== "zstd";
}

/** The client read an epoch further than this log has it: it must truncate first. */
function divergence(partition: Partition, ask: FetchAsk): FetchAnswer | null {
  if (ask.lastFetchedEpoch < 0) return null;
  const end = partition.endOffsetForEpoch(ask.lastFetchedEpoch);
  if (end.endOffset < 0 || ask.fetchOffset < partition.logStartOffset) {
    return failed(ask.partition, ErrorCode.OFFSET_OUT_OF_RANGE);
  }
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
  ask: FetchAsk,
  request: Request,
  bytesMax: number,
  firstBatchAnyway: boolean,
  patience: ColdPatience,
): ReadResult | Promise<ReadResult> {
  const withAborted = isCommitted(request);
  const offsetLimit = withAborted ? partition.lastStableOffset : partition.highWatermark;
  const offset = ask.fetchOffset;
  const coldPatience = patience.wait;
  // Who waits for more than that gets as much.
  const coldBytesMax = Math.max(coldAnswerBytesMax, request.minBytes);
  return partition.read({
    ...{ offset, bytesMax, offsetLimit, firstBatchAnyway, withAborted },
    ...{ coldPatience, coldBytesMax },
  });
}

function answerOf(partition: Partition, ask: FetchAsk, read: ReadResult): FetchAnswer {
  if (read.errorCode !== ErrorCode.NONE) return failed(ask.partition, read.errorCode);
  return {
    ...marks(partition, ask.partition),
    // Uncommitted readers are told of none.
    abortedTransactions: read.aborted === undefined ? null : [...read.aborted],
    records: together(read.chunks),
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

function failed(partitionIndex: number, errorCode: number): FetchAnswer {
  return {
    partitionIndex,
    errorCode,
    highWatermark: -1,
    // As Kafka: none for what it does not know, null for what it knows and cannot read.
    abortedTransactions: isUnknown(errorCode) ? [] : null,
    records: noRecords,
  };
}

function together(chunks: readonly Uint8Array[]): Uint8Array | Pieces {
  const [only] = chunks;
  if (only === undefined) return noRecords;
  return chunks.length === 1 ? only : new Pieces(chunks);
}

function openPartitions(targets: readonly Target[]): Partition[] {
  const partitions = new Set<Partition>();
  for (const { found } of targets) if (typeof found !== "number") partitions.add(found);
  return [...partitions];
}

/** Only its growth says something: a partition named twice counts twice, which reads once more. */
function bytesAdvanced(
  targets: readonly Target[],
  isolation: "read_uncommitted" | "read_committed",
): number {
  let bytes = 0;
  for (const { found } of targets) {
    if (typeof found === "number") continue;
    bytes += isolation === "read_committed" ? found.stableBytesAdvanced : found.bytesAdvanced;
  }
  return bytes;
}

/** What the session tells its client, in the order in which it was read. */
function respond(
  context: RequestContext,
  request: Request,
  version: number,
  session: FetchContext,
  all: readonly AskAnswer[],
): FetchResponse {
  const { throttleMs, isHeldBack } = charge(context, session, all);
  const told = isHeldBack
    ? session.throttled()
    : session.finish(all, context.services.clock.monotonicMs());
  const leaderIds = new Set<number>();
  const responses = byTopic(told, (one) => hinted(context, version, one, leaderIds));
  if (replicaIdOf(request, version) >= 0) leaderIds.clear();
  return {
    throttleTimeMs: throttleMs,
    errorCode: told.errorCode,
    sessionId: told.sessionId,
    responses,
    nodeEndpoints: leaderEndpoints(context, leaderIds),
  };
}

/** What the client has to wait, and whether it is answered without partitions and asks again. */
function charge(
  context: RequestContext,
  session: FetchContext,
  all: readonly AskAnswer[],
): FetchCharge {
  const { client, services } = context;
  const { quotas } = services;
  const requestMs = quotas.countsRequests ? quotas.request(client, context.workMs()) : 0;
  let charged: FetchCharge = { throttleMs: 0, isHeldBack: false };
  if (quotas.countsFetches) {
    let bytes = 0;
    for (const { answer } of session.news(all)) {
      bytes += partitionAnswerBytes + (answer.records?.length ?? 0);
    }
    charged = quotas.fetch(client, bytes);
    if (!charged.isHeldBack && requestMs > 0) quotas.notFetched(client, bytes);
  }
  const throttleMs = Math.max(requestMs, charged.throttleMs);
  context.throttle(throttleMs);
  return { throttleMs, isHeldBack: requestMs > 0 || charged.isHeldBack };
}

/** Neighbours of the same topic share its entry. */
function byTopic(
  { answers }: SessionAnswer,
  shape: (one: AskAnswer) => FetchAnswer,
): FetchResponseFetchableTopicResponse[] {
  const responses: FetchResponseFetchableTopicResponse[] = [];
  let last: FetchResponseFetchableTopicResponse | undefined;
  for (const one of answers) {
    const { topic, topicId } = one.ask;
    if (last === undefined || last.topic !== topic || last.topicId !== topicId) {
      last = { topic, topicId, partitions: [] };
      responses.push(last);
    }
    last.partitions.push(shape(one));
  }
  return responses;
}

/** The answer as this version tells it; `leaderIds` gains the leader it names. */
function hinted(
  { services }: RequestContext,
  version: number,
  { ask, answer }: AskAnswer,
  leaderIds: Set<number>,
): FetchAnswer {
  const { errorCode } = answer;
  if (errorCode === ErrorCode.NONE) return answer;
  if (errorCode === ErrorCode.KAFKA_STORAGE_ERROR && version < storageErrorsFrom) {
    // Older clients do not know the other one and would not try again.
    return { ...answer, errorCode: ErrorCode.NOT_LEADER_OR_FOLLOWER };
  }
  const moved =
    errorCode === ErrorCode.NOT_LEADER_OR_FOLLOWER || errorCode === ErrorCode.FENCED_LEADER_EPOCH;
  if (!moved || version < leaderHintsFrom) return answer;
  const leader = currentLeader(services, ask);
  leaderIds.add(leader.leaderId);
  return { ...answer, currentLeader: leader };
}
