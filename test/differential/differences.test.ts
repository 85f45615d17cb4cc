import { describe, expect, test } from "bun:test";
import { type Accepted, absent, differencesOf, judge } from "./differences.ts";
import type { Note } from "./peer.ts";

const note = (label: string, body: unknown): Note => ({
  label,
  body: JSON.stringify(body),
  texts: "",
});

describe("differencesOf", () => {
  test("names the path and both values, deep down", () => {
    const kafka = { topics: [{ name: "a", partitions: [{ index: 0, errorCode: "NONE" }] }] };
    const chronik = { topics: [{ name: "a", partitions: [{ index: 0, errorCode: "X" }] }] };
    expect(differencesOf(kafka, kafka)).toEqual([]);
    expect(differencesOf(kafka, chronik)).toEqual([
      { path: "topics[].partitions[].errorCode", kafka: "NONE", chronik: "X" },
    ]);
    expect(differencesOf({ a: 1 }, { b: 1 })).toEqual([
      { path: "a", kafka: 1, chronik: absent },
      { path: "b", kafka: absent, chronik: 1 },
    ]);
  });

  test("an element that only one list has stands whole; the equal ones are left aside", () => {
    expect(differencesOf({ list: [1, 2, 3] }, { list: [3, 1] })).toEqual([
      { path: "list[]", kafka: 2, chronik: absent },
    ]);
    expect(differencesOf({ list: [1, 1] }, { list: [1] })).toHaveLength(1);
    expect(differencesOf({ list: [1, 2] }, { list: [2, 1] })).toMatchObject([
      { path: "list (order)" },
    ]);
  });

  test("where one did not answer, the other's answer stands whole", () => {
    const [found] = differencesOf({ connection: "no answer" }, { errorCode: "NONE" });
    expect(found).toMatchObject({ path: "answer", chronik: { errorCode: "NONE" } });
  });
});

describe("judge", () => {
  const entry: Accepted = {
    where: /^case/,
    why: "because",
    differs: [["errorCode", "A", "B"]],
  };
  const kafka = [note("case 1", { errorCode: "A", epoch: 1 }), note("other", { errorCode: "A" })];

  test("only the pair that was named is meant", () => {
    const meant = [note("case 1", { errorCode: "B", epoch: 1 }), kafka[1] as Note];
    const verdict = { answers: 2, intended: 1, unexplained: [], dead: [] };
    expect(judge(kafka, meant, [entry], "all")).toEqual(verdict);
    const another = [note("case 1", { errorCode: "C", epoch: 1 }), kafka[1] as Note];
    expect(judge(kafka, another, [entry], "all").unexplained).toHaveLength(1);
    const more = [note("case 1", { errorCode: "B", epoch: 2 }), kafka[1] as Note];
    expect(judge(kafka, more, [entry], "all").unexplained).toEqual([
      { label: "case 1", differences: [{ path: "epoch", kafka: 1, chronik: 2 }] },
    ]);
    const elsewhere = [kafka[0] as Note, note("other", { errorCode: "B" })];
    expect(judge(kafka, elsewhere, [entry], "all").unexplained).toMatchObject([{ label: "other" }]);
    expect(judge(kafka, meant.slice(0, 1), [entry], "all").unexplained).toHaveLength(1);
  });

  test("what is asked again under a label is compared too", () => {
    const twice = [note("x", { a: 1 }), note("x", { a: 1 })];
    const changed = [note("x", { a: 1 }), note("x", { a: 2 })];
    expect(judge(twice, changed, [], "all").unexplained).toMatchObject([{ label: "x #2" }]);
  });

  test("an explanation that explains nothing is dead", () => {
    expect(judge(kafka, kafka, [entry], "all").dead).toHaveLength(1);
    const unasked = { ...entry, where: /^never asked/ };
    expect(judge(kafka, kafka, [unasked], "all").dead).toHaveLength(1);
    expect(judge(kafka, kafka, [unasked], "some").dead).toEqual([]);
    expect(judge(kafka, kafka, [entry], "some").dead).toHaveLength(1);
    expect(judge(kafka, kafka, [{ ...entry, sometimes: true }], "all").dead).toEqual([]);
    // Of several pairs, in a whole run each must be met.
    const wider: Accepted = { ...entry, differs: [...entry.differs, ["epoch", 1, 2]] };
    const meant = [note("case 1", { errorCode: "B", epoch: 1 }), kafka[1] as Note];
    expect(judge(kafka, meant, [wider], "all").dead).toHaveLength(1);
    expect(judge(kafka, meant, [wider], "some").dead).toEqual([]);
  });
});
