import { Command, InvalidArgumentError, Option } from "commander";

/** What `chronik segment verify` is asked for. */
export interface VerifyOptions {
  /** Every byte is read, of archives and of the WAL; else sizes, tables of contents, manifests. */
  readonly deep: boolean;
  /** Null: all topics. */
  readonly topic: string | null;
  /** Null: all partitions. */
  readonly partition: number | null;
  /** A JSON object a line instead of text. */
  readonly json: boolean;
}

interface Given {
  readonly deep?: boolean;
  readonly topic?: string;
  readonly partition?: number;
  readonly json?: boolean;
}

/** The verb `segment` with what can be done to segments. */
export function segmentCommand(onVerify: (options: VerifyOptions) => void): Command {
  const command = new Command("segment").description("look at archived segments");
  command
    .command("verify")
    .description("find damage in the data of a stopped broker; exit code 7 where there is any")
    .option("--deep", "read every byte, of archives and of the WAL")
    .option("--topic <name>", "only this topic")
    .addOption(new Option("--partition <number>", "only this partition").argParser(toPartition))
    .option("--json", "print JSON, an object a line")
    .action(({ deep = false, topic, partition, json = false }: Given) => {
      onVerify({ deep, topic: topic ?? null, partition: partition ?? null, json });
    });
  return command;
}

function toPartition(given: string): number {
  if (/^\d{1,9}$/.test(given)) return Number(given);
  throw new InvalidArgumentError("it must be a number from 0 on");
}
