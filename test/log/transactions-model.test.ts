/** Random histories of producers, transactions, failures, crashes, archiving and deletions: what a
 * read_committed reader sees is what the model says was committed. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import type { AbortedRange } from "../../src/log/aborted-index.ts";
import type { LogLimits } from "../../src/log/config.ts";
import type { Partition } from "../../src/log/partition.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import {
  batchesIn,
  isControl,
  isTransactional,
  lastOffset,
  recordsPayload,
} from "../../src/protocol/record-batch.ts";
import { parseRecords } from "../../src/protocol/records.ts";
import { batch, LogLab, turn } from "../support/log-lab.ts";
import { MemoryArchive } from "../support/memory-archive.ts";
import { noSpace } from "../support/memory-wal.ts";

type Append =
  | { kind: "write"; who: number; inTransaction: boolean; count: number }
  | { kind: "end"; who: number; commit: boolean; bump: boolean };

type Step =
  | { kind: "group"; appends: Append[]; failAt: number | null; crash: boolean }
  | { kind: "seal" }
  | { kind: "checkpoint" }
  | { kind: "archive"; released: boolean }
  | { kind: "delete"; share: number }
  /** A file of aborted transactions is lost, cut or damaged. */
  | { kind: "harm"; which: number; how: "remove" | "cut" | "flip"; at: number }
  | { kind: "restart" };

/** A batch or marker that is durable. */
interface Written {
  readonly append: Append;
  readonly epoch: number;
  readonly sequence: number;
  readonly base: number;
  readonly last: number;
}

interface Producer {
  epoch: number;
  next: number;
  open: boolean;
}

const producers = 3;
const possible: readonly number[] = [ErrorCode.NONE, ErrorCode.KAFKA_STORAGE_ERROR];
const append: fc.Arbitrary<Append> = fc.oneof(
  fc.record({
    kind: fc.constant("write" as const),
    who: fc.nat(producers - 1),
    inTransaction: fc.boolean(),
    count: fc.integer({ min: 1, max: 3 }),
  }),
  fc.record({
    kind: fc.constant("end" as const),
    who: fc.nat(producers - 1),
    commit: fc.boolean(),
    bump: fc.boolean(),
  }),
);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({
      kind: fc.constant("group" as const),
      appends: fc.array(append, { minLength: 1, maxLength: 6 }),
      failAt: fc.option(fc.nat(5), { freq: 4 }),
      crash: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.constant({ kind: "seal" as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: "checkpoint" as const }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("archive" as const), released: fc.boolean() }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("delete" as const),
      share: fc.double({ min: 0, max: 1, noNaN: true }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("harm" as const),
      which: fc.nat(1),
      how: fc.constantFrom("remove" as const, "cut" as const, "flip" as const),
      at: fc.nat(1_000),
    }),
  },
  { weight: 2, arbitrary: fc.constant({ kind: "restart" as const }) },
);

class World {
  readonly cold = new MemoryArchive();
  lab: LogLab;
  partition!: Partition;
  log: Written[] = [];
  /** Aborted transactions were seen in archives, in files, and in the log for want of a file. */
  archivedAborts = 0;
  spilledRuns = 0;
  rebuilt = 0;

  constructor(limits: Partial<LogLimits>, segmentBytesMax: number) {
    this.lab = new LogLab({ auto: false, cold: this.cold, limits });
    this.lab.wal.segmentBytesMax = segmentBytesMax;
  }

  async open(): Promise<void> {
    this.partition = await this.lab.open();
    expect(this.partition.damage).toBeNull();
  }

  async restart(): Promise<void> {
    this.count();
    const { segmentBytesMax } = this.lab.wal;
    this.lab = this.lab.restart();
    this.lab.wal.segmentBytesMax = segmentBytesMax;
    await this.open();
  }

  count(): void {
    this.rebuilt += this.lab.heard.filter((what) => what.startsWith("aborts rebuilt")).length;
    const files = [...this.lab.disk.files.keys()];
    this.spilledRuns += files.filter((path) => path.includes("/aborted-")).length;
  }

  /** What the durable log says of a producer. */
  producer(who: number): Producer {
    const state: Producer = { epoch: 0, next: 0, open: false };
    for (const one of this.log) if (one.append.who === who) apply(state, one.append, one.epoch);
    return state;
  }

