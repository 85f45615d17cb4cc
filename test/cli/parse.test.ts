import { describe, expect, test } from "bun:test";
import { exitCodeOf, exitCodes } from "../../src/cli/exit-codes.ts";
import { type ParsedCommand, parseCommandLine, version } from "../../src/cli/parse.ts";
import { keyOf, paths } from "../../src/config-settings.ts";
import { BrokerError } from "../../src/lib/errors.ts";

function parse(...given: string[]): ParsedCommand {
  return parseCommandLine(given, { environment: {}, folder: "/somewhere", hostname: "box" });
}

function broker(...given: string[]) {
  const parsed = parse(...given);
  if (parsed.kind !== "broker") throw new Error(`${parsed.kind} instead of a broker`);
  return { mode: parsed.mode, config: parsed.loaded.config };
}

function bench(...given: string[]) {
  const parsed = parse("bench", ...given);
  if (parsed.kind !== "bench") throw new Error(`${parsed.kind} instead of a benchmark`);
  return parsed.options;
}

function printed(...given: string[]): string {
  const parsed = parse(...given);
  if (parsed.kind !== "print") throw new Error(`${parsed.kind} instead of text`);
  return parsed.text;
}

function refusal(...given: string[]): string {
  try {
    parse(...given);
  } catch (error) {
    if (!(error instanceof BrokerError)) throw error;
    expect(exitCodeOf(error)).toBe(exitCodes.usage);
    expect(error.message).not.toContain("\n");
    return error.message;
  }
  throw new Error("the command line was accepted");
}

describe("verbs", () => {
  test("none means standalone", () => {
    expect(broker().mode).toBe("standalone");
    expect(broker("standalone").mode).toBe("standalone");
    expect(broker("all").mode).toBe("all");
  });
  test("an unknown one is refused with the nearest", () => {
    expect(refusal("standalon")).toContain("did you mean standalone?");
    expect(refusal("standalone", "extra")).toContain("too many arguments");
  });
  test("version", () => {
    expect(printed("version")).toStartWith(`chronik ${version} (bun `);
    expect(printed("--version")).toBe(printed("version"));
  });
  test("segment verify takes what to look at", () => {
    const asked = ["--deep", "--topic", "t", "--partition", "3", "--json"];
    expect(parse("segment", "verify", ...asked)).toMatchObject({
      kind: "segment-verify",
      options: { deep: true, topic: "t", partition: 3, json: true },
    });
    const plain = { deep: false, topic: null, partition: null, json: false };
    expect(parse("segment", "verify")).toMatchObject({ options: plain });
    expect(refusal("segment", "verify", "--partition", "-1")).toContain("number from 0 on");
  });
  test("help names every flag of the design and every verb", () => {
    const text = printed("--help");
    const flags = [
      "config",
      "data-dir",
      "bind",
      "advertised-addr",
      "admin-bind",
      "no-wal-indexing",
    ];
    for (const flag of [...flags, "wal-indexing-interval", "override"]) {
      expect(text).toContain(`--${flag}`);
    }
    for (const verb of ["standalone", "all", "bench", "config", "version"]) {
      expect(text).toMatch(new RegExp(`^  ${verb}\\b`, "m"));
    }
    expect(printed("bench", "--help")).toContain("--bootstrap-servers");
  });
  test("config prints every key, its value and where it comes from", () => {
    const text = printed("config", "--bind", "127.0.0.1:1", "-X", "num.partitions=3");
    for (const path of paths) expect(text).toContain(`${keyOf(path)} =`);
    expect(text).toContain('value from: --bind\nbind = ["127.0.0.1:1"]');
    expect(text).toContain("value from: -X num.partitions\ntopic.num_partitions = 3");
  });
  test("what config prints is a configuration file", () => {
    const document = Bun.TOML.parse(printed("config"));
    expect(document).toMatchObject({ wal: { committer_threads: 4 }, admin_bind: "127.0.0.1:6092" });
  });
});

