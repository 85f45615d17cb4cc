/** Archives that were merged, before the last backup and after it, come back and are sound. */
import { expect, test } from "bun:test";
import { renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Kafka } from "../broker/kafka.ts";
import { registrySegments, untilAllArchived } from "../support/archives.ts";
import { brokerExists, until } from "../support/broker-process.ts";
import { startBackedBroker } from "../support/local-backup.ts";
import { untilBackedUp } from "../support/restore-process.ts";

interface Integrity {
  readonly run: { readonly finished_at: string | null };
}

const isCi = process.env["CI"] === "true";
const values = (round: number) => [0, 1, 2].map((n) => `value ${round}.${n}`);

test.skipIf(!isCi && !brokerExists)(
  "merged archives are restored, by a backup and without one, and a deep look finds no damage",
  async () => {
    await using backed = await startBackedBroker({ indexingSecs: 1 });
    const { broker, objects } = backed;
    const written: string[] = [];
    let kafka = await Kafka.connect(broker.kafkaPort);
    // The records' timestamps are old.
    await kafka.createTopic("many", 1, { "retention.ms": "-1" });
    const fill = async (rounds: number) => {
      for (let n = 0; n < rounds; n++) {
        const some = values(written.length);
        await kafka.append("many", 0, some);
        written.push(...some);
        await untilAllArchived(broker);
      }
    };
    const merged = async () =>
      (await registrySegments(broker)).filter(({ generation }) => generation > 1).length;
    const restored = async (...args: string[]) => {
      kafka.close();
      const { code, out, err } = await backed.restore(args);
      expect([code, err]).toEqual([0, ""]);
      await broker.restart();
      kafka = await Kafka.connect(broker.kafkaPort);
      expect(await kafka.values("many", 0)).toEqual(written);
      const run = `${broker.adminUrl}/admin/integrity/run?deep=true`;
      expect((await fetch(run, { method: "POST" })).status).toBe(202);
      let seen: Integrity | null = null;
      await until("everything was looked at", 60_000, async () => {
        seen = (await (await fetch(`${broker.adminUrl}/admin/integrity`)).json()) as Integrity;
        return seen.run.finished_at !== null;
      });
      expect(seen).toMatchObject({ run: { damaged: 0 }, quarantined: 0, findings: [] });
      expect(await kafka.values("many", 0)).toEqual(written);
      return out;
    };
    await fill(20);
    await until("archives are merged", 60_000, async () => (await merged()) > 0);
    await untilBackedUp(broker);
    await backed.loseDisk();
    expect(await restored()).toContain("archives are there");
    await untilBackedUp(broker);

    // From here on no backup can be put: what merging leaves over must stay.
    const [meta, then] = [join(objects, "=meta"), join(objects, "../then")];
    renameSync(meta, then);
    writeFileSync(meta, "");
    const before = await merged();
    await fill(14);
    await until("more are merged", 60_000, async () => (await merged()) > before);
    await backed.loseDisk();
    rmSync(meta);
    renameSync(then, meta);
    expect(await restored()).toContain("archived after the backup, and there: many-0");

    await backed.loseDisk();
    rmSync(meta, { recursive: true });
    expect(await restored("--from-manifests")).toContain("is superseded by");
  },
  240_000,
);