  async run(one: Step): Promise<void> {
    switch (one.kind) {
      case "group":
        return this.group(one);
      case "seal":
        return this.partition.seal();
      case "checkpoint":
        return this.partition.checkpoint();
      case "archive":
        await this.cold.take(this.partition, one.released);
        this.archivedAborts = this.cold.aborted.length;
        return;
      case "delete": {
        const offset = Math.floor(this.partition.highWatermark * one.share);
        await this.partition.deleteRecordsBefore(offset);
        return;
      }
      case "harm":
        this.harm(one);
        return;
      case "restart":
        return this.restart();
    }
  }

  private harm({ which, how, at }: Step & { kind: "harm" }): void {
    const { files } = this.lab.disk;
    const runs = [...files.keys()].filter((path) => path.includes("/aborted-"));
    const path = runs[which];
    const bytes = path === undefined ? undefined : files.get(path);
    if (path === undefined || bytes === undefined) return;
    const place = at % bytes.length;
    if (how === "remove") files.delete(path);
    else if (how === "cut") files.set(path, bytes.slice(0, place));
    else files.set(path, bytes.with(place, bytes[place]! ^ 0xff));
  }

  /** Submits all at once; some get through, the rest fails or is never answered. */
  private async group({ appends, failAt, crash }: Step & { kind: "group" }): Promise<void> {
    const states = Array.from({ length: producers }, (_, who) => this.producer(who));
    const answered: (Written & { code: number })[] = [];
    let submitted = 0;
    for (const one of appends) {
      const state = states[one.who]!;
      const epoch = state.epoch + (one.kind === "end" && one.bump ? 1 : 0);
      const sequence = state.next;
      const expected: number =
        one.kind === "write" && state.open && !one.inTransaction
          ? ErrorCode.INVALID_TXN_STATE
          : ErrorCode.NONE;
      const answer = this.submit(one, epoch, sequence);
      void answer.then(({ errorCode: code, baseOffset: base }) => {
        const last = base + (one.kind === "write" ? one.count : 1) - 1;
        if (expected !== ErrorCode.NONE) expect(code).toBe(expected);
        else expect(possible).toContain(code);
        answered.push({ append: one, epoch, sequence, base, last, code });
      });
      if (expected !== ErrorCode.NONE) continue;
      submitted++;
      apply(state, one, epoch);
    }
    this.lab.wal.complete(failAt === null ? submitted : Math.min(failAt, submitted));
    if (failAt !== null && !crash) {
      this.lab.wal.failWhen = () => noSpace();
      this.lab.wal.complete();
      this.lab.wal.failWhen = () => null;
    }
    await turn();
    const written = answered.filter(({ code }) => code === ErrorCode.NONE);
    this.log.push(...written.sort((a, b) => a.base - b.base));
    if (crash) await this.restart();
  }

  private submit(one: Append, epoch: number, sequence: number) {
    const producerId = one.who + 100;
    if (one.kind === "end") {
      const { commit } = one;
      const version = { coordinatorEpoch: 1, transactionVersion: 1 };
      return this.partition.appendMarker({ producerId, producerEpoch: epoch, commit, ...version });
    }
    const values = Array.from(
      { length: one.count },
      (_, n) => `${one.who}/${epoch}/${sequence + n}`,
    );
    const options = { producerId, producerEpoch: epoch, baseSequence: sequence };
    const isTransactional = one.inTransaction;
    return this.partition.append(batch({ values, ...options, isTransactional }), {
      origin: "client",
    });
  }

  /** Offsets and values of what was committed, and the first offset that is not decided. */
  committed(): { values: [number, string][]; end: number } {
    const values: [number, string][] = [];
    const open = new Map<number, Written[]>();
    for (const one of this.log) {
      const { append: what, base, sequence, epoch } = one;
      if (what.kind === "end") {
        const writes = open.get(what.who) ?? [];
        open.delete(what.who);
        if (what.commit) for (const write of writes) values.push(...recordsOf(write));
        continue;
      }
      if (what.inTransaction) open.set(what.who, [...(open.get(what.who) ?? []), one]);
      else values.push(...recordsOf({ append: what, base, sequence, epoch, last: one.last }));
    }
    const starts = [...open.values()].map(([first]) => first!.base);
    const log = this.partition;
    const end = Math.max(log.logStartOffset, Math.min(...starts, log.highWatermark));
    values.sort(([a], [b]) => a - b);
    return { values: values.filter(([offset]) => offset < end), end };
  }

