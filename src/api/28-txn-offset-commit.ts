/**
 * TxnOffsetCommit, v0 to v6: offsets of a group inside a producer's transaction, which count when
 * it is committed. v3 the member's id and generation, checked where given (KIP-447) · v4
 * TRANSACTION_ABORTABLE · v5 the group's partition joins the transaction on the way · v6 topic ids.
 */
import type { CommitPartition } from "../group/api-types.ts";
import type { Decoded } from "../protocol/api-codec.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type TxnOffsetCommitRequest,
  type TxnOffsetCommitResponse,
  txnOffsetCommitApi,
} from "../protocol/messages/28-txn-offset-commit.ts";
import type { ApiHandler, RequestContext } from "./context.ts";
import { commitFailure, commitTopics } from "./offset-commit-topics.ts";
import { offsetCommitSupport, verificationError } from "./transactional.ts";

type Request = Decoded<TxnOffsetCommitRequest>;

const topicIdsFrom = 6;
const loadErrorFrom = 2;

export const txnOffsetCommitHandler: ApiHandler<TxnOffsetCommitRequest, TxnOffsetCommitResponse> = {
  codec: txnOffsetCommitApi,
  minVersion: 0,
  maxVersion: 6,
  async handle(context, request, version) {
    const { groups } = context.services;
    const { topics, valid, settle } = commitTopics(
      groups.topics,
      request.topics,
      version >= topicIdsFrom,
    );
    if (valid.length > 0) {
      const errorCodes = await commit(context, request, version, valid);
      settle(version < loadErrorFrom ? errorCodes.map(oldLoadError) : errorCodes);
    }
    return { throttleTimeMs: 0, topics };
  },
  failure: (request, _version, errorCode) => ({
    throttleTimeMs: 0,
    topics: commitFailure(request.topics, errorCode),
  }),
};

async function commit(
  context: RequestContext,
  request: Request,
  version: number,
  partitions: readonly CommitPartition[],
): Promise<readonly number[]> {
  const { groups, transactions } = context.services;
  const { transactionalId, producerId, producerEpoch, groupId } = request;
  const all = (errorCode: number) => partitions.map(() => errorCode);
  if (groupId === "") return all(ErrorCode.INVALID_GROUP_ID);
  const support = offsetCommitSupport(version);
  const where = {
    transactionalId,
    producerId,
    producerEpoch,
    topic: "__consumer_offsets",
    partition: groups.partitionFor(groupId),
  };
  // The partition exists before the transaction counts on it.
  const { errorCode: groupError } = await groups.findCoordinator(groupId, context.session.listener);
  if (groupError !== ErrorCode.NONE) return all(groupError);
  const addIfMissing = support.addsPartitions;
  const verified = await transactions.verifyOrAdd({ ...where, addIfMissing });
  if (verified !== ErrorCode.NONE) return all(verificationError(verified, support));
  return await groups.commitTransactionalOffsets({
    groupId,
    memberId: request.memberId,
    groupInstanceId: request.groupInstanceId,
    generationId: request.generationIdOrMemberEpoch,
    writer: { producerId, producerEpoch, check: () => transactions.appendError(where) },
    partitions,
  });
}

/** Producers of that time break on a coordinator that loads. */
function oldLoadError(errorCode: number): number {
  const isLoading = errorCode === ErrorCode.COORDINATOR_LOAD_IN_PROGRESS;
  return isLoading ? ErrorCode.COORDINATOR_NOT_AVAILABLE : errorCode;
}
