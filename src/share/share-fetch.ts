import type { Clock } from "../lib/clock.ts";
import { ColdPatience } from "../log/cold-patience.ts";
import type { ReadResult } from "../log/partition-reader.ts";
import type { Partitions } from "../log/partitions.ts";
import { ReadGrant } from "../log/read-budget.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import { Pieces } from "../protocol/pieces.ts";
import { type BatchHeader, batchesIn, lastOffset, sizeInBytes } from "../protocol/record-batch.ts";
import { abortedBatches, type OffsetRange } from "./aborted-batches.ts";
import type { AcquiredRange, AcquireMode, LogBatch } from "./acquire.ts";
import type { TopicIdPartition } from "./sessions.ts";
import type { ShareGroups } from "./share-groups.ts";
import type { SharePartition } from "./share-partition.ts";

export interface ShareFetchRequest {
  readonly groupId: string;
  readonly memberId: string;
  readonly maxWaitMs: number;
  readonly minBytes: number;
  readonly maxBytes: number;
  readonly maxRecords: number;
  readonly batchSize: number;
  readonly mode: AcquireMode;
  /** In the order in which they are to be served. */
  readonly partitions: readonly TopicIdPartition[];
  readonly signal: AbortSignal;
}

/** What one partition answers; those with nothing to say are left out. */
export interface ShareFetched extends TopicIdPartition {
  readonly errorCode: number;
  readonly records: Uint8Array | Pieces;
  readonly acquired: readonly AcquiredRange[];
  /** Some of the records are of archives. */
  readonly isCold?: boolean;
}

interface Reading {
  readonly share: SharePartition;
  readonly fetchOffset: number;
  readonly read: ReadResult;
  readonly logBatches: readonly LogBatch[];
  /** Batches of transactions that were aborted. */
  readonly aborted: readonly OffsetRange[];
}

export const noRecords = new Uint8Array(0);

/** Reads and acquires for one ShareFetch; waits while there is nothing to acquire. */
export class ShareFetcher {
  private readonly groups: ShareGroups;
  private readonly partitions: Partitions;
  private readonly clock: Clock;

  constructor(groups: ShareGroups, partitions: Partitions, clock: Clock) {
    this.groups = groups;
    this.partitions = partitions;
    this.clock = clock;
  }

  async fetch(request: ShareFetchRequest): Promise<ShareFetched[]> {
    const { maxBytes, maxRecords, partitions } = request;
    if (partitions.length === 0 || maxRecords <= 0 || maxBytes <= 0) return [];
    const endMs = this.clock.monotonicMs() + request.maxWaitMs;
    const { isolation } = this.groups.settingsOf(request.groupId);
    const patience = new ColdPatience(this.clock, this.clock.monotonicMs(), request.maxWaitMs);
    const { rounds, failed } = await this.load(request);
    const shares = rounds.flat();
    if (shares.length === 0) return failed;
    for (;;) {
      const asked = rounds.shift() ?? shares;
      const isEveryone = asked.length === shares.length;
      const before = isEveryone ? changesOf(shares) : 0;
      const reading = this.readAll(asked, request, patience);
      const readings = await reading.finally(() => patience.end());
      const bytes = readings.reduce((sum, { read }) => sum + read.bytes, 0);
      const hasError = readings.some(({ read }) => read.errorCode !== ErrorCode.NONE);
      const waitMs = endMs - this.clock.monotonicMs();
      const bytesMin = Math.max(1, Math.min(request.minBytes, maxBytes));
      if (request.signal.aborted) {
        // Nobody would take what is acquired, and its locks would keep it from others.
        for (const { share } of readings) share.endRead();
        return failed;
      }
      const isOver = waitMs <= 0 || asked.some((one) => !one.isOpen);
      if (hasError || isOver || bytes >= bytesMin) {
        const fetched = this.acquireAll(readings, request);
        if (fetched.length > 0 || (isOver && isEveryone)) return [...fetched, ...failed];
      } else {
        for (const { share } of readings) share.endRead();
      }
      if (!isEveryone || changesOf(shares) !== before) continue;
      const sources = [...shares, ...shares.map(({ log }) => log)];
      const missing = Math.max(1, bytesMin - bytes);
      const parked = this.partitions.waiters.park(
        sources,
        missing,
        waitMs,
        request.signal,
        isolation,
      );
      if (parked === null) return failed;
      await parked;
    }
  }

  /**
   * The share partitions, in the order in which they are asked: first those that others read
   * already, then one by one those whose state was read now. So the first member of a group does
   * not take all that there is while the next ones are on their way, as in Kafka, where a fetch is
   * answered by the first share partition that is ready.
   */
  private async load(
    request: ShareFetchRequest,
  ): Promise<{ rounds: SharePartition[][]; failed: ShareFetched[] }> {
    const known: SharePartition[] = [];
    const fresh: SharePartition[] = [];
    const failed: ShareFetched[] = [];
    const fail = (one: TopicIdPartition, errorCode: number) =>
      failed.push({ ...one, errorCode, records: noRecords, acquired: [] });
    const jobs = request.partitions.map(async (one) => {
      const share = this.groups.partition(request.groupId, one);
      if (typeof share === "number") {
        fail(one, share);
        return;
      }
      if (share.isLoaded) {
        known.push(share);
        return;
      }
      const errorCode = await share.load();
      if (errorCode === ErrorCode.NONE) {
        fresh.push(share);
        return;
      }
      this.groups.drop(share);
      fail(one, errorCode);
    });
    await Promise.all(jobs);
    const rounds = [known, ...fresh.map((share) => [share])];
    return { rounds: rounds.filter((round) => round.length > 0), failed };
  }

