import { type ObjectStore, type StoredObject, listLimitMax } from "../store/object-store.ts";
import type { SegmentRegistry } from "./segment-registry.ts";

/** An object that nothing names. */
export interface Orphan {
  readonly key: string;
  readonly bytes: number;
  /** Milliseconds since it was put; null where the store does not tell. */
  readonly ageMs: number | null;
}

export interface OrphanReport {
  readonly listedMs: number;
  /** Objects under the prefix in all. */
  readonly objects: number;
  readonly orphans: number;
  readonly orphanBytes: number;
  /** Unnamed, but so young that they may be on their way into the registry. */
  readonly young: number;
  /** The first of them in the order of their keys, `orphansKept` at most. */
  readonly list: readonly Orphan[];
}

export interface OrphanSearch {
  readonly store: ObjectStore;
  readonly registry: Pick<SegmentRegistry, "all" | "find" | "isRetiredKey">;
  readonly nowMs: () => number;
  /** An unnamed object younger than this is not reported. */
  readonly youngMs: number;
  /** Before each page; false ends the search. */
  readonly onPage: () => Promise<boolean>;
}

export const archivePrefix = "tantivy_indexes/";
export const orphansKept = 1_000;
const keyForm = /^tantivy_indexes\/([^/]+)\/partition-(\d{1,9})\/segment-(\d{1,16})-[^/]+$/;

/** Lists the archives of the store and finds those that neither an entry nor a retired object
 * names. Holds a page and the findings that are kept, however many objects there are. Null when it
 * was ended. Nothing is deleted: absence proves nothing. */
export async function findOrphans(search: OrphanSearch): Promise<OrphanReport | null> {
  const listedMs = search.nowMs();
  const ids = topicIds(search.registry);
  const found: StoredObject[] = [];
  let objects = 0;
  let orphans = 0;
  let orphanBytes = 0;
  let young = 0;
  for (let after: string | null = null; ; ) {
    if (!(await search.onPage())) return null;
    const page = await search.store.list(archivePrefix, after, listLimitMax);
    for (const object of page.objects) {
      objects++;
      if (isNamed(search.registry, ids, object.key)) continue;
      if (object.modifiedMs != null && listedMs - object.modifiedMs < search.youngMs) {
        young++;
        continue;
      }
      orphans++;
      orphanBytes += object.bytes;
      if (found.length < orphansKept) found.push(object);
    }
    after = page.next;
    if (after === null) break;
  }
  // What was registered while the listing went on is none.
  const now = topicIds(search.registry);
  const still = found.filter(({ key }) => !isNamed(search.registry, now, key));
  for (const { key, bytes } of found) {
    if (!isNamed(search.registry, now, key)) continue;
    orphans--;
    orphanBytes -= bytes;
  }
  const list = still.map(({ key, bytes, modifiedMs }) => ({
    key,
    bytes,
    ageMs: modifiedMs == null ? null : Math.max(0, listedMs - modifiedMs),
  }));
  return { listedMs, objects, orphans, orphanBytes, young, list };
}

/** Ids that have archives, by the topic's name: a few, however many archives there are. */
function topicIds(registry: OrphanSearch["registry"]): Map<string, Set<string>> {
  const ids = new Map<string, Set<string>>();
  for (const { topic, topicId } of registry.all()) {
    const known = ids.get(topic);
    if (known === undefined) ids.set(topic, new Set([topicId]));
    else known.add(topicId);
  }
  return ids;
}

/** A key says where its entry must be: no set of all keys is needed. */
function isNamed(
  registry: OrphanSearch["registry"],
  ids: ReadonlyMap<string, ReadonlySet<string>>,
  key: string,
): boolean {
  const [, topic = "", partition, base] = keyForm.exec(key) ?? [];
  for (const topicId of ids.get(topic) ?? []) {
    if (registry.find(topicId, Number(partition), Number(base))?.key === key) return true;
  }
  return registry.isRetiredKey(key);
}
