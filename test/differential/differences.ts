import type { Note } from "./peer.ts";

/** Where one side has nothing: a field, or an element of a list. */
export const absent = "(absent)";

/** A path whose list holds the same elements in another order ends so. */
export const orderSuffix = " (order)";

/**
 * One place where two answers differ: `topics[].errorCode`, with what either side has there.
 * An element that only one list has stands whole on that side.
 */
export interface Difference {
  readonly path: string;
  readonly kafka: unknown;
  readonly chronik: unknown;
}

/** What is expected of a value: itself (as JSON if it is none of these), or an expression over
 * its JSON. */
export type Expected = string | number | boolean | null | RegExp;

/** One intended difference: at which path, what Kafka says, what chronik says. */
export type IntendedPair = readonly [path: string, kafka: Expected, chronik: Expected];

/** Intended differences of some answers, with their reason. */
export interface Accepted {
  /** Of the labels of the answers. */
  readonly where: RegExp;
  readonly why: string;
  /** Every difference must be one of these, and each of these must be met somewhere. */
  readonly differs: readonly IntendedPair[];
  /** Depends on timing in Kafka: need not be met in every run. */
  readonly sometimes?: true;
}

export interface Unexplained {
  readonly label: string;
  readonly differences: readonly Difference[];
}

export interface Verdict {
  /** Answers compared. */
  readonly answers: number;
  /** Answers that differ only as `accepted` says. */
  readonly intended: number;
  readonly unexplained: readonly Unexplained[];
  /** Words for each entry, or pair of one, that met nothing. */
  readonly dead: readonly string[];
}

/** Every place where two decoded answers differ. */
export function differencesOf(kafka: unknown, chronik: unknown, path = ""): Difference[] {
  if (JSON.stringify(kafka) === JSON.stringify(chronik)) return [];
  if (Array.isArray(kafka) && Array.isArray(chronik)) return ofLists(kafka, chronik, path);
  if (!isRecord(kafka) || !isRecord(chronik)) return [{ path, kafka, chronik }];
  // One of them did not answer: the other's answer stands whole.
  if ("connection" in kafka !== "connection" in chronik) {
    return [{ path: "answer", kafka, chronik }];
  }
  const names = new Set([...Object.keys(kafka), ...Object.keys(chronik)]);
  return [...names].flatMap((name) => {
    const inner = path === "" ? name : `${path}.${name}`;
    const theirs = name in kafka ? kafka[name] : absent;
    const ours = name in chronik ? chronik[name] : absent;
    return differencesOf(theirs, ours, inner);
  });
}

/** Equal elements are left aside wherever they stand; the rest is compared in its order. */
function ofLists(kafka: readonly unknown[], chronik: readonly unknown[], path: string) {
  const ours = [...chronik];
  const theirs = kafka.filter((element) => {
    const text = JSON.stringify(element);
    const at = ours.findIndex((other) => JSON.stringify(other) === text);
    if (at >= 0) ours.splice(at, 1);
    return at < 0;
  });
  if (theirs.length === 0 && ours.length === 0) {
    return [{ path: `${path}${orderSuffix}`, kafka, chronik }];
  }
  const inner = `${path}[]`;
  if (theirs.length === ours.length) {
    return theirs.flatMap((element, index) => differencesOf(element, ours[index], inner));
  }
  return [
    ...theirs.map((element) => ({ path: inner, kafka: element, chronik: absent })),
    ...ours.map((element) => ({ path: inner, kafka: absent, chronik: element })),
  ];
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function meets(expected: Expected, value: unknown): boolean {
  if (expected instanceof RegExp) return expected.test(JSON.stringify(value));
  if (typeof value === "object" && value !== null) return expected === JSON.stringify(value);
  return expected === value;
}

function isIntended([path, kafka, chronik]: IntendedPair, found: Difference): boolean {
  if (path !== found.path) return false;
  if (path.endsWith(orderSuffix)) return true;
  return meets(kafka, found.kafka) && meets(chronik, found.chronik);
}

/**
 * Compares all answers. Each difference of an answer must be a pair of an entry whose `where`
 * names its label. In a run of `some` cases only, an entry is dead when none of its pairs was
 * met though one of its answers was asked for; in a whole run every pair must be met.
 */
export function judge(
  kafka: readonly Note[],
  chronik: readonly Note[],
  accepted: readonly Accepted[],
  scope: "all" | "some",
): Verdict {
  const theirs = byLabel(kafka);
  const ours = byLabel(chronik);
  const met = new Set<IntendedPair>();
  const asked = new Set<Accepted>();
  const unexplained: Unexplained[] = [];
  let intended = 0;
  const labels = new Set([...theirs.keys(), ...ours.keys()]);
  for (const label of labels) {
    const entries = accepted.filter(({ where }) => where.test(label));
    for (const entry of entries) asked.add(entry);
    const pairs = entries.flatMap(({ differs }) => differs);
    const found = differencesOf(theirs.get(label) ?? absent, ours.get(label) ?? absent);
    if (found.length === 0) continue;
    const left = found.filter((difference) => {
      const meant = pairs.filter((pair) => isIntended(pair, difference));
      for (const pair of meant) met.add(pair);
      return meant.length === 0;
    });
    if (left.length > 0) unexplained.push({ label, differences: left });
    else intended += 1;
  }
  const judged = accepted.filter((entry) => scope === "all" || asked.has(entry));
  return { answers: labels.size, intended, unexplained, dead: deadOf(judged, met, scope) };
}

function deadOf(
  entries: readonly Accepted[],
  met: ReadonlySet<IntendedPair>,
  scope: "all" | "some",
): string[] {
  return entries.flatMap(({ where, differs, sometimes }) => {
    if (sometimes) return [];
    const unmet = differs.filter((pair) => !met.has(pair));
    if (scope === "some" && unmet.length < differs.length) return [];
    return unmet.map(([path, kafka, chronik]) => `${where}: ${path}: ${kafka} / ${chronik}`);
  });
}

/** Answers by label; what was asked again under a label gets a number. */
function byLabel(notes: readonly Note[]): Map<string, unknown> {
  const counts = new Map<string, number>();
  return new Map(
    notes.map(({ label, body }) => {
      const count = (counts.get(label) ?? 0) + 1;
      counts.set(label, count);
      return [count === 1 ? label : `${label} #${count}`, JSON.parse(body) as unknown] as const;
    }),
  );
}
