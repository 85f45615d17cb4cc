import { isIgnoredKafkaName } from "./config-kafka.ts";
import {
  flagOf,
  keyOf,
  paths,
  type SettingPath,
  settings,
  variableOf,
  variableOfKey,
} from "./config-settings.ts";
import type { Setting } from "./config-values.ts";

/** Which setting a name stands for, and how its value is to be read. */
export interface NameUse {
  readonly path: SettingPath;
  /** Multiplies the value. */
  readonly scale: number;
  /** Among several Kafka names of one setting the lowest rank wins; own names have rank 0. */
  readonly rank: number;
  readonly kafka: boolean;
  /** The variable says the opposite of the setting, as `CHRONIK_NO_WAL_INDEXING` does. */
  readonly negated: boolean;
}

const own = { scale: 1, rank: 0, kafka: false, negated: false };

const fileNames = new Map<string, NameUse>();
const variables = new Map<string, NameUse>();
for (const path of paths) {
  const setting: Setting<unknown> = settings[path];
  setting.kafka?.forEach(({ name, scale = 1 }, index) => {
    fileNames.set(name, { path, scale, rank: index + 1, kafka: true, negated: false });
  });
  const flag = flagOf(path);
  if (flag !== undefined) variables.set(variableOfKey(flag), { ...own, path });
  variables.set(variableOf(path), { ...own, path });
  setting.names?.forEach((name) => {
    fileNames.set(name, { ...own, path });
    variables.set(variableOfKey(name), { ...own, path });
  });
  setting.variables?.forEach((name) => {
    variables.set(name, { ...own, path });
  });
}
// After Kafka's, so that a name that both use (`node.id`) counts as ours.
for (const path of paths) fileNames.set(keyOf(path), { ...own, path });
variables.set("CHRONIK_NO_WAL_INDEXING", {
  ...own,
  path: "indexer.enableWalIndexing",
  negated: true,
});

/** What a name in a file or after `-X` means. */
export function lookupName(name: string): NameUse | "ignored" | undefined {
  return fileNames.get(name) ?? (isIgnoredKafkaName(name) ? "ignored" : undefined);
}

/** What an environment variable means. */
export function lookupVariable(name: string): NameUse | undefined {
  return variables.get(name);
}

/** The known name most like a wrong one. */
export function nearestName(name: string): string {
  return nearest(name, fileNames.keys());
}

export function nearestVariable(name: string): string {
  return nearest(name, variables.keys());
}

/** The candidate with the fewest single-letter changes; the first of equals. */
export function nearest(word: string, candidates: Iterable<string>): string {
  let best = "";
  let bestDistance = Number.POSITIVE_INFINITY;
  for (const candidate of candidates) {
    const distance = editDistance(word, candidate);
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

function editDistance(left: string, right: string): number {
  let previous = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (let row = 1; row <= left.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= right.length; column += 1) {
      const same = left[row - 1] === right[column - 1];
      current.push(
        Math.min(
          (previous[column] ?? 0) + 1,
          (current[column - 1] ?? 0) + 1,
          (previous[column - 1] ?? 0) + (same ? 0 : 1),
        ),
      );
    }
    previous = current;
  }
  return previous[right.length] ?? 0;
}
