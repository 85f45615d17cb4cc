/** Values that depend on nothing but a seed: the same here and when the oracle was asked. */
import { type Choices, type MessageSchema, makeValue, type StructValue } from "./schema.ts";

/**
 * "full" sets everything; "nulls" is null wherever it can be; "sparse" besides has empty arrays and
 * tagged fields at their default.
 */
export type SampleKind = "full" | "nulls" | "sparse";

export const sampleKinds: readonly SampleKind[] = ["full", "nulls", "sparse"];

const words = ["orders", "größe", "a", "broker-1", "日本", "x".repeat(130), "group.id", "🦆"];

export function makeSample(schema: MessageSchema, version: number, kind: SampleKind): StructValue {
  const next = randomFrom(`${schema.name} ${version} ${kind}`);
  const isSparse = kind === "sparse";
  const choices: Choices = {
    // Of the extremes of int64 only those that survive saturation are fair.
    integer: (lo, hi) => Math.max(lo + 1, Math.min(hi - 1, Math.floor(lo + next() * (hi - lo)))),
    isNull: () => kind !== "full",
    length: () => (isSparse ? Math.floor(next() * 2) : 1 + Math.floor(next() * 2)),
    isDefault: () => isSparse,
    string: () => words[Math.floor(next() * words.length)] ?? "",
    // Never whole: the oracle insists on a decimal point.
    double: () => Math.floor(next() * 1e6) + 1 / 64,
    bytes: () => new Uint8Array(Math.floor(next() * 12)).map(() => Math.floor(next() * 256)),
  };
  return makeValue(schema, version, choices);
}

/** A small generator (mulberry32) seeded by the text. */
function randomFrom(text: string): () => number {
  let state = 0x811c_9dc5;
  for (let index = 0; index < text.length; index++) {
    state = Math.imul(state ^ text.charCodeAt(index), 0x0100_0193);
  }
  return () => {
    state = (state + 0x6d2b_79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}