describe("flags", () => {
  test("may stand before and after the verb", () => {
    for (const given of [
      ["--data-dir", "d", "standalone"],
      ["standalone", "--data-dir", "d"],
      ["standalone", "--data-dir=d"],
      ["--data-dir", "d"],
    ]) {
      expect(broker(...given).config.dataDir).toBe("/somewhere/d");
    }
  });
  test("--bind may be given more than once and leaves the verb alone", () => {
    const { mode, config } = broker("--bind", "127.0.0.1:1", "--bind", "[::1]:2", "all");
    expect(mode).toBe("all");
    expect(config.bind.map(({ port }) => port)).toEqual([1, 2]);
  });
  test("the indexer's", () => {
    const { indexer } = broker("--no-wal-indexing", "--wal-indexing-interval", "60").config;
    expect(indexer.enableWalIndexing).toBe(false);
    expect(indexer.walIndexingIntervalSecs).toBe(60);
    expect(broker().config.indexer.enableWalIndexing).toBe(true);
  });
  test("-X takes any key, more than once, with = in the value", () => {
    const { config } = broker("-X", "wal.committer_threads=2", "-X", "cluster.id=a=b");
    expect(config.wal.committerThreads).toBe(2);
    expect(config.cluster.id).toBe("a=b");
    expect(refusal("-X", "novalue")).toContain("key=value");
  });
  test("unknown flags and bad values are refused", () => {
    expect(refusal("--dat-dir", "x")).toContain("Did you mean --data-dir?");
    expect(refusal("--data-dir")).toContain("argument missing");
    expect(refusal("--wal-indexing-interval", "soon")).toContain("an integer from 1 to 86400");
  });
  test("a wildcard without an advertised address is refused with the whole command", () => {
    expect(refusal("--bind", "0.0.0.0:9092", "standalone")).toEndWith(
      ": chronik --advertised-addr box:9092 --bind 0.0.0.0:9092 standalone",
    );
  });
});

describe("bench", () => {
  test("defaults", () => {
    expect(bench()).toEqual({
      mode: "produce",
      bootstrapServers: [{ host: "localhost", port: 9092 }],
      durationSecs: 30,
      concurrency: 128,
      messageBytes: 256,
      acks: -1,
      topic: "chronik-bench",
      partitions: 1,
      json: false,
      validate: false,
    });
  });
  test("everything given", () => {
    const options = bench(
      ..."e2e --bootstrap-servers a:1,b --duration 5 --concurrency 2 --message-size 1024".split(
        " ",
      ),
      ..."--acks 1 --topic t --partitions 4 --json --validate".split(" "),
    );
    expect(options).toEqual({
      mode: "e2e",
      bootstrapServers: [
        { host: "a", port: 1 },
        { host: "b", port: 9092 },
      ],
      durationSecs: 5,
      concurrency: 2,
      messageBytes: 1024,
      acks: 1,
      topic: "t",
      partitions: 4,
      json: true,
      validate: true,
    });
    expect(bench("--acks", "all").acks).toBe(-1);
  });
  test.each([
    ["--acks", "2"],
    ["--duration", "0"],
    ["--concurrency", "-1"],
    ["--message-size", "1"],
    ["--bootstrap-servers", "a:b"],
    ["upload", ""],
  ])("refuses %p %p", (flag, value) => {
    refusal("bench", flag, ...(value === "" ? [] : [value]));
  });
  test("does not take the broker's flags", () => {
    expect(refusal("--data-dir", "x", "bench")).toContain("bench does not take --data-dir");
  });
});

describe("exit codes", () => {
  test("are the documented numbers, each once", () => {
    expect(exitCodes).toMatchObject({
      ok: 0,
      failed: 1,
      usage: 2,
      portInUse: 3,
      unreachable: 6,
      damaged: 7,
      locked: 8,
      fsyncFailed: 9,
      crashLoop: 10,
    });
    expect(new Set(Object.values(exitCodes)).size).toBe(Object.keys(exitCodes).length);
  });
  test("follow from the error", () => {
    expect(exitCodeOf(new BrokerError("CHRONIK_DATA_DIR_LOCKED", "x"))).toBe(8);
    expect(exitCodeOf(new BrokerError("CHRONIK_DAMAGED", "x"))).toBe(7);
    expect(exitCodeOf(new BrokerError("CHRONIK_METADATA_DAMAGED", "x"))).toBe(7);
    expect(exitCodeOf(new BrokerError("CHRONIK_OTHER", "x"))).toBe(1);
    expect(exitCodeOf(new Error("bug"))).toBe(1);
  });
});
