/** Aborts transactions through the real engine, with so little memory for them that they go to
 * files all the time, until it kills itself in front of or behind one of its file operations;
 * prints each acknowledged abort, and each log start, on a line of its own. Arguments: the data
 * directory, the cycle, which operation, "before" or "after". */
import { systemClock } from "../../src/lib/clock.ts";
import type { Files } from "../../src/log/ports.ts";
import { openNative } from "../support/native-log.ts";

const [dir = "", cycle = "0", operation = "1", side = "before"] = process.argv.slice(2);
let left = Number(operation);

function killing<T>(work: () => Promise<T>): Promise<T> {
  left--;
  if (left > 0) return work();
  if (side === "before") process.kill(process.pid, "SIGKILL");
  return work().finally(() => process.kill(process.pid, "SIGKILL"));
}

const { partition } = await openNative(dir, systemClock, {
  config: { segmentBytesMax: 1 << 20 },
  limits: { abortedSpillMin: 20, tailCacheBytesMax: 0 },
  leaderEpoch: Number(cycle),
  files: (files): Files => ({
    writeFile: (path, bytes) => killing(() => files.writeFile(path, bytes)),
    readFile: (path, position, length) => files.readFile(path, position, length),
    removeFile: (path) => killing(() => files.removeFile(path)),
    makeDir: (path) => files.makeDir(path),
    rename: (from, to) => files.rename(from, to),
    removeDir: (path) => files.removeDir(path),
    listDir: (path) => files.listDir(path),
  }),
});
const { batch } = await import("../support/log-lab.ts");

async function write(producerId: number): Promise<void> {
  for (let sequence = 0; ; sequence++) {
    const producer = { producerId, producerEpoch: 0 };
    const data = batch({ ...producer, baseSequence: sequence, isTransactional: true });
    const commit = sequence % 5 === 0;
    const marker = { ...producer, coordinatorEpoch: 0, transactionVersion: 1, commit };
    const first = partition.append(data, { origin: "client" });
    const end = await partition.appendMarker(marker);
    if (end.errorCode !== 0) throw new Error(`marker: ${end.errorCode}`);
    const { baseOffset } = await first;
    if (!commit) process.stdout.write(`abort ${producerId} ${baseOffset} ${end.baseOffset}\n`);
  }
}

async function advance(): Promise<void> {
  for (let count = 400; ; ) {
    if (partition.rememberedAborts < count) {
      await new Promise((resolve) => setImmediate(resolve));
      continue;
    }
    const { logStartOffset, highWatermark } = partition;
    const offset = logStartOffset + Math.floor((highWatermark - logStartOffset) / 2);
    await partition.deleteRecordsBefore(offset);
    process.stdout.write(`start ${offset}\n`);
  }
}

await Promise.all([advance(), ...[0, 1, 2, 3, 4].map((n) => write(Number(cycle) * 10 + n))]);
