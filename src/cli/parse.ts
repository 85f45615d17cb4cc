import { Command, CommanderError, Option } from "commander";
import packageFile from "../../package.json" with { type: "json" };
import { type LoadedConfig, loadConfig } from "../config.ts";
import { nearest } from "../config-names.ts";
import { paths, type SettingPath, settings } from "../config-settings.ts";
import { formatAddress, isAddress, type RawValue, type Setting } from "../config-values.ts";
import { BrokerError } from "../lib/errors.ts";
import { type BenchOptions, benchCommand } from "./bench-options.ts";
import { printConfig } from "./print-config.ts";
import { type RestoreOptions, restoreCommand } from "./restore-options.ts";
import { segmentCommand, type VerifyOptions } from "./segment-options.ts";

/** What the command line asks for; `main.ts` does it. */
export type ParsedCommand =
  | { readonly kind: "broker"; readonly mode: "standalone" | "all"; readonly loaded: LoadedConfig }
  | { readonly kind: "bench"; readonly options: BenchOptions }
  | { readonly kind: "store-check"; readonly loaded: LoadedConfig }
  | {
      readonly kind: "segment-verify";
      readonly options: VerifyOptions;
      readonly loaded: LoadedConfig;
    }
  | { readonly kind: "restore"; readonly loaded: LoadedConfig; readonly options: RestoreOptions }
  /** Help, version or configuration: for standard output, exit code 0. */
  | { readonly kind: "print"; readonly text: string };

export interface Situation {
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** The working folder. */
  readonly folder: string;
  readonly hostname: string;
}

/** The release, as `chronik version` prints it. */
export const version: string = packageFile.version;

/**
 * Parses the arguments after the program's name, and loads the configuration where a broker is to
 * run. Throws a BrokerError CHRONIK_USAGE or CHRONIK_CONFIG with one line that says what to change.
 */
