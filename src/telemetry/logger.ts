import type { Clock } from "../lib/clock.ts";
import { errorText } from "../lib/errors.ts";

export type LogLevel = "debug" | "info" | "warn" | "error";

/**
 * What a line carries beside its text, such as `topic`, `partition`, `client_id` and `err`. Values
 * are cut short, and of buffers only the length is written: payloads are never logged.
 */
export type LogFields = Readonly<Record<string, unknown>>;

/** Writes lines for one component. Cheap where the level is off. */
export interface Logger {
  readonly component: string;
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** Whether a line of that level would be written; for lines that are costly to build. */
  enabled(level: LogLevel): boolean;
  child(component: string): Logger;
}

/** The least severe level written, for all components and for some of their own. */
export interface LogLevels {
  readonly fallback: LogLevel;
  readonly components: ReadonlyMap<string, LogLevel>;
}

/** Where lines go. */
export interface LogSink {
  /** Takes one line that ends in a newline; false when it was not taken because too much waits. */
  write(line: string): boolean;
}

export interface LoggerOptions {
  readonly clock: Clock;
  readonly sink: LogSink;
  readonly levels: LogLevels;
  readonly format: "text" | "json";
}

const ranks: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 };

/** Longest value and longest line, in characters: a hostile name cannot fill a disk. */
const valueLengthMax = 512;
const lineLengthMax = 4_096;

/** All loggers of a process: one sink, one set of levels that may change while it runs. */
export class LogRoot {
  private readonly clock: Clock;
  private readonly sink: LogSink;
  private readonly format: "text" | "json";
  private levels: LogLevels;
  private lost = 0;

  constructor({ clock, sink, levels, format }: LoggerOptions) {
    this.clock = clock;
    this.sink = sink;
    this.levels = levels;
    this.format = format;
  }

  /** Lines that the sink did not take since the last one it took. */
  get lostLines(): number {
    return this.lost;
  }

  setLevels(levels: LogLevels): void {
    this.levels = levels;
  }

  logger(component: string): Logger {
    const at = (level: LogLevel) => (message: string, fields?: LogFields) =>
      this.log(component, level, message, fields);
    return {
      component,
      debug: at("debug"),
      info: at("info"),
      warn: at("warn"),
      error: at("error"),
      enabled: (level) => this.enabled(component, level),
      child: (name) => this.logger(name),
    };
  }

  private enabled(component: string, level: LogLevel): boolean {
    const least = this.levels.components.get(component) ?? this.levels.fallback;
    return ranks[level] >= ranks[least];
  }

  private log(component: string, level: LogLevel, message: string, fields: LogFields = {}): void {
    if (!this.enabled(component, level)) return;
    const line = this.build(component, level, message, fields);
    if (!this.sink.write(line)) {
      this.lost += 1;
    } else if (this.lost > 0) {
      const text = `${this.lost} lines were lost because standard error did not keep up`;
      if (this.sink.write(this.build("log", "warn", text, {}))) this.lost = 0;
    }
  }

  private build(component: string, level: LogLevel, message: string, fields: LogFields): string {
    const ts = new Date(this.clock.nowMs()).toISOString();
    const line =
      this.format === "json"
        ? jsonLine({ ts, level, component, msg: cut(message), ...readable(fields) })
        : textLine(ts, level, component, message, readable(fields));
    return `${line}\n`;
  }
}

/** Parses `info,indexer=debug`; the configuration has checked its form. */
export function parseLevels(text: string): LogLevels {
  let fallback: LogLevel = "info";
  const components = new Map<string, LogLevel>();
  for (const part of text.split(",")) {
    const [name = "", level] = part.split("=");
    if (level === undefined) fallback = toLevel(name);
    else components.set(name, toLevel(level));
  }
  return { fallback, components };
}

function toLevel(text: string): LogLevel {
  return text === "debug" || text === "warn" || text === "error" ? text : "info";
}

/** Lines to standard error, at most `waitingBytesMax` of them not yet taken by whoever reads it. */
export function stderrSink(waitingBytesMax = 1024 * 1024): LogSink {
  return {
    write(line) {
      if (process.stderr.writableLength > waitingBytesMax) return false;
      process.stderr.write(line);
      return true;
    },
  };
}

type Readable = Readonly<Record<string, string | number | boolean | null>>;

/** Fields as they may be printed: short, and without the content of buffers. */
function readable(fields: LogFields): Readable {
  const out: Record<string, string | number | boolean | null> = {};
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined) continue;
    out[name] = readableValue(value);
  }
  return out;
}

function readableValue(value: unknown): string | number | boolean | null {
  if (value === null || typeof value === "number" || typeof value === "boolean") return value;
  if (typeof value === "string") return cut(value);
  if (value instanceof Error) return cut(errorText(value));
  if (ArrayBuffer.isView(value)) return `${value.byteLength} bytes`;
  if (Array.isArray(value)) return cut(value.map((one) => String(readableValue(one))).join(","));
  return cut(typeof value === "object" ? shallow(value) : String(value));
}

/** An object's plain values; what lies deeper may be anything. */
function shallow(value: object): string {
  const entries = Object.entries(value).map(([name, inner]) => [
    name,
    typeof inner === "object" && inner !== null ? "…" : String(inner),
  ]);
  return JSON.stringify(Object.fromEntries(entries));
}

function cut(text: string): string {
  return text.length <= valueLengthMax ? text : `${text.slice(0, valueLengthMax)}…`;
}

/** JSON stays whole when a line is too long: its fields go, its message stays. */
function jsonLine(line: Readable): string {
  const text = JSON.stringify(line);
  if (text.length <= lineLengthMax) return text;
  const { ts = "", level = "", component = "", msg = "" } = line;
  return JSON.stringify({ ts, level, component, msg, cut: true });
}

function textLine(
  ts: string,
  level: LogLevel,
  component: string,
  message: string,
  fields: Readable,
): string {
  const pairs = Object.entries(fields).map(([name, value]) => ` ${name}=${quoted(value)}`);
  const line = `${ts} ${level.toUpperCase().padEnd(5)} ${component}: ${plain(cut(message))}`;
  const whole = line + pairs.join("");
  return whole.length <= lineLengthMax ? whole : `${whole.slice(0, lineLengthMax)}…`;
}

function quoted(value: string | number | boolean | null): string {
  const text = String(value);
  return /^[^\s"=\\\p{Cc}]+$/u.test(text) ? text : JSON.stringify(text);
}

/** One line stays one line, and a terminal's colours do nothing: control characters are escaped. */
function plain(text: string): string {
  return text.replace(/\p{Cc}/gu, (character) => JSON.stringify(character).slice(1, -1));
}
