import { BrokerError } from "../lib/errors.ts";
import { listLimitMax, type ObjectStore, type StoredObject } from "../store/object-store.ts";
import {
  decodeManifest,
  type Manifest,
  manifestBytesMax,
  manifestKey,
  manifestPrefix,
  type Part,
  partPrefix,
  partsOf,
  sequenceOf,
} from "./format.ts";
import { getWhole, inflate } from "./parts.ts";

/** Complete backups that stay. */
const keptMin = 3;
/** Objects of one kind that a listing takes in: a broker leaves a few hundred. */
const listedMax = 100_000;
/** Backups behind the newest one listed that are asked for by name: half an hour's. */
const unlistedMax = 32;

/** The backups of one cluster in the store: which is next, and which may go. */
export class OldBackups {
  private readonly store: ObjectStore;
  private readonly clusterId: string;
  private seen = false;
  private newest = 0;
  /** Parts of each kept backup, by sequence; null: its manifest cannot be read. */
  private readonly kept = new Map<number, readonly Part[] | null>();
  /** Every part that is or may be in the store. */
  private readonly partKeys = new Set<string>();

  constructor(store: ObjectStore, clusterId: string) {
    this.store = store;
    this.clusterId = clusterId;
  }

  get nextSequence(): number {
    return this.newest + 1;
  }

  get newestParts(): readonly Part[] {
    return this.kept.get(this.newest) ?? [];
  }

  /** Finds out what is there; once. */
  async look(): Promise<void> {
    if (this.seen) return;
    const manifests = await listAll(this.store, manifestPrefix(this.clusterId));
    const parts = await listAll(this.store, partPrefix(this.clusterId));
    this.newest = await newestSequence(this.store, this.clusterId, manifests);
    for (const { key } of manifests) {
      const sequence = sequenceOf(key);
      if (sequence !== null) this.kept.set(sequence, null);
    }
    // A stale listing may lack what is to be kept, and name what is gone.
    for (let back = 0; back < keptMin && back < this.newest; back++) {
      const sequence = this.newest - back;
      const parts = await this.partsIn(sequence);
      if (parts === "absent") this.kept.delete(sequence);
      else this.kept.set(sequence, parts);
    }
    for (const { key } of parts) this.partKeys.add(key);
    this.seen = true;
  }

  /** After a failure: a manifest whose put seemed to fail may be there all the same. Rejects with
   * CHRONIK_BACKUP_CONFLICT where another process wrote it. */
  async recheck(run: string): Promise<void> {
    const sequence = this.nextSequence;
    const head = await this.store.head(manifestKey(this.clusterId, sequence));
    if (head === null) return;
    const manifest = await readManifest(this.store, this.clusterId, sequence, head.bytes);
    if (manifest.run !== run) throw writtenByAnother(this.clusterId, sequence);
    this.made(manifest);
  }

  /** This part will be in the store, and maybe no backup's. */
  partPut(key: string): void {
    this.partKeys.add(key);
  }

  /** A backup is complete: its manifest was read back. */
  made(manifest: Manifest): void {
    const parts = partsOf(manifest);
    this.newest = manifest.sequence;
    this.kept.set(manifest.sequence, parts);
    for (const { key } of parts) this.partKeys.add(key);
  }

  /** Deletes backups but the newest, manifests first, then the parts that none names. While a kept
   * manifest cannot be read no part goes. */
  async prune(): Promise<void> {
    const sequences = [...this.kept.keys()].sort((a, b) => b - a);
    for (const sequence of sequences.slice(keptMin)) {
      await this.store.delete(manifestKey(this.clusterId, sequence));
      this.kept.delete(sequence);
    }
    const needed = new Set<string>();
    for (const parts of this.kept.values()) {
      if (parts === null) return;
      for (const { key } of parts) needed.add(key);
    }
    for (const key of this.partKeys) {
      const sequence = sequenceOf(key);
      // Parts of a backup under way have the next sequence.
      if (needed.has(key) || sequence === null || sequence > this.newest) continue;
      await this.store.delete(key);
      this.partKeys.delete(key);
    }
  }

  private async partsIn(sequence: number): Promise<readonly Part[] | null | "absent"> {
    const key = manifestKey(this.clusterId, sequence);
    const head = await this.store.head(key);
    if (head === null) return "absent";
    try {
      return partsOf(await readManifest(this.store, this.clusterId, sequence, head.bytes));
    } catch {
      // An older one that is damaged is a restore's business; here it only keeps parts.
      return null;
    }
  }
}

/** Two brokers hold themselves for the same one. */
export function writtenByAnother(clusterId: string, sequence: number): BrokerError {
  return new BrokerError(
    "CHRONIK_BACKUP_CONFLICT",
    `${manifestKey(clusterId, sequence)} was written by another process: two brokers run as ` +
      `cluster ${clusterId} on this object store. Backups and deletions of archives stop here; ` +
      "end one of the two, and restart the one that stays",
  );
}

export async function readManifest(
  store: ObjectStore,
  clusterId: string,
  sequence: number,
  bytes: number,
): Promise<Manifest> {
  const key = manifestKey(clusterId, sequence);
  const raw = await inflate(await getWhole(store, key, bytes), key, manifestBytesMax);
  return decodeManifest(raw, key, clusterId);
}

/** A listing may be stale: what comes behind its newest is asked for by name, past those that were
 * deleted since. */
export async function newestSequence(
  store: ObjectStore,
  clusterId: string,
  manifests: readonly StoredObject[],
): Promise<number> {
  let newest = manifests.reduce((most, { key }) => Math.max(most, sequenceOf(key) ?? 0), 0);
  for (;;) {
    const next = Array.from({ length: unlistedMax }, (_, index) => newest + 1 + index);
    const heads = await Promise.all(
      next.map((sequence) => store.head(manifestKey(clusterId, sequence))),
    );
    const found = next.findLast((_, index) => heads[index] !== null);
    if (found === undefined) return newest;
    newest = found;
  }
}

export async function listAll(store: ObjectStore, prefix: string): Promise<StoredObject[]> {
  const found: StoredObject[] = [];
  let after: string | null = null;
  do {
    const page = await store.list(prefix, after, listLimitMax);
    found.push(...page.objects);
    after = page.next;
  } while (after !== null && found.length < listedMax);
  return found;
}