export function parseCommandLine(given: readonly string[], situation: Situation): ParsedCommand {
  const printed: string[] = [];
  let parsed: ParsedCommand | undefined;
  const program = brokerCommand();
  const load = (): LoadedConfig => loadFor(program, given, situation);
  const broker = (mode: "standalone" | "all") => () => {
    parsed = { kind: "broker", mode, loaded: load() };
  };
  program.allowExcessArguments(true).action(() => {
    const unknown = program.args[0];
    if (unknown !== undefined) throw unknownVerb(program, unknown);
    broker("standalone")();
  });
  program
    .command("standalone")
    .description("run one broker (the default)")
    .action(broker("standalone"));
  program
    .command("all")
    .description("run one broker with every optional service")
    .action(broker("all"));
  program.addCommand(
    benchCommand((options) => {
      refuseBrokerFlags(program);
      parsed = { kind: "bench", options };
    }),
  );
  program.addCommand(
    storeCommand(() => {
      parsed = { kind: "store-check", loaded: load() };
    }),
  );
  program.addCommand(
    segmentCommand((options) => {
      parsed = { kind: "segment-verify", options, loaded: load() };
    }),
  );
  program.addCommand(
    restoreCommand((options) => {
      parsed = { kind: "restore", loaded: load(), options };
    }),
  );
  program
    .command("config")
    .description("print the configuration in effect, and where each value comes from")
    .action(() => {
      parsed = { kind: "print", text: printConfig(load()) };
    });
  program
    .command("version")
    .description("print the version")
    .action(() => {
      parsed = { kind: "print", text: versionText() };
    });
  quieten(program, printed);
  try {
    program.parse([...given], { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return { kind: "print", text: printed.join("") };
    throw new BrokerError("CHRONIK_USAGE", usageText(error.message), { cause: error });
  }
  return parsed ?? { kind: "print", text: printed.join("") };
}

function storeCommand(onCheck: () => void): Command {
  const command = new Command("store").description("look at the object store");
  command
    .command("check")
    .description("try every operation of the configured object store; say what is missing")
    .action(onCheck);
  return command;
}

function unknownVerb(program: Command, verb: string): BrokerError {
  const verbs = program.commands.map((command) => command.name());
  return new BrokerError(
    "CHRONIK_USAGE",
    `${verb} is not a command; did you mean ${nearest(verb, verbs)}? See chronik --help`,
  );
}

function versionText(): string {
  return `chronik ${version} (bun ${Bun.version}, ${process.platform}-${process.arch})\n`;
}

/** The program with a flag for each setting that has one. */
function brokerCommand(): Command {
  const program = new Command("chronik")
    .description("A Kafka-protocol broker in one executable")
    .version(versionText().trimEnd(), "--version", "print the version")
    .helpCommand(false)
    .option("--config <file>", "TOML file, or Kafka's server.properties")
    .option("-X, --override <key=value>", "set any setting by its key", collect, []);
  for (const path of paths) {
    const setting: Setting<unknown> = settings[path];
    if (setting.flag === undefined) continue;
    const option = new Option(setting.flag, `${setting.doc}${defaultText(setting.default)}`);
    program.addOption(path === "bind" ? option.argParser(collect) : option);
  }
  return program
    .option("--no-wal-indexing", "do not archive and index WAL segments")
    .addHelpText(
      "after",
      "\nEvery setting has a key for the file and for -X, and a variable CHRONIK_<KEY>.\n" +
        "`chronik config` prints all of them with their values.",
    );
}

function defaultText(value: unknown): string {
  if (value === null) return "";
  const text = (Array.isArray(value) ? value : [value]).map((one) =>
    isAddress(one) ? formatAddress(one) : String(one),
  );
  return ` (default: ${text.join(", ")})`;
}

function collect(value: string, earlier: readonly string[] | undefined): string[] {
  return [...(earlier ?? []), value];
}

/** Commander throws instead of ending the process, and prints into `printed`. */
function quieten(command: Command, printed: string[]): void {
  command.exitOverride().configureOutput({
    writeOut: (text) => printed.push(text),
    writeErr: () => undefined,
  });
  for (const inner of command.commands) quieten(inner.allowExcessArguments(false), printed);
}

function loadFor(program: Command, given: readonly string[], situation: Situation): LoadedConfig {
  const { config: file, override = [] } = program.opts<{ config?: string; override?: string[] }>();
  return loadConfig({
    file,
    environment: situation.environment,
    flags: flagsOf(program),
    overrides: override.map(splitOverride),
    commandLine: ["chronik", ...given],
    folder: situation.folder,
    hostname: situation.hostname,
  });
}

/** The settings given as flags of their own. */
function flagsOf(program: Command): Map<SettingPath, RawValue> {
  const flags = new Map<SettingPath, RawValue>();
  for (const path of paths) {
    const setting: Setting<unknown> = settings[path];
    if (setting.flag === undefined) continue;
    const name = new Option(setting.flag).attributeName();
    if (program.getOptionValueSource(name) === "cli") flags.set(path, program.getOptionValue(name));
  }
  if (program.getOptionValueSource("walIndexing") === "cli") {
    flags.set("indexer.enableWalIndexing", false);
  }
  return flags;
}

function splitOverride(given: string): [string, string] {
  const at = given.indexOf("=");
  if (at > 0) return [given.slice(0, at).trim(), given.slice(at + 1)];
  throw new BrokerError("CHRONIK_USAGE", `-X ${given} must have the form key=value`);
}

/** A benchmark has no data directory: a flag that would be read over is a mistake. */
function refuseBrokerFlags(program: Command): void {
  const name = Object.keys(program.opts()).find(
    (option) => program.getOptionValueSource(option) === "cli",
  );
  if (name === undefined) return;
  const flag = program.options.find((option) => option.attributeName() === name)?.long ?? name;
  throw new BrokerError("CHRONIK_USAGE", `bench does not take ${flag}; see chronik bench --help`);
}

/** One line, without commander's own prefix. */
function usageText(message: string): string {
  const line = message
    .replace(/^error: /, "")
    .replace(/\s*\n\s*/g, " ")
    .trim();
  return `${line}; see chronik --help`;
}
