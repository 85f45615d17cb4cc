/** Emits the encoder of one struct. */
import { Lines } from "./lines.ts";
import type { Field, FieldType, Struct } from "./schema.ts";
import type { Shape } from "./shape.ts";

export class EncoderEmitter {
  private readonly shape: Shape;

  constructor(shape: Shape) {
    this.shape = shape;
  }

  encoder(struct: Struct, exported: string): string {
    const lines = new Lines();
    const fields = this.shape.fields(struct);
    for (const field of fields) this.encodeRegular(lines, struct, field);
    this.encodeTags(lines, struct, fields);
    return this.shape.wrap(
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

  private encodeRegular(lines: Lines, struct: Struct, field: Field): void {
    const versions = this.shape.regular(field);
    const tagged = this.shape.taggedIn(field);
    const absent = this.shape.count((v) => !versions.includes(v) && !tagged.includes(v));
    const refuse = absent.length > 0 && !field.ignorable;
    const where = `"${struct.name}.${field.name}"`;
    if (versions.length === 0 && !refuse) return;
    if (refuse) this.shape.uses.unsupportedField = true;
    const refusal = `unsupportedField(${where}, version);`;
    if (versions.length === 0) {
      // Tagged wherever it is known.
      const unknown = this.shape.condition(absent, this.shape.all());
      lines.open(`if (${unknown}) {`);
      lines.add(`const ${field.local} = ${this.shape.valueOf(field)};`);
      lines.add(`if (${this.shape.nonDefault(field, field.local)}) ${refusal}`);
      lines.close();
      return;
    }
    if (tagged.length > 0) throw new Error(`${where} is tagged in some versions only`);
    const condition = this.shape.condition(versions, this.shape.all());
    const open = condition !== "true";
    if (open) lines.open(`if (${condition}) {`);
    this.encodeValue(lines, struct, field, versions, this.shape.valueOf(field));
    if (!open) return;
    if (refuse) {
      lines.turn("} else {");
      lines.add(`const ${field.local} = ${this.shape.valueOf(field)};`);
      lines.add(`if (${this.shape.nonDefault(field, field.local)}) ${refusal}`);
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
    const canBeNull = versions.filter((v) => this.shape.within(field.nullable, v));
    const condition = this.shape.condition(canBeNull, versions);
    const declare = `const ${name} = ${this.checked(struct, field, condition, value)};`;
    if (type.kind === "struct") {
      if (condition === "false" && !this.shape.isNullable(field)) {
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
    if (!this.shape.isNullable(field) || nullableIf === "true") return value;
    this.shape.uses.notNull = true;
    const where = `"${struct.name}.${field.name}"`;
    const checked = `notNull(${value}, ${where}, version)`;
    if (nullableIf === "false") return checked;
    return `${nullableIf} ? (${value}) : ${checked}`;
  }

  private both(versions: number[], field: Field, compact: string, plain: string): string {
    const text = this.shape.choose(versions, field, "compact", "plain");
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
    const canBeNull = versions.filter((v) => this.shape.within(field.nullable, v));
    const condition = this.shape.condition(canBeNull, versions);
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
    const flexible = this.shape.flexibleCondition();
    if (flexible === "false") return;
    const tagged = fields
      .filter((field) => this.shape.taggedIn(field).length > 0)
      .sort((a, b) => Number(a.tag) - Number(b.tag));
    if (tagged.length === 0) {
      lines.add(
        flexible === "true" ? "w.unsignedVarint(0);" : "if (flexible) w.unsignedVarint(0);",
      );
      return;
    }
    const among = this.shape.count((v) => this.shape.flexible(v));
    if (flexible !== "true") lines.open("if (flexible) {");
    lines.add("let tags = 0;");
    for (const field of tagged) {
      const condition = this.shape.condition(this.shape.taggedIn(field), among);
      const test = condition === "true" ? "" : `${condition} && `;
      lines.add(`const ${field.local} = ${this.shape.valueOf(field)};`);
      lines.add(`const ${field.local}Given = ${test}${this.shape.nonDefault(field, field.local)};`);
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
    const versions = this.shape.taggedIn(field);
    if (type.kind === "struct" && !this.shape.isNullable(field)) {
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
}
