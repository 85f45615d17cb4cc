/** The checkpoint file of a partition (design D2a); src/log/FORMAT.md is its description. (pure) */
import { BrokerError } from "../lib/errors.ts";
import { crc32c } from "../protocol/crc32c.ts";
import type { AbortedTransaction } from "./aborted-index.ts";
import type { AbortedRun } from "./aborted-run.ts";
import type { EpochStart } from "./leader-epochs.ts";
import type { ProducerBatch } from "./producer-entry.ts";
import type { ProducerSnapshot } from "./producer-state.ts";

export interface Checkpoint {
  readonly topicId: string;
  readonly partition: number;
  readonly logStart: number;
  /** Everything below is durable; WAL frames from here on come on top. */
  readonly logEnd: number;
  readonly epochs: readonly EpochStart[];
  readonly segmentIdNext: number;
  /** With their open transactions. */
  readonly producers: readonly ProducerSnapshot[];
  /** Aborted transactions that reach past the log start and what was archived, by marker. */
  readonly aborted: readonly AbortedTransaction[];
  /** Files with the aborted transactions before those, oldest first. */
  readonly abortedRuns: readonly AbortedRun[];
  /** End of what the archive registry covered; 0 when nothing was archived. */
  readonly archivedTo: number;
}

type BatchTuple = [number, number, number, number, number];
export type ProducerTuple = [number, number, number, number, number, BatchTuple[]];
/** Format 1: the epoch stood in every batch, and there were no transactions. */
type BatchTuple1 = [number, number, number, number, number, number];
type ProducerTuple1 = [number, BatchTuple1[]];

interface CheckpointJson {
  topic_id: string;
  partition: number;
  log_start: number;
  log_end: number;
  epochs: [number, number][];
  next_segment_id: number;
  archived_to: number;
}

interface CheckpointJson1 extends CheckpointJson {
  producers: ProducerTuple1[];
}

interface CheckpointJson2 extends CheckpointJson {
  producers: ProducerTuple[];
  aborted: [number, number, number, number][];
}

type RunTuple = [number, number, number, number, number, number, number];

interface CheckpointJson3 extends CheckpointJson2 {
  aborted_runs: RunTuple[];
}

const magic = "chronik-checkpoint";
const version = 3;
const headerPattern = /^chronik-checkpoint (\d+) ([0-9a-f]{8}) (\d+)$/;
const newline = 0x0a;

