/** Requests made from the message definitions: a plausible one, and each field at odd values. */

import { Writer } from "../../src/protocol/writer.ts";
import {
  covers,
  defaultValue,
  type FieldSchema,
  type MessageSchema,
  type StructValue,
  structOf,
  type Value,
} from "../protocol/support/schema.ts";
import { batch } from "./data-cases.ts";

/** What requests of one API are about. */
export interface Subject {
  readonly topic: string;
  readonly topicId: string;
  readonly group: string;
}

export interface Variant {
  readonly label: string;
  readonly value: StructValue;
}

export const unknownId = "AAAAAAAAAAAAAAAAAAAAZg";
const zeroId = "AAAAAAAAAAAAAAAAAAAAAA";

/** Stands for a null where the definition allows none; see OddWriter. */
const nullText = "\u0000null\u0000";
const nullBytes = new Uint8Array([0x6e, 0x75, 0x6c, 0x6c]);

/** Writes nulls where none may be. */
export class OddWriter extends Writer {
  override string(value: string): void {
    if (value === nullText) this.nullableString(null);
    else super.string(value);
  }

  override compactString(value: string): void {
    if (value === nullText) this.compactNullableString(null);
    else super.compactString(value);
  }

  override bytes(value: Uint8Array): void {
    if (value === nullBytes) this.nullableBytes(null);
    else super.bytes(value);
  }

  override compactBytes(value: Uint8Array): void {
    if (value === nullBytes) this.compactNullableBytes(null);
    else super.compactBytes(value);
  }
}

/** An array that says it has `length` elements and writes those of `items`. */
function lyingArray(length: number, items: readonly Value[]): Value {
  return { length, [Symbol.iterator]: () => items[Symbol.iterator]() } as unknown as Value;
}

const plausibleTexts: readonly [RegExp, (subject: Subject) => string][] = [
  [/^(groupId|key|coordinatorKeys|groups|groupsNames|groupNames)$/, ({ group }) => group],
  [/^(memberId|groupInstanceId|rackId|errorMessage|ownerPrincipalType)$/, () => ""],
  [/^(ownerPrincipalName|serverAssignor|subscribedTopicRegex)$/, () => ""],
  [/^(protocolType)$/, () => "consumer"],
  [/^(protocolName)$/, () => "range"],
  [/^(clientSoftwareName|clientSoftwareVersion)$/, () => "sweep"],
  [/^(feature)$/, () => "metadata.version"],
  [/^(path)$/, () => "/nowhere"],
  [/^(transactionalId|transactionalIds)$/, ({ group }) => `txn-${group}`],
];

const plausibleNumbers: Readonly<Record<string, number>> = {
  acks: -1,
  aclOperation: 3,
  brokerId: 99,
  committedLeaderEpoch: -1,
  configOperation: 0,
  count: 2,
  currentLeaderEpoch: -1,
  electionType: 0,
  fetchOffset: 0,
  generationId: -1,
  generationIdOrMemberEpoch: -1,
  iterations: 4096,
  leaderEpoch: -1,
  maxBytes: 1_000_000,
  maxLifetimeMs: 1000,
  maxVersionLevel: 30,
  maxWaitMs: 10,
  mechanism: 1,
  memberEpoch: 0,
  minBytes: 0,
  numPartitions: 1,
  offset: 0,
  operation: 3,
  partitionMaxBytes: 1_000_000,
  patternTypeFilter: 3,
  permissionType: 3,
  producerEpoch: -1,
  producerId: -1,
  rebalanceTimeoutMs: 1000,
  replicaId: -1,
  replicationFactor: 1,
  resourcePatternType: 3,
  resourceType: 2,
  resourceTypeFilter: 2,
  responsePartitionLimit: 10,
  retentionTimeMs: -1,
  sessionEpoch: -1,
  sessionTimeoutMs: 10_000,
  timeoutMs: 5000,
  timestamp: -1,
  transactionTimeoutMs: 60_000,
  upgradeType: 1,
  validityPeriodMs: 1000,
};

function plausible(
  schema: MessageSchema,
  struct: string,
  field: FieldSchema,
  version: number,
  subject: Subject,
): Value {
  if (!covers(field.versions, version)) return defaultValue(schema, field);
  const isTagged = field.tag !== undefined && covers(field.tagged, version);
  if (isTagged && field.default !== undefined) return defaultValue(schema, field);
  if (field.name === "transactionalId" && covers(field.nullable, version)) return null;
  if (!field.type.startsWith("[]")) return one(schema, struct, field, field.type, version, subject);
  return [one(schema, struct, field, field.type.slice(2), version, subject)];
}

