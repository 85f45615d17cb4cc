/**
 * AddOffsetsToTxn, v0 to v4: takes the group's partition of `__consumer_offsets` into the
 * transaction, so that TxnOffsetCommit may follow. Producers of transaction version 2 go without.
 * v2 PRODUCER_FENCED.
 */
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type AddOffsetsToTxnRequest,
  type AddOffsetsToTxnResponse,
  addOffsetsToTxnApi,
} from "../protocol/messages/25-add-offsets-to-txn.ts";
import type { ApiHandler } from "./context.ts";
import { fencedError } from "./transactional.ts";

const fencedFrom = 2;

export const addOffsetsToTxnHandler: ApiHandler<AddOffsetsToTxnRequest, AddOffsetsToTxnResponse> = {
  codec: addOffsetsToTxnApi,
  minVersion: 0,
  maxVersion: 4,
  async handle(context, request, version) {
    const { groups, transactions } = context.services;
    const { groupId, ...producer } = request;
    const partition = groups.partitionFor(groupId);
    // The topic is there before a transaction counts on it.
    const { errorCode: groupError } = await groups.findCoordinator(
      groupId,
      context.session.listener,
    );
    if (groupError !== ErrorCode.NONE) return { throttleTimeMs: 0, errorCode: groupError };
    const errorCode = await transactions.addPartitions({
      ...producer,
      partitions: [{ topic: "__consumer_offsets", partition }],
      clientVersion: 0,
    });
    return { throttleTimeMs: 0, errorCode: fencedError(errorCode, version, fencedFrom) };
  },
  failure: (_request, _version, errorCode) => ({ throttleTimeMs: 0, errorCode }),
};
