import { expect, test } from "bun:test";
import fc from "fast-check";
import { AbortedBudget } from "../../src/log/aborted-budget.ts";
import { AbortedHistory, AbortedLab } from "../support/aborted-lab.ts";
import { batch, LogLab, turn } from "../support/log-lab.ts";
import { noSpace } from "../support/memory-wal.ts";

type Step =
  | { kind: "grow"; steps: number }
  | { kind: "spill" }
  | { kind: "checkpoint" }
  | { kind: "crash" }
  | { kind: "delete"; share: number }
  | { kind: "harm"; which: number; how: "remove" | "cut" | "flip"; at: number }
  | { kind: "ask"; from: number; to: number };

const share = fc.double({ min: 0, max: 1, noNaN: true });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant("grow" as const), steps: fc.nat(2_000) }),
  },
  { weight: 4, arbitrary: fc.constant({ kind: "spill" as const }) },
  { weight: 2, arbitrary: fc.constant({ kind: "checkpoint" as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: "crash" as const }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("delete" as const), share }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("harm" as const),
      which: fc.nat(3),
      how: fc.constantFrom("remove" as const, "cut" as const, "flip" as const),
      at: fc.nat(60_000),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant("ask" as const), from: share, to: share }),
  },
);

function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

function harm(lab: AbortedLab, { which, how, at }: Step & { kind: "harm" }): void {
  const path = lab.paths[which];
  const bytes = path === undefined ? undefined : lab.disk.files.get(path);
  if (path === undefined || bytes === undefined) return;
  const place = at % bytes.length;
  if (how === "remove") lab.disk.files.delete(path);
  else if (how === "cut") lab.disk.files.set(path, bytes.slice(0, place));
  else lab.disk.files.set(path, bytes.with(place, bytes[place]! ^ 1));
}

async function ask(lab: AbortedLab, fromShare: number, toShare: number): Promise<void> {
  const { history } = lab;
  const span = history.end - history.start;
  const [a, b] = [fromShare, toShare].map((part) => history.start + Math.floor(span * part));
  const [from, to] = [Math.min(a!, b!), Math.max(a!, b!)];
  const found = await lab.log.overlapping(from, to);
  const expected = history.overlapping(from, to);
  if (from >= to) return expect(found).toEqual([]);
  // What a scan finds of one that began in front of the log's start begins at its first batch that
  // is left; one that is not left at all need not be told of.
  const visible = (one: { firstOffset: number }) => Math.max(one.firstOffset, history.start);
  const told = new Set(found.map((one) => `${one.producerId}/${one.lastOffset}`));
  const lost = expected.filter((one) => !told.has(`${one.producerId}/${one.lastOffset}`));
  expect(lost.filter((one) => one.firstOffset >= history.start)).toEqual([]);
  const markers = found.map(({ lastOffset }) => lastOffset);
  expect(markers).toEqual(markers.toSorted((x, y) => x - y));
  expect(new Set(markers).size).toBe(markers.length);
  const known = new Map(expected.map((one) => [one.lastOffset, one]));
  for (const one of found) {
    const model = known.get(one.lastOffset);
    expect(model?.producerId).toBe(one.producerId);
    if (one.firstOffset !== model?.firstOffset) {
      expect(one.firstOffset).toBeGreaterThanOrEqual(visible(model!));
      expect(model!.firstOffset).toBeLessThan(history.start);
    }
  }
}

test("whatever is spilled, deleted, lost or crashed: what readers need is told", async () => {
  const shape = fc.record({
    seed: fc.nat(),
    unharmed: fc.boolean(),
    producers: fc.integer({ min: 1, max: 40 }),
    steps: fc.array(step, { minLength: 5, maxLength: 30 }),
  });
  let rebuilt = 0;
  let fromFiles = 0;
  await fc.assert(
    fc.asyncProperty(shape, async (p) => {
      const lab = new AbortedLab(new AbortedHistory(seeded(p.seed)), 1);
      const steps = p.steps.filter(({ kind }) => !p.unharmed || kind !== "harm");
      for (const one of steps) {
        if (one.kind === "grow") lab.grow(one.steps, p.producers);
        else if (one.kind === "spill") await lab.log.spill();
        else if (one.kind === "checkpoint") await lab.checkpoint();
        else if (one.kind === "crash") await lab.restart();
        else if (one.kind === "harm") harm(lab, one);
        else if (one.kind === "ask") await ask(lab, one.from, one.to);
        else {
          const { history } = lab;
          history.start += Math.floor((history.end - history.start) * one.share);
          await lab.checkpoint();
        }
      }
      await ask(lab, 0, 1);
      expect(lab.paths.length).toBeLessThan(30);
      if (p.unharmed) expect(lab.rebuilt).toEqual([]);
      rebuilt += lab.rebuilt.length;
      fromFiles += lab.bytesRead;
      await lab.log.close();
    }),
    { numRuns: 100 },
  );
  expect(rebuilt).toBeGreaterThan(0);
  expect(fromFiles).toBeGreaterThan(0);
}, 60_000);