  async check(bytesMax: number): Promise<void> {
    const { partition } = this;
    const end = (this.log.at(-1)?.last ?? -1) + 1;
    expect(partition.highWatermark).toBe(end);
    const expected = this.committed();
    expect(partition.lastStableOffset).toBe(expected.end);
    expect(partition.archivableEnd).toBe(expected.end);
    for (let from = partition.logStartOffset; from <= end; from++) {
      const seen = await readCommitted(partition, from, bytesMax);
      expect(seen).toEqual(expected.values.filter(([offset]) => offset >= from));
    }
    for (let who = 0; who < producers; who++) {
      const { epoch, open } = this.producer(who);
      expect(partition.hasOpenTransaction(who + 100, epoch)).toBe(open);
    }
  }
}

function apply(state: Producer, one: Append, epoch: number): void {
  if (one.kind === "end") {
    state.next = epoch === state.epoch ? state.next : 0;
    state.epoch = epoch;
    state.open = false;
    return;
  }
  state.next += one.count;
  state.open ||= one.inTransaction;
}

function recordsOf({ append: what, base, sequence, epoch }: Written): [number, string][] {
  const count = what.kind === "write" ? what.count : 0;
  return Array.from({ length: count }, (_, n) => [
    base + n,
    `${what.who}/${epoch}/${sequence + n}`,
  ]);
}

/** As Kafka's consumer does it: one response after the other, each with its own list. */
async function readCommitted(
  partition: Partition,
  from: number,
  bytesMax: number,
): Promise<[number, string][]> {
  const seen: [number, string][] = [];
  for (let offset = from; ; ) {
    const offsetLimit = partition.lastStableOffset;
    const read = await partition.read({ offset, bytesMax, offsetLimit, withAborted: true });
    expect(read.errorCode).toBe(ErrorCode.NONE);
    const aborted = [...read.aborted!];
    expect(aborted).toEqual(aborted.toSorted((a, b) => a.firstOffset - b.firstOffset));
    if (read.bytes === 0) return seen;
    seen.push(...visible(Buffer.concat(read.chunks as Uint8Array[]), offset, aborted));
    offset = read.nextOffset;
  }
}

function visible(bytes: Uint8Array, from: number, aborted: AbortedRange[]): [number, string][] {
  const seen: [number, string][] = [];
  const skipped = new Set<number>();
  for (const { position, header } of batchesIn(bytes)) {
    while (aborted[0] !== undefined && aborted[0].firstOffset <= lastOffset(header)) {
      skipped.add(aborted.shift()!.producerId);
    }
    const records = parseRecords(recordsPayload(bytes, position, header), header);
    if (isControl(header.attributes)) {
      const isAbort = Buffer.from(records[0]!.key!).readInt16BE(2) === 0;
      if (isAbort) skipped.delete(header.producerId);
      continue;
    }
    if (isTransactional(header.attributes) && skipped.has(header.producerId)) continue;
    for (const { offsetDelta, value } of records) {
      const offset = header.baseOffset + offsetDelta;
      if (offset >= from) seen.push([offset, Buffer.from(value!).toString()]);
    }
  }
  return seen;
}

test("read_committed sees what the model says was committed, whatever happened", async () => {
  const shape = fc.record({
    steps: fc.array(step, { minLength: 1, maxLength: 14 }),
    limits: fc.record({
      tailCacheBytesMax: fc.constantFrom(0, 2_000, 1 << 20),
      abortedSpillMin: fc.constantFrom(1, 1, 2, 8_192),
    }),
    segmentBytesMax: fc.integer({ min: 200, max: 2_000 }),
    bytesMax: fc.constantFrom(1, 300, 1 << 20),
  });
  let archivedAborts = 0;
  let spilledRuns = 0;
  let rebuilt = 0;
  await fc.assert(
    fc.asyncProperty(shape, async (p) => {
      const world = new World(p.limits, p.segmentBytesMax);
      await world.open();
      for (const one of p.steps) {
        await world.run(one);
        await world.check(p.bytesMax);
      }
      world.count();
      archivedAborts += world.archivedAborts;
      spilledRuns += world.spilledRuns;
      rebuilt += world.rebuilt;
    }),
    { numRuns: 400 },
  );
  // The histories reach the archives, the files, and files that are lost.
  expect(archivedAborts).toBeGreaterThan(0);
  expect(spilledRuns).toBeGreaterThan(0);
  expect(rebuilt).toBeGreaterThan(0);
}, 60_000);
