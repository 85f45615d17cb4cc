/** Finds the pinned jars in the local Maven repository, or asks mvn for them, and reads entries. */
import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { inflateRawSync } from "node:zlib";

export const clientsVersion = "4.4.0";
export const coordinatorVersion = "4.3.1";

export interface Jar {
  readonly group: string;
  readonly artifact: string;
  readonly version: string;
}

export const clientsJar: Jar = {
  group: "org.apache.kafka",
  artifact: "kafka-clients",
  version: clientsVersion,
};
export const coordinatorJar: Jar = {
  group: "org.apache.kafka",
  artifact: "kafka-group-coordinator",
  version: coordinatorVersion,
};
export const shareCoordinatorJar: Jar = {
  group: "org.apache.kafka",
  artifact: "kafka-share-coordinator",
  version: coordinatorVersion,
};
export const transactionJar: Jar = {
  group: "org.apache.kafka",
  artifact: "kafka-transaction-coordinator",
  version: coordinatorVersion,
};
/** Kafka's classes log through it; needed to load them. */
export const loggingJar: Jar = { group: "org.slf4j", artifact: "slf4j-api", version: "1.7.36" };

/** Path of the jar; null when it is neither in the local repository nor to be had through mvn. */
export function findJar(jar: Jar): string | null {
  const { MAVEN_REPOSITORY } = process.env;
  const repository = MAVEN_REPOSITORY ?? join(homedir(), ".m2", "repository");
  const path = join(
    repository,
    ...jar.group.split("."),
    jar.artifact,
    jar.version,
    `${jar.artifact}-${jar.version}.jar`,
  );
  if (existsSync(path)) return path;
  const mvn = Bun.which("mvn");
  if (mvn === null) return null;
  const artifact = `${jar.group}:${jar.artifact}:${jar.version}`;
  Bun.spawnSync(
    [
      mvn,
      "-q",
      "-B",
      `-Dmaven.repo.local=${repository}`,
      "dependency:get",
      `-Dartifact=${artifact}`,
      "-Dtransitive=false",
    ],
    { stdout: "ignore", stderr: "inherit" },
  );
  return existsSync(path) ? path : null;
}

/** Text of all entries under `folder` that end in ".json", by file name. */
export function readJsonEntries(path: string, folder: string): Map<string, string> {
  const zip = readFileSync(path);
  const end = zip.lastIndexOf(Buffer.from([0x50, 0x4b, 0x05, 0x06]));
  if (end < 0) throw new Error(`${path} is not a jar`);
  const entries = new Map<string, string>();
  let at = zip.readUInt32LE(end + 16);
  for (let count = zip.readUInt16LE(end + 10); count > 0; count--) {
    const nameLength = zip.readUInt16LE(at + 28);
    const name = zip.toString("utf8", at + 46, at + 46 + nameLength);
    if (name.startsWith(folder) && name.endsWith(".json")) {
      entries.set(name.slice(folder.length), readEntry(zip, at));
    }
    at += 46 + nameLength + zip.readUInt16LE(at + 30) + zip.readUInt16LE(at + 32);
  }
  return entries;
}

function readEntry(zip: Buffer, directory: number): string {
  const method = zip.readUInt16LE(directory + 10);
  const compressedSize = zip.readUInt32LE(directory + 20);
  const local = zip.readUInt32LE(directory + 42);
  const start = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
  const data = zip.subarray(start, start + compressedSize);
  if (method === 0) return data.toString("utf8");
  if (method === 8) return inflateRawSync(data).toString("utf8");
  throw new Error(`compression method ${method} in a jar`);
}
