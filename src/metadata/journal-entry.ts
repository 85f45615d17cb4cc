import { BrokerError, errorText } from "../lib/errors.ts";
import type { Command, Snapshot } from "./command.ts";

/** The version this chronik writes, and the newest it reads. See FORMAT.md. */
const entryVersion = 1;

const commandTypes: Record<Command["type"], true> = {
  cluster: true,
  broker: true,
  topic: true,
  "topic-deleted": true,
  "topic-cleaned": true,
  "partitions-added": true,
  "topic-configs": true,
  "broker-configs": true,
  "group-configs": true,
  feature: true,
  "client-metrics": true,
  scram: true,
  "scram-deleted": true,
  "client-quota": true,
  "leader-epochs": true,
  "producer-ids": true,
};

export type JournalEntry =
  | { readonly commands: readonly Command[]; readonly snapshot: null }
  | { readonly commands: null; readonly snapshot: Snapshot };

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

export function encodeCommands(commands: readonly Command[]): Uint8Array {
  return encoder.encode(JSON.stringify({ v: entryVersion, commands }));
}

export function encodeSnapshot(snapshot: Snapshot): Uint8Array {
  return encoder.encode(JSON.stringify({ v: entryVersion, snapshot }));
}

/** Throws BrokerError CHRONIK_METADATA_DAMAGED or CHRONIK_METADATA_VERSION. */
export function decodeEntry(bytes: Uint8Array): JournalEntry {
  const { v: version, commands, snapshot } = parse(bytes);
  if (version !== entryVersion) {
    throw new BrokerError(
      "CHRONIK_METADATA_VERSION",
      `the metadata journal holds an entry of version ${String(version)}, this chronik reads ` +
        `version ${entryVersion}: start the version that wrote it`,
    );
  }
  if (snapshot !== undefined) return { commands: null, snapshot };
  if (!Array.isArray(commands)) throw damaged("an entry holds neither commands nor a snapshot");
  const unknown = commands.find(({ type }) => !Object.hasOwn(commandTypes, type));
  if (unknown !== undefined) {
    throw new BrokerError(
      "CHRONIK_METADATA_VERSION",
      `the metadata journal holds a command "${String(unknown.type)}" that this chronik does ` +
        "not know: start the version that wrote it",
    );
  }
  return { commands, snapshot: null };
}

interface Parsed {
  readonly v?: unknown;
  readonly commands?: Command[];
  readonly snapshot?: Snapshot;
}

function parse(bytes: Uint8Array): Parsed {
  try {
    const value: unknown = JSON.parse(decoder.decode(bytes));
    if (typeof value === "object" && value !== null) return value;
  } catch (error) {
    throw damaged(errorText(error), error);
  }
  throw damaged("an entry is not an object");
}

export function damaged(reason: string, cause?: unknown): BrokerError {
  return new BrokerError(
    "CHRONIK_METADATA_DAMAGED",
    `the metadata journal cannot be read (${reason}): restore the data directory from a backup`,
    { cause },
  );
}
