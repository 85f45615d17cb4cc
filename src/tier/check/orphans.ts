import { listLimitMax, type ObjectStore, type StoredObject } from "../../store/object-store.ts";
import type { SegmentRegistry } from "../registry/segment-registry.ts";

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
  readonly registry: Pick<SegmentRegistry, "entryOf" | "isIntendedKey" | "isRetiredKey">;
  readonly nowMs: () => number;
  /** An unnamed object younger than this is not reported. */
  readonly youngMs: number;
  /** Before each page; false ends the search. */
  readonly onPage: () => Promise<boolean>;
}

const archivePrefix = "tantivy_indexes/";
export const orphansKept = 1_000;

/** Lists the archives of the store and finds those that neither an entry nor a retired object
 * names. Holds a page and the findings that are kept, however many objects there are. Null when it
 * was ended. Nothing is deleted: absence proves nothing. */
export async function findOrphans(search: OrphanSearch): Promise<OrphanReport | null> {
  const listedMs = search.nowMs();
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
      if (isNamed(search.registry, object)) continue;
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
  const still = found.filter((object) => !isNamed(search.registry, object));
  for (const object of found) {
    if (!isNamed(search.registry, object)) continue;
    orphans--;
    orphanBytes -= object.bytes;
  }
  const list = still.map(({ key, bytes, modifiedMs }) => ({
    key,
    bytes,
    ageMs: modifiedMs == null ? null : Math.max(0, listedMs - modifiedMs),
  }));
  return { listedMs, objects, orphans, orphanBytes, young, list };
}

function isNamed(registry: OrphanSearch["registry"], { key }: StoredObject): boolean {
  const isKnown = registry.isRetiredKey(key) || registry.isIntendedKey(key);
  return isKnown || registry.entryOf(key) !== undefined;
}
