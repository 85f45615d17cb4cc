import { BrokerError, errorText } from "../lib/errors.ts";
import type { TopicImage } from "../metadata/image.ts";
import { encodeSnapshot } from "../metadata/journal-entry.ts";
import { isInternalTopic } from "../metadata/topic-name.ts";
import {
  listLimitMax,
  type ObjectStore,
  type StoredObject,
  StoreError,
} from "../store/object-store.ts";
import {
  type FoundArchive,
  type PlannedTopic,
  planFromManifests,
  refusal,
} from "./manifest-plan.ts";
import type { RestoreParts } from "./restore.ts";
import { bareImage, restoredSnapshot } from "./restored-image.ts";
import { restoredCheckpoint, restoredRange } from "./restored-partition.ts";

const readsAtOnce = 16;

/** The way back where no backup is left: archives say of themselves what they hold (design D9).
 * Deletions, configs, offsets of groups and users are unknown, and it says so. */
export class ManifestRestore {
  private readonly parts: RestoreParts;
  private readonly identity: { readonly clusterId: string; readonly nodeId: number };

  constructor(
    parts: RestoreParts,
    identity: { readonly clusterId: string; readonly nodeId: number },
  ) {
    this.parts = parts;
    this.identity = identity;
  }

  async run(): Promise<void> {
    const { print } = this.parts;
    print("from the archives alone: deleted topics and records may come back, topics get default");
    print("configs, and offsets of groups, users, ACLs and quotas are lost");
    const archives = await this.readAll();
    if (archives.length === 0) throw nothingFound(this.parts.store);
    const { topics, remarks } = planFromManifests(archives);
    for (const remark of remarks) print(remark);
    await this.writeRegistry(topics);
    for (const topic of topics) await this.writeTopic(topic);
    await this.writeMetadata(topics);
    print(`restored ${topics.length} topics as cluster ${this.identity.clusterId}`);
  }

  private async readAll(): Promise<FoundArchive[]> {
    const { store, print } = this.parts;
    const found: FoundArchive[] = [];
    let after: string | null = null;
    do {
      const page = await store.list("tantivy_indexes/", after, listLimitMax);
      const objects = page.objects.filter(({ key }) => key.endsWith(".tar.gz"));
      const work = async () => {
        for (let one = objects.pop(); one; one = objects.pop()) {
          const archive = await this.readOne(one);
          if (archive !== null) found.push(archive);
        }
      };
      await Promise.all(Array.from({ length: readsAtOnce }, work));
      after = page.next;
    } while (after !== null);
    print(`${found.length} archives were found`);
    return found;
  }

  /** Null, told by name, for what is no archive; a store that fails ends the restore. */
  private async readOne({ key, bytes }: StoredObject): Promise<FoundArchive | null> {
    const { readArchive, print } = this.parts;
    try {
      const archive = { ...(await readArchive(key, bytes, null)), key, bytes };
      const why = refusal(archive);
      if (why === null) return archive;
      print(`${key} is not used: ${why}`);
    } catch (error) {
      const kinds: readonly string[] = ["unavailable", "denied", "misconfigured"];
      if (error instanceof StoreError && kinds.includes(error.kind)) throw error;
      print(`${key} is not used: ${errorText(error)}`);
    }
    return null;
  }

  private async writeRegistry(topics: readonly PlannedTopic[]): Promise<void> {
    await (await this.parts.newJournal("registry")).close();
    const { registry, close } = await this.parts.openRegistry();
    try {
      for (const { partitions } of topics) {
        for (const archives of partitions.values()) {
          for (const { epochs: _, producers: _p, ...facts } of archives) {
            // Nobody says what the whole object's hash was; its parts are checked as they are read.
            await registry.add({ ...facts, sha256: "" }, facts.base);
          }
        }
      }
    } finally {
      await close();
    }
  }

  private async writeTopic({ name, id, partitions }: PlannedTopic): Promise<void> {
    const { files, dir } = this.parts;
    const folder = `${dir}/wal/${name}`;
    await files.makeDir(folder);
    await files.writeFile(`${folder}/topic-id`, Buffer.from(`${id}\n`));
    for (const [partition, archives] of partitions) {
      const first = archives[0];
      const last = archives.at(-1);
      if (first === undefined || last === undefined) continue;
      const range = restoredRange(undefined, { start: first.base, end: last.last + 1 });
      this.parts.print(`${name}-${partition}: offsets ${first.base} to ${last.last}`);
      const { epochs, producers } = last;
      const bytes = restoredCheckpoint({ topicId: id, partition }, range, epochs, producers);
      await files.makeDir(`${folder}/${partition}`);
      await files.writeFile(`${folder}/${partition}/checkpoint`, bytes);
    }
  }

  private async writeMetadata(planned: readonly PlannedTopic[]): Promise<void> {
    const { clusterId, nodeId } = this.identity;
    let producerIdNext = 0;
    const topics = planned.map(({ name, id, partitions }): TopicImage => {
      let leaderEpoch = 0;
      for (const { epochs, producers } of [...partitions.values()].flat()) {
        for (const [epoch] of epochs) leaderEpoch = Math.max(leaderEpoch, epoch);
        for (const { producerId } of producers) {
          producerIdNext = Math.max(producerIdNext, producerId + 1);
        }
      }
      const count = Math.max(...partitions.keys()) + 1;
      const placed = { leader: nodeId, leaderEpoch, replicas: [nodeId], isr: [nodeId] };
      const all = Array.from({ length: count }, (_, index) => ({ index, ...placed }));
      return { name, id, internal: isInternalTopic(name), partitions: all, configs: new Map() };
    });
    const image = bareImage({ clusterId, topics, producerIdNext });
    const journal = await this.parts.newJournal("metadata");
    await journal.append(encodeSnapshot(restoredSnapshot(image)));
    await journal.close();
  }
}

function nothingFound({ description }: ObjectStore): BrokerError {
  const text = `${description} lists no archive that can be used: nothing was restored`;
  return new BrokerError("CHRONIK_RESTORE", text);
}
