/** Emits the interfaces, decoders and encoders of one message. */
import { DecoderEmitter } from "./emit-decoder.ts";
import { EncoderEmitter } from "./emit-encoder.ts";
import { Lines } from "./lines.ts";
import type { Field, Message, Struct, Versions } from "./schema.ts";
import { numbers, Shape, type Uses } from "./shape.ts";

export class MessageEmitter {
  private readonly shape: Shape;

  constructor(message: Message, uses: Uses) {
    this.shape = new Shape(message, uses);
  }

  emit(): string {
    const parts: string[] = [];
    const decoders = new DecoderEmitter(this.shape);
    const encoders = new EncoderEmitter(this.shape);
    const [root] = this.shape.message.structs;
    const structs = this.shape.message.structs.filter(({ name }) => this.shape.enter(name));
    for (const struct of structs) {
      this.shape.enter(struct.name);
      parts.push(this.interfaceOf(struct));
    }
    for (const struct of structs) {
      this.shape.enter(struct.name);
      const exported = struct === root ? "export " : "";
      parts.push(decoders.decoder(struct, exported), encoders.encoder(struct, exported));
    }
    for (const name of this.shape.defaultsNeeded) {
      this.shape.enter(name);
      parts.push(this.defaultsOf(this.shape.struct(name)));
    }
    return parts.join("\n\n");
  }

  // Interfaces

  private interfaceOf(struct: Struct): string {
    const lines = new Lines();
    lines.open(`export interface ${struct.name} {`);
    for (const field of this.shape.fields(struct)) {
      const note = this.note(field);
      if (note !== "") lines.add(`/** ${note} */`);
      const nullable = this.shape.isNullable(field) ? " | null" : "";
      const mark = this.shape.optional(field) ? "?" : "";
      lines.add(`${field.name}${mark}: ${this.shape.tsType(field.type)}${nullable};`);
    }
    lines.close();
    return lines.out.join("\n");
  }

  private note(field: Field): string {
    const notes: string[] = [];
    const lo = Math.min(...this.shape.among);
    const hi = Math.max(...this.shape.among);
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
    if (this.shape.optional(field)) notes.push(`default ${this.defaultText(field)}`);
    if (field.ignorable) notes.push("ignorable");
    return notes.join(", ");
  }

  private defaultText(field: Field): string {
    if (this.shape.isNullDefault(field)) return "null";
    if (field.type.kind === "array") return "[]";
    if (field.type.kind === "struct") return "all defaults";
    if (field.type.primitive === "bytes") return "empty";
    if (field.type.primitive === "uuid") return "zero";
    return this.shape.defaultOf(field);
  }

  // Defaults of structs

  private defaultsOf(struct: Struct): string {
    const fields = this.shape.fields(struct);
    const lines = new Lines();
    lines.open(`function default${struct.name}(): Decoded<${struct.name}> {`);
    const values = fields.map((field) => `${field.name}: ${this.shape.defaultOf(field)}`);
    lines.add(`return { ${values.join(", ")} };`);
    lines.close();
    lines.add("");
    lines.open(`function isDefault${struct.name}(m: ${struct.name}): boolean {`);
    for (const field of fields) {
      lines.add(`const ${field.local} = ${this.shape.valueOf(field)};`);
      lines.add(`if (${this.shape.nonDefault(field, field.local)}) return false;`);
    }
    lines.add("return true;");
    lines.close();
    return lines.out.join("\n");
  }
}
