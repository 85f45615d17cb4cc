/** The commands of "Backup and restore" in docs/operations.md, word for word. */
import { expect, test } from "bun:test";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { Kafka } from "../broker/kafka.ts";
import { untilAllArchived } from "../support/archives.ts";
import { brokerBin, brokerExists, startBroker } from "../support/broker-process.ts";
import { untilBackedUp } from "../support/restore-process.ts";

const isCi = process.env["CI"] === "true";

function commands(heading: string): string[] {
  const text = readFileSync(join(import.meta.dir, "../../docs/operations.md"), "utf8");
  const section = text.split(/^## /m).find((part) => part.startsWith(`${heading}\n`)) ?? "";
  return [...section.matchAll(/```sh\n([\s\S]*?)```/g)].map(([, block]) => (block ?? "").trim());
}

test.skipIf(!isCi && !brokerExists)(
  "a lost disk, by the book",
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "chronik-docs-"));
    try {
      mkdirSync(join(folder, "bin"));
      const chronik = join(folder, "bin/chronik");
      const bin = brokerBin.endsWith(".ts") ? `${process.execPath} ${brokerBin}` : brokerBin;
      writeFileSync(chronik, `#!/bin/sh\nexec ${bin} "$@"\n`);
      chmodSync(chronik, 0o755);
      const config = join(folder, "chronik.toml");
      const dataDir = join(folder, "data");
      writeFileSync(
        config,
        [
          `data_dir = "${dataDir}"`,
          `index_base_path = "${join(folder, "objects")}"`,
          "min_segment_age_secs = 0",
          '[backup]\nenabled = "true"\ninterval = 1',
        ].join("\n"),
      );
      const [admin = "", restore = "", fromManifests = "", ...more] =
        commands("Backup and restore");
      expect(more).toEqual([]);
      const shell = (command: string) => {
        const env = {
          ...process.env,
          PATH: `${join(folder, "bin")}${delimiter}${process.env["PATH"]}`,
        };
        const { exitCode, stdout, stderr } = Bun.spawnSync(["bash", "-c", command], {
          cwd: folder,
          env,
        });
        expect(exitCode, `${command}\n${stderr}`).toBe(0);
        return stdout.toString();
      };
      await using broker = await startBroker({ dataDir, args: ["--config", config] });
      const values = async () => {
        const kafka = await Kafka.connect(broker.kafkaPort);
        const found = await kafka.values("book", 0);
        kafka.close();
        return found;
      };
      const kafka = await Kafka.connect(broker.kafkaPort);
      await kafka.createTopic("book");
      await kafka.append("book", 0, ["page"]);
      kafka.close();
      await untilAllArchived(broker);
      await untilBackedUp(broker);
      const shown = JSON.parse(
        shell(admin.replace("localhost:6092", `127.0.0.1:${broker.adminPort}`)),
      );
      expect(shown).toMatchObject({ enabled: true, failed: 0, last_error: null });
      expect(Date.parse(shown.last_success)).toBeGreaterThan(Date.now() - 60_000);
      for (const command of [restore, fromManifests]) {
        await broker.kill9();
        rmSync(dataDir, { recursive: true });
        expect(shell(command)).toContain("is ready: start chronik");
        await broker.restart();
        expect(await values()).toEqual(["page"]);
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
  120_000,
);
