/**
 * FindCoordinator, v0 to v6: where the coordinator of a group, or (v1, key type 1) of a
 * transactional id is. v4 takes many keys at once. The first request for a partition of
 * `__consumer_offsets` or `__transaction_state` creates the topic.
 *
 * v6 share partitions (key type 2), by "group:topicId:partition".
 */
import { batchSizeMax, inBatches } from "../group/in-batches.ts";
import { ErrorCode, errorInfos } from "../protocol/error-code.ts";
import {
  type FindCoordinatorRequest,
  type FindCoordinatorResponse,
  type FindCoordinatorResponseCoordinator,
  findCoordinatorApi,
} from "../protocol/messages/10-find-coordinator.ts";
import type { ApiHandler, RequestContext } from "./context.ts";
import { findShareCoordinator } from "./find-share-coordinator.ts";

const groupKeyType = 0;
const transactionKeyType = 1;
const shareKeyType = 2;

export const findCoordinatorHandler: ApiHandler<FindCoordinatorRequest, FindCoordinatorResponse> = {
  codec: findCoordinatorApi,
  minVersion: 0,
  maxVersion: 6,
  async handle(context, request, version) {
    const keyType = request.keyType ?? groupKeyType;
    if (version >= 4) {
      const keys = request.coordinatorKeys ?? [];
      const coordinators = await inBatches(keys, batchSizeMax, (key) =>
        find(context, keyType, key, version),
      );
      return { coordinators };
    }
    const { key: _key, ...found } = await find(context, keyType, request.key ?? "", version);
    // The text Kafka sends in these versions where nothing is wrong.
    return found.errorCode === ErrorCode.NONE ? { ...found, errorMessage: "NONE" } : found;
  },
  failure(request, version, errorCode, errorMessage) {
    const nowhere = { nodeId: -1, host: "", port: -1, errorCode, errorMessage };
    if (version < 4) return nowhere;
    return { coordinators: request.coordinatorKeys.map((key) => ({ key, ...nowhere })) };
  },
};

async function find(
  context: RequestContext,
  keyType: number,
  key: string,
  version: number,
): Promise<FindCoordinatorResponseCoordinator> {
  const { listener } = context.session;
  const { groups, transactions } = context.services;
  const address = await (() => {
    switch (keyType) {
      case groupKeyType:
        return groups.findCoordinator(key, listener);
      case transactionKeyType:
        return transactions.findCoordinator(key, listener);
      case shareKeyType:
        return findShareCoordinator(context, key, version);
      default:
        return { errorCode: ErrorCode.INVALID_REQUEST, nodeId: -1, host: "", port: -1 };
    }
  })();
  const isFound = address.errorCode === ErrorCode.NONE;
  const errorMessage = isFound ? "" : (errorInfos.get(address.errorCode)?.message ?? "");
  return { key, ...address, errorMessage };
}