/** `count` aborts of one producer, spilled `each` at a time. */
async function plenty(count: number, each: number): Promise<AbortedLab> {
  const lab = new AbortedLab(new AbortedHistory(seeded(1)), each);
  for (let n = 0; n < count; n++) {
    const at = { producerId: 7, firstOffset: 2 * n, lastOffset: 2 * n + 1 };
    lab.log.add([{ ...at, lastStableOffset: 2 * n + 2 }]);
    if ((n + 1) % each === 0) await lab.log.spill();
  }
  return lab;
}

test("a narrow range costs a directory and a block, not the files", async () => {
  const lab = await plenty(200_000, 8_192);
  expect(lab.log.sizeInMemory).toBeLessThan(8_192);
  expect(lab.log.size).toBe(200_000);
  const all = lab.paths.reduce((sum, path) => sum + lab.disk.files.get(path)!.length, 0);
  expect(all).toBeGreaterThan(6_000_000);
  for (const offset of [0, 1, 77_777, 131_071, 131_072, 300_001]) {
    lab.bytesRead = 0;
    const found = await lab.log.overlapping(offset, offset + 100);
    expect(found.length).toBe(offset % 2 === 0 ? 50 : 51);
    expect(lab.bytesRead).toBeLessThan(50_000);
  }
  // Of what memory holds nothing is read.
  lab.bytesRead = 0;
  expect(lab.log.overlapping(399_000, 399_010)).toHaveLength(5);
  expect(lab.bytesRead).toBe(0);
});

test("a transaction that stays open does not make old ranges cost what came since", async () => {
  const lab = new AbortedLab(new AbortedHistory(seeded(1)), 1);
  // The transaction that begins at offset 10 is open to the end: the last stable offset stands.
  const count = 50_000;
  const aborted = Array.from({ length: count }, (_, n) => ({
    producerId: 7,
    firstOffset: 11 + 2 * n,
    lastOffset: 12 + 2 * n,
    lastStableOffset: 10,
  }));
  const last = 11 + 2 * count;
  aborted.push({ producerId: 8, firstOffset: 10, lastOffset: last, lastStableOffset: last + 1 });
  for (let at = 0; at < aborted.length; at += 4_096) {
    lab.log.add(aborted.slice(at, at + 4_096));
    await lab.log.spill();
  }
  lab.bytesRead = 0;
  const found = await lab.log.overlapping(11, 21);
  expect(found.map(({ firstOffset }) => firstOffset)).toEqual([11, 13, 15, 17, 19, 10]);
  expect(lab.bytesRead).toBeLessThan(60_000);
});

test("files join as they come, and go when the log start passes them", async () => {
  const lab = await plenty(200_000, 1_024);
  await lab.checkpoint();
  // Three full ones, and less than one of each size behind them.
  expect(lab.paths.length).toBeLessThanOrEqual(3 + 7);
  lab.history.start = 300_000;
  await lab.checkpoint();
  expect(lab.paths.length).toBeLessThanOrEqual(1 + 7);
  lab.history.start = 400_000;
  await lab.checkpoint();
  expect(lab.paths).toEqual([]);
  expect(lab.log.size).toBe(0);
});

test("a file that a read asks for stays until the read is over", async () => {
  const lab = await plenty(2_048, 1_024);
  await lab.checkpoint();
  const pinned = lab.log.pin();
  lab.history.start = 10_000;
  await lab.checkpoint();
  expect(lab.log.size).toBe(0);
  expect(await pinned.overlapping(0, 20)).toHaveLength(10);
  pinned.release();
  await lab.checkpoint();
  expect(lab.paths).toEqual([]);
  expect(lab.rebuilt).toEqual([]);
});

test("what cannot be written stays in memory, and is tried again", async () => {
  const lab = new AbortedLab(new AbortedHistory(seeded(1)), 10);
  let asked = 0;
  const errors: unknown[] = [];
  lab.log.whenDue(() => {
    asked++;
    lab.log.spill().catch((error: unknown) => errors.push(error));
  });
  lab.files.failWrite = () => noSpace();
  lab.grow(100, 1);
  await turn();
  expect([asked, errors.length]).toEqual([1, 1]);
  const held = lab.log.sizeInMemory;
  expect(held).toBe(lab.history.aborted.length);
  lab.files.failWrite = () => null;
  lab.grow(10, 1);
  await turn();
  expect(asked).toBe(1);
  lab.clock.advance(1_000);
  await turn();
  expect([asked, lab.log.sizeInMemory]).toEqual([2, 0]);
  await ask(lab, 0, 1);
  await lab.log.close();
});

