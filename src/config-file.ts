import { parseAddress, type RawValue } from "./config-values.ts";
import { errorText } from "./lib/errors.ts";

/** What a configuration file says: dotted names and what stands beside them, in file order. */
export type Entries = readonly (readonly [name: string, value: RawValue])[];

/** Thrown for a file that cannot be read as what it is; the loader adds the file's name. */
export class FileFormatError extends Error {
  override readonly name = "FileFormatError";
}

/** Reads TOML, or Java properties when the file's name ends in `.properties`. */
export function parseConfigFile(path: string, text: string): Entries {
  return path.endsWith(".properties") ? parseProperties(text) : parseToml(text);
}

function parseToml(text: string): Entries {
  let document: unknown;
  try {
    document = Bun.TOML.parse(text);
  } catch (cause) {
    throw new FileFormatError(`it is not valid TOML: ${errorText(cause)}`);
  }
  const entries: [string, RawValue][] = [];
  flatten(document, "", entries);
  return entries;
}

function flatten(value: unknown, name: string, entries: [string, RawValue][]): void {
  if (isRaw(value)) {
    entries.push([name, value]);
    return;
  }
  // Dates and times are objects too, but of no setting.
  if (!isTable(value)) {
    throw new FileFormatError(`${name} has a value that no setting can have`);
  }
  for (const [key, inner] of Object.entries(value)) {
    flatten(inner, name === "" ? key : `${name}.${key}`, entries);
  }
}

function isTable(value: unknown): value is Record<string, unknown> {
  return Object.prototype.toString.call(value) === "[object Object]";
}

function isRaw(value: unknown): value is RawValue {
  if (Array.isArray(value)) return value.every(isRaw);
  return ["string", "number", "bigint", "boolean"].includes(typeof value);
}

/** Java's properties format: `=`, `:` or blanks between, `#` or `!` for comments, `\` to go on. */
export function parseProperties(text: string): Entries {
  const entries: [string, RawValue][] = [];
  const lines = text.replace(/\r\n?/g, "\n").split("\n");
  for (let at = 0; at < lines.length; at += 1) {
    let line = (lines[at] ?? "").trimStart();
    if (line === "" || line.startsWith("#") || line.startsWith("!")) continue;
    while (/(?:^|[^\\])(?:\\\\)*\\$/.test(line) && at + 1 < lines.length) {
      at += 1;
      line = line.slice(0, -1) + (lines[at] ?? "").trimStart();
    }
    const match = /^((?:\\.|[^\\\s=:])+)\s*[=:]?\s*(.*)$/.exec(line);
    if (match === null) throw new FileFormatError(`line ${at + 1} has no name`);
    entries.push([unescapeProperty(match[1] ?? ""), unescapeProperty(match[2] ?? "").trimEnd()]);
  }
  return entries;
}

function unescapeProperty(text: string): string {
  return text.replace(/\\(u[0-9a-fA-F]{4}|.)/g, (_, code: string) => {
    if (code.length === 5) return String.fromCharCode(Number.parseInt(code.slice(1), 16));
    return { n: "\n", r: "\r", t: "\t", f: "\f" }[code] ?? code;
  });
}

/**
 * Kafka's listener list without its parts that chronik has no use for: the controller's. A listener
 * with TLS or SASL cannot be left out silently, so it is a FileFormatError.
 */
export function plainListeners(entries: Entries, value: RawValue): string[] {
  const find = (name: string): string =>
    String(entries.find(([key]) => key === name)?.[1] ?? "").trim();
  const controllers = [...find("controller.listener.names").split(","), "CONTROLLER"];
  const protocols = new Map(
    find("listener.security.protocol.map")
      .split(",")
      .map((pair) => pair.split(":"))
      .map(([name = "", protocol = ""]) => [name.trim().toUpperCase(), protocol.trim()]),
  );
  const kept: string[] = [];
  for (const part of String(value).split(",")) {
    const match = /^\s*([\w.-]+):\/\/(.*?)\s*$/.exec(part);
    if (match === null) {
      kept.push(part.trim());
      continue;
    }
    const [, name = "", rest = ""] = match;
    if (controllers.includes(name)) continue;
    const protocol = protocols.get(name.toUpperCase()) ?? name;
    if (protocol.toUpperCase() !== "PLAINTEXT") {
      throw new FileFormatError(`listener ${part.trim()} needs TLS or SASL: use PLAINTEXT://`);
    }
    if (parseAddress(rest, 9092) === undefined) {
      throw new FileFormatError(`listener ${part.trim()} is not NAME://HOST:PORT`);
    }
    kept.push(rest);
  }
  return kept;
}
