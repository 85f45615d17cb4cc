/**
 * ShareFetch, v1 and v2 (KIP-932): records acquired for a member of a share group, under locks
 * that end by themselves, and acknowledgements of records acquired before.
 *
 * v2 acquire mode (KIP-1206), renewing of locks (KIP-1222). A client over its quota gets what was
 * acquired for it all the same, and waits then.
 */
import type { Decoded } from "../protocol/api-codec.ts";
import { ErrorCode, errorInfos } from "../protocol/error-code.ts";
import {
  type ShareFetchRequest,
  type ShareFetchResponse,
  type ShareFetchResponsePartitionData,
  type ShareFetchResponseShareFetchableTopicResponse,
  shareFetchApi,
} from "../protocol/messages/78-share-fetch.ts";
import { partitionName, type TopicIdPartition } from "../share/sessions.ts";
import { noRecords, type ShareFetched, ShareFetcher } from "../share/share-fetch.ts";
import type { ApiHandler, RequestContext } from "./context.ts";
import {
  type AcknowledgeResult,
  acknowledgeAll,
  isMemberIdValid,
  leaderBeside,
} from "./share-acknowledgements.ts";
import { endSession, servesShareGroups, watchConnection } from "./share-session.ts";

type Request = Decoded<ShareFetchRequest>;

const finalEpoch = -1;
const initialEpoch = 0;
const recordLimitMode = 1;

export const shareFetchHandler: ApiHandler<ShareFetchRequest, ShareFetchResponse> = {
  codec: shareFetchApi,
  minVersion: 1,
  maxVersion: 2,
  handle(context, request, version) {
    const { groupId, memberId } = request;
    if (!servesShareGroups(context.services)) return failed(ErrorCode.UNSUPPORTED_VERSION);
    if (groupId === null) return failed(ErrorCode.INVALID_REQUEST, "Invalid group id.");
    if (!isMemberIdValid(memberId)) {
      return failed(ErrorCode.INVALID_REQUEST, "Invalid member id in the request.");
    }
    const renewProblem = checkRenewal(request);
    if (renewProblem !== null) return failed(ErrorCode.INVALID_REQUEST, renewProblem);
    return serve(context, { ...request, groupId, memberId }, version);
  },
  failure: (_request, _version, errorCode, message) => failed(errorCode, message),
};

function failed(errorCode: number, errorMessage?: string): ShareFetchResponse {
  return {
    throttleTimeMs: 0,
    errorCode,
    errorMessage: errorMessage ?? errorInfos.get(errorCode)?.message ?? null,
    acquisitionLockTimeoutMs: 0,
    responses: [],
    nodeEndpoints: [],
  };
}

/** A request that renews locks reads nothing: the locks might end before the records are there. */
function checkRenewal(request: Request): string | null {
  if (!request.isRenewAck) return null;
  const { maxBytes, minBytes, maxRecords, maxWaitMs } = request;
  const wrong = Object.entries({ maxBytes, minBytes, maxRecords, maxWaitMs })
    .filter(([, value]) => value !== 0)
    .map(([name]) => `${name} must be set to 0, `);
  return wrong.length === 0 ? null : `${wrong.join("")}if isRenewAck is true.`;
}

