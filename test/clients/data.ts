import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** One line of the input file; byte strings are base64, null is Kafka's null. */
export interface InputRecord {
  readonly key: string | null;
  readonly value: string | null;
  readonly headers: readonly (readonly [string, string | null])[];
  /** Milliseconds since the epoch; deliberately not monotonic. */
  readonly timestamp: number;
  readonly partition: number;
}

export const partitionCount = 3;
const formatVersion = 1;
const firstTimestampMs = Date.UTC(2024, 0, 1);
const dataDir = join(
  dirname(Bun.resolveSync("vega-datasets/package.json", import.meta.dir)),
  "data",
);

const jsonFiles = ["movies", "cars", "jobs", "football", "earthquakes", "flights-20k", "budget"];
const csvFiles = ["airports", "birdstrikes", "zipcodes", "species", "sp500-2000"];

interface Source {
  readonly name: string;
  readonly rows: readonly string[];
  readonly isJson: boolean;
}

function readSources(): Source[] {
  const json = jsonFiles.map((name) => {
    const parsed: unknown = JSON.parse(readFileSync(join(dataDir, `${name}.json`), "utf8"));
    const list = Array.isArray(parsed) ? parsed : (parsed as { features: unknown[] }).features;
    return { name, rows: list.map((row) => JSON.stringify(row)), isJson: true };
  });
  const csv = csvFiles.map((name) => {
    const lines = readFileSync(join(dataDir, `${name}.csv`), "utf8").split(/\r?\n/);
    return { name, rows: lines.slice(1).filter((line) => line !== ""), isJson: false };
  });
  return [...json, ...csv];
}

/** mulberry32: small, seeded, the same on every machine. */
function randomSource(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function randomBytes(random: () => number, length: number): Buffer {
  return Buffer.from(Uint8Array.from({ length }, () => Math.floor(random() * 256)));
}

/** The row; a second pass over a file appends the pass, so recycled values stay distinct. */
function rowText(source: Source, index: number): string {
  const row = source.rows[index % source.rows.length] ?? "";
  const pass = Math.floor(index / source.rows.length);
  if (pass === 0) return row;
  return source.isJson ? `${row.slice(0, -1)},"pass":${pass}}` : `${row},${pass}`;
}

function headersOf(i: number, name: string, random: () => number): [string, Buffer | null][] {
  if (i % 3 === 0) return [];
  const row = Buffer.alloc(4);
  row.writeUInt32BE(i);
  const headers: [string, Buffer | null][] = [
    ["source", Buffer.from(name)],
    ["row", row],
  ];
  // Same-named headers stand together: kafkajs keeps headers in an object and could not
  // give back any other order.
  if (i % 5 === 0) headers.push(["tag", Buffer.from("first")], ["tag", randomBytes(random, 5)]);
  if (i % 17 === 0) headers.push(["nothing", null]);
  if (i % 19 === 0) headers.push(["empty", Buffer.alloc(0)]);
  if (i % 23 === 0) headers.push(["größe-大小", Buffer.from("ünïcödé")]);
  return headers;
}

/** N records over the rows of real data files, with every shape a record can have. */
export function* inputRecords(count: number): Generator<InputRecord> {
  const random = randomSource(20_240_101);
  const sources = readSources();
  for (let i = 0; i < count; i++) {
    const source = sources[i % sources.length]!;
    const row = Math.floor(i / sources.length);
    const isTombstone = i % 13 === 5;
    let key: Buffer | null = Buffer.from(`${source.name}:${row % source.rows.length}`);
    if (i % 7 === 0 && !isTombstone) key = null;
    else if (i % 11 === 0) key = randomBytes(random, 16);
    else if (i % 97 === 0) key = Buffer.alloc(0);
    let value: Buffer | null = Buffer.from(rowText(source, row));
    if (isTombstone) value = null;
    else if (i % 89 === 0) value = Buffer.alloc(0);
    else if (i % 101 === 0) value = randomBytes(random, 512);
    else if (i % 997 === 0) value = Buffer.from(rowText(source, row).repeat(100));
    yield {
      key: key?.toString("base64") ?? null,
      value: value?.toString("base64") ?? null,
      headers: headersOf(i, source.name, random).map(
        ([name, bytes]) => [name, bytes?.toString("base64") ?? null] as const,
      ),
      timestamp: firstTimestampMs + i * 50 + Math.floor(random() * 20_000),
      partition: Math.floor(random() * partitionCount),
    };
  }
}

export interface ConsoleRow {
  readonly headers: readonly (readonly [string, string])[];
  readonly key: string | null;
  readonly value: string | null;
}

/** N rows that survive the console tools' line format: text without tabs or line ends. */
export function* consoleRows(count: number): Generator<ConsoleRow> {
  const sources = readSources();
  for (let i = 0; i < count; i++) {
    const source = sources[i % sources.length]!;
    const row = Math.floor(i / sources.length);
    const isTombstone = i % 13 === 5;
    yield {
      headers: [
        ["source", source.name],
        ["row", String(row)],
      ],
      key: i % 7 === 0 && !isTombstone ? null : `${source.name}:${row % source.rows.length}`,
      value: isTombstone
        ? null
        : rowText(source, row).replaceAll(/[\t\r\n\u2028\u2029\u0085]/g, " "),
    };
  }
}

/** Path of the input file with `count` records; made once. */
export function inputFile(cacheDir: string, count: number): string {
  const path = join(cacheDir, `input-v${formatVersion}-${count}.jsonl`);
  if (existsSync(path)) return path;
  mkdirSync(cacheDir, { recursive: true });
  const draft = `${path}.${process.pid}`;
  const lines = Array.from(inputRecords(count), (record) => JSON.stringify(record));
  writeFileSync(draft, `${lines.join("\n")}\n`);
  renameSync(draft, path);
  return path;
}
