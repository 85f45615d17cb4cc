import { expect, test } from "bun:test";
import { decodeCheckpoint } from "../../src/log/checkpoint.ts";
import { checkpointFile } from "../../src/log/partition-store.ts";
import { batch, LogLab } from "../support/log-lab.ts";
import { noSpace } from "../support/memory-wal.ts";

const client = { origin: "client" } as const;

/** A partition with ten records whose checkpoint writes wait to be let go, one by one. */
async function slowCheckpoints() {
  const lab = new LogLab();
  const partition = await lab.open();
  for (let n = 0; n < 10; n++) await partition.append(batch(), client);
  const writes: ((error: Error | null) => void)[] = [];
  const writeFile = lab.files.writeFile.bind(lab.files);
  lab.files.writeFile = async (path, bytes) => {
    await new Promise<void>((resolve, reject) => {
      writes.push((error) => (error === null ? resolve() : reject(error)));
    });
    await writeFile(path, bytes);
  };
  const stored = () => {
    const file = `${partition.dir}/${checkpointFile}`;
    return decodeCheckpoint(lab.disk.files.get(file) ?? new Uint8Array(), file);
  };
  return { lab, partition, writes, stored };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await Promise.resolve();
}

test("a mark asked for while an earlier checkpoint fails is not lost", async () => {
  const { partition, writes, stored } = await slowCheckpoints();
  const first = partition.checkpoint();
  const deleted = partition.deleteRecordsBefore(4);
  await until(() => writes.length === 1);
  writes[0]?.(noSpace());
  await expect(first).rejects.toThrow("no space");
  await until(() => writes.length === 2);
  writes[1]?.(null);
  expect(await deleted).toEqual({ errorCode: 0, logStartOffset: 4 });
  expect(stored().logStart).toBe(4);
});

test("checkpoints are written one at a time, whenever they are asked for", async () => {
  const { partition, writes, stored } = await slowCheckpoints();
  const asked = [partition.checkpoint(1), partition.checkpoint(2)];
  await until(() => writes.length === 1);
  writes[0]?.(null);
  // In every turn between the first one's end and the second one's start.
  for (let turn = 0; turn < 20; turn++) {
    await Promise.resolve();
    asked.push(partition.checkpoint(3 + turn));
    expect(writes.length).toBeLessThanOrEqual(2);
  }
  for (let next = 1; next < 4; next++) {
    await until(() => writes.length > next || stored().archivedTo === 22);
    writes[next]?.(null);
  }
  await Promise.all(asked);
  expect(stored().archivedTo).toBe(22);
});
