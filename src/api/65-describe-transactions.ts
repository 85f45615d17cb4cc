/** DescribeTransactions, v0 (KIP-664): what the coordinator knows of the named ids. */
import { batchSizeMax, inBatches } from "../group/in-batches.ts";
import {
  type DescribeTransactionsRequest,
  type DescribeTransactionsResponse,
  describeTransactionsApi,
} from "../protocol/messages/65-describe-transactions.ts";
import type { ApiHandler } from "./context.ts";

export const describeTransactionsHandler: ApiHandler<
  DescribeTransactionsRequest,
  DescribeTransactionsResponse
> = {
  codec: describeTransactionsApi,
  minVersion: 0,
  maxVersion: 0,
  async handle(context, request) {
    const { transactions } = context.services;
    const described = await inBatches(request.transactionalIds, batchSizeMax, (id) =>
      transactions.describe(id),
    );
    const transactionStates = described.map((one) => ({
      errorCode: one.errorCode,
      transactionalId: one.transactionalId,
      transactionState: one.state,
      transactionTimeoutMs: one.timeoutMs,
      transactionStartTimeMs: one.startMs,
      producerId: one.producerId,
      producerEpoch: one.producerEpoch,
      topics: [...one.partitions].map(([topic, indexes]) => ({ topic, partitions: [...indexes] })),
    }));
    return { throttleTimeMs: 0, transactionStates };
  },
  failure: (request, _version, errorCode) => ({
    throttleTimeMs: 0,
    transactionStates: request.transactionalIds.map((transactionalId) => ({
      errorCode,
      transactionalId,
      transactionState: "",
      transactionTimeoutMs: 0,
      transactionStartTimeMs: 0,
      producerId: 0,
      producerEpoch: 0,
      topics: [],
    })),
  }),
};
