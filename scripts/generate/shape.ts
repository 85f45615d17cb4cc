/** What the definition of one message says about its fields, version by version. */
import { Lines } from "./lines.ts";
import type { Field, FieldType, Message, Struct, Versions } from "./schema.ts";

export const numbers = ["int8", "int16", "uint16", "int32", "uint32", "int64", "float64"];
const sizes: Record<string, number> = {
  bool: 1,
  int8: 1,
  int16: 2,
  uint16: 2,
  int32: 4,
  uint32: 4,
  int64: 8,
  bigInt64: 8,
  float64: 8,
  uuid: 16,
};

/** Which of the runtime's helpers the emitted text uses. */
export interface Uses {
  zeroUuid: boolean;
  unsupportedField: boolean;
  notNull: boolean;
}

/**
 * One message's structs. `enter` picks the struct that the questions about fields refer to, for the
 * versions that matter are those in which that struct can occur.
 */
export class Shape {
  private readonly structs: Map<string, Struct>;
  /** Versions in which a struct can occur. */
  private readonly reach: Map<string, number[]>;
  /** Those of the struct being emitted. */
  among: number[] = [];
  readonly defaultsNeeded = new Set<string>();
  readonly message: Message;
  readonly uses: Uses;

  constructor(message: Message, uses: Uses) {
    this.message = message;
    this.uses = uses;
    this.structs = new Map(message.structs.map((struct) => [struct.name, struct]));
    this.reach = this.reachOf();
  }

  /** Makes `name` the struct being emitted; false if no version has it. */
  enter(name: string): boolean {
    this.among = this.reach.get(name) ?? [];
    return this.among.length > 0;
  }

  reachOf(): Map<string, number[]> {
    const { lo, hi } = this.message.valid;
    const all = Array.from({ length: hi - lo + 1 }, (_, index) => lo + index);
    const reach = new Map<string, Set<number>>([[this.message.name, new Set(all)]]);
    const visit = (name: string, versions: number[]) => {
      for (const field of this.struct(name).fields) {
        const type = field.type.kind === "array" ? field.type.of : field.type;
        if (type.kind !== "struct") continue;
        const inner = versions.filter((v) => this.within(field.versions, v));
        const known = reach.get(type.struct) ?? new Set();
        for (const version of inner) known.add(version);
        reach.set(type.struct, known);
        visit(type.struct, inner);
      }
    };
    visit(this.message.name, all);
    const sorted = [...reach].map(([name, versions]): [string, number[]] => [
      name,
      [...versions].sort((a, b) => a - b),
    ]);
    return new Map(sorted);
  }

  struct(name: string): Struct {
    const struct = this.structs.get(name);
    if (struct === undefined) throw new Error(`${this.message.name}: no struct ${name}`);
    return struct;
  }

  // Versions

  within(versions: Versions, version: number): boolean {
    return versions !== null && version >= versions.lo && version <= versions.hi;
  }

  count(test: (version: number) => boolean): number[] {
    return this.among.filter(test);
  }

  /** TypeScript condition that picks `chosen` out of `among`: "true", "false" or a comparison. */
  condition(chosen: number[], among: number[]): string {
    if (chosen.length === 0) return "false";
    if (chosen.length === among.length) return "true";
    const lo = Math.min(...chosen);
    const hi = Math.max(...chosen);
    if (among.filter((v) => v >= lo && v <= hi).length !== chosen.length) {
      throw new Error(`${this.message.name}: versions ${chosen} are not one range`);
    }
    const parts: string[] = [];
    if (lo > Math.min(...among)) parts.push(`version >= ${lo}`);
    if (hi < Math.max(...among)) parts.push(`version <= ${hi}`);
    return parts.join(" && ");
  }

  flexible(version: number): boolean {
    return this.within(this.message.flexible, version);
  }

  all(): number[] {
    return this.count(() => true);
  }

  regular(field: Field): number[] {
    return this.count(
      (v) =>
        this.within(field.versions, v) && !(field.tag !== null && this.within(field.tagged, v)),
    );
  }

  taggedIn(field: Field): number[] {
    return this.count(
      (v) =>
        field.tag !== null &&
        this.within(field.versions, v) &&
        this.within(field.tagged, v) &&
        this.flexible(v),
    );
  }

  flexibleCondition(): string {
    return this.condition(
      this.count((v) => this.flexible(v)),
      this.all(),
    );
  }

  // Types and defaults

  used(field: Field): boolean {
    return this.regular(field).length + this.taggedIn(field).length > 0;
  }

  fields(struct: Struct): Field[] {
    return struct.fields.filter((field) => this.used(field));
  }

  tsType(type: FieldType): string {
    if (type.kind === "array") return `${this.tsType(type.of)}[]`;
    if (type.kind === "struct") return type.struct;
    if (numbers.includes(type.primitive)) return "number";
    if (type.primitive === "bool") return "boolean";
    if (type.primitive === "bigInt64") return "bigint";
    if (type.primitive === "string" || type.primitive === "uuid") return "string";
    if (type.primitive === "records") return "Uint8Array | Pieces";
    return "Uint8Array";
  }

  isNullable(field: Field): boolean {
    if (field.explicitDefault === null || this.isRecords(field.type)) return true;
    return this.count((v) => this.within(field.nullable, v)).length > 0;
  }

  isRecords(type: FieldType): boolean {
    return type.kind === "primitive" && type.primitive === "records";
  }

