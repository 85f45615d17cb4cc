/**
 * Writes src/protocol/{messages/*,api-key,error-code}.ts and test/protocol/schemas.json from the
 * message definitions inside Kafka's own jars.
 *
 * `bun scripts/generate.ts` writes; `--check` compares and fails on drift. Without the jars (no
 * local Maven repository, no mvn) there is nothing to compare with: says so and exits 0.
 */
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import {
  type Api,
  apiFile,
  apiKeyFile,
  dataFile,
  errorCodeFile,
  pairApis,
  type Source,
  schemasFile,
} from "./generate/emit-files.ts";
import { dumpErrors } from "./generate/errors.ts";
import {
  clientsJar,
  clientsVersion,
  coordinatorJar,
  coordinatorVersion,
  findJar,
  loggingJar,
  readJsonEntries,
  shareCoordinatorJar,
  transactionJar,
} from "./generate/jars.ts";
import { parseMessage } from "./generate/schema.ts";

const root = join(import.meta.dir, "..");
const messagesFolder = "src/protocol/messages";

/** Data messages of kafka-clients that chronik reads or writes. */
const clientData = [
  "AbortedTxn",
  "ConsumerProtocolAssignment",
  "ConsumerProtocolSubscription",
  "ControlRecordTypeSchema",
  "EndTxnMarker",
];

/** Records of __consumer_offsets: offsets, classic, consumer and share groups. */
const coordinatorRecord =
  /^(LegacyOffsetCommit|OffsetCommit|GroupMetadata|ConsumerGroup|ShareGroup)/;

/** Records of __share_group_state. */
const shareRecord = /^Share(Snapshot|Update)/;

/** Records of __transaction_state. */
const transactionRecord = /^TransactionLog(Key|Value)$/;

/** What decides the text of a message's file. */
const emitters = [
  "emit-decoder.ts",
  "emit-encoder.ts",
  "emit-files.ts",
  "emit-message.ts",
  "lines.ts",
  "schema.ts",
  "shape.ts",
];

function generatorHash(): string {
  const hash = createHash("sha256");
  const folder = join(import.meta.dir, "generate");
  for (const file of emitters) hash.update(readFileSync(join(folder, file)));
  return hash.digest("hex").slice(0, 16);
}

function readSources(jar: string, kafkaVersion: string): Source[] {
  const sources: Source[] = [];
  for (const [, text] of readJsonEntries(jar, "common/message/")) {
    const message = parseMessage(text);
    if (message !== null) sources.push({ message, text, kafkaVersion });
  }
  return sources;
}

/** Kafka's controllers talk to one another through the rest. */
function isServed(api: Api): boolean {
  return api.request.listeners.includes("broker");
}

/** Lets Biome lay out the TypeScript among `files`, under the project's settings. */
function format(files: Map<string, string>): void {
  const folder = mkdtempSync(join(tmpdir(), "chronik-generate-"));
  try {
    const settings = JSON.parse(readFileSync(join(root, "biome.json"), "utf8"));
    const { formatter, javascript } = settings;
    writeFileSync(
      join(folder, "biome.json"),
      JSON.stringify({ root: true, formatter, javascript }),
    );
    const paths = [...files.keys()].filter((path) => path.endsWith(".ts"));
    for (const path of paths) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), files.get(path) ?? "");
    }
    const biome = join(root, "node_modules/.bin/biome");
    const run = Bun.spawnSync([biome, "format", "--write", "."], { cwd: folder, stderr: "pipe" });
    if (run.exitCode !== 0) throw new Error(`biome: ${run.stderr.toString()}`);
    for (const path of paths) files.set(path, readFileSync(join(folder, path), "utf8"));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

interface Jars {
  readonly clients: string;
  readonly coordinator: string;
  readonly shareCoordinator: string;
  readonly transaction: string;
  readonly logging: string;
}

function findJars(): Jars | null {
  const clients = findJar(clientsJar);
  if (clients === null) return null;
  const coordinator = findJar(coordinatorJar);
  const shareCoordinator = findJar(shareCoordinatorJar);
  const transaction = findJar(transactionJar);
  const logging = findJar(loggingJar);
  if (coordinator === null || shareCoordinator === null) return null;
  if (transaction === null || logging === null) return null;
  return { clients, coordinator, shareCoordinator, transaction, logging };
}

function generateAll(jars: Jars): Map<string, string> {
  const generator = generatorHash();
  const sources = readSources(jars.clients, clientsVersion);
  const records = readSources(jars.coordinator, coordinatorVersion).filter(({ message }) =>
    coordinatorRecord.test(message.name),
  );
  const shareRecords = readSources(jars.shareCoordinator, coordinatorVersion).filter(
    ({ message }) => shareRecord.test(message.name),
  );
  const transactions = readSources(jars.transaction, coordinatorVersion).filter(({ message }) =>
    transactionRecord.test(message.name),
  );
  const apis = pairApis(sources);
  const data = [
    ...sources.filter(({ message }) => clientData.includes(message.name)),
    ...records,
    ...shareRecords,
    ...transactions,
  ].sort((a, b) => (a.message.name < b.message.name ? -1 : 1));
  const served = apis.filter(isServed);
  const left = apis.filter((api) => !isServed(api));
  console.log(`MISSING (no broker listener): ${left.map(({ name }) => name).join(" ")}`);
  const files = new Map<string, string>();
  for (const api of served) files.set(...apiFile(api, sources, generator));
  for (const source of data) files.set(...dataFile(source, generator));
  files.set(...apiKeyFile(apis, generator));
  const messages = served.flatMap((api) => [api.request, api.response]);
  files.set(...schemasFile([...messages, ...data.map(({ message }) => message)]));
  const errors = dumpErrors([jars.clients, jars.logging]);
  if (errors === null) console.log("no JDK: error-code.ts is left as it is");
  else files.set(...errorCodeFile(errors, generator));
  format(files);
  return files;
}

/** Generated files on disk that no message stands for any more. */
function stale(files: ReadonlyMap<string, string>): string[] {
  const folder = join(root, messagesFolder);
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .map((file) => `${messagesFolder}/${file}`)
    .filter((path) => !files.has(path));
}

function check(files: ReadonlyMap<string, string>): number {
  const drifted = stale(files);
  for (const [path, text] of files) {
    const file = join(root, path);
    if (!existsSync(file) || readFileSync(file, "utf8") !== text) drifted.push(path);
  }
  if (drifted.length > 0) {
    const shown = drifted.slice(0, 5).join(", ");
    console.error(`${drifted.length} files differ from what generate writes: ${shown} …`);
    return 1;
  }
  console.log(`${files.size} generated files are fresh`);
  return 0;
}

function write(files: ReadonlyMap<string, string>): void {
  for (const path of stale(files)) rmSync(join(root, path));
  for (const [path, text] of files) {
    const file = join(root, path);
    mkdirSync(dirname(file), { recursive: true });
    if (!existsSync(file) || readFileSync(file, "utf8") !== text) writeFileSync(file, text);
  }
  console.log(`${files.size} files`);
}

function main(): number {
  const checking = process.argv.includes("--check");
  const jars = findJars();
  if (jars === null) {
    const text = "Kafka's jars are neither in the local Maven repository nor to be had through mvn";
    console.log(checking ? `${text}: freshness of the generated codecs not checked` : text);
    return checking ? 0 : 1;
  }
  const files = generateAll(jars);
  if (checking) return check(files);
  write(files);
  return 0;
}

process.exit(main());
