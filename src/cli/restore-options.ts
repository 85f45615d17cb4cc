import { Command } from "commander";
import { BrokerError } from "../lib/errors.ts";

/** What `chronik restore` is told beside the configuration. */
export interface RestoreOptions {
  /** null: the only cluster there is, or `cluster.id`. */
  readonly clusterId: string | null;
  /** Number of a backup; null: the newest. */
  readonly backup: number | null;
  readonly fromManifests: boolean;
}

export function restoreCommand(onRestore: (options: RestoreOptions) => void): Command {
  const command = new Command("restore")
    .description("fill an empty data directory from the backup in the object store")
    .option("--cluster-id <id>", "cluster whose backup is taken, where there are several")
    .option("--backup <number>", "a backup before the newest")
    .option("--from-manifests", "without a backup: topics as the archives alone tell them");
  return command.action(() => {
    const given = command.opts<{ clusterId?: string; backup?: string; fromManifests?: true }>();
    const fromManifests = given.fromManifests === true;
    if (fromManifests && given.backup !== undefined) {
      throw usage("--backup and --from-manifests exclude each other: give one of them");
    }
    onRestore({
      clusterId: given.clusterId ?? null,
      backup: given.backup === undefined ? null : backupNumber(given.backup),
      fromManifests,
    });
  });
}

function backupNumber(text: string): number {
  const number = Number(text);
  if (/^[0-9]{1,15}$/.test(text) && number > 0) return number;
  throw usage(`--backup is ${JSON.stringify(text)} and must be the number of a backup`);
}

function usage(text: string): BrokerError {
  return new BrokerError("CHRONIK_USAGE", `${text}; see chronik restore --help`);
}