  optional(field: Field): boolean {
    if (field.explicitDefault !== undefined) return true;
    return this.regular(field).length !== this.all().length;
  }

  isNullDefault(field: Field): boolean {
    return field.explicitDefault === null || this.isRecords(field.type);
  }

  defaultOf(field: Field): string {
    if (this.isNullDefault(field)) return "null";
    const { type } = field;
    if (type.kind === "array") return "[]";
    if (type.kind === "struct") {
      this.needDefaults(type.struct);
      return `default${type.struct}()`;
    }
    if (type.primitive === "uuid") {
      this.uses.zeroUuid = true;
      return "zeroUuid";
    }
    if (type.primitive === "bytes") return "new Uint8Array(0)";
    if (type.primitive === "bigInt64") return `${field.explicitDefault ?? 0}n`;
    if (field.explicitDefault === Number.MAX_SAFE_INTEGER) return "Number.MAX_SAFE_INTEGER";
    if (field.explicitDefault !== undefined) return JSON.stringify(field.explicitDefault);
    if (type.primitive === "string") return '""';
    return type.primitive === "bool" ? "false" : "0";
  }

  needDefaults(name: string): void {
    this.defaultsNeeded.add(name);
  }

  /** Condition that `value` differs from the field's default. */
  nonDefault(field: Field, value: string): string {
    if (this.isNullDefault(field)) return `${value} !== null`;
    const { type } = field;
    const orNull = this.isNullable(field);
    if (type.kind === "struct") {
      this.needDefaults(type.struct);
      const differs = `!isDefault${type.struct}(${value})`;
      return orNull ? `(${value} === null || ${differs})` : differs;
    }
    if (type.kind === "array" || type.primitive === "bytes") {
      return orNull ? `(${value} === null || ${value}.length > 0)` : `${value}.length > 0`;
    }
    return `${value} !== ${this.defaultOf(field)}`;
  }

  /** A struct's least size on the wire over all versions; one at least. */
  bytesMin(type: FieldType, version: number, neverFlexible = false): number {
    const compact = this.flexible(version) && !neverFlexible;
    if (type.kind === "array") return compact ? 1 : 4;
    if (type.kind === "struct") {
      let sum = this.flexible(version) ? 1 : 0;
      for (const field of this.struct(type.struct).fields) {
        const tagged = field.tag !== null && this.within(field.tagged, version);
        if (tagged || !this.within(field.versions, version)) continue;
        const nullable = this.within(field.nullable, version) && field.type.kind === "struct";
        sum += nullable ? 1 : this.bytesMin(field.type, version, field.neverFlexible);
      }
      return sum;
    }
    if (type.primitive === "string") return compact ? 1 : 2;
    if (type.primitive === "bytes" || type.primitive === "records") return compact ? 1 : 4;
    return sizes[type.primitive] ?? 1;
  }

  elementBytesMin(of: FieldType, versions: number[]): number {
    return Math.max(1, Math.min(...versions.map((v) => this.bytesMin(of, v))));
  }

  // Pieces of text

  /** A function around `body`; parameters the body does not use get an underscore. */
  wrap(head: string, parameters: [string, string][], result: string, body: string[]): string {
    const text = body.join("\n");
    const flexible = this.flexibleCondition();
    const lines = new Lines();
    const declare = /\bflexible\b/.test(text) ? [`const flexible = ${flexible};`] : [];
    const whole = [...declare, ...body].join("\n");
    const list = parameters.map(([name, type]) =>
      new RegExp(`(?<![.\\w"])${name}\\b(?!:)`).test(whole)
        ? `${name}: ${type}`
        : `_${name}: ${type}`,
    );
    lines.open(`${head}(${list.join(", ")}): ${result} {`);
    for (const line of [...declare, ...body]) lines.add(line);
    lines.close();
    return lines.out.join("\n");
  }

  /** `flexible ? a : b`, folded where only one of them can happen among `versions`. */
  choose(versions: number[], field: Field, compact: string, plain: string): string {
    if (field.neverFlexible) return plain;
    const chosen = versions.filter((v) => this.flexible(v));
    if (chosen.length === 0) return plain;
    if (chosen.length === versions.length) return compact;
    return `flexible ? ${compact} : ${plain}`;
  }

  /** Splits on nullability, then on compactness. */
  split(
    versions: number[],
    field: Field,
    call: (compact: boolean, nullable: boolean) => string,
  ): string {
    const nullable = versions.filter((v) => this.within(field.nullable, v));
    const other = versions.filter((v) => !this.within(field.nullable, v));
    const pick = (among: number[], isNull: boolean) =>
      this.choose(among, field, call(true, isNull), call(false, isNull));
    if (nullable.length === 0) return pick(versions, false);
    if (other.length === 0) return pick(versions, true);
    const wrapped = (text: string) => (text.includes(" ? ") ? `(${text})` : text);
    const condition = this.condition(nullable, versions);
    return `${condition} ? ${wrapped(pick(nullable, true))} : ${wrapped(pick(other, false))}`;
  }

  /** The field's value with its default filled in. */
  valueOf(field: Field): string {
    const member = `m.${field.name}`;
    if (!this.optional(field)) return member;
    const fallback = this.defaultOf(field);
    if (this.isNullable(field) && fallback !== "null") {
      return `${member} === undefined ? ${fallback} : ${member}`;
    }
    return `${member} ?? ${fallback}`;
  }
}
