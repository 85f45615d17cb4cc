/** Kafka's message definitions, read into the shape the emitters work on. */

/** Inclusive; `null` where a list of versions is empty. */
export type Versions = { readonly lo: number; readonly hi: number } | null;

export const openEnd = 32_767;

export type Primitive =
  | "bool"
  | "int8"
  | "int16"
  | "uint16"
  | "int32"
  | "uint32"
  | "int64"
  | "bigInt64"
  | "float64"
  | "string"
  | "uuid"
  | "bytes"
  | "records";

export type FieldType =
  | { readonly kind: "primitive"; readonly primitive: Primitive }
  | { readonly kind: "struct"; readonly struct: string }
  | { readonly kind: "array"; readonly of: FieldType };

export interface Field {
  readonly name: string;
  /** Name of the variable that holds it; differs where `name` is taken inside codecs. */
  readonly local: string;
  readonly type: FieldType;
  readonly versions: Versions;
  readonly nullable: Versions;
  readonly tagged: Versions;
  readonly tag: number | null;
  /** null, boolean, number or string; undefined when the definition gives none. */
  readonly explicitDefault: null | boolean | number | string | undefined;
  readonly ignorable: boolean;
  readonly neverFlexible: boolean;
}

export interface Struct {
  /** Name of the TypeScript interface; starts with the message's. */
  readonly name: string;
  readonly fields: readonly Field[];
}

export interface Message {
  readonly name: string;
  readonly kind: string;
  readonly key: number | null;
  readonly valid: { readonly lo: number; readonly hi: number };
  readonly flexible: Versions;
  readonly latestUnstable: boolean;
  readonly listeners: readonly string[];
  /** The message itself first, then its structs. */
  readonly structs: readonly Struct[];
}

interface RawField {
  name: string;
  type: string;
  versions?: string;
  nullableVersions?: string;
  taggedVersions?: string;
  flexibleVersions?: string;
  tag?: number;
  default?: unknown;
  ignorable?: boolean;
  fields?: RawField[];
}

interface RawMessage {
  name: string;
  type: string;
  apiKey?: number;
  validVersions: string;
  flexibleVersions?: string;
  latestVersionUnstable?: boolean;
  listeners?: string[];
  fields?: RawField[];
  commonStructs?: { name: string; fields: RawField[] }[];
}

const primitives: readonly string[] = [
  "bool",
  "int8",
  "int16",
  "uint16",
  "int32",
  "uint32",
  "int64",
  "bigInt64",
  "float64",
  "string",
  "uuid",
  "bytes",
  "records",
] satisfies Primitive[];

export function parseVersions(text: string | undefined): Versions {
  if (text === undefined || text === "none") return null;
  const match = /^(\d+)(\+|-(\d+))?$/.exec(text.trim());
  if (match === null) throw new Error(`not a list of versions: ${text}`);
  const lo = Number(match[1]);
  if (match[2] === undefined) return { lo, hi: lo };
  return { lo, hi: match[3] === undefined ? openEnd : Number(match[3]) };
}

/** Comments are whole lines; `null` for a message without versions. */
export function parseMessage(text: string): Message | null {
  const raw = JSON.parse(text.replace(/^\s*\/\/.*$/gm, "")) as RawMessage;
  const valid = parseVersions(raw.validVersions);
  if (valid === null) return null;
  const structs: Struct[] = [];
  const nameOf = (struct: string) => (struct.startsWith(raw.name) ? struct : raw.name + struct);
  const addStruct = (name: string, fields: RawField[]) => {
    if (structs.some((known) => known.name === name)) throw new Error(`${name} defined twice`);
    structs.push({ name, fields: fields.map((field) => parseField(field, nameOf)) });
    for (const field of fields) {
      const type = field.type.replace(/^\[\]/, "");
      if (field.fields !== undefined) addStruct(nameOf(type), field.fields);
    }
  };
  addStruct(raw.name, raw.fields ?? []);
  for (const common of raw.commonStructs ?? []) addStruct(nameOf(common.name), common.fields);
  return {
    name: raw.name,
    kind: raw.type,
    key: raw.apiKey ?? null,
    valid: { lo: valid.lo, hi: valid.hi },
    flexible: parseVersions(raw.flexibleVersions),
    latestUnstable: raw.latestVersionUnstable === true,
    listeners: raw.listeners ?? [],
    structs,
  };
}

/** Variables of the emitted functions. */
const taken = ["r", "w", "m", "n", "version", "flexible", "tag", "tags", "outer", "start", "item"];

/** int64 fields that use all 64 bits, which a number cannot hold; see src/protocol/int64.ts. */
const wideFields = ["metadataHash"];

function parseField(raw: RawField, nameOf: (struct: string) => string): Field {
  const name = raw.name.charAt(0).toLowerCase() + raw.name.slice(1);
  return {
    name,
    local: taken.includes(name) ? `${name}Value` : name,
    type: parseType(wideFields.includes(name) ? "bigInt64" : raw.type, nameOf),
    versions: parseVersions(raw.versions ?? raw.taggedVersions),
    nullable: parseVersions(raw.nullableVersions),
    tagged: parseVersions(raw.taggedVersions),
    tag: raw.tag ?? null,
    explicitDefault: parseDefault(raw),
    ignorable: raw.ignorable === true,
    neverFlexible: raw.flexibleVersions === "none",
  };
}

function parseType(text: string, nameOf: (struct: string) => string): FieldType {
  if (text.startsWith("[]")) return { kind: "array", of: parseType(text.slice(2), nameOf) };
  if (primitives.includes(text)) return { kind: "primitive", primitive: text as Primitive };
  return { kind: "struct", struct: nameOf(text) };
}

function parseDefault(raw: RawField): Field["explicitDefault"] {
  const value = raw.default;
  // Kafka's own generator takes a bare null for "none given"; only the word makes null the default.
  if (value === undefined || value === null) return undefined;
  if (value === "null") return null;
  switch (raw.type) {
    case "bool":
      return String(value) === "true";
    case "string":
      return String(value);
    default: {
      const text = String(value);
      const number = Number(text);
      if (text === "" || Number.isNaN(number)) throw new Error(`default of ${raw.name}: ${text}`);
      return Math.max(-Number.MAX_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, number));
    }
  }
}
