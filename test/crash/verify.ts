import { fetchApi } from "../../src/protocol/messages/01-fetch.ts";
import { crc32c } from "../../src/protocol/crc32c.ts";
import { batchesIn, crcHolds, lastSequence, sizeInBytes } from "../../src/protocol/record-batch.ts";
import { type AckedLog, keptHash } from "./acked-log.ts";
import type { Requester } from "./requester.ts";

/** Everything of one partition, read once from offset 0: what was checked and how far it got. */
export interface PartitionReport {
  readonly nextOffset: number;
  readonly batches: number;
  readonly acknowledgedFound: number;
}

/** Reads a partition whole and checks: offsets dense, CRCs right, every producer's sequences
 * contiguous (nothing lost in between, nothing twice), every acknowledged batch at its offset with
 * its bytes. Throws at the first violation. */
export async function verifyPartition(
  client: Requester,
  topic: string,
  partition: number,
  acked: AckedLog,
): Promise<PartitionReport> {
  const expected = acked.byPartition.get(partition) ?? new Map();
  const sequences = new Map<number, number>();
  let next = 0;
  let batches = 0;
  let found = 0;
  for (;;) {
    const bytes = await fetchFrom(client, topic, partition, next);
    if (bytes.length === 0) break;
    for (const { position, header } of batchesIn(bytes)) {
      if (header.baseOffset !== next) {
        throw new Error(`partition ${partition}: offset ${next} expected, ${header.baseOffset} found`);
      }
      if (!crcHolds(bytes, position, header, crc32c)) {
        throw new Error(`partition ${partition}: batch at ${next} fails its CRC`);
      }
      const wanted = sequences.get(header.producerId) ?? 0;
      if (header.baseSequence !== wanted) {
        const what = `producer ${header.producerId} at offset ${next}`;
        throw new Error(`${what}: sequence ${wanted} expected, ${header.baseSequence} found`);
      }
      sequences.set(header.producerId, lastSequence(header) + 1);
      const ack = expected.get(header.baseOffset);
      if (ack) {
        const whole = bytes.subarray(position, position + sizeInBytes(header));
        if (keptHash(whole) !== ack.hash) {
          throw new Error(`partition ${partition}: batch at ${next} differs from the acknowledged one`);
        }
        found++;
      }
      next = header.baseOffset + header.lastOffsetDelta + 1;
      batches++;
    }
  }
  if (found !== expected.size) {
    throw new Error(
      `partition ${partition}: ${expected.size - found} of ${expected.size} acknowledged batches are missing (log ends at ${next})`,
    );
  }
  return { nextOffset: next, batches, acknowledgedFound: found };
}

async function fetchFrom(
  client: Requester,
  topic: string,
  partition: number,
  offset: number,
): Promise<Uint8Array> {
  const response = await client.request(fetchApi, 12, {
    replicaId: -1,
    maxWaitMs: 0,
    minBytes: 0,
    maxBytes: 8 << 20,
    isolationLevel: 0,
    sessionId: 0,
    sessionEpoch: -1,
    topics: [
      {
        topic,
        partitions: [
          {
            partition,
            currentLeaderEpoch: -1,
            fetchOffset: offset,
            lastFetchedEpoch: -1,
            logStartOffset: -1,
            partitionMaxBytes: 8 << 20,
          },
        ],
      },
    ],
    forgottenTopicsData: [],
    rackId: "",
  });
  const answer = response.responses[0]?.partitions[0];
  if (!answer || answer.errorCode !== 0) {
    throw new Error(`fetch of ${topic}-${partition} at ${offset}: error ${answer?.errorCode}`);
  }
  return answer.records ?? new Uint8Array();
}
