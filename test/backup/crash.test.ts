/** Kills in the middle of a backup and of a restore. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Kafka } from "../broker/kafka.ts";
import { untilAllArchived } from "../support/archives.ts";
import { until } from "../support/broker-process.ts";
import { type BackedBroker, startBackedBroker } from "../support/local-backup.ts";
import { untilBackedUp } from "../support/restore-process.ts";

const bin = process.env["CHRONIK_TEST_BIN"] ?? join(import.meta.dir, "../../dist/chronik-test");
const killed = 128 + 9;

describe("a kill in the middle", () => {
  let backed: BackedBroker;

  beforeAll(async () => {
    backed = await startBackedBroker({ bin });
    const kafka = await Kafka.connect(backed.broker.kafkaPort);
    await kafka.createTopic("kept");
    await kafka.append("kept", 0, ["a", "b", "c"]);
    await untilAllArchived(backed.broker);
    await kafka.commit("group", "kept", 1);
    await untilBackedUp(backed.broker);
    kafka.close();
  }, 60_000);
  afterAll(async () => await backed?.[Symbol.asyncDispose]());

  async function readsBack(): Promise<void> {
    await backed.broker.restart();
    const kafka = await Kafka.connect(backed.broker.kafkaPort);
    expect(await kafka.values("kept", 0)).toEqual(["a", "b", "c"]);
    expect(await kafka.committed("group", "kept")).toBe(1);
    kafka.close();
  }

  test("of a backup leaves the one before it, of a restore what the next one clears", async () => {
    const { broker } = backed;
    await broker.kill9();
    broker.spawn({ CHRONIK_FP: "backup-put=kill:1" });
    await until("the broker listens or is dead", 30_000, () =>
      fetch(`${broker.adminUrl}/readyz`).then(
        ({ status }) => status === 200,
        () => broker.log().includes("fault point backup-put"),
      ),
    );
    // The first backup may well come before the connection.
    const kafka = await Kafka.connect(broker.kafkaPort).catch(() => null);
    await kafka?.commit("group", "kept", 2).catch(() => undefined);
    kafka?.close();
    expect(await broker.exited()).toBe(killed);
    expect(broker.log().slice(-2000)).toContain("fault point backup-put");
    await backed.loseDisk();
    expect((await backed.restore()).code).toBe(0);
    await readsBack();
    await untilBackedUp(broker);

    // Then every point of a restore, each behind the loss of the disk that the last one filled.
    for (const point of [
      "restore-registry",
      "restore-partitions",
      "restore-metadata",
      "restore-built",
      "restore-moved",
    ]) {
      await backed.loseDisk();
      const dead = await backed.restore([], { CHRONIK_FP: `${point}=kill:1` });
      expect([point, dead.code]).toEqual([point, killed]);
      expect(existsSync(join(broker.dataDir, "restoring"))).toBe(true);
      broker.spawn();
      expect([point, await broker.exited()]).toEqual([point, 1]);
      expect(broker.log().slice(-500)).toContain("CHRONIK_RESTORE_UNFINISHED");
      const again = await backed.restore();
      expect([point, again.code, again.err]).toEqual([point, 0, ""]);
      await readsBack();
    }
  }, 240_000);
});
