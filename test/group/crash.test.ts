import { expect, test } from "bun:test";
import fc from "fast-check";
import type { CommitPartition } from "../../src/group/api-types.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { Harness, MemoryOffsetsLog, MemoryTopics, settle } from "./harness.ts";

/**
 * Random commits and deletions on two groups, with writes held back, refused and lost in crashes.
 * Reads show what a plain reader of the log would find, before and after every crash; a commit that
 * is acknowledged is in the log, and what an acknowledged deletion found is not.
 */
type Change =
  | { readonly op: "commit"; readonly group: number; readonly partition: number }
  | { readonly op: "remove"; readonly group: number; readonly partition: number }
  | { readonly op: "drop"; readonly group: number };
type Step = Change | { readonly op: "hold" | "release" | "refuse" | "accept" | "crash" };

const group = fc.nat(1);
const partition = fc.nat(2);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ op: fc.constant("commit" as const), group, partition }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant("remove" as const), group, partition }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("drop" as const), group }) },
  {
    weight: 6,
    arbitrary: fc.record({
      op: fc.constantFrom("hold", "release", "refuse", "accept", "crash"),
    }) as fc.Arbitrary<Step>,
  },
);

const none = -1;

class Model {
  readonly world = new Harness({}, new MemoryTopics(1));
  acknowledged = 0;
  private nextOffset = 1;
  private readonly running: Promise<unknown>[] = [];

  async run(steps: readonly Step[]): Promise<void> {
    const log = this.world.topics.log(0);
    await this.world.groups.describeGroup("g0");
    for (const one of steps) {
      if (one.op === "hold") log.isHeld = true;
      else if (one.op === "refuse") log.errorCode = ErrorCode.NOT_ENOUGH_REPLICAS;
      else if (one.op === "accept") log.errorCode = 0;
      else if (one.op === "release") this.release();
      else if (one.op === "crash") await this.crash();
      else this.change(one as Change);
      await settle();
      await this.checkReads();
    }
    log.errorCode = 0;
    this.release();
    await Promise.all(this.running);
    await this.crash();
  }

  private release(): void {
    this.world.topics.log(0).isHeld = false;
    this.world.topics.log(0).release();
  }

  private change(one: Change): void {
    const groupId = `g${one.group}`;
    const offset = this.nextOffset++;
    if (one.op === "commit") {
      const key = `${groupId}/${one.partition}`;
      this.watch(this.commit(groupId, one.partition, offset), () => {
        expect(this.isWritten(key, offset), `${key} = ${offset} is acknowledged`).toBe(true);
      });
      return;
    }
    const partitions = one.op === "remove" ? [one.partition] : [0, 1, 2];
    const topics = [{ topic: "t1", partitions }];
    const gone =
      one.op === "remove"
        ? this.world.groups.deleteOffsets(groupId, topics).then((result) => result.errorCode)
        : this.world.groups.deleteGroup(groupId);
    this.watch(gone, () => {
      const found = this.replay();
      // Offsets grow, so what is there now must have been committed after the deletion began.
      for (const at of partitions) {
        const left = found.get(`${groupId}/${at}`) ?? offset;
        expect(left, `${groupId}/${at} was deleted`).toBeGreaterThanOrEqual(offset);
      }
    });
  }

  private watch(change: Promise<number>, check: () => void): void {
    const { groups } = this.world;
    const done = change.then((errorCode) => {
      // After a crash nobody hears the answer.
      if (errorCode !== ErrorCode.NONE || groups !== this.world.groups) return;
      this.acknowledged++;
      check();
    });
    this.running.push(done);
  }

  private async commit(groupId: string, at: number, offset: number): Promise<number> {
    const topicId = "AAAAAAAAAAAAAAAAAAAAAQ";
    const one: CommitPartition = {
      topic: "t1",
      topicId,
      partition: at,
      offset,
      leaderEpoch: 0,
      metadata: "",
    };
    const [errorCode] = await this.world.groups.commitOffsets({
      groupId,
      memberId: "",
      groupInstanceId: null,
      generationId: -1,
      retentionTimeMs: -1,
      unknownGroupError: ErrorCode.ILLEGAL_GENERATION,
      apiVersion: 9,
      partitions: [one],
    });
    return errorCode!;
  }

  private async crash(): Promise<void> {
    const before = this.world.topics.log(0);
    // Held writes never reach the disk: the next broker finds what was durable.
    const after = new MemoryOffsetsLog();
    after.durable.push(...before.durable);
    this.world.topics.logs.set(0, after);
    await this.world.restart();
    before.release();
    await Promise.all(this.running.splice(0));
    await this.checkReads();
  }

  private async checkReads(): Promise<void> {
    const found = this.replay();
    for (const groupId of ["g0", "g1"]) {
      const wanted = [{ topic: "t1", partitions: [0, 1, 2] }];
      const { errorCode, topics } = await this.world.groups.fetchOffsets(groupId, wanted, false);
      expect(errorCode).toBe(0);
      for (const one of topics[0]!.partitions) {
        const key = `${groupId}/${one.partition}`;
        expect(one.offset, `${key} is what the log says`).toBe(found.get(key) ?? none);
      }
    }
  }

  private isWritten(at: string, offset: number): boolean {
    return this.commits().some((one) => one.at === at && one.offset === offset);
  }

  /** What a plain reader of the log would find. */
  private replay(): Map<string, number> {
    const found = new Map<string, number>();
    for (const { at, offset } of this.commits()) {
      if (offset === null) found.delete(at);
      else found.set(at, offset);
    }
    return found;
  }

  /** The offset records of the log; null for a deletion. */
  private commits(): { at: string; offset: number | null }[] {
    const found: { at: string; offset: number | null }[] = [];
    for (const { key, value } of this.world.topics.log(0).durable) {
      const bytes = Buffer.from(key);
      if (bytes.readInt16BE(0) !== 1) continue;
      const groupId = bytes.toString("utf8", 4, 4 + bytes.readInt16BE(2));
      const at = `${groupId}/${bytes.readInt32BE(bytes.length - 4)}`;
      const offset = value === null ? null : Number(Buffer.from(value).readBigInt64BE(2));
      found.push({ at, offset });
    }
    return found;
  }
}

test("acknowledged offsets survive any crash, and reads show what is durable", async () => {
  let acknowledged = 0;
  const steps = fc.array(step, { minLength: 1, maxLength: 60, size: "max" });
  const property = fc.asyncProperty(steps, async (some) => {
    const model = new Model();
    await model.run(some);
    acknowledged += model.acknowledged;
  });
  await fc.assert(property, { numRuns: 150 });
  expect(acknowledged).toBeGreaterThan(500);
});
