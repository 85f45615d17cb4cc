import { describe, expect, test } from "bun:test";
import { type BrokerProcess, brokerExists, startBroker } from "../support/broker-process.ts";
import { clients } from "./programs.ts";
import { ensureToolchain } from "./setup.ts";
import { createTopics, withAdmin } from "./topics.ts";

/**
 * Share groups (KIP-932) with Kafka's own KafkaShareConsumer: acknowledging, releasing, rejecting,
 * locks that end, two members at one partition, dead letters, and kill -9 of the broker.
 */

const isCi = process.env["CI"] === "true";
const testMsMax = 120_000;
const java = clients.find(({ name }) => name === "java")?.command ?? [];
const setup = brokerExists ? await ensureToolchain("java") : null;
const reason =
  setup === null ? "dist/chronik is not built" : setup.status === "skipped" ? setup.reason : null;

/** Locks of two seconds: the shortest that leave a slow machine time to acknowledge. */
const shortLocks = {
  CHRONIK_SHARE_GROUP_RECORD_LOCK_DURATION_MS: "2000",
  CHRONIK_SHARE_GROUP_MIN_RECORD_LOCK_DURATION_MS: "1000",
};

interface Step {
  readonly step: string;
  /** Offset and delivery count of each. */
  readonly records: readonly (readonly [number, number])[];
  readonly sent?: number;
  readonly seen?: number;
  readonly twice?: number;
  readonly left?: number;
  readonly right?: number;
  /** Offset and value, topic, delivery count and reason of each. */
  readonly letters?: readonly (readonly [number, number, string, string, string])[];
}

class Scenario implements AsyncDisposable {
  readonly steps: Step[] = [];
  readonly #child;
  readonly #told = Promise.withResolvers<void>();

  constructor(broker: BrokerProcess, name: string, topic: string, ...more: string[]) {
    const flags = ["--scenario", name, "--bootstrap", broker.bootstrap, "--topic", topic];
    this.#child = Bun.spawn([...java, "share", ...flags, "--group", `${topic}-group`, ...more], {
      stdin: "pipe",
      stdout: "pipe",
      stderr: "inherit",
    });
    void this.#follow();
  }

  async #follow(): Promise<void> {
    const decoder = new TextDecoder();
    let rest = "";
    for await (const chunk of this.#child.stdout) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) if (line.startsWith("{")) this.steps.push(JSON.parse(line) as Step);
      if (this.steps.length > 0) this.#told.resolve();
    }
    this.#told.resolve();
  }

  /** Its first step. */
  async first(): Promise<Step | undefined> {
    await this.#told.promise;
    return this.steps[0];
  }

  async finished(): Promise<Step[]> {
    expect(await this.#child.exited).toBe(0);
    await this.#told.promise;
    return this.steps;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.exited;
  }
}

function check(title: string, work: () => Promise<void>): void {
  if (reason === null) test(title, work, testMsMax);
  else test.skipIf(!isCi)(`${title} (skipped: ${reason})`, () => expect(reason).toBeNull());
}

function offsets(step: Step | undefined): number[] {
  return (step?.records ?? []).map(([offset]) => offset).sort((left, right) => left - right);
}

async function topicAt(broker: BrokerProcess, name: string): Promise<string> {
  await createTopics(broker.bootstrap, [name], 1);
  return name;
}

describe("KafkaShareConsumer", () => {
  check("accepted and rejected records are done, released ones come again", async () => {
    await using broker = await startBroker();
    const topic = await topicAt(broker, "share-acknowledge");
    await using run = new Scenario(broker, "acknowledge", topic);
    const [first, released, nothing] = await run.finished();
    expect(offsets(first)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
    expect(first?.records.every(([, count]) => count === 1)).toBe(true);
    expect(released?.records).toEqual([
      [6, 2],
      [7, 2],
      [8, 2],
    ]);
    expect(nothing?.records).toEqual([]);
  });

  check("two members share one partition, no record comes to both", async () => {
    await using broker = await startBroker();
    const topic = await topicAt(broker, "share-two");
    await using run = new Scenario(broker, "share", topic);
    const [shared] = await run.finished();
    expect(shared).toMatchObject({ seen: shared?.sent, twice: 0 });
    expect(Math.min(shared?.left ?? 0, shared?.right ?? 0)).toBeGreaterThan(20);
  });

  check("records held without a word go to another member when the locks end", async () => {
    await using broker = await startBroker({ env: shortLocks });
    const topic = await topicAt(broker, "share-lock");
    await using run = new Scenario(broker, "lock", topic);
    const [held, after] = await run.finished();
    expect(held?.records.every(([, count]) => count === 1)).toBe(true);
    expect(offsets(after)).toEqual([0, 1, 2, 3, 4]);
    // A slow machine may let the second lock end, too, before its holder is heard.
    expect(after?.records.every(([, count]) => count >= 2)).toBe(true);
  });

  check("what was acknowledged stays so when the broker is killed", async () => {
    await using broker = await startBroker();
    const topic = await topicAt(broker, "share-kill");
    {
      await using holder = new Scenario(broker, "hold", topic);
      expect(offsets(await holder.first())).toHaveLength(20);
      await broker.kill9();
    }
    await broker.restart();
    await using run = new Scenario(broker, "rest", topic, "--records", "10");
    const [rest] = await run.finished();
    expect(offsets(rest)).toEqual([1, 3, 5, 7, 9, 11, 13, 15, 17, 19]);
    // Only what was released had its delivery written down.
    expect(rest?.records.find(([offset]) => offset === 19)).toEqual([19, 2]);
  });

  check("rejected and spent records are in the dead letter queue (KIP-1191)", async () => {
    await using broker = await startBroker({
      env: { CHRONIK_SHARE_GROUP_DEAD_LETTER_AUTO_CREATE_TOPICS: "true" },
    });
    const topic = await topicAt(broker, "share-letters");
    await using run = new Scenario(broker, "letters", topic, "--queue", "dlq.letters");
    const [again, queue] = await run.finished();
    expect(again?.records).toEqual([[5, 2]]);
    expect(queue?.letters).toEqual([
      [1, 1, topic, "1", "Offset rejected by client."],
      [4, 4, topic, "1", "Offset rejected by client."],
      [5, 5, topic, "2", "Offset delivery count exceeded the threshold."],
    ]);
  });

  check("no dead letter is lost when the broker is killed", async () => {
    await using broker = await startBroker();
    const topic = await topicAt(broker, "share-letters-kill");
    const configEntries = [{ name: "errors.deadletterqueue.group.enable", value: "true" }];
    await withAdmin(broker.bootstrap, (admin) =>
      admin.createTopics({ topics: [{ topic: "dlq.kill", configEntries }] }),
    );
    const rejected = new Set<number>();
    const records = 120;
    for (let round = 0; round < 3; round++) {
      const more = round === 0 ? ["--records", String(records)] : [];
      await using run = new Scenario(broker, "reject", topic, "--queue", "dlq.kill", ...more);
      await run.first();
      if (round < 2) {
        await broker.kill9();
        await broker.restart();
      } else {
        await run.finished();
      }
      for (const step of run.steps) for (const [offset] of step.records) rejected.add(offset);
    }
    await using reading = new Scenario(
      broker,
      "queue",
      topic,
      "--queue",
      "dlq.kill",
      "--letters",
      String(records),
    );
    const [queue] = await reading.finished();
    const told = new Set((queue?.letters ?? []).map(([offset]) => offset));
    expect([...rejected].filter((offset) => !told.has(offset))).toEqual([]);
    expect(told.size).toBe(records);
  });
});