test("all partitions together hold as many as the budget says, beside a few each", async () => {
  const budget = new AbortedBudget(4_000);
  const labs = Array.from({ length: 20 }, (_, n) => {
    const lab = new AbortedLab(new AbortedHistory(seeded(n)), 100_000, budget);
    lab.log.whenDue(() => void lab.log.spill());
    return lab;
  });
  let most = 0;
  for (let round = 0; round < 100; round++) {
    for (const lab of labs) lab.grow(50, 3);
    await turn();
    most = Math.max(most, budget.size);
    for (const lab of labs) expect(lab.log.hasRoom).toBe(true);
  }
  const all = labs.reduce((sum, { history }) => sum + history.aborted.length, 0);
  expect(all).toBeGreaterThan(20_000);
  expect(most).toBeLessThanOrEqual(4_000 + 20 * 128);
  for (const lab of labs) await ask(lab, 0.2, 0.3);
  await Promise.all(labs.map((lab) => lab.log.close()));
  expect(budget.size).toBe(0);
});

test("without a way to write them, no transaction begins whose abort has no room", async () => {
  const budget = new AbortedBudget(300);
  const labs = [1, 2].map(
    (seed) => new AbortedLab(new AbortedHistory(seeded(seed)), 1_000, budget),
  );
  const [crowded, other] = labs as [AbortedLab, AbortedLab];
  while (!budget.isFull) crowded.grow(1, 1);
  expect(crowded.log.hasRoom).toBe(false);
  // A partition with a few does not suffer for it.
  other.grow(100, 1);
  expect(other.log.hasRoom).toBe(true);
  await crowded.log.spill();
  expect(crowded.log.hasRoom).toBe(true);
});

test("a crash before the next checkpoint finds every file that the last one names", async () => {
  const lab = await plenty(1_024, 1_024);
  await lab.checkpoint();
  const named = lab.paths;
  for (let n = 1_024; n < 3_072; n++) {
    const entry = { producerId: 7, firstOffset: 2 * n, lastOffset: 2 * n + 1 };
    lab.history.aborted.push({ ...entry, lastStableOffset: 2 * n + 2 });
    lab.log.add(lab.history.aborted.slice(-1));
  }
  await lab.log.spill();
  // The new file holds the old one's entries too.
  expect([named.length, lab.paths.length]).toEqual([1, 2]);
  await lab.restart();
  expect(lab.paths).toEqual(named);
  expect(await lab.log.overlapping(0, 20)).toHaveLength(10);
  expect(lab.rebuilt).toEqual([]);
});

test("what is aborted, and what is deleted, while a file is written", async () => {
  const lab = new AbortedLab(new AbortedHistory(seeded(5)), 1);
  const { history } = lab;
  const write = lab.files.writeFile.bind(lab.files);
  for (let round = 0; round < 40; round++) {
    lab.grow(50, 3);
    lab.files.writeFile = async (path, bytes) => {
      lab.grow(50, 3);
      // All of it, now and then.
      if (round % 7 === 3) history.start = history.end;
      if (round % 3 === 0) await lab.checkpoint();
      await write(path, bytes);
    };
    await lab.log.spill();
    lab.files.writeFile = write;
    await ask(lab, 0, 1);
    await ask(lab, 0.9, 1);
  }
  await lab.checkpoint();
  const needed = history.overlapping(history.start, history.end).length;
  expect(lab.log.size).toBeGreaterThanOrEqual(needed);
  expect(lab.rebuilt).toEqual([]);
  await lab.log.close();
});

test("leftovers are removed at the opening, but not from a damaged partition", async () => {
  const limits = { abortedSpillMin: 2 };
  const first = new LogLab({ limits });
  const partition = await first.open();
  const abort = async (sequence: number) => {
    const producer = { producerId: 1, producerEpoch: 0 };
    const data = batch({ ...producer, baseSequence: sequence, isTransactional: true });
    await partition.append(data, { origin: "client" });
    const marker = { ...producer, commit: false, coordinatorEpoch: 0, transactionVersion: 0 };
    await partition.appendMarker(marker);
  };
  for (let n = 0; n < 4; n++) await abort(n);
  await turn();
  await partition.checkpoint();
  await turn();
  const { files } = first.disk;
  const runs = () => [...files.keys()].filter((path) => path.includes("/aborted-"));
  const named = runs();
  expect(named.length).toBeGreaterThan(0);
  files.set(`${partition.dir}/aborted-77`, new Uint8Array(3));
  const opened = await first.restart().open();
  expect(runs()).toEqual(named);
  expect(await opened.abortedTransactions(0, 8)).toHaveLength(4);

  files.set(`${partition.dir}/aborted-78`, new Uint8Array(3));
  const checkpoint = files.get(`${partition.dir}/checkpoint`)!;
  files.set(`${partition.dir}/checkpoint`, checkpoint.with(60, 0));
  const damaged = await first.restart().open();
  expect(damaged.damage).not.toBeNull();
  await turn();
  expect(runs()).toEqual([...named, `${partition.dir}/aborted-78`]);
});