export function encodeCheckpoint(checkpoint: Checkpoint): Uint8Array {
  const json: CheckpointJson3 = {
    topic_id: checkpoint.topicId,
    partition: checkpoint.partition,
    log_start: checkpoint.logStart,
    log_end: checkpoint.logEnd,
    epochs: checkpoint.epochs.map(([epoch, start]) => [epoch, start]),
    next_segment_id: checkpoint.segmentIdNext,
    producers: encodeProducers(checkpoint.producers),
    aborted: checkpoint.aborted.map((entry) => [
      entry.producerId,
      entry.firstOffset,
      entry.lastOffset,
      entry.lastStableOffset,
    ]),
    aborted_runs: checkpoint.abortedRuns.map((run) => [
      run.id,
      run.blocks,
      run.entries,
      run.firstMarker,
      run.lastMarker,
      run.minFirstOffset,
      run.lastStableOffset,
    ]),
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
  const found = Number(match[1]);
  if (found < 1 || found > version) {
    throw new BrokerError(
      "CHRONIK_UNKNOWN_VERSION",
      `${file} has checkpoint format ${found}, this chronik reads 1 to ${version}: use a newer one`,
    );
  }
  const body = bytes.subarray(end + 1);
  if (body.length !== Number(match[3])) throw corrupt(file, "is cut short");
  if (crc32c(body) !== Number.parseInt(match[2] ?? "", 16))
    throw corrupt(file, "fails its checksum");
  const json = JSON.parse(Buffer.from(body).toString("utf8"));
  // The checksum is of the body alone: a damaged version must not pass for an older one.
  if (found !== formatOf(json)) throw corrupt(file, `is not of format ${found}`);
  if (found === 1) return fromFormat1(json);
  return found === 2 ? fromFormat2(json) : fromFormat3(json);
}

function formatOf(json: object): number {
  if ("aborted_runs" in json) return 3;
  return "aborted" in json ? 2 : 1;
}

/** Also what manifests carry: [[producer id, epoch, coordinator epoch, first offset of the open
 * transaction, timestamp, [[first and last sequence, first and last offset, timestamp]…]]…]. */
export function encodeProducers(producers: readonly ProducerSnapshot[]): ProducerTuple[] {
  return producers.map((producer) => [
    producer.producerId,
    producer.producerEpoch,
    producer.coordinatorEpoch,
    producer.transactionStart,
    producer.timestamp,
    producer.batches.map((batch) => [
      batch.firstSequence,
      batch.lastSequence,
      batch.firstOffset,
      batch.lastOffset,
      batch.timestamp,
    ]),
  ]);
}

function fromFormat3(json: CheckpointJson3): Checkpoint {
  const abortedRuns = json.aborted_runs.map(
    ([id, blocks, entries, firstMarker, lastMarker, minFirstOffset, lastStableOffset]) => {
      const markers = { firstMarker, lastMarker };
      return { id, blocks, entries, ...markers, minFirstOffset, lastStableOffset };
    },
  );
  return { ...fromFormat2(json), abortedRuns };
}

function fromFormat2(json: CheckpointJson2): Checkpoint {
  return {
    ...marks(json),
    producers: decodeProducers(json.producers),
    aborted: json.aborted.map(([producerId, firstOffset, lastOffset, lastStableOffset]) => ({
      producerId,
      firstOffset,
      lastOffset,
      lastStableOffset,
    })),
    abortedRuns: [],
  };
}

/** What `encodeProducers` made. */
export function decodeProducers(producers: readonly ProducerTuple[]): ProducerSnapshot[] {
  return producers.map(
    ([producerId, producerEpoch, coordinatorEpoch, transactionStart, timestamp, batches]) => ({
      producerId,
      producerEpoch,
      coordinatorEpoch,
      transactionStart,
      timestamp,
      batches: batches.map(decodeBatch),
    }),
  );
}

const noAborts = { aborted: [], abortedRuns: [] };

function fromFormat1(json: CheckpointJson1): Checkpoint {
  return { ...marks(json), producers: json.producers.flatMap(producerOf1), ...noAborts };
}

function producerOf1([producerId, batches]: ProducerTuple1): ProducerSnapshot[] {
  const last = batches.at(-1);
  if (last === undefined) return [];
  const [producerEpoch] = last;
  const ofEpoch = batches.filter(([epoch]) => epoch === producerEpoch);
  return [
    {
      producerId,
      producerEpoch,
      coordinatorEpoch: -1,
      transactionStart: -1,
      timestamp: last[5],
      batches: ofEpoch.map(([, ...batch]) => decodeBatch(batch)),
    },
  ];
}

function marks(json: CheckpointJson): Omit<Checkpoint, "producers" | "aborted" | "abortedRuns"> {
  return {
    topicId: json.topic_id,
    partition: json.partition,
    logStart: json.log_start,
    logEnd: json.log_end,
    epochs: json.epochs,
    segmentIdNext: json.next_segment_id,
    archivedTo: json.archived_to,
  };
}

function decodeBatch(tuple: BatchTuple): ProducerBatch {
  const [firstSequence, lastSequence, firstOffset, lastOffset, timestamp] = tuple;
  return { firstSequence, lastSequence, firstOffset, lastOffset, timestamp };
}

function corrupt(file: string, what: string): BrokerError {
  return new BrokerError("CHRONIK_CORRUPT", `${file} ${what}`);
}
