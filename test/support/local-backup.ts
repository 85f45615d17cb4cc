import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BrokerProcess, startBroker } from "./broker-process.ts";
import { type RestoreRun, runRestore } from "./restore-process.ts";

export interface BackedBroker extends AsyncDisposable {
  readonly broker: BrokerProcess;
  /** Where the objects are. */
  readonly objects: string;
  restore(args?: readonly string[], env?: Readonly<Record<string, string>>): Promise<RestoreRun>;
  /** The disk is gone, the objects are not. */
  loseDisk(): Promise<void>;
}

/** A broker whose backups go to a local folder beside its data, every second. */
export async function startBackedBroker({
  indexingSecs = 3600,
  ...options
}: {
  readonly bin?: string;
  readonly indexingSecs?: number;
} = {}): Promise<BackedBroker> {
  const root = mkdtempSync(join(tmpdir(), "chronik-backup-"));
  const objects = join(root, "objects");
  const store = ["-X", `index_base_path=${objects}`, "-X", "backup.enabled=true"];
  const args = [
    ...store,
    ...["-X", "backup.interval=1", "-X", "min_segment_age_secs=0"],
    ...["--wal-indexing-interval", String(indexingSecs)],
  ];
  const broker = await startBroker({ args, ...options });
  return {
    broker,
    objects,
    restore: (more = [], env = {}) =>
      runRestore([...more, "--data-dir", broker.dataDir, ...store], env, options.bin),
    async loseDisk() {
      await broker.kill9();
      rmSync(broker.dataDir, { recursive: true });
    },
    async [Symbol.asyncDispose]() {
      await broker[Symbol.asyncDispose]();
      rmSync(root, { recursive: true, force: true });
    },
  };
}
