/** Emits the interfaces, decoder and encoder of one message. */
import type { Field, FieldType, Message, Struct, Versions } from "./schema.ts";

const numbers = ["int8", "int16", "uint16", "int32", "uint32", "int64", "float64"];
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

class Lines {
  readonly out: string[] = [];
  private depth = 0;

  add(line: string): void {
    this.out.push("  ".repeat(this.depth) + line);
  }

  open(line: string): void {
    this.add(line);
    this.depth++;
  }

  close(line = "}"): void {
    this.depth--;
    this.add(line);
  }

  /** `} else if (…) {` and the like. */
  turn(line: string): void {
    this.depth--;
    this.add(line);
    this.depth++;
  }
}

export class MessageEmitter {
  private readonly structs: Map<string, Struct>;
  /** Versions in which a struct can occur. */
  private readonly reach: Map<string, number[]>;
  /** Those of the struct being emitted. */
  private among: number[] = [];
  private readonly defaultsNeeded = new Set<string>();
  private readonly message: Message;
  private readonly uses: Uses;

  constructor(message: Message, uses: Uses) {
    this.message = message;
    this.uses = uses;
    this.structs = new Map(message.structs.map((struct) => [struct.name, struct]));
    this.reach = this.reachOf();
  }

  emit(): string {
    const parts: string[] = [];
    const [root] = this.message.structs;
    const structs = this.message.structs.filter(({ name }) => this.enter(name));
    for (const struct of structs) {
      this.enter(struct.name);
      parts.push(this.interfaceOf(struct));
    }
    for (const struct of structs) {
      this.enter(struct.name);
      const exported = struct === root ? "export " : "";
      parts.push(this.decoder(struct, exported), this.encoder(struct, exported));
    }
    for (const name of this.defaultsNeeded) {
      this.enter(name);
      parts.push(this.defaultsOf(this.struct(name)));
    }
    return parts.join("\n\n");
  }

  /** Makes `name` the struct being emitted; false if no version has it. */
  private enter(name: string): boolean {
    this.among = this.reach.get(name) ?? [];
    return this.among.length > 0;
  }

