/**
 * Runs the task for every item, at most `batchSize` at a time, and keeps the order of the results.
 * What one request or one round of upkeep can set going at once has a limit that way.
 */
export async function inBatches<Item, Result>(
  items: readonly Item[],
  batchSize: number,
  task: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  for (let start = 0; start < items.length; start += batchSize) {
    const batch = items.slice(start, start + batchSize);
    results.push(...(await Promise.all(batch.map(task))));
  }
  return results;
}

/** Groups, keys or deletions handled at once. */
export const batchSizeMax = 64;
