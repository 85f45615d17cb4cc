import { assert } from "../../lib/assert.ts";
import { BrokerError } from "../../lib/errors.ts";
import type { SegmentEntry } from "./segment-registry.ts";

/** Refuses with CHRONIK_TOPIC_GONE what is not wanted any more. */
export function checkWanted(segment: SegmentEntry, isWanted: () => boolean): void {
  if (isWanted()) return;
  throw new BrokerError(
    "CHRONIK_TOPIC_GONE",
    `topic ${segment.topic} was deleted or is closing; its archive was not registered`,
  );
}

/** Whether both lists are consecutive and cover the same offsets of one partition. */
export function checkCovers(remove: readonly SegmentEntry[], add: readonly SegmentEntry[]): void {
  const [first] = remove;
  const last = remove[remove.length - 1];
  assert(first !== undefined && last !== undefined, "there is something to replace");
  const keys = new Set<string>();
  for (const list of [remove, add]) {
    let next = first.base;
    for (const segment of list) {
      const isOurs = segment.topicId === first.topicId && segment.partition === first.partition;
      assert(isOurs, `archive ${where(segment)} is of the partition of ${where(first)}`);
      if (keys.has(segment.key)) throw conflict(segment, `has the key ${segment.key} of another`);
      if (segment.base !== next || segment.last < segment.base) {
        throw conflict(segment, `does not follow offset ${next - 1}`);
      }
      keys.add(segment.key);
      next = segment.last + 1;
    }
    if (next !== last.last + 1) throw conflict(first, `is not covered up to ${last.last}`);
  }
}

export function conflict(segment: SegmentEntry, problem: string): BrokerError {
  return new BrokerError(
    "CHRONIK_REGISTRY_CONFLICT",
    `archive ${where(segment)} ${problem}; the registry is unchanged`,
  );
}

export function where({ topic, partition, base, last }: SegmentEntry): string {
  return `${topic}-${partition} [${base}, ${last}]`;
}
