import type { Clock } from "../lib/clock.ts";
import { BrokerError } from "../lib/errors.ts";
import type { Files, Wal } from "../log/ports.ts";
import type { ProducerSnapshot } from "../log/producer-state.ts";
import type { MetadataImage, TopicImage } from "../metadata/image.ts";
import { encodeSnapshot } from "../metadata/journal-entry.ts";
import type { ObjectStore } from "../store/object-store.ts";
import type { ArchiveSummary } from "../tier/ports.ts";
import type { SegmentEntry, SegmentRegistry } from "../tier/registry/segment-registry.ts";
import type { ArchiveFacts } from "./archive-facts.ts";
import { type EndById, OffsetsCut, PreparedCommits, ShareCut } from "./cut-offsets.ts";
import { logHead, type Manifest, type PartitionHead, partitionHead } from "./format.ts";
import { LaterArchives } from "./later-archives.ts";
import { type Pause, readFrames } from "./parts.ts";
import { checkObjects, listStrays } from "./restore-check.ts";
import { checkTopics, imageFrom, restoredSnapshot } from "./restored-image.ts";
import { RestoredLog } from "./restored-log.ts";
import { type RestoredRange, restoredCheckpoint, restoredRange } from "./restored-partition.ts";

/** A journal that is being written. */
export interface NewJournal {
  append(entry: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

export interface RestoreParts {
  readonly store: ObjectStore;
  readonly wal: Wal;
  readonly files: Files;
  readonly clock: Clock;
  readonly pause: Pause;
  /** Where everything is built; a folder that a broker does not look at. */
  readonly dir: string;
  newJournal(name: "registry" | "metadata"): Promise<NewJournal>;
  /** The registry in the journal that was written before. */
  openRegistry(): Promise<{ registry: SegmentRegistry; close(): Promise<void> }>;
  /** What an archive says of itself. Two ranged reads, one where the position is known. */
  readArchive(key: string, bytes: number, tocPosition: number | null): Promise<ArchiveFacts>;
  /** Reads the whole archive; rejects where it is not what `facts` say. */
  verifyArchive(key: string, bytes: number, facts: ArchiveFacts): Promise<ArchiveSummary>;
  print(line: string): void;
  faultPoint(name: string): Promise<void>;
}

const appendsAtOnce = 256;
const transactionTopic = "__transaction_state";
const offsetsTopic = "__consumer_offsets";
const shareTopic = "__share_group_state";

/** Builds a data directory from a backup (design D9): it says what there is, and what was archived
 * since goes on where it ends. */
export class Restore {
  private readonly parts: RestoreParts;
  private readonly manifest: Manifest;
  private readonly ranges = new Map<string, RestoredRange>();

  constructor(parts: RestoreParts, manifest: Manifest) {
    this.parts = parts;
    this.manifest = manifest;
  }

  /** Rejects with a BrokerError; what was built until then is no data directory. */
  async run(): Promise<void> {
    const { manifest, parts } = this;
    const when = new Date(manifest.createdMs).toISOString();
    parts.print(`backup ${manifest.sequence} of cluster ${manifest.clusterId}, made at ${when}`);
    const image = await this.readMetadata();
    await this.writeRegistry();
    await parts.faultPoint("restore-registry");
    const heads = await this.readHeads();
    const opened = await parts.openRegistry();
    try {
      await this.retireUnknown(opened.registry, image);
      const later = new LaterArchives(parts, { registry: opened.registry, image, heads });
      await later.run();
      await checkObjects(parts, opened.registry);
      await this.writePartitions(opened.registry, image, heads, later.adopted);
      await parts.faultPoint("restore-partitions");
      await this.writeLogs(image);
      await listStrays(parts, opened.registry);
    } finally {
      await opened.close();
    }
    await parts.faultPoint("restore-metadata");
    await this.writeMetadata(image);
    this.report(image, when);
  }

  private async readMetadata(): Promise<MetadataImage> {
    const entries: Uint8Array[] = [];
    for await (const { data } of this.frames(this.manifest.metadata.parts)) entries.push(data);
    const image = imageFrom(entries);
    checkTopics(image);
    if (image.clusterId === this.manifest.clusterId) return image;
    throw new BrokerError(
      "CHRONIK_BACKUP_DAMAGED",
      `the backup of cluster ${this.manifest.clusterId} holds metadata of "${image.clusterId}"`,
    );
  }

  private async writeRegistry(): Promise<void> {
    const journal = await this.parts.newJournal("registry");
    let writes: Promise<void>[] = [];
    for await (const { data } of this.frames(this.manifest.registry.parts)) {
      writes.push(journal.append(data));
      if (writes.length < appendsAtOnce) continue;
      await Promise.all(writes);
      writes = [];
    }
    await Promise.all(writes);
    await journal.close();
  }

  private async readHeads(): Promise<Map<string, PartitionHead>> {
    const heads = new Map<string, PartitionHead>();
    for await (const { head, key } of this.frames(this.manifest.partitions)) {
      const one = partitionHead(head, key);
      heads.set(`${one.topicId}/${one.partition}`, one);
    }
    return heads;
  }

  /** The registry was taken before the metadata: a topic that was deleted between stays deleted. */
  private async retireUnknown(registry: SegmentRegistry, image: MetadataImage): Promise<void> {
    const unknown = new Set<string>();
    for (const [first] of registry.lists()) {
      if (first !== undefined && !image.topicsById.has(first.topicId)) unknown.add(first.topicId);
    }
    for (const topicId of unknown) await registry.retireTopic(topicId);
  }

  /** Users' topics: what is archived is there, under checkpoints that say so. */
  private async writePartitions(
    registry: SegmentRegistry,
    image: MetadataImage,
    heads: ReadonlyMap<string, PartitionHead>,
    later: ReadonlyMap<string, ArchiveFacts>,
  ): Promise<void> {
    const { files } = this.parts;
    for (const topic of image.topicsById.values()) {
      const folder = await this.topicFolder(topic);
      if (topic.internal) continue;
      for (const { index } of topic.partitions) {
        const key = `${topic.id}/${index}`;
        const entries = registry.segments(topic.id, index);
        const [first] = entries;
        const last = entries.at(-1);
        const archived = first && last ? { start: first.base, end: last.last + 1 } : null;
        const head = heads.get(key);
        const range = restoredRange(head, archived);
        this.ranges.set(key, range);
        const adopted = later.get(key);
        const reaches = last !== undefined && last.last + 1 === range.logEnd;
        const isReadable = last !== undefined && last.quarantined === undefined;
        const producers = !reaches || !isReadable ? [] : await this.producersIn(last, adopted);
        const id = { topicId: topic.id, partition: index };
        const epochs = adopted?.epochs ?? head?.epochs ?? [];
        const bytes = restoredCheckpoint(id, range, epochs, producers);
        await files.makeDir(`${folder}/${index}`);
        await files.writeFile(`${folder}/${index}/checkpoint`, bytes);
      }
    }
  }

  /** A transactional producer in an archive that is newer than the transaction log may have an
   * epoch that the log will give out again: it is forgotten, and may begin anywhere. */
  private async producersIn(
    { key, bytes, tocPosition }: SegmentEntry,
    adopted: ArchiveFacts | undefined,
  ): Promise<readonly ProducerSnapshot[]> {
    if (adopted) return adopted.producers.filter(({ coordinatorEpoch }) => coordinatorEpoch < 0);
    return (await this.parts.readArchive(key, bytes, tocPosition)).producers;
  }

  private async topicFolder({ name, id }: TopicImage): Promise<string> {
    const { files, dir } = this.parts;
    const folder = `${dir}/wal/${name}`;
    await files.makeDir(folder);
    await files.writeFile(`${folder}/topic-id`, Buffer.from(`${id}\n`));
    return folder;
  }

  /** The coordinators' logs, cut to the ends of the logs that their offsets are of. */
  private async writeLogs(image: MetadataImage): Promise<void> {
    const logs = await this.openLogs(image);
    try {
      for await (const { head, data, key } of this.frames(this.manifest.logs)) {
        const one = logHead(head, key);
        // A topic that was deleted behind the copy is not made again.
        await logs.get(`${one.topicId}/${one.partition}`)?.log.add(one, data, key);
      }
      const prepared = new PreparedCommits();
      for (const { topic, log } of logs.values()) {
        if (topic !== transactionTopic) continue;
        const ignored = () => undefined;
        await log.replay({ record: (key, value) => prepared.record(key, value), marker: ignored });
      }
      const producers = prepared.producers();
      for (const { topic, log } of logs.values()) {
        if (topic === offsetsTopic) await this.cutOffsets(log, image, producers);
        if (topic === shareTopic) await this.cutShares(log);
      }
    } finally {
      for (const { log } of logs.values()) await log.close();
    }
  }

  private async openLogs(
    image: MetadataImage,
  ): Promise<Map<string, { readonly topic: string; readonly log: RestoredLog }>> {
    const { wal, files, dir } = this.parts;
    const logs = new Map<string, { topic: string; log: RestoredLog }>();
    for (const { name, id, internal, partitions } of image.topicsById.values()) {
      if (!internal) continue;
      for (const { index } of partitions) {
        const place = { wal, files, topicId: id, partition: index };
        const log = await RestoredLog.open({ ...place, dir: `${dir}/wal/${name}/${index}` });
        logs.set(`${id}/${index}`, { topic: name, log });
      }
    }
    return logs;
  }

  private async cutOffsets(
    log: RestoredLog,
    image: MetadataImage,
    prepared: ReadonlySet<number>,
  ): Promise<void> {
    const { clock, pause, print } = this.parts;
    const cut = new OffsetsCut((name, partition) => {
      const id = image.topicsByName.get(name)?.id;
      return id === undefined ? null : this.endOf(id, partition);
    });
    await log.replay(cut);
    await pause();
    const nowMs = clock.nowMs();
    const aborts = cut.aborts(prepared);
    for (const producer of aborts) await log.appendAbort(producer, nowMs);
    for (const { producerId } of aborts) cut.marker(producerId, false);
    const cuts = cut.cuts(nowMs);
    await log.appendRecords(cuts);
    if (cuts.length > 0)
      print(`${cuts.length} committed offsets were cut to the end of their logs`);
  }

  private async cutShares(log: RestoredLog): Promise<void> {
    const cut = new ShareCut(this.endOf);
    const visitor = {
      record: (key: Uint8Array, value: Uint8Array | null) => cut.record(key, value),
      marker: () => undefined,
    };
    await log.replay(visitor);
    await log.appendRecords(cut.cuts(this.parts.clock.nowMs()));
  }

  private readonly endOf: EndById = (topicId, partition) =>
    this.ranges.get(`${topicId}/${partition}`)?.logEnd ?? null;

  private async writeMetadata(image: MetadataImage): Promise<void> {
    const journal = await this.parts.newJournal("metadata");
    await journal.append(encodeSnapshot(restoredSnapshot(image)));
    await journal.close();
  }

  /** What is gone, partition by partition. */
  private report(image: MetadataImage, when: string): void {
    const { print } = this.parts;
    let lost = 0;
    for (const { name, id, partitions } of image.topicsById.values()) {
      for (const { index } of partitions) {
        const range = this.ranges.get(`${id}/${index}`);
        if (range === undefined || range.lostTo === range.logEnd) continue;
        lost += range.lostTo - range.logEnd;
        const offsets = `offsets ${range.logEnd} to ${range.lostTo - 1}`;
        print(`lost: ${name}-${index} ${offsets}: they were not archived at the backup of ${when}`);
      }
    }
    print(`${lost} offsets known at ${when} are lost, and what was written since and not archived`);
    print(`restored ${image.topicsById.size} topics with ${image.partitionCount} partitions`);
  }

  private frames(parts: Manifest["logs"]) {
    return readFrames(this.parts.store, parts, this.parts.pause);
  }
}
