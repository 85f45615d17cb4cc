import { BrokerError, errorText } from "../lib/errors.ts";
import type { MetadataImage, TopicImage } from "../metadata/image.ts";
import { listLimitMax, type ObjectStore, StoreError } from "../store/object-store.ts";
import type { ArchiveSummary } from "../tier/ports.ts";
import type {
  RetiredObject,
  SegmentEntry,
  SegmentRegistry,
} from "../tier/registry/segment-registry.ts";
import type { ArchiveFacts } from "./archive-facts.ts";
import type { PartitionHead } from "./format.ts";
import { refusal } from "./manifest-plan.ts";

export interface LaterParts {
  readonly store: ObjectStore;
  readArchive(key: string, bytes: number, tocPosition: number | null): Promise<ArchiveFacts>;
  /** Reads the whole archive; rejects where it is not what `facts` say. */
  verifyArchive(key: string, bytes: number, facts: ArchiveFacts): Promise<ArchiveSummary>;
  print(line: string): void;
}

/** What a backup says, and the registry that is made of it. */
export interface BackedUp {
  readonly registry: SegmentRegistry;
  readonly image: MetadataImage;
  /** By `{topic id}/{partition}`. */
  readonly heads: ReadonlyMap<string, PartitionHead>;
}

/** An object as its key tells; its manifest has the last word. */
interface Candidate {
  readonly key: string;
  readonly bytes: number;
  readonly base: number;
  readonly last: number;
  readonly generation: number;
}

interface Place {
  readonly topic: TopicImage;
  readonly partition: number;
  readonly logStart: number;
  readonly candidates: Candidate[];
}

type Epochs = ArchiveFacts["epochs"];

const folderPattern = /^tantivy_indexes\/([^/]+)\/partition-(\d{1,9})\/segment-/;
const namePattern = /\/segment-(\d{1,16})-(\d{1,16})(?:\.g(\d{1,9})-[0-9a-f]{8})?\.tar\.gz$/;
const placesAtOnce = 4;
const headsAtOnce = 16;
/** A store's clock may differ by this from that of the broker that retired an object. */
const clockSkewMs = 300_000;
/** Say nothing about the object: the restore is given up, and tried again. */
const passing: readonly string[] = ["unavailable", "denied", "misconfigured", "no-space"];
const disk: readonly string[] = ["CHRONIK_IO", "CHRONIK_NO_SPACE", "CHRONIK_CLOSED"];

/**
 * Archives that were registered after the backup: where the manifest of an object goes on where the
 * registry ends, under the same topic id and in the same history of leader epochs, and the whole of
 * it is sound, it is registered again. A topic that the backup does not have gets nothing back.
 */
export class LaterArchives {
  private readonly parts: LaterParts;
  private readonly backedUp: BackedUp;
  private readonly places = new Map<string, Place>();
  /** Retired or begun in the backup, and put again, or put for the first time, since then. */
  private readonly doubtful = new Map<string, { object: RetiredObject; bytes: number }>();
  /** What the newest adopted archive of a partition says, by `{topic id}/{partition}`. */
  readonly adopted = new Map<string, ArchiveFacts>();

  constructor(parts: LaterParts, backedUp: BackedUp) {
    this.parts = parts;
    this.backedUp = backedUp;
  }

  async run(): Promise<void> {
    await this.list();
    const places = [...this.places.values()];
    const work = async () => {
      for (let place = places.pop(); place; place = places.pop()) await this.follow(place);
    };
    await Promise.all(Array.from({ length: placesAtOnce }, work));
    await this.keepDoubtful();
  }

  private async list(): Promise<void> {
    const { registry } = this.backedUp;
    const retired = new Map<string, RetiredObject>();
    for (const object of registry.retiredObjects()) retired.set(object.key, object);
    for (const object of registry.begunArchives()) retired.set(object.key, object);
    const unlisted = new Map(retired);
    let after: string | null = null;
    do {
      const page = await this.parts.store.list("tantivy_indexes/", after, listLimitMax);
      for (const { key, bytes, modifiedMs } of page.objects) {
        if (registry.entryOf(key) !== undefined) continue;
        const object = retired.get(key);
        unlisted.delete(key);
        if (object !== undefined) {
          // It lay there before it was retired: it is what was retired.
          const isBefore = modifiedMs != null && modifiedMs < object.retiredMs - clockSkewMs;
          if (isBefore && object.first === undefined) continue;
          this.doubtful.set(key, { object, bytes });
        }
        this.candidate(key, bytes);
      }
      after = page.next;
    } while (after !== null);
    await this.lookFor([...unlisted.values()]);
  }

  /** What is retired may go, and is known by name: a listing that lacks it may be stale. */
  private async lookFor(unlisted: RetiredObject[]): Promise<void> {
    const look = async () => {
      for (let object = unlisted.pop(); object; object = unlisted.pop()) {
        const found = await this.parts.store.head(object.key);
        if (found === null) continue;
        this.doubtful.set(object.key, { object, bytes: found.bytes });
        this.candidate(object.key, found.bytes);
      }
    };
    await Promise.all(Array.from({ length: headsAtOnce }, look));
  }

