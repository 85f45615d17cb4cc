/** The definitions in test/protocol/schemas.json and what follows from them, apart from src. */
import schemas from "../schemas.json" with { type: "json" };

/** First and last version; −1 is open. */
type Range = readonly number[];

export interface FieldSchema {
  readonly name: string;
  readonly type: string;
  readonly versions?: Range;
  readonly nullable?: Range;
  readonly tagged?: Range;
  readonly tag?: number;
  readonly default?: null | boolean | number | string;
  readonly ignorable?: boolean;
}

export interface MessageSchema {
  readonly name: string;
  readonly kind: string;
  readonly key?: number;
  readonly valid: Range;
  readonly flexible?: Range;
  readonly structs: Readonly<Record<string, readonly FieldSchema[]>>;
}

export type Value =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | readonly Value[]
  | { [name: string]: Value };

export type StructValue = { [name: string]: Value };

export const messageSchemas = schemas as readonly MessageSchema[];

export function covers(range: Range | undefined, version: number): boolean {
  if (range === undefined) return false;
  const [lo = 0, hi = -1] = range;
  return version >= lo && (hi === -1 || version <= hi);
}

export function versionsOf(schema: MessageSchema): number[] {
  const [lo = 0, hi = lo] = schema.valid;
  return Array.from({ length: hi - lo + 1 }, (_, index) => lo + index);
}

export function structOf(schema: MessageSchema, type: string): readonly FieldSchema[] | undefined {
  return schema.structs[type];
}

export function defaultValue(schema: MessageSchema, field: FieldSchema): Value {
  if (field.type === "bigInt64") return BigInt(field.default ?? 0);
  if (field.default !== undefined) return field.default;
  if (field.type === "records") return null;
  if (field.type.startsWith("[]")) return [];
  const struct = structOf(schema, field.type);
  if (struct !== undefined) {
    return Object.fromEntries(struct.map((inner) => [inner.name, defaultValue(schema, inner)]));
  }
  if (field.type === "bool") return false;
  if (field.type === "string") return "";
  if (field.type === "uuid") return "AAAAAAAAAAAAAAAAAAAAAA";
  return field.type === "bytes" ? new Uint8Array(0) : 0;
}

/** How a generator of values makes its choices. */
export interface Choices {
  integer(lo: number, hi: number): number;
  isNull(field: FieldSchema): boolean;
  length(field: FieldSchema): number;
  /** Whether to leave a tagged field at its default. */
  isDefault(field: FieldSchema): boolean;
  string(): string;
  double(): number;
  bytes(): Uint8Array;
}

const integerRanges: Record<string, readonly [number, number]> = {
  int8: [-128, 127],
  int16: [-32_768, 32_767],
  uint16: [0, 65_535],
  int32: [-2_147_483_648, 2_147_483_647],
  uint32: [0, 4_294_967_295],
  int64: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
};

/** A value of the message as `version` can carry it; what it cannot is at its default. */
export function makeValue(schema: MessageSchema, version: number, choices: Choices): StructValue {
  return makeStruct(schema, schema.name, version, choices);
}

function makeStruct(
  schema: MessageSchema,
  name: string,
  version: number,
  choices: Choices,
): StructValue {
  const value: StructValue = {};
  for (const field of structOf(schema, name) ?? []) {
    const isTagged = field.tag !== undefined && covers(field.tagged, version);
    const isAbsent = !covers(field.versions, version) || (isTagged && choices.isDefault(field));
    value[field.name] = isAbsent
      ? defaultValue(schema, field)
      : makeField(schema, field, version, choices);
  }
  return value;
}

function makeField(
  schema: MessageSchema,
  field: FieldSchema,
  version: number,
  choices: Choices,
): Value {
  if (covers(field.nullable, version) && choices.isNull(field)) return null;
  if (!field.type.startsWith("[]")) return makeOne(schema, field.type, version, choices);
  const type = field.type.slice(2);
  const length = choices.length(field);
  return Array.from({ length }, () => makeOne(schema, type, version, choices));
}

function makeOne(schema: MessageSchema, type: string, version: number, choices: Choices): Value {
  if (structOf(schema, type) !== undefined) return makeStruct(schema, type, version, choices);
  const range = integerRanges[type];
  if (range !== undefined) return choices.integer(range[0], range[1]);
  switch (type) {
    case "bool":
      return choices.integer(0, 3) >= 2;
    case "float64":
      return choices.double();
    case "bigInt64": {
      const [lo, hi] = [-2_147_483_648, 2_147_483_647];
      return (BigInt(choices.integer(lo, hi)) << 32n) | BigInt(choices.integer(0, 4_294_967_295));
    }
    case "string":
      return choices.string();
    case "uuid": {
      const bytes = new Uint8Array(16).map(() => choices.integer(0, 255));
      return Buffer.from(bytes).toString("base64url");
    }
    case "bytes":
    case "records":
      return choices.bytes();
    default:
      throw new Error(`unknown type ${type}`);
  }
}