function one(
  schema: MessageSchema,
  struct: string,
  field: FieldSchema,
  type: string,
  version: number,
  subject: Subject,
): Value {
  if (structOf(schema, type) !== undefined) return structValue(schema, type, version, subject);
  if (type === "bool") return field.default === true;
  if (type === "uuid") return subject.topicId;
  if (type === "string") return text(struct, field, subject);
  if (type === "bytes") return new Uint8Array([0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
  if (type === "records") return batch({ timestamps: [1_700_000_000_000] });
  if (type === "float64") return 1.5;
  return plausibleNumbers[field.name] ?? 0;
}

function text(struct: string, field: FieldSchema, subject: Subject): string {
  if (/protocol/i.test(struct) && field.name === "name") return "range";
  if (/config/i.test(struct) && field.name === "name") return "retention.ms";
  if (/config/i.test(struct) && field.name === "value") return "70000";
  if (field.name === "configurationKeys") return "retention.ms";
  if (/^DescribeQuorum/.test(struct)) return "__cluster_metadata";
  const known = plausibleTexts.find(([name]) => name.test(field.name));
  return known === undefined ? subject.topic : known[1](subject);
}

export function structValue(
  schema: MessageSchema,
  name: string,
  version: number,
  subject: Subject,
): StructValue {
  const fields = structOf(schema, name) ?? [];
  return Object.fromEntries(
    fields.map((field) => [field.name, plausible(schema, name, field, version, subject)]),
  );
}

const limits: Readonly<Record<string, readonly [number, number]>> = {
  int8: [-128, 127],
  int16: [-32_768, 32_767],
  uint16: [0, 65_535],
  int32: [-2_147_483_648, 2_147_483_647],
  uint32: [0, 4_294_967_295],
  int64: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
};

const longText = "x".repeat(300);

function oddScalars(type: string, mayBeNull: boolean): (readonly [string, Value])[] {
  const range = limits[type];
  if (range !== undefined) {
    const numbers = [-1, 1, 2, 99, ...range].filter((one) => one >= range[0] && one <= range[1]);
    return [...new Set(numbers)].map((number) => [`${number}`, number] as const);
  }
  if (type === "bool") {
    return [
      ["true", true],
      ["false", false],
    ];
  }
  if (type === "uuid") {
    return [
      ["zero", zeroId],
      ["unknown", unknownId],
    ];
  }
  if (type === "string") {
    const texts: (readonly [string, Value])[] = [
      ["empty", ""],
      ["unknown", "no-such"],
      ["long", longText],
      ["odd", "a b/ü!"],
      ["dots", ".."],
    ];
    return mayBeNull ? [...texts, ["null", null]] : [...texts, ["null, forbidden", nullText]];
  }
  if (type === "records") return [["one byte", new Uint8Array([0xff])]];
  if (type !== "bytes") return mayBeNull ? [["null", null]] : [];
  const bytes: (readonly [string, Value])[] = [
    ["no bytes", new Uint8Array(0)],
    ["one byte", new Uint8Array([0xff])],
  ];
  return mayBeNull ? [...bytes, ["null", null]] : [...bytes, ["null, forbidden", nullBytes]];
}

/** Every field of the request at odd values, one at a time. */
export function oddVariants(
  schema: MessageSchema,
  version: number,
  base: StructValue,
  subject: Subject,
): Variant[] {
  return variantsOf(schema, schema.name, version, base, subject, "");
}

function variantsOf(
  schema: MessageSchema,
  name: string,
  version: number,
  base: StructValue,
  subject: Subject,
  path: string,
): Variant[] {
  const variants: Variant[] = [];
  for (const field of structOf(schema, name) ?? []) {
    if (!covers(field.versions, version)) continue;
    const put = (label: string, value: Value): void => {
      const whole = `${path}${field.name} ${label}`;
      variants.push({ label: whole, value: { ...base, [field.name]: value } });
    };
    const mayBeNull = covers(field.nullable, version);
    if (!field.type.startsWith("[]")) {
      const inner = base[field.name];
      for (const [label, value] of oddScalars(field.type, mayBeNull)) put(label, value);
      if (structOf(schema, field.type) === undefined || inner == null) continue;
      const at = `${path}${field.name}.`;
      for (const odd of variantsOf(
        schema,
        field.type,
        version,
        inner as StructValue,
        subject,
        at,
      )) {
        variants.push({ label: odd.label, value: { ...base, [field.name]: odd.value } });
      }
      continue;
    }
    const type = field.type.slice(2);
    const given = base[field.name] as readonly Value[] | null;
    const item = given?.[0] ?? one(schema, name, field, type, version, subject);
    put("none", []);
    put("one", [item]);
    put("twice", [item, item]);
    put("five said, one there", lyingArray(5, [item]));
    put("2^31-1 said", lyingArray(2_147_483_647, [item]));
    if (!covers(schema.flexible, version)) put("-2 said", lyingArray(-2, []));
    put(mayBeNull ? "null" : "null, forbidden", mayBeNull ? null : lyingArray(-1, []));
    if (structOf(schema, type) === undefined) {
      for (const [label, value] of oddScalars(type, false)) put(`[${label}]`, [value]);
      continue;
    }
    const at = `${path}${field.name}[].`;
    for (const odd of variantsOf(schema, type, version, item as StructValue, subject, at)) {
      variants.push({ label: odd.label, value: { ...base, [field.name]: [odd.value] } });
    }
  }
  return variants;
}
