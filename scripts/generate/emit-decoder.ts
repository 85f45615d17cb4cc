/** Emits the decoder of one struct. */
import { Lines } from "./lines.ts";
import type { Field, FieldType, Struct } from "./schema.ts";
import type { Shape } from "./shape.ts";

export class DecoderEmitter {
  private readonly shape: Shape;

  constructor(shape: Shape) {
    this.shape = shape;
  }

  decoder(struct: Struct, exported: string): string {
    const lines = new Lines();
    const fields = this.shape.fields(struct);
    for (const field of fields) this.decodeRegular(lines, field);
    this.decodeTags(lines, fields);
    const members = fields.map(({ name, local }) => (name === local ? name : `${name}: ${local}`));
    lines.add(members.length === 0 ? "return {};" : `return { ${members.join(", ")} };`);
    return this.shape.wrap(
      `${exported}function decode${struct.name}`,
      [
        ["r", "Reader"],
        ["version", "number"],
      ],
      `Decoded<${struct.name}>`,
      lines.out,
    );
  }

  private decodeRegular(lines: Lines, field: Field): void {
    const versions = this.shape.regular(field);
    const condition = this.shape.condition(versions, this.shape.all());
    const type = this.decodedType(field);
    if (condition === "true") {
      this.decodeInto(lines, field, versions, "declare");
      return;
    }
    lines.add(`let ${field.local}: ${type} = ${this.shape.defaultOf(field)};`);
    if (condition === "false") return;
    lines.open(`if (${condition}) {`);
    this.decodeInto(lines, field, versions, "assign");
    lines.close();
  }

  private decodedType(field: Field): string {
    const nullable = this.shape.isNullable(field) ? " | null" : "";
    return this.decodedBase(field.type) + nullable;
  }

  private decodedBase(type: FieldType): string {
    if (type.kind === "array") return `${this.decodedBase(type.of)}[]`;
    return type.kind === "struct" ? `Decoded<${type.struct}>` : this.shape.tsType(type);
  }

  private decodeInto(
    lines: Lines,
    field: Field,
    versions: number[],
    how: "declare" | "assign",
    tagged = false,
  ): void {
    const { type, local: name } = field;
    const canBeNull = versions.some((v) => this.shape.within(field.nullable, v));
    const declared =
      this.shape.isNullable(field) && !canBeNull ? `: ${this.decodedType(field)}` : "";
    const target = how === "declare" ? `const ${name}${declared}` : name;
    if (type.kind === "primitive") {
      lines.add(`${target} = ${this.readPrimitive(versions, field)};`);
      return;
    }
    if (type.kind === "struct") {
      const read = `decode${type.struct}(r, version)`;
      const nullable = versions.filter((v) => this.shape.within(field.nullable, v));
      const condition = this.shape.condition(nullable, versions);
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
      const among = versions.filter((v) => this.shape.flexible(v) === compact);
      return this.shape.elementBytesMin(of, among.length === 0 ? versions : among);
    };
    const length = this.shape.split(versions, field, (compact, nullable) => {
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
      return this.shape.split(versions, field, (compact, nullable) => {
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
    const flexible = this.shape.flexibleCondition();
    if (flexible === "false") return;
    const tagged = fields.filter((field) => this.shape.taggedIn(field).length > 0);
    const among = this.shape.count((v) => this.shape.flexible(v));
    if (tagged.length === 0) {
      lines.add(flexible === "true" ? "r.skipTags();" : "if (flexible) r.skipTags();");
      return;
    }
    if (flexible !== "true") lines.open("if (flexible) {");
    lines.open("for (let tags = r.tagCount(); tags > 0; tags--) {");
    lines.add("const tag = r.unsignedVarint();");
    lines.add("const outer = r.enterTag();");
    tagged.forEach((field, index) => {
      const condition = this.shape.condition(this.shape.taggedIn(field), among);
      const test = condition === "true" ? "" : ` && ${condition}`;
      const line = `if (tag === ${field.tag}${test}) {`;
      if (index === 0) lines.open(line);
      else lines.turn(`} else ${line}`);
      this.decodeInto(lines, field, this.shape.taggedIn(field), "assign", true);
      lines.add("r.leaveTag(outer);");
    });
    lines.turn("} else {");
    lines.add("r.skipTag(outer);");
    lines.close();
    lines.close();
    if (flexible !== "true") lines.close();
  }
}