  /** Whoever is among the results reads until it acquired or gave up. */
  private async readAll(
    shares: readonly SharePartition[],
    request: ShareFetchRequest,
    patience: ColdPatience,
  ): Promise<Reading[]> {
    const { isolation } = this.groups.settingsOf(request.groupId);
    const grant = new ReadGrant(this.partitions.readBudget, request.maxBytes);
    const share = Math.max(1, Math.floor(grant.bytes / shares.length));
    const readings: Reading[] = [];
    let bytes = 0;
    try {
      for (const one of shares) {
        const { log } = one;
        const isCommitted = isolation === "read_committed";
        const offsetLimit = isCommitted ? log.lastStableOffset : log.highWatermark;
        const offset = one.beginRead(offsetLimit);
        if (offset === null) continue;
        const bytesMax = Math.min(share, grant.bytes - bytes);
        const firstBatchAnyway = bytes === 0;
        const limits = { offset, bytesMax, offsetLimit, firstBatchAnyway };
        const options = { ...limits, coldPatience: patience.wait };
        const reading = readOrEnd(one, { ...options, withAborted: isCommitted });
        const read =
          reading instanceof Promise ? await grant.during(reading, bytes + bytesMax) : reading;
        bytes += read.bytes;
        const headers = read.chunks.flatMap(headersIn);
        const aborted = abortedBatches(headers, read.aborted ?? []);
        const logBatches = headers.map(rangeOf);
        readings.push({ share: one, fetchOffset: offset, read, logBatches, aborted });
      }
    } catch (error) {
      for (const reading of readings) reading.share.endRead();
      throw error;
    } finally {
      grant.end();
    }
    return readings;
  }

  private acquireAll(readings: readonly Reading[], request: ShareFetchRequest): ShareFetched[] {
    const fetched: ShareFetched[] = [];
    let left = request.maxRecords;
    for (const { share, fetchOffset, read, logBatches, aborted } of readings) {
      const { topicId, partition } = share.key;
      const { errorCode } = read;
      // The log's start moved on meanwhile: the next read begins there.
      const isError = errorCode !== ErrorCode.NONE && errorCode !== ErrorCode.OFFSET_OUT_OF_RANGE;
      if (isError)
        fetched.push({ topicId, partition, errorCode, records: noRecords, acquired: [] });
      const { memberId, mode, batchSize } = request;
      const wanted = { memberId, mode, batchSize, maxRecords: left, fetchOffset, logBatches };
      const acquired = share.acquire(wanted, aborted);
      share.endRead();
      const [first] = acquired;
      const last = acquired.at(-1);
      if (first === undefined || last === undefined) continue;
      for (const range of acquired) left -= range.last - range.first + 1;
      const records = slice(read.chunks, first.first, last.last);
      const isCold = read.isCold === true;
      fetched.push({ topicId, partition, errorCode: ErrorCode.NONE, records, acquired, isCold });
    }
    return fetched;
  }
}

/** A failure ends the read that was begun. */
function readOrEnd(
  share: SharePartition,
  options: Parameters<SharePartition["log"]["read"]>[0],
): ReadResult | Promise<ReadResult> {
  const ended = (error: unknown): never => {
    share.endRead();
    throw error;
  };
  try {
    const read = share.log.read(options);
    return read instanceof Promise ? read.catch(ended) : read;
  } catch (error) {
    return ended(error);
  }
}

/** Only its growth says something. */
function changesOf(shares: readonly SharePartition[]): number {
  let changes = 0;
  for (const share of shares)
    changes += share.changes + share.log.bytesAdvanced + share.log.stableBytesAdvanced;
  return changes;
}

function headersIn(chunk: Uint8Array): BatchHeader[] {
  return [...batchesIn(chunk)].map(({ header }) => header);
}

function rangeOf(header: BatchHeader): LogBatch {
  return { base: header.baseOffset, last: lastOffset(header) };
}

/** The batches that hold offsets of [first, last]. */
function slice(chunks: readonly Uint8Array[], first: number, last: number): Uint8Array | Pieces {
  const parts: Uint8Array[] = [];
  for (const chunk of chunks) {
    let from = chunk.length;
    let to = 0;
    for (const { position, header } of batchesIn(chunk)) {
      if (lastOffset(header) < first || header.baseOffset > last) continue;
      from = Math.min(from, position);
      to = position + sizeInBytes(header);
    }
    if (from < to) parts.push(chunk.subarray(from, to));
  }
  const [only] = parts;
  if (only === undefined) return noRecords;
  return parts.length === 1 ? only : new Pieces(parts);
}
