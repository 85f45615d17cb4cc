/** The checkpoint file of a partition (design D2a); src/log/FORMAT.md is its description. (pure) */
import { BrokerError } from "../lib/errors.ts";
import { crc32c } from "../protocol/crc32c.ts";
import type { EpochStart } from "./leader-epochs.ts";
import type { ProducerBatch, ProducerSnapshot } from "./producer-state.ts";

export interface Checkpoint {
  readonly topicId: string;
  readonly partition: number;
  readonly logStart: number;
  /** Everything below is durable; WAL frames from here on come on top. */
  readonly logEnd: number;
  readonly epochs: readonly EpochStart[];
  readonly segmentIdNext: number;
  readonly producers: readonly ProducerSnapshot[];
  /** End of what the archive registry covered; 0 when nothing was archived. */
  readonly archivedTo: number;
}

type BatchTuple = [number, number, number, number, number, number];

interface CheckpointJson {
  topic_id: string;
  partition: number;
  log_start: number;
  log_end: number;
  epochs: [number, number][];
  next_segment_id: number;
  producers: [number, BatchTuple[]][];
  archived_to: number;
}

const magic = "chronik-checkpoint";
const version = 1;
const headerPattern = /^chronik-checkpoint (\d+) ([0-9a-f]{8}) (\d+)$/;
const newline = 0x0a;

export function encodeCheckpoint(checkpoint: Checkpoint): Uint8Array {
  const json: CheckpointJson = {
    topic_id: checkpoint.topicId,
    partition: checkpoint.partition,
    log_start: checkpoint.logStart,
    log_end: checkpoint.logEnd,
    epochs: checkpoint.epochs.map(([epoch, start]) => [epoch, start]),
    next_segment_id: checkpoint.segmentIdNext,
    producers: encodeProducers(checkpoint.producers),
    archived_to: checkpoint.archivedTo,
  };
  const body = Buffer.from(JSON.stringify(json));
  const crc = crc32c(body).toString(16).padStart(8, "0");
  return Buffer.concat([Buffer.from(`${magic} ${version} ${crc} ${body.length}\n`), body]);
}

/** Throws BrokerError: CHRONIK_UNKNOWN_VERSION for a later format, CHRONIK_CORRUPT otherwise. */
export function decodeCheckpoint(bytes: Uint8Array, file: string): Checkpoint {
  const end = bytes.indexOf(newline);
  const header = Buffer.from(bytes.subarray(0, Math.max(0, end))).toString("latin1");
  const match = headerPattern.exec(header);
  if (match === null) throw corrupt(file, "has no checkpoint header");
  if (Number(match[1]) !== version) {
    throw new BrokerError(
      "CHRONIK_UNKNOWN_VERSION",
      `${file} has checkpoint format ${match[1]}, this chronik reads ${version}: use a newer one`,
    );
  }
  const body = bytes.subarray(end + 1);
  if (body.length !== Number(match[3])) throw corrupt(file, "is cut short");
  if (crc32c(body) !== Number.parseInt(match[2] ?? "", 16))
    throw corrupt(file, "fails its checksum");
  const json: CheckpointJson = JSON.parse(Buffer.from(body).toString("utf8"));
  return {
    topicId: json.topic_id,
    partition: json.partition,
    logStart: json.log_start,
    logEnd: json.log_end,
    epochs: json.epochs,
    segmentIdNext: json.next_segment_id,
    producers: decodeProducers(json.producers),
    archivedTo: json.archived_to,
  };
}

/** Also what manifests carry: [[producer id, [[epoch, first and last sequence, first and last
 * offset, timestamp]…]]…]. */
export function encodeProducers(producers: readonly ProducerSnapshot[]): [number, BatchTuple[]][] {
  return producers.map(({ producerId, batches }) => [
    producerId,
    batches.map((batch) => [
      batch.producerEpoch,
      batch.firstSequence,
      batch.lastSequence,
      batch.firstOffset,
      batch.lastOffset,
      batch.timestamp,
    ]),
  ]);
}

export function decodeProducers(json: readonly [number, BatchTuple[]][]): ProducerSnapshot[] {
  return json.map(([producerId, batches]) => ({
    producerId,
    batches: batches.map(
      ([producerEpoch, firstSequence, lastSequence, firstOffset, lastOffset, timestamp]) =>
        ({
          producerEpoch,
          firstSequence,
          lastSequence,
          firstOffset,
          lastOffset,
          timestamp,
        }) satisfies ProducerBatch,
    ),
  }));
}

function corrupt(file: string, what: string): BrokerError {
  return new BrokerError("CHRONIK_CORRUPT", `${file} ${what}`);
}
