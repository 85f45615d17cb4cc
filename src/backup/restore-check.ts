import type { Clock } from "../lib/clock.ts";
import { BrokerError, errorText } from "../lib/errors.ts";
import { listLimitMax, type ObjectStore } from "../store/object-store.ts";
import type { SegmentEntry, SegmentRegistry } from "../tier/registry/segment-registry.ts";

export interface CheckParts {
  readonly store: ObjectStore;
  readonly clock: Clock;
  print(line: string): void;
}

const headsAtOnce = 32;
/** Objects that are named one by one; the rest is counted. */
const straysShownMax = 1_000;

/** Asks for every object that an entry names. What is missing, or has another size, is put into
 * quarantine: its offsets are refused, not passed over. */
export async function checkObjects(parts: CheckParts, registry: SegmentRegistry): Promise<void> {
  const entries = registry.all();
  let checked = 0;
  let missing = 0;
  const check = async (entry: SegmentEntry) => {
    const found = await parts.store.head(entry.key);
    checked++;
    if (found?.bytes === entry.bytes) return;
    missing++;
    const what = found === null ? "is missing" : `has ${found.bytes} of ${entry.bytes} bytes`;
    await registry.quarantine(entry, `the object ${what}`, parts.clock.nowMs());
    const where = `${entry.topic}-${entry.partition} offsets ${entry.base} to ${entry.last}`;
    parts.print(`archive ${entry.key} (${where}) ${what}: its offsets are in quarantine`);
  };
  const work = async () => {
    for (let entry = entries.pop(); entry; entry = entries.pop()) await check(entry);
  };
  const ends = await Promise.allSettled(Array.from({ length: headsAtOnce }, work));
  for (const end of ends) {
    if (end.status === "fulfilled") continue;
    throw new BrokerError(
      "CHRONIK_RESTORE",
      `the object store cannot be asked for archives: ${errorText(end.reason)}; try again`,
      { cause: end.reason },
    );
  }
  parts.print(`${checked - missing} of ${checked} archives are there`);
}

/** Objects of archives that no entry names: put after the backup, or left over. They stay. */
export async function listStrays(parts: CheckParts, registry: SegmentRegistry): Promise<void> {
  let strays = 0;
  let after: string | null = null;
  do {
    const page = await parts.store.list("tantivy_indexes/", after, listLimitMax);
    for (const { key, bytes } of page.objects) {
      if (registry.entryOf(key) !== undefined || registry.isRetiredKey(key)) continue;
      strays++;
      if (strays <= straysShownMax) parts.print(`not in the backup, left alone: ${key} (${bytes})`);
    }
    after = page.next;
  } while (after !== null);
  if (strays > 0) parts.print(`${strays} objects are not in the backup; none was deleted`);
}
