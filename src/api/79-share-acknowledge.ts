/**
 * ShareAcknowledge, v1 and v2 (KIP-932): what became of records a member had acquired; answered
 * when that is durable. The final epoch ends the share session.
 *
 * v2 renewing of locks (KIP-1222).
 */
import { ErrorCode, errorInfos } from "../protocol/error-code.ts";
import {
  type ShareAcknowledgeRequest,
  type ShareAcknowledgeResponse,
  shareAcknowledgeApi,
} from "../protocol/messages/79-share-acknowledge.ts";
import type { ApiHandler, RequestContext } from "./context.ts";
import {
  type AcknowledgeRequest,
  type AcknowledgeResult,
  acknowledgeAll,
  isMemberIdValid,
  leaderBeside,
} from "./share-acknowledgements.ts";
import { endSession, servesShareGroups } from "./share-session.ts";

const finalEpoch = -1;

export const shareAcknowledgeHandler: ApiHandler<
  ShareAcknowledgeRequest,
  ShareAcknowledgeResponse
> = {
  codec: shareAcknowledgeApi,
  minVersion: 1,
  maxVersion: 2,
  handle(context, request, version) {
    const { groupId, memberId, shareSessionEpoch: epoch } = request;
    if (!servesShareGroups(context.services)) return failed(ErrorCode.UNSUPPORTED_VERSION);
    if (groupId === null) return failed(ErrorCode.INVALID_REQUEST, "Invalid group id.");
    if (!isMemberIdValid(memberId)) {
      return failed(ErrorCode.INVALID_REQUEST, "Invalid member id in the request.");
    }
    const { sessions } = context.services.shares;
    const errorCode = sessions.acknowledge(groupId, memberId, epoch);
    if (errorCode !== ErrorCode.NONE) return failed(errorCode);
    return acknowledge(context, { ...request, groupId, memberId }, epoch, version);
  },
  failure: (_request, _version, errorCode, message) => failed(errorCode, message),
};

function failed(errorCode: number, errorMessage?: string): ShareAcknowledgeResponse {
  return {
    throttleTimeMs: 0,
    errorCode,
    errorMessage: errorMessage ?? errorInfos.get(errorCode)?.message ?? null,
    acquisitionLockTimeoutMs: 0,
    responses: [],
    nodeEndpoints: [],
  };
}

async function acknowledge(
  context: RequestContext,
  request: AcknowledgeRequest,
  epoch: number,
  version: number,
): Promise<ShareAcknowledgeResponse> {
  const { groupId, memberId } = request;
  const results = await acknowledgeAll(context, request, version);
  if (epoch === finalEpoch) await endSession(context, groupId, memberId);
  const { recordLockDurationMs } = context.services.shares.settingsOf(groupId);
  return {
    throttleTimeMs: 0,
    errorCode: ErrorCode.NONE,
    errorMessage: null,
    acquisitionLockTimeoutMs: recordLockDurationMs,
    responses: [...Map.groupBy(results, ({ topicId }) => topicId)].map(([topicId, ofTopic]) => ({
      topicId,
      partitions: ofTopic.map(answerOf),
    })),
    nodeEndpoints: [],
  };
}

function answerOf({ partition, errorCode }: AcknowledgeResult) {
  const message = errorCode === ErrorCode.NONE ? null : errorInfos.get(errorCode)?.message;
  return {
    partitionIndex: partition,
    errorCode,
    errorMessage: message ?? null,
    currentLeader: leaderBeside(errorCode),
  };
}