  private candidate(key: string, bytes: number): void {
    const { registry, image, heads } = this.backedUp;
    const [, name = "", index = ""] = folderPattern.exec(key) ?? [];
    const [, first = "", final = "", rewritten = "1"] = namePattern.exec(key) ?? [];
    const topic = image.topicsByName.get(name);
    const [partition, base, last] = [Number(index), Number(first), Number(final)];
    if (first === "" || topic === undefined || topic.internal) return;
    if (partition >= topic.partitions.length) return;
    const id = `${topic.id}/${partition}`;
    const logStart = heads.get(id)?.logStart ?? 0;
    const end = registry.range(topic.id, partition)?.end ?? 0;
    if (base < end || last < Math.max(base, logStart)) return;
    const place = this.places.get(id) ?? { topic, partition, logStart, candidates: [] };
    place.candidates.push({ key, bytes, base, last, generation: Number(rewritten) });
    this.places.set(id, place);
  }

  /** Archive by archive as long as one fits. */
  private async follow(place: Place): Promise<void> {
    const { topic, partition, logStart, candidates } = place;
    candidates.sort(rank);
    let end = this.backedUp.registry.range(topic.id, partition)?.end ?? 0;
    for (const one of candidates) {
      if (one.base < end) continue;
      // What lies below the log start may never have been archived.
      if (one.base > Math.max(end, logStart)) break;
      if (await this.adopt(place, one)) end = one.last + 1;
    }
  }

  private async adopt(place: Place, { key, bytes, base, last }: Candidate): Promise<boolean> {
    const { parts, backedUp } = this;
    const { topic, partition, logStart } = place;
    const facts = await this.tried(key, () => parts.readArchive(key, bytes, null));
    if (facts === null) return false;
    const why = refusal({ ...facts, key, bytes }) ?? this.misfit(place, facts);
    if (why !== null || facts.base !== base || facts.last !== last) {
      parts.print(`${key} does not follow the backup: ${why ?? "its offsets are others"}`);
      return false;
    }
    const summary = await this.tried(key, () => parts.verifyArchive(key, bytes, facts));
    if (summary === null) return false;
    // A deletion, or a put, that was under way at the backup: the object is there, and needed.
    await backedUp.registry.objectsDeleted([key]);
    await backedUp.registry.add(entryOf(key, facts, summary), logStart);
    this.doubtful.delete(key);
    this.adopted.set(`${topic.id}/${partition}`, facts);
    const where = `${topic.name}-${partition} offsets ${base} to ${last}`;
    parts.print(`archived after the backup, and there: ${where} (${key})`);
    return true;
  }

  /** Offsets may have been given out twice: before an earlier restore, and after it. Leader epochs
   * tell the one history from the other; each restore raises them. */
  private misfit({ topic, partition }: Place, facts: ArchiveFacts): string | null {
    if (facts.topicId !== topic.id) return `it is of another topic of this name, ${facts.topicId}`;
    const id = `${topic.id}/${partition}`;
    const head = this.backedUp.heads.get(id);
    const epoch = epochAt(facts.epochs, facts.base);
    const before = this.adopted.get(id);
    const isKnown = facts.base < (head?.highWatermark ?? 0);
    const least = before
      ? epochAt(before.epochs, before.last)
      : isKnown
        ? epochAt(head?.epochs ?? [], facts.base)
        : (topic.partitions[partition]?.leaderEpoch ?? -1);
    const fits = epoch >= 0 && (isKnown && !before ? epoch === least : epoch >= least);
    return fits ? null : `it has leader epoch ${epoch}, and the backup ${least}`;
  }

  /** The reaper deletes what the backup calls retired. An object that is something else by now, or
   * that was put in vain as far as the backup knows, stays instead, named by nothing. */
  private async keepDoubtful(): Promise<void> {
    const { registry, image } = this.backedUp;
    const kept: string[] = [];
    for (const [key, { object, bytes }] of this.doubtful) {
      const facts = await this.tried(key, () => this.parts.readArchive(key, bytes, null));
      if (facts === null) continue;
      const end = registry.range(facts.topicId, facts.partition)?.end ?? 0;
      const isLater = image.topicsById.has(facts.topicId) && facts.base >= end;
      if (facts.topicId !== object.topicId || isLater) kept.push(key);
    }
    // What was begun has no segments here that would go on with it.
    const begun = registry.begunArchives().map(({ key }) => key);
    await registry.objectsDeleted([...kept, ...begun]);
  }

  /** Null, told by name, for what is no archive or a damaged one. */
  private async tried<T>(key: string, read: () => Promise<T>): Promise<T | null> {
    try {
      return await read();
    } catch (error) {
      const isPassing = error instanceof StoreError && passing.includes(error.kind);
      const isDisk = error instanceof BrokerError && disk.includes(error.code);
      if (isPassing || isDisk) throw error;
      this.parts.print(`${key} is not used: ${errorText(error)}`);
      return null;
    }
  }
}

function entryOf(key: string, facts: ArchiveFacts, summary: ArchiveSummary): SegmentEntry {
  const { epochs: _, producers: _p, ...said } = facts;
  const { bytes, sha256, tocPosition, tocCrc32c, documents, aborted } = summary;
  const crc = tocCrc32c === undefined ? {} : { tocCrc32c };
  return { ...said, key, bytes, sha256, tocPosition, ...crc, documents, aborted };
}

/** What was archived first comes before what was made of it: a compaction may have dropped a record
 * because of a newer one that is lost. */
function rank(a: Candidate, b: Candidate): number {
  return a.base - b.base || a.generation - b.generation || b.last - a.last;
}

/** −1: none is known. */
function epochAt(epochs: Epochs, offset: number): number {
  return epochs.reduce((found, [epoch, start]) => (start <= offset ? epoch : found), -1);
}
