/** Appends idempotent batches through the real engine until it is killed; prints each acknowledged
 * producer, sequence and offset on a line of its own. Argument: the data directory. */
import { systemClock } from "../../src/lib/clock.ts";
import { openNative } from "../support/native-log.ts";

const { partition } = await openNative(process.argv[2] ?? "", systemClock);
const { idempotent } = await import("../support/log-lab.ts");

async function produce(producer: number): Promise<void> {
  for (let sequence = 0; ; sequence++) {
    const bytes = idempotent(producer, 0, sequence);
    const result = await partition.append(bytes, { origin: "client" });
    if (result.errorCode !== 0) throw new Error(result.errorMessage ?? "");
    process.stdout.write(`${producer} ${sequence} ${result.baseOffset}\n`);
  }
}

await Promise.all([1, 2, 3, 4].map(produce));
