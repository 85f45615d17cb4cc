import { expect, test } from "bun:test";
import { NativeJournal } from "../../src/native/journal.ts";
import { openEngine, tempDir } from "../support/native.ts";

const bytes = (text: string) => Buffer.from(text);

async function entriesOf(journal: NativeJournal): Promise<string[]> {
  const out: string[] = [];
  await journal.replay((entry) => out.push(Buffer.from(entry).toString()));
  return out;
}

/** What a journal in `dir` replays when it is opened anew. */
async function reopened(dir: string): Promise<string[]> {
  const engine = await openEngine(dir);
  try {
    const journal = await NativeJournal.open(engine, `${dir}/journal`);
    return await entriesOf(journal);
  } finally {
    await engine.close();
  }
}

test("a snapshot in parts replaces what it covers; what came meanwhile follows it", async () => {
  using dir = tempDir();
  const engine = await openEngine(dir.path);
  const journal = await NativeJournal.open(engine, `${dir.path}/journal`);
  for (const text of ["a", "b"]) await journal.append(bytes(text));
  const written = [journal.append(bytes("in flight"))];
  function* parts() {
    yield bytes("ab-1");
    written.push(journal.append(bytes("c")));
    yield bytes("ab-2");
    written.push(journal.append(bytes("d")));
  }
  await journal.compactParts(parts());
  await Promise.all(written);
  await journal.append(bytes("e"));
  await engine.close();
  expect(await reopened(dir.path)).toEqual(["ab-1", "ab-2", "in flight", "c", "d", "e"]);
});

test("a snapshot without its end counts for nothing, also behind a whole one", async () => {
  using dir = tempDir();
  const path = `${dir.path}/journal`;
  let engine = await openEngine(dir.path);
  let journal = await NativeJournal.open(engine, path);
  await journal.append(bytes("a"));
  function* broken(first: string) {
    yield bytes(first);
    throw new Error("cut short");
  }
  await expect(journal.compactParts(broken("x"))).rejects.toThrow("cut short");
  await journal.append(bytes("b"));
  await engine.close();
  expect(await reopened(dir.path)).toEqual(["a", "b"]);

  engine = await openEngine(dir.path);
  journal = await NativeJournal.open(engine, path);
  await journal.compactParts([bytes("ab-1"), bytes("ab-2")]);
  await journal.append(bytes("c"));
  await expect(journal.compactParts(broken("y"))).rejects.toThrow("cut short");
  await journal.append(bytes("d"));
  await engine.close();
  expect(await reopened(dir.path)).toEqual(["ab-1", "ab-2", "c", "d"]);

  engine = await openEngine(dir.path);
  journal = await NativeJournal.open(engine, path);
  await journal.compactParts([bytes("abcd")]);
  await journal.compactParts([bytes("all-1"), bytes("all-2"), bytes("all-3")]);
  await engine.close();
  expect(await reopened(dir.path)).toEqual(["all-1", "all-2", "all-3"]);
});

test("one snapshot in parts is written at a time", async () => {
  using dir = tempDir();
  const engine = await openEngine(dir.path);
  const journal = await NativeJournal.open(engine, `${dir.path}/journal`);
  const first = journal.compactParts([bytes("1")]);
  expect(() => journal.compactParts([bytes("2")])).toThrow("at a time");
  await first;
  await engine.close();
});

test("the parts of a snapshot that failed beside them never mix with the next one's", async () => {
  using dir = tempDir();
  const engine = await openEngine(dir.path);
  const journal = await NativeJournal.open(engine, `${dir.path}/journal`);
  await journal.append(bytes("a"));
  const job = engine.job.bind(engine);
  engine.job = <T>(json: object) =>
    "op" in json && json.op === "seal" ? Promise.reject(new Error("disk full")) : job<T>(json);
  const parts = (name: string) => Array.from({ length: 20 }, (_, n) => bytes(`${name}${n}`));
  await expect(journal.compactParts(parts("x"))).rejects.toThrow("disk full");
  engine.job = job;
  await journal.compactParts(parts("y"));
  await journal.append(bytes("b"));
  await engine.close();
  const expected = parts("y").map(String);
  expect(await reopened(dir.path)).toEqual([...expected, "b"]);
});

/** What a restored journal replays: each copy's entries, one behind the other. */
async function copied(journal: NativeJournal, from: number | null, to: number) {
  const out: string[] = [];
  await journal.copy(from, to, async (entry) => void out.push(Buffer.from(entry).toString()));
  return out;
}

test("a copy amid a snapshot in parts, and one behind it, lose and double nothing", async () => {
  using dir = tempDir();
  const engine = await openEngine(dir.path);
  const journal = await NativeJournal.open(engine, `${dir.path}/journal`);
  await journal.compactParts([bytes("old-1"), bytes("old-2")]);
  for (const text of ["a", "b"]) await journal.append(bytes(text));
  const gate = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  const half = async () => {
    await begun.promise;
    await journal.append(bytes("c"));
    const end = journal.durableEnd;
    const whole = await copied(journal, null, end);
    gate.resolve();
    return { end, whole };
  };
  function* parts() {
    yield bytes("new-1");
    begun.resolve();
    for (let n = 2; n < 60; n++) yield bytes(`new-${n}`);
  }
  const copying = half();
  const compacted = journal.compactParts(parts());
  await gate.promise;
  await compacted;
  const { end, whole } = await copying;
  await journal.append(bytes("d"));
  // The snapshot had no end then: the one before counts, and what came since.
  expect(whole).toEqual(["old-1", "old-2", "a", "b", "c"]);
  expect(end).toBeGreaterThanOrEqual(journal.liveStart);
  expect(await copied(journal, end, journal.durableEnd)).toEqual(["d"]);
  const names = Array.from({ length: 59 }, (_, n) => `new-${n + 1}`);
  expect(await copied(journal, null, journal.durableEnd)).toEqual([...names, "c", "d"]);
  await engine.close();
});
