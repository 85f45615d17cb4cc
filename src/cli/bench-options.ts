import { Command, InvalidArgumentError, Option } from "commander";
import type { Address } from "../config-values.ts";
import { parseAddress } from "../config-values.ts";

/** What `chronik bench` is asked to do. */
export interface BenchOptions {
  readonly mode: "produce" | "consume" | "e2e";
  readonly bootstrapServers: readonly Address[];
  readonly durationSecs: number;
  /** Messages outstanding at a time. */
  readonly concurrency: number;
  readonly messageBytes: number;
  /** -1 means all. */
  readonly acks: -1 | 0 | 1;
  readonly topic: string;
  /** Partitions of the topic where it has to be created. */
  readonly partitions: number;
  /** One JSON document instead of a table. */
  readonly json: boolean;
  /** Consume everything back and compare counts and checksums. */
  readonly validate: boolean;
}

const modes = ["produce", "consume", "e2e"] as const;

/** The `bench` verb; `done` gets its options once they are parsed. */
export function benchCommand(done: (options: BenchOptions) => void): Command {
  const command = new Command("bench")
    .description("measure a broker, this one or any other Kafka")
    .argument("[mode]", `one of ${modes.join(", ")}`, oneOf(modes), "produce")
    .option("-b, --bootstrap-servers <list>", "where to connect", servers, [
      { host: "localhost", port: 9092 },
    ])
    .option("--duration <seconds>", "how long to send", count(1, 86_400), 30)
    .option("--concurrency <n>", "messages outstanding at a time", count(1, 1_000_000), 128)
    .option("--message-size <bytes>", "bytes of each message", count(16, 64 * 1024 * 1024), 256)
    .addOption(
      new Option("--acks <acks>", "when a message counts as sent: 0, 1 or all")
        .argParser(acks)
        .default(-1, "all"),
    )
    .option("--topic <name>", "topic to use, created where missing", "chronik-bench")
    .option("--partitions <n>", "partitions of a topic that is created", count(1, 10_000), 1)
    .option("--json", "print one JSON document", false)
    .option("--validate", "consume everything back and compare", false);
  return command.action((mode: BenchOptions["mode"]) => {
    const { messageSize, duration, ...rest } = command.opts<
      Omit<BenchOptions, "mode" | "messageBytes" | "durationSecs"> & {
        readonly messageSize: number;
        readonly duration: number;
      }
    >();
    done({ ...rest, mode, messageBytes: messageSize, durationSecs: duration });
  });
}

function oneOf<const T extends string>(words: readonly T[]): (given: string) => T {
  return (given) => {
    const found = words.find((word) => word === given);
    if (found === undefined)
      throw new InvalidArgumentError(`It must be one of ${words.join(", ")}.`);
    return found;
  };
}

function count(min: number, max: number): (given: string) => number {
  return (given) => {
    const value = Number(given);
    if (/^\d+$/.test(given) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(`It must be an integer from ${min} to ${max}.`);
  };
}

function acks(given: string): BenchOptions["acks"] {
  if (given === "all" || given === "-1") return -1;
  if (given === "0") return 0;
  if (given === "1") return 1;
  throw new InvalidArgumentError("It must be 0, 1 or all.");
}

function servers(given: string): Address[] {
  return given.split(",").map((part) => {
    const found = parseAddress(part, 9092);
    if (found === undefined) throw new InvalidArgumentError("It must be HOST:PORT, or several.");
    return found;
  });
}
