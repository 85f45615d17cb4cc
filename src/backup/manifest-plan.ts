/** Which archives make up the partitions where nothing but the archives is left. (pure) */
import { checkTopicName } from "../metadata/topic-name.ts";
import { isUuid } from "../protocol/uuid.ts";
import type { ArchiveFacts } from "./archive-facts.ts";

/** An object with what it says of itself. */
export interface FoundArchive extends ArchiveFacts {
  readonly key: string;
  readonly bytes: number;
}

export interface PlannedTopic {
  readonly name: string;
  readonly id: string;
  /** By partition number; in offset order, never overlapping. */
  readonly partitions: ReadonlyMap<number, readonly FoundArchive[]>;
}

export interface ManifestPlan {
  readonly topics: readonly PlannedTopic[];
  /** One line each, on what is not taken and what is doubtful. */
  readonly remarks: readonly string[];
}

const partitionsMax = 100_000;

/** Why an archive's own words cannot be taken; null where they can. */
export function refusal(archive: FoundArchive): string | null {
  const { topic, topicId, partition, base, last, generation, key } = archive;
  if (checkTopicName(topic) !== null) return "its topic has no legal name";
  if (!isUuid(topicId)) return "its topic id is none";
  const numbers = [partition, base, last, generation];
  const isSane = numbers.every((n) => Number.isSafeInteger(n) && n >= 0) && last >= base;
  if (!isSane || partition >= partitionsMax) return "its offsets or its partition make no sense";
  const folder = `tantivy_indexes/${topic}/partition-${partition}/`;
  return key.startsWith(folder) ? null : `it says that it is of ${topic}-${partition}`;
}

/** The highest generation wins over what it covers; a topic name goes to the id that was archived
 * last. */
export function planFromManifests(archives: readonly FoundArchive[]): ManifestPlan {
  const remarks: string[] = [];
  const byId = new Map<string, FoundArchive[]>();
  for (const archive of archives) {
    byId.set(archive.topicId, [...(byId.get(archive.topicId) ?? []), archive]);
  }
  const owners = new Map<string, { id: string; newestMs: number }>();
  for (const [id, some] of byId) {
    const name = some[0]?.topic ?? "";
    const newestMs = some.reduce((most, { createdMs }) => Math.max(most, createdMs), 0);
    const other = owners.get(name);
    if (other !== undefined) {
      const gone = other.newestMs > newestMs ? id : other.id;
      remarks.push(`topic ${name} with the id ${gone} is older than its namesake and not restored`);
    }
    if (other === undefined || other.newestMs <= newestMs) owners.set(name, { id, newestMs });
  }
  const topics = [...owners].map(([name, { id }]): PlannedTopic => {
    const partitions = new Map<number, FoundArchive[]>();
    for (const archive of byId.get(id) ?? []) {
      const some = partitions.get(archive.partition) ?? [];
      partitions.set(archive.partition, [...some, archive]);
    }
    const chosen = [...partitions].map(([p, some]) => [p, choose(some, remarks)] as const);
    return { name, id, partitions: new Map(chosen) };
  });
  return { topics, remarks };
}

function choose(archives: readonly FoundArchive[], remarks: string[]): FoundArchive[] {
  const ranked = [...archives].sort(
    (a, b) => b.generation - a.generation || b.last - b.base - (a.last - a.base) || a.base - b.base,
  );
  const chosen: FoundArchive[] = [];
  for (const archive of ranked) {
    const over = chosen.filter((one) => one.base <= archive.last && archive.base <= one.last);
    if (over.length === 0) {
      chosen.push(archive);
      chosen.sort((a, b) => a.base - b.base);
      continue;
    }
    const isCovered = coveredBy(archive, over);
    const names = over.map(({ key }) => key).join(", ");
    const how = isCovered ? "is superseded by" : "conflicts with parts of";
    remarks.push(`${archive.key} (${archive.base} to ${archive.last}) ${how} ${names}; not used`);
  }
  for (const [index, archive] of chosen.entries()) {
    const before = chosen[index - 1];
    if (before === undefined || before.last + 1 === archive.base) continue;
    const where = `${archive.topic}-${archive.partition}`;
    remarks.push(`${where} has no archive of offsets ${before.last + 1} to ${archive.base - 1}`);
  }
  return chosen;
}

/** `over` is in offset order. */
function coveredBy(archive: FoundArchive, over: readonly FoundArchive[]): boolean {
  let next = archive.base;
  for (const { base, last } of over) {
    if (base > next) return false;
    next = last + 1;
  }
  return next > archive.last;
}
