/**
 * WriteTxnMarkers, v1 to v2: ends transactions in single partitions. Kafka's coordinators send it
 * to other brokers, administrators to a partition whose transaction hangs (KIP-664). Answered when
 * the markers are durable. v2 carries the transaction version, whose second asks for an epoch above
 * the producer's (KIP-890).
 */
import { batchSizeMax, inBatches } from "../group/in-batches.ts";
import type { Decoded } from "../protocol/api-codec.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type WriteTxnMarkersRequest,
  type WriteTxnMarkersRequestWritableTxnMarker,
  type WriteTxnMarkersResponse,
  type WriteTxnMarkersResponseWritableTxnMarkerResult,
  writeTxnMarkersApi,
} from "../protocol/messages/27-write-txn-markers.ts";
import type { ApiHandler, RequestContext } from "./context.ts";
import { findByName } from "./find-partition.ts";

type Marker = Decoded<WriteTxnMarkersRequestWritableTxnMarker>;
type Result = WriteTxnMarkersResponseWritableTxnMarkerResult;

export const writeTxnMarkersHandler: ApiHandler<WriteTxnMarkersRequest, WriteTxnMarkersResponse> = {
  codec: writeTxnMarkersApi,
  minVersion: 1,
  maxVersion: 2,
  async handle(context, request) {
    const markers: Result[] = [];
    // One after the other: two markers of one producer keep their order.
    for (const marker of request.markers) markers.push(await write(context, marker));
    return { markers };
  },
  failure: (request, _version, errorCode) => ({
    markers: request.markers.map((marker) => resultOf(marker, () => errorCode)),
  }),
};

async function write(context: RequestContext, marker: Marker): Promise<Result> {
  const { transactionVersion: version, producerId, producerEpoch, coordinatorEpoch } = marker;
  if (version !== 0 && version !== 1 && version !== 2) {
    return resultOf(marker, () => ErrorCode.UNSUPPORTED_VERSION);
  }
  const partitions = marker.topics.flatMap(({ name, partitionIndexes }) =>
    partitionIndexes.map((partition) => ({ topic: name, partition })),
  );
  const errorCodes = await inBatches(partitions, batchSizeMax, async ({ topic, partition }) => {
    // No producer has such an id or epoch; Kafka fails in the same way.
    if (producerId < 0 || producerEpoch < 0) {
      const found = findByName(context.services, topic, partition);
      return typeof found === "number" ? found : ErrorCode.UNKNOWN_SERVER_ERROR;
    }
    const outcome = await context.services.transactions.writeMarker(topic, partition, {
      producerId,
      producerEpoch,
      coordinatorEpoch,
      commit: marker.transactionResult,
      transactionVersion: version,
    });
    if (outcome.kind === "written") return ErrorCode.NONE;
    return outcome.kind === "gone" ? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION : outcome.errorCode;
  });
  let at = 0;
  return resultOf(marker, () => errorCodes[at++] ?? ErrorCode.UNKNOWN_SERVER_ERROR);
}

function resultOf(marker: Marker, errorOf: () => number): Result {
  const topics = marker.topics.map(({ name, partitionIndexes }) => ({
    name,
    partitions: partitionIndexes.map((partitionIndex) => ({
      partitionIndex,
      errorCode: errorOf(),
    })),
  }));
  return { producerId: marker.producerId, topics };
}