async function serve(
  context: RequestContext,
  request: Request & { readonly groupId: string; readonly memberId: string },
  version: number,
): Promise<ShareFetchResponse> {
  const { services, session: connection, signal } = context;
  const { shares } = services;
  const { groupId, memberId, shareSessionEpoch: epoch } = request;
  const acknowledges = request.topics.some(({ partitions }) =>
    partitions.some(({ acknowledgementBatches }) => acknowledgementBatches.length > 0),
  );
  const added = request.topics.flatMap(({ topicId, partitions }) =>
    partitions.map(({ partitionIndex: partition }) => ({ topicId, partition })),
  );
  const forgotten = request.forgottenTopicsData.flatMap(({ topicId, partitions }) =>
    partitions.map((partition) => ({ topicId, partition })),
  );
  const ids = { groupId, memberId, epoch, connectionId: connection.id };
  const opened = shares.sessions.fetch({ ...ids, added, forgotten, acknowledges });
  if (opened.partitions === null) {
    // Clients ask again at once.
    if (opened.errorCode === ErrorCode.SHARE_SESSION_LIMIT_REACHED) {
      await pause(context, request.maxWaitMs);
    }
    return failed(opened.errorCode);
  }
  watchConnection(context);
  const acknowledging = acknowledges ? acknowledgeAll(context, request, version) : [];
  const fetching = request.isRenewAck
    ? []
    : new ShareFetcher(shares, services.partitions, services.clock).fetch({
        groupId,
        memberId,
        maxWaitMs: request.maxWaitMs,
        minBytes: request.minBytes,
        maxBytes: bytesMax(context, request),
        maxRecords: request.maxRecords,
        batchSize: request.batchSize,
        mode: request.shareAcquireMode === recordLimitMode ? "record_limit" : "batch_optimized",
        partitions: rotated(opened.partitions, epoch),
        signal,
      });
  const [acknowledged, fetched] = await Promise.all([acknowledging, fetching]);
  if (epoch === finalEpoch) await endSession(context, groupId, memberId);
  if (fetched.some(({ isCold }) => isCold === true)) context.giveWay();
  const bytes = fetched.reduce((sum, { records }) => sum + records.length, 0);
  const throttleTimeMs = services.quotas.deliver(context.client, bytes);
  context.throttle(throttleTimeMs);
  return {
    throttleTimeMs,
    errorCode: ErrorCode.NONE,
    errorMessage: null,
    acquisitionLockTimeoutMs: shares.settingsOf(groupId).recordLockDurationMs,
    responses: topicsOf(epoch === initialEpoch ? opened.partitions : [], fetched, acknowledged),
    nodeEndpoints: [],
  };
}

function bytesMax({ services, client }: RequestContext, request: Request): number {
  const { fetchBytesMax } = services.config.limits;
  return Math.min(request.maxBytes, fetchBytesMax, services.quotas.fetchBytesMax(client));
}

/** Every partition gets to be the first one in turn. */
function rotated(partitions: readonly TopicIdPartition[], epoch: number): TopicIdPartition[] {
  const at = epoch < 1 || partitions.length === 0 ? 0 : epoch % partitions.length;
  return [...partitions.slice(at), ...partitions.slice(0, at)];
}

async function pause({ services, signal }: RequestContext, waitMs: number): Promise<void> {
  // Nothing is waited for but the time; without room to wait the answer is given at once.
  await services.partitions.waiters.park([], 1, Math.max(0, waitMs), signal);
}

/** `named` are answered in any case: those of a new session. */
function topicsOf(
  named: readonly TopicIdPartition[],
  fetched: readonly ShareFetched[],
  acknowledged: readonly AcknowledgeResult[],
): ShareFetchResponseShareFetchableTopicResponse[] {
  const partitions = new Map<string, ShareFetchResponsePartitionData & { topicId: string }>();
  for (const one of named) {
    partitions.set(partitionName(one), emptyAnswer(one.topicId, one.partition));
  }
  for (const { topicId, partition, errorCode, records, acquired } of fetched) {
    partitions.set(partitionName({ topicId, partition }), {
      ...emptyAnswer(topicId, partition),
      errorCode,
      errorMessage: messageOf(errorCode),
      currentLeader: leaderBeside(errorCode),
      records,
      acquiredRecords: acquired.map(({ first, last, deliveryCount }) => ({
        firstOffset: first,
        lastOffset: last,
        deliveryCount,
      })),
    });
  }
  for (const { topicId, partition, errorCode } of acknowledged) {
    const name = partitionName({ topicId, partition });
    const answer = partitions.get(name) ?? emptyAnswer(topicId, partition);
    partitions.set(name, {
      ...answer,
      currentLeader: leaderBeside(
        answer.errorCode === ErrorCode.NONE ? errorCode : answer.errorCode,
      ),
      acknowledgeErrorCode: errorCode,
      acknowledgeErrorMessage: messageOf(errorCode),
    });
  }
  return [...Map.groupBy(partitions.values(), ({ topicId }) => topicId)].map(
    ([topicId, ofTopic]) => ({ topicId, partitions: ofTopic }),
  );
}

function emptyAnswer(topicId: string, partitionIndex: number) {
  return {
    topicId,
    partitionIndex,
    errorCode: ErrorCode.NONE,
    errorMessage: null,
    acknowledgeErrorCode: ErrorCode.NONE,
    acknowledgeErrorMessage: null,
    currentLeader: leaderBeside(ErrorCode.NONE),
    records: noRecords,
    acquiredRecords: [],
  };
}

function messageOf(errorCode: number): string | null {
  return errorCode === ErrorCode.NONE ? null : (errorInfos.get(errorCode)?.message ?? null);
}
