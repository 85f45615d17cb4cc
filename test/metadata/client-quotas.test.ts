import { expect, test } from "bun:test";
import { apply, imageOf, snapshotOf } from "../../src/metadata/apply.ts";
import {
  describeClientQuotas,
  planClientQuotas,
  type QuotaAlteration,
} from "../../src/metadata/client-quotas.ts";
import { emptyImage, type MetadataImage } from "../../src/metadata/image.ts";
import { decodeEntry, encodeCommands, encodeSnapshot } from "../../src/metadata/journal-entry.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";

type Pairs = [string, string | null][];

function alteration(entity: Pairs, values: Record<string, number | null>): QuotaAlteration {
  const operations = Object.entries(values).map(([key, value]) => ({ key, value }));
  return { entity, operations };
}

function change(image: MetadataImage, alterations: QuotaAlteration[], entitiesMax = 100) {
  const { commands, outcomes } = planClientQuotas(image, alterations, entitiesMax);
  // As the journal gives them back.
  const entry = decodeEntry(encodeCommands(commands));
  const codes = [...outcomes.values()].map(({ errorCode }) => errorCode);
  return { codes, image: entry.commands === null ? image : apply(image, entry.commands) };
}

function all(image: MetadataImage) {
  const found = describeClientQuotas(image, { components: [], strict: false });
  if ("errorCode" in found) throw new Error("refused");
  return found.map(({ entity, values }) => [
    Object.fromEntries(entity),
    Object.fromEntries(values),
  ]);
}

test("set, changed, removed; an entity without quotas is gone; a snapshot holds them", () => {
  const first = change(emptyImage, [
    alteration([["user", "u"]], { producer_byte_rate: 5, request_percentage: 12.5 }),
    alteration(
      [
        ["client-id", "c"],
        ["user", null],
      ],
      { consumer_byte_rate: 7 },
    ),
    alteration([["ip", "::1"]], { connection_creation_rate: 3 }),
  ]);
  expect(first.codes).toEqual([0, 0, 0]);
  const { commands, snapshot } = decodeEntry(encodeSnapshot(snapshotOf(first.image)));
  expect(commands).toBeNull();
  expect(all(imageOf(snapshot!))).toEqual(all(first.image));
  const second = change(first.image, [
    alteration([["user", "u"]], { producer_byte_rate: null, request_percentage: 50 }),
    alteration(
      [
        ["user", null],
        ["client-id", "c"],
      ],
      { consumer_byte_rate: null },
    ),
  ]);
  expect(all(second.image)).toEqual([
    [{ user: "u" }, { request_percentage: 50 }],
    [{ ip: "::1" }, { connection_creation_rate: 3 }],
  ]);
  // The older image is as it was.
  expect(all(first.image).length).toBe(3);
});

test("a snapshot from before there were quotas has none", () => {
  const { clientQuotas, ...older } = snapshotOf(emptyImage);
  expect(clientQuotas).toEqual([]);
  expect(imageOf(older).clientQuotas.size).toBe(0);
});

test("one bad value and nothing of its entity is set; the others are", () => {
  const { codes, image } = change(emptyImage, [
    alteration([["user", "u"]], { producer_byte_rate: 5, consumer_byte_rate: -1 }),
    alteration([["user", "v"]], { producer_byte_rate: 5 }),
  ]);
  expect(codes).toEqual([ErrorCode.INVALID_REQUEST, 0]);
  expect(all(image)).toEqual([[{ user: "v" }, { producer_byte_rate: 5 }]]);
});

test("an entity named twice is refused, also in another order, and not changed", () => {
  const { codes, image } = change(emptyImage, [
    alteration(
      [
        ["user", "u"],
        ["client-id", "c"],
      ],
      { producer_byte_rate: 5 },
    ),
    alteration(
      [
        ["client-id", "c"],
        ["user", "u"],
      ],
      { producer_byte_rate: 6 },
    ),
  ]);
  expect(codes).toEqual([ErrorCode.INVALID_REQUEST]);
  expect(image.clientQuotas.size).toBe(0);
});

test("numbers that JSON cannot hold are refused", () => {
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
    const refused = change(emptyImage, [
      alteration([["user", "u"]], { request_percentage: value }),
    ]);
    expect(refused.codes).toEqual([ErrorCode.INVALID_REQUEST]);
  }
});

test("entities are bounded; those there are can still be changed", () => {
  const users = ["a", "b", "c"].map((name) =>
    alteration([["user", name]], { producer_byte_rate: 5 }),
  );
  const { codes, image } = change(emptyImage, users, 2);
  expect(codes).toEqual([0, 0, ErrorCode.POLICY_VIOLATION]);
  expect(change(image, [alteration([["user", "a"]], { producer_byte_rate: 6 })], 2).codes).toEqual([
    0,
  ]);
});

test("what is as it was needs no entry in the journal", () => {
  const set = [alteration([["user", "u"]], { producer_byte_rate: 5 })];
  const { image } = change(emptyImage, set);
  expect(planClientQuotas(image, set, 9).commands).toEqual([]);
  const remove = [alteration([["user", "w"]], { producer_byte_rate: null })];
  expect(planClientQuotas(image, remove, 9).commands).toEqual([]);
});