  private reachOf(): Map<string, number[]> {
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

  private struct(name: string): Struct {
    const struct = this.structs.get(name);
    if (struct === undefined) throw new Error(`${this.message.name}: no struct ${name}`);
    return struct;
  }

  // Versions

  private within(versions: Versions, version: number): boolean {
    return versions !== null && version >= versions.lo && version <= versions.hi;
  }

  private count(test: (version: number) => boolean): number[] {
    return this.among.filter(test);
  }

  /** Condition in TypeScript that picks `chosen` out of `among`: "true", "false" or a comparison. */
  private condition(chosen: number[], among: number[]): string {
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

  private flexible(version: number): boolean {
    return this.within(this.message.flexible, version);
  }

  private all(): number[] {
    return this.count(() => true);
  }

  private regular(field: Field): number[] {
    return this.count(
      (v) =>
        this.within(field.versions, v) && !(field.tag !== null && this.within(field.tagged, v)),
    );
  }

  private taggedIn(field: Field): number[] {
    return this.count(
      (v) =>
        field.tag !== null &&
        this.within(field.versions, v) &&
        this.within(field.tagged, v) &&
        this.flexible(v),
    );
  }

  private flexibleCondition(): string {
    return this.condition(
      this.count((v) => this.flexible(v)),
      this.all(),
    );
  }

  // Types and defaults

  private used(field: Field): boolean {
    return this.regular(field).length + this.taggedIn(field).length > 0;
  }

  private fields(struct: Struct): Field[] {
    return struct.fields.filter((field) => this.used(field));
  }

  private tsType(type: FieldType): string {
    if (type.kind === "array") return `${this.tsType(type.of)}[]`;
    if (type.kind === "struct") return type.struct;
    if (numbers.includes(type.primitive)) return "number";
    if (type.primitive === "bool") return "boolean";
    if (type.primitive === "bigInt64") return "bigint";
    if (type.primitive === "string" || type.primitive === "uuid") return "string";
    return "Uint8Array";
  }

  private isNullable(field: Field): boolean {
    if (field.explicitDefault === null || this.isRecords(field.type)) return true;
    return this.count((v) => this.within(field.nullable, v)).length > 0;
  }

  private isRecords(type: FieldType): boolean {
    return type.kind === "primitive" && type.primitive === "records";
  }

  private optional(field: Field): boolean {
    if (field.explicitDefault !== undefined) return true;
    return this.regular(field).length !== this.all().length;
  }

  private isNullDefault(field: Field): boolean {
    return field.explicitDefault === null || this.isRecords(field.type);
  }

  private defaultOf(field: Field): string {
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

  private needDefaults(name: string): void {
    this.defaultsNeeded.add(name);
  }

  /** Condition that `value` differs from the field's default. */
  private nonDefault(field: Field, value: string): string {
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
  private bytesMin(type: FieldType, version: number, neverFlexible = false): number {
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

  private elementBytesMin(of: FieldType, versions: number[]): number {
    return Math.max(1, Math.min(...versions.map((v) => this.bytesMin(of, v))));
  }

  // Interfaces

  private interfaceOf(struct: Struct): string {
    const lines = new Lines();
    lines.open(`export interface ${struct.name} {`);
    for (const field of this.fields(struct)) {
      const note = this.note(field);
      if (note !== "") lines.add(`/** ${note} */`);
      const nullable = this.isNullable(field) ? " | null" : "";
      const mark = this.optional(field) ? "?" : "";
      lines.add(`${field.name}${mark}: ${this.tsType(field.type)}${nullable};`);
    }
    lines.close();
    return lines.out.join("\n");
  }

  private note(field: Field): string {
    const notes: string[] = [];
    const lo = Math.min(...this.among);
    const hi = Math.max(...this.among);
    const show = (versions: Versions) => {
      if (versions === null) return "";
      const from = Math.max(versions.lo, lo);
      if (versions.hi >= hi) return from === lo ? "" : `v${from}+`;
      return from === versions.hi ? `v${from}` : `v${from}–${versions.hi}`;
    };
    const versions = show(field.versions);
    if (versions !== "") notes.push(versions);
    if (field.nullable !== null) {
      const from = show(field.nullable);
      if (from !== "" && from !== versions) notes.push(`null ${from}`);
    }
    if (field.tag !== null && field.tagged !== null) notes.push(`tag ${field.tag}`);
    const { type } = field;
    if (
      type.kind === "primitive" &&
      (type.primitive === "uuid" || numbers.includes(type.primitive))
    ) {
      notes.push(type.primitive);
    } else if (type.kind === "array" && type.of.kind === "primitive") {
      const { primitive } = type.of;
      if (primitive === "uuid" || numbers.includes(primitive)) notes.push(primitive);
    }
    if (this.optional(field)) notes.push(`default ${this.defaultText(field)}`);
    if (field.ignorable) notes.push("ignorable");
    return notes.join(", ");
  }

  private defaultText(field: Field): string {
    if (this.isNullDefault(field)) return "null";
    if (field.type.kind === "array") return "[]";
    if (field.type.kind === "struct") return "all defaults";
    if (field.type.primitive === "bytes") return "empty";
    if (field.type.primitive === "uuid") return "zero";
    return this.defaultOf(field);
  }

  // Decoding

  private decoder(struct: Struct, exported: string): string {
    const lines = new Lines();
    const fields = this.fields(struct);
    for (const field of fields) this.decodeRegular(lines, field);
    this.decodeTags(lines, fields);
    const members = fields.map(({ name, local }) => (name === local ? name : `${name}: ${local}`));
    lines.add(members.length === 0 ? "return {};" : `return { ${members.join(", ")} };`);
    return this.wrap(
      `${exported}function decode${struct.name}`,
      [
        ["r", "Reader"],
        ["version", "number"],
      ],
      `Decoded<${struct.name}>`,
      lines.out,
    );
  }

  /** A function around `body`; parameters the body does not use get an underscore. */
  private wrap(
    head: string,
    parameters: [string, string][],
    result: string,
    body: string[],
  ): string {
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
  private choose(versions: number[], field: Field, compact: string, plain: string): string {
    if (field.neverFlexible) return plain;
    const chosen = versions.filter((v) => this.flexible(v));
    if (chosen.length === 0) return plain;
    if (chosen.length === versions.length) return compact;
    return `flexible ? ${compact} : ${plain}`;
  }

  /** Splits on nullability, then on compactness. */
  private shape(
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

  private decodeRegular(lines: Lines, field: Field): void {
    const versions = this.regular(field);
    const condition = this.condition(versions, this.all());
    const type = this.decodedType(field);
    if (condition === "true") {
      this.decodeInto(lines, field, versions, "declare");
      return;
    }
    lines.add(`let ${field.local}: ${type} = ${this.defaultOf(field)};`);
    if (condition === "false") return;
    lines.open(`if (${condition}) {`);
    this.decodeInto(lines, field, versions, "assign");
    lines.close();
  }

  private decodedType(field: Field): string {
    const nullable = this.isNullable(field) ? " | null" : "";
    return this.decodedBase(field.type) + nullable;
  }

  private decodedBase(type: FieldType): string {
    if (type.kind === "array") return `${this.decodedBase(type.of)}[]`;
    return type.kind === "struct" ? `Decoded<${type.struct}>` : this.tsType(type);
  }

  private decodeInto(
    lines: Lines,
    field: Field,
    versions: number[],
    how: "declare" | "assign",
    tagged = false,
  ): void {
    const { type, local: name } = field;
    const canBeNull = versions.some((v) => this.within(field.nullable, v));
    const declared = this.isNullable(field) && !canBeNull ? `: ${this.decodedType(field)}` : "";
    const target = how === "declare" ? `const ${name}${declared}` : name;
    if (type.kind === "primitive") {
      lines.add(`${target} = ${this.readPrimitive(versions, field)};`);
      return;
    }
    if (type.kind === "struct") {
      const read = `decode${type.struct}(r, version)`;
      const nullable = versions.filter((v) => this.within(field.nullable, v));
      const condition = this.condition(nullable, versions);
      if (tagged && condition === "true")
        lines.add(`${target} = r.presentTagged() ? ${read} : null;`);
      else if (condition === "false") lines.add(`${target} = ${read};`);
      else if (condition === "true") lines.add(`${target} = r.present() ? ${read} : null;`);
      else lines.add(`${target} = !(${condition}) || r.present() ? ${read} : null;`);
      return;
    }
    this.decodeArray(lines, field, type.of, versions, how, canBeNull);
  }

  private decodeArray(
    lines: Lines,
    field: Field,
    of: FieldType,
    versions: number[],
    how: "declare" | "assign",
    canBeNull: boolean,
  ): void {
    const { local: name } = field;
    const min = (compact: boolean) => {
      const among = versions.filter((v) => this.flexible(v) === compact);
      return this.elementBytesMin(of, among.length === 0 ? versions : among);
    };
    const length = this.shape(versions, field, (compact, nullable) => {
      const method = compact
        ? nullable
          ? "compactNullableArrayLength"
          : "compactArrayLength"
        : nullable
          ? "nullableArrayLength"
          : "arrayLength";
      return `r.${method}(${min(compact)})`;
    });
    const item =
      of.kind === "struct"
        ? `decode${of.struct}(r, version)`
        : this.readElement(versions, field, of);
    const itemType = this.decodedBase(of);
    const loop = (list: string, count: string) =>
      `for (let n = ${count}; n > 0; n--) ${list}.push(${item});`;
    if (!canBeNull) {
      const list = how === "declare" ? name : `${name}Items`;
      lines.add(`const ${list}: ${itemType}[] = [];`);
      lines.add(loop(list, length));
      if (how === "assign") lines.add(`${name} = ${list};`);
      return;
    }
    lines.add(`const ${name}Count = ${length};`);
    const nullableType = `${itemType}[] | null`;
    const start = `${name}Count < 0 ? null : []`;
    if (how === "declare") lines.add(`const ${name}: ${nullableType} = ${start};`);
    else lines.add(`${name} = ${start};`);
    lines.open(`if (${name} !== null) {`);
    lines.add(loop(name, `${name}Count`));
    lines.close();
  }

  private readPrimitive(versions: number[], field: Field): string {
    const { type } = field;
    if (type.kind !== "primitive") throw new Error("not a primitive");
    if (type.primitive === "string" || type.primitive === "bytes" || type.primitive === "records") {
      const noun = type.primitive === "string" ? "String" : "Bytes";
      return this.shape(versions, field, (compact, nullable) => {
        const name = (compact ? "Compact" : "") + (nullable ? "Nullable" : "") + noun;
        return `r.${name.charAt(0).toLowerCase()}${name.slice(1)}()`;
      });
    }
    return `r.${type.primitive}()`;
  }

  private readElement(versions: number[], field: Field, of: FieldType): string {
    const element: Field = { ...field, type: of, nullable: null };
    return this.readPrimitive(versions, element);
  }

  private decodeTags(lines: Lines, fields: Field[]): void {
    const flexible = this.flexibleCondition();
    if (flexible === "false") return;
    const tagged = fields.filter((field) => this.taggedIn(field).length > 0);
    const among = this.count((v) => this.flexible(v));
    if (tagged.length === 0) {
      lines.add(flexible === "true" ? "r.skipTags();" : "if (flexible) r.skipTags();");
      return;
    }
    if (flexible !== "true") lines.open("if (flexible) {");
    lines.open("for (let tags = r.tagCount(); tags > 0; tags--) {");
    lines.add("const tag = r.unsignedVarint();");
    lines.add("const outer = r.enterTag();");
    tagged.forEach((field, index) => {
      const condition = this.condition(this.taggedIn(field), among);
      const test = condition === "true" ? "" : ` && ${condition}`;
      const line = `if (tag === ${field.tag}${test}) {`;
      if (index === 0) lines.open(line);
      else lines.turn(`} else ${line}`);
      this.decodeInto(lines, field, this.taggedIn(field), "assign", true);
      lines.add("r.leaveTag(outer);");
    });
    lines.turn("} else {");
    lines.add("r.skipTag(outer);");
    lines.close();
    lines.close();
    if (flexible !== "true") lines.close();
  }

  // Encoding

  private encoder(struct: Struct, exported: string): string {
    const lines = new Lines();
    const fields = this.fields(struct);
    for (const field of fields) this.encodeRegular(lines, struct, field);
    this.encodeTags(lines, struct, fields);
    return this.wrap(
      `${exported}function encode${struct.name}`,
      [
        ["w", "Writer"],
        ["m", struct.name],
        ["version", "number"],
      ],
      "void",
      lines.out,
    );
  }

  /** The field's value with its default filled in. */
  private valueOf(field: Field): string {
    const member = `m.${field.name}`;
    if (!this.optional(field)) return member;
    const fallback = this.defaultOf(field);
    if (this.isNullable(field) && fallback !== "null") {
      return `${member} === undefined ? ${fallback} : ${member}`;
    }
    return `${member} ?? ${fallback}`;
  }

  private encodeRegular(lines: Lines, struct: Struct, field: Field): void {
    const versions = this.regular(field);
    const tagged = this.taggedIn(field);
    const absent = this.count((v) => !versions.includes(v) && !tagged.includes(v));
    const refuse = absent.length > 0 && !field.ignorable;
    const where = `"${struct.name}.${field.name}"`;
    if (versions.length === 0 && !refuse) return;
    if (refuse) this.uses.unsupportedField = true;
    const refusal = `unsupportedField(${where}, version);`;
    if (versions.length === 0) {
      // Tagged wherever it is known.
      const unknown = this.condition(absent, this.all());
      lines.open(`if (${unknown}) {`);
      lines.add(`const ${field.local} = ${this.valueOf(field)};`);
      lines.add(`if (${this.nonDefault(field, field.local)}) ${refusal}`);
      lines.close();
      return;
    }
    if (tagged.length > 0) throw new Error(`${where} is tagged in some versions only`);
    const condition = this.condition(versions, this.all());
    const open = condition !== "true";
    if (open) lines.open(`if (${condition}) {`);
    this.encodeValue(lines, struct, field, versions, this.valueOf(field));
    if (!open) return;
    if (refuse) {
      lines.turn("} else {");
      lines.add(`const ${field.local} = ${this.valueOf(field)};`);
      lines.add(`if (${this.nonDefault(field, field.local)}) ${refusal}`);
    }
    lines.close();
  }

  private encodeValue(
    lines: Lines,
    struct: Struct,
    field: Field,
    versions: number[],
    value: string,
  ): void {
    const { type, local: name } = field;
    if (type.kind === "primitive") {
      this.encodePrimitive(lines, struct, field, versions, value);
      return;
    }
    const canBeNull = versions.filter((v) => this.within(field.nullable, v));
    const condition = this.condition(canBeNull, versions);
    const declare = `const ${name} = ${this.checked(struct, field, condition, value)};`;
    if (type.kind === "struct") {
      if (condition === "false" && !this.isNullable(field)) {
        lines.add(`encode${type.struct}(w, ${value}, version);`);
        return;
      }
      lines.add(declare);
      const present = `w.present(${name} !== null);`;
      if (condition === "true") lines.add(present);
      else if (condition !== "false") lines.add(`if (${condition}) ${present}`);
      const guard = condition === "false" ? "" : `if (${name} !== null) `;
      lines.add(`${guard}encode${type.struct}(w, ${name}, version);`);
      return;
    }
    lines.add(declare);
    const length =
      condition === "false" ? `${name}.length` : `${name} === null ? -1 : ${name}.length`;
    lines.add(
      this.both(versions, field, `w.compactArrayLength(${length})`, `w.arrayLength(${length})`),
    );
    const item =
      type.of.kind === "struct"
        ? `encode${type.of.struct}(w, item, version);`
        : this.writeElement(versions, field, type.of);
    const loop = `for (const item of ${name}) ${item}`;
    if (condition === "false") {
      lines.add(loop);
      return;
    }
    lines.open(`if (${name} !== null) {`);
    lines.add(loop);
    lines.close();
  }

  /** `value`, refused when null in the versions (of those that have the field) that forbid it. */
  private checked(struct: Struct, field: Field, nullableIf: string, value: string): string {
    if (!this.isNullable(field) || nullableIf === "true") return value;
    this.uses.notNull = true;
    const where = `"${struct.name}.${field.name}"`;
    const checked = `notNull(${value}, ${where}, version)`;
    if (nullableIf === "false") return checked;
    return `${nullableIf} ? (${value}) : ${checked}`;
  }

  private both(versions: number[], field: Field, compact: string, plain: string): string {
    const text = this.choose(versions, field, "compact", "plain");
    if (text === "compact") return `${compact};`;
    if (text === "plain") return `${plain};`;
    return `if (flexible) ${compact}; else ${plain};`;
  }

  private encodePrimitive(
    lines: Lines,
    struct: Struct,
    field: Field,
    versions: number[],
    value: string,
  ): void {
    const { type } = field;
    if (type.kind !== "primitive") throw new Error("not a primitive");
    const sized = ["string", "bytes", "records"].includes(type.primitive);
    if (!sized) {
      lines.add(`w.${type.primitive}(${value});`);
      return;
    }
    const noun = type.primitive === "string" ? "String" : "Bytes";
    const canBeNull = versions.filter((v) => this.within(field.nullable, v));
    const condition = this.condition(canBeNull, versions);
    const write = (nullable: boolean, argument: string) =>
      this.both(
        versions,
        field,
        `w.compact${nullable ? "Nullable" : ""}${noun}(${argument})`,
        nullable ? `w.nullable${noun}(${argument})` : `w.${noun.toLowerCase()}(${argument})`,
      );
    if (condition === "false") {
      lines.add(write(false, this.checked(struct, field, condition, value)));
    } else if (condition === "true") {
      lines.add(write(true, value));
    } else {
      lines.add(`const ${field.local} = ${this.checked(struct, field, condition, value)};`);
      lines.add(write(true, field.local));
    }
  }

  private writeElement(versions: number[], field: Field, of: FieldType): string {
    if (of.kind !== "primitive") throw new Error("arrays of arrays are not known");
    if (of.primitive === "string") {
      return this.both(versions, field, "w.compactString(item)", "w.string(item)");
    }
    if (of.primitive === "bytes" || of.primitive === "records") {
      return this.both(versions, field, "w.compactBytes(item)", "w.bytes(item)");
    }
    return `w.${of.primitive}(item);`;
  }

  private encodeTags(lines: Lines, struct: Struct, fields: Field[]): void {
    const flexible = this.flexibleCondition();
    if (flexible === "false") return;
    const tagged = fields
      .filter((field) => this.taggedIn(field).length > 0)
      .sort((a, b) => Number(a.tag) - Number(b.tag));
    if (tagged.length === 0) {
      lines.add(
        flexible === "true" ? "w.unsignedVarint(0);" : "if (flexible) w.unsignedVarint(0);",
      );
      return;
    }
    const among = this.count((v) => this.flexible(v));
    if (flexible !== "true") lines.open("if (flexible) {");
    lines.add("let tags = 0;");
    for (const field of tagged) {
      const condition = this.condition(this.taggedIn(field), among);
      const test = condition === "true" ? "" : `${condition} && `;
      lines.add(`const ${field.local} = ${this.valueOf(field)};`);
      lines.add(`const ${field.local}Given = ${test}${this.nonDefault(field, field.local)};`);
      lines.add(`if (${field.local}Given) tags++;`);
    }
    lines.add("w.unsignedVarint(tags);");
    for (const field of tagged) {
      lines.open(`if (${field.local}Given) {`);
      lines.add(`const start = w.beginTag(${field.tag});`);
      this.encodeTagged(lines, struct, field);
      lines.add("w.endTag(start);");
      lines.close();
    }
    if (flexible !== "true") lines.close();
  }

  private encodeTagged(lines: Lines, struct: Struct, field: Field): void {
    const { type, local: name } = field;
    const versions = this.taggedIn(field);
    if (type.kind === "struct" && !this.isNullable(field)) {
      lines.add(`encode${type.struct}(w, ${name}, version);`);
      return;
    }
    if (type.kind === "primitive") {
      this.encodePrimitive(lines, struct, field, versions, name);
      return;
    }
    if (type.kind === "struct") {
      lines.add(`w.presentTagged(${name} !== null);`);
      lines.add(`if (${name} !== null) encode${type.struct}(w, ${name}, version);`);
      return;
    }
    const inner = new Lines();
    this.encodeValue(inner, struct, field, versions, name);
    // The value is a local already.
    for (const line of inner.out) if (!line.startsWith(`const ${name} = ${name};`)) lines.add(line);
  }

  // Defaults of structs

  private defaultsOf(struct: Struct): string {
    const fields = this.fields(struct);
    const lines = new Lines();
    lines.open(`function default${struct.name}(): Decoded<${struct.name}> {`);
    const values = fields.map((field) => `${field.name}: ${this.defaultOf(field)}`);
    lines.add(`return { ${values.join(", ")} };`);
    lines.close();
    lines.add("");
    lines.open(`function isDefault${struct.name}(m: ${struct.name}): boolean {`);
    for (const field of fields) {
      lines.add(`const ${field.local} = ${this.valueOf(field)};`);
      lines.add(`if (${this.nonDefault(field, field.local)}) return false;`);
    }
    lines.add("return true;");
    lines.close();
    return lines.out.join("\n");
  }
}
