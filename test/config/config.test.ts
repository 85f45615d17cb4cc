import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ConfigInput, type LoadedConfig, loadConfig } from "../../src/config.ts";
import { keyOf, paths, type SettingPath, settings, variableOf } from "../../src/config-settings.ts";
import type { RawValue } from "../../src/config-values.ts";
import { BrokerError } from "../../src/lib/errors.ts";

const folder = mkdtempSync(join(tmpdir(), "chronik-config-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Parts {
  toml?: string;
  properties?: string;
  environment?: Record<string, string>;
  flags?: [SettingPath, RawValue][];
  overrides?: [string, string][];
  commandLine?: string[];
}

function load(parts: Parts = {}): LoadedConfig {
  let file: string | undefined;
  if (parts.toml !== undefined) file = write("chronik.toml", parts.toml);
  if (parts.properties !== undefined) file = write("server.properties", parts.properties);
  const input: ConfigInput = {
    file,
    environment: parts.environment ?? {},
    flags: new Map(parts.flags),
    overrides: parts.overrides ?? [],
    commandLine: parts.commandLine ?? ["chronik"],
    folder,
    hostname: "box",
  };
  return loadConfig(input);
}

function write(name: string, text: string): string {
  writeFileSync(join(folder, name), text);
  return name;
}

/** The one line a bad configuration is refused with. */
function refusal(parts: Parts): string {
  try {
    load(parts);
  } catch (error) {
    if (!(error instanceof BrokerError)) throw error;
    expect(error.code).toBe("CHRONIK_CONFIG");
    expect(error.message).not.toContain("\n");
    return error.message;
  }
  throw new Error("the configuration was accepted");
}

describe("defaults", () => {
  test("are the documented ones", () => {
    const { config, warnings } = load();
    expect(warnings).toEqual([]);
    expect(config.node.id).toBe(1);
    expect(config.dataDir).toBe(join(folder, "data"));
    expect(config.bind).toEqual([
      { host: "127.0.0.1", port: 9092 },
      { host: "::1", port: 9092 },
    ]);
    expect(config.advertised).toEqual({ host: "localhost", port: 9092 });
    expect(config.adminBind).toEqual({ host: "127.0.0.1", port: 6092 });
    expect(config.indexer).toMatchObject({
      enableWalIndexing: true,
      walIndexingIntervalSecs: 30,
      minSegmentAgeSecs: 10,
      maxSegmentsPerRun: 100,
      deleteAfterIndex: true,
      indexBasePath: join(folder, "data", "tantivy_indexes"),
      parallelIndexing: false,
      maxConcurrentTasks: 4,
    });
    expect(config.wal).toMatchObject({
      commitProfile: "low",
      segmentBytesMax: 134_217_728,
      committerThreads: 4,
      queueBytesMax: 67_108_864,
      queueAppendsMax: 8192,
    });
    expect(config.limits).toMatchObject({
      frameBytesMax: 104_857_600,
      inFlightBytesPerConnectionMax: 16_777_216,
      connectionsMax: 10_000,
      tailCacheBytesMax: 67_108_864,
      chunkCacheBytesMax: 33_554_432,
      fetchBytesMax: 57_671_680,
    });
    expect(config.topic).toMatchObject({
      numPartitions: 1,
      autoCreate: true,
      replicationFactor: 1,
      retentionMs: 604_800_000,
      messageBytesMax: 1_048_588,
      timestampType: "CreateTime",
    });
    expect(config.group).toMatchObject({
      offsetsTopicNumPartitions: 50,
      initialRebalanceDelayMs: 3000,
      minSessionTimeoutMs: 6000,
      maxSessionTimeoutMs: 1_800_000,
      offsetsRetentionMinutes: 10_080,
    });
    expect(config.shutdown.timeoutMs).toBe(30_000);
  });

  test("each default is a value its own check accepts", () => {
    for (const path of paths) {
      const { default: value, parse } = settings[path];
      if (value === null || typeof value === "object") continue;
      expect([path, parse(value)]).toEqual([path, value]);
    }
  });

  test("cannot be changed afterwards", () => {
    const { config } = load();
    expect(Object.isFrozen(config)).toBe(true);
    expect(Object.isFrozen(config.bind[0])).toBe(true);
    expect(() => Object.assign(config.wal, { committerThreads: 1 })).toThrow();
  });
});

describe("the table of settings", () => {
  test("no key, variable or Kafka name is used twice", () => {
    const kafka = paths.flatMap((path) => {
      const names = "kafka" in settings[path] ? settings[path].kafka : undefined;
      return (names ?? []).map(({ name }) => name).filter((name) => name !== keyOf(path));
    });
    for (const names of [paths.map(keyOf), paths.map(variableOf), kafka]) {
      expect(new Set(names).size).toBe(names.length);
    }
  });
  test("every variable and every key is read", () => {
    for (const path of paths) {
      const raw = sampleFor(path);
      // Credentials come in pairs: the other of the pair is there too.
      const byVariable = load({ environment: { ...keyPair, [variableOf(path)]: raw } });
      expect([path, byVariable.origins.get(path)?.source]).toEqual([path, "environment"]);
      const isSecret = "secret" in settings[path];
      if (isSecret) continue;
      const byKey = load({ environment: keyPair, overrides: [[keyOf(path), raw]] });
      expect([path, byKey.origins.get(path)?.source]).toEqual([path, "flag"]);
    }
  });
  test("keys are dotted snake case", () => {
    expect(keyOf("wal.segmentBytesMax")).toBe("wal.segment_bytes_max");
    expect(variableOf("wal.segmentBytesMax")).toBe("CHRONIK_WAL_SEGMENT_BYTES_MAX");
    expect(
      paths.map(keyOf).filter((key) => !/^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)?$/.test(key)),
    ).toEqual([]);
  });
});

const keyPair = {
  CHRONIK_OBJECT_STORE_ACCESS_KEY: "an-id",
  CHRONIK_OBJECT_STORE_SECRET_KEY: "a-secret",
};

function sampleFor(path: SettingPath): string {
  if (path === "objectStore.endpoint") return "https://store.example:9000";
  const value = settings[path].default;
  if (path === "bind") return "127.0.0.1:19092";
  if (path === "adminBind") return "127.0.0.1:16092";
  return value === null ? "somewhere" : String(value);
}

describe("the object store", () => {
  const original = {
    OBJECT_STORE_BACKEND: "s3",
    S3_ENDPOINT: "http://127.0.0.1:9000",
    S3_REGION: "eu-central-1",
    S3_BUCKET: "some-bucket",
    S3_ACCESS_KEY: "an-id",
    S3_SECRET_KEY: "a-secret",
    S3_SESSION_TOKEN: "a-token",
    S3_PATH_STYLE: "false",
    S3_PREFIX: "/a/b/",
  };
  const wanted = {
    backend: "s3",
    endpoint: "http://127.0.0.1:9000",
    region: "eu-central-1",
    bucket: "some-bucket",
    accessKey: "an-id",
    secretKey: "a-secret",
    sessionToken: "a-token",
    pathStyle: false,
    prefix: "a/b",
  } as const;
  test("is a folder unless said otherwise", () => {
    const { objectStore } = load().config;
    expect(objectStore).toMatchObject({ backend: "local", bucket: "chronik-storage" });
    expect(objectStore).toMatchObject({ endpoint: null, region: null, pathStyle: true });
  });
  test("by the original's variables, without a warning about others", () => {
    const { config, warnings } = load({ environment: { ...original, S3_NOTHING: "x" } });
    expect(config.objectStore).toMatchObject(wanted);
    expect(warnings).toEqual([]);
    const local = load({ environment: { LOCAL_STORAGE_PATH: "segments" } });
    expect(local.config.indexer.indexBasePath).toBe(join(folder, "segments"));
  });
  test("by a table of the file", () => {
    const lines = ['backend = "s3"', 'endpoint = "http://127.0.0.1:9000"', 'prefix = "a/b"'];
    lines.push('region = "eu-central-1"', 'bucket = "some-bucket"', "path_style = false");
    lines.push('access_key = "an-id"', 'secret_key = "a-secret"', 'session_token = "a-token"');
    const { config } = load({ toml: `[object_store]\n${lines.join("\n")}\n` });
    expect(config.objectStore).toMatchObject(wanted);
  });
  test("by the short name", () => {
    expect(load({ toml: 'object_store = "s3"\n' }).config.objectStore.backend).toBe("s3");
    const environment = { CHRONIK_OBJECT_STORE: "s3" };
    expect(load({ environment }).config.objectStore.backend).toBe("s3");
  });
  test.each([
    [{ OBJECT_STORE_BACKEND: "gcs" }, "one of local, s3"],
    [{ S3_ENDPOINT: "store:9000" }, "https://HOST"],
    [{ S3_ENDPOINT: "https://me:pass@store" }, "scheme, host, port"],
    [{ S3_ACCESS_KEY: "an-id" }, "object_store.secret_key"],
    [{ S3_SESSION_TOKEN: "a-token" }, "object_store.secret_key"],
    [{ S3_PREFIX: "a/../b" }, "folder names"],
    [{ S3_BUCKET: "x" }, "3 to 63"],
  ])("%p is refused", (environment, text) => {
    const message = refusal({ environment });
    expect(message).toContain(text);
    expect(message).not.toContain("pass@");
  });
  test("a secret is not taken from the command line, nor shown", () => {
    const message = refusal({ overrides: [["object_store.secret_key", "hush"]] });
    expect(message).not.toContain("hush");
    expect(message).toContain("CHRONIK_OBJECT_STORE_SECRET_KEY");
  });
});

describe("precedence", () => {
  const toml = "[wal]\ncommitter_threads = 2\nqueue_appends_max = 100\nopen_files_max = 70\n";
  const environment = { CHRONIK_WAL_COMMITTER_THREADS: "3", CHRONIK_WAL_QUEUE_APPENDS_MAX: "200" };
  test("flag over environment over file over default, each with its origin", () => {
    const { config, origins } = load({
      toml,
      environment,
      overrides: [["wal.committer_threads", "6"]],
    });
    expect(config.wal).toMatchObject({
      committerThreads: 6,
      queueAppendsMax: 200,
      openFilesMax: 70,
      commitProfile: "low",
    });
    expect(origins.get("wal.committerThreads")?.name).toBe("-X wal.committer_threads");
    expect(origins.get("wal.queueAppendsMax")?.name).toBe("CHRONIK_WAL_QUEUE_APPENDS_MAX");
    expect(origins.get("wal.openFilesMax")?.name).toContain("chronik.toml");
    expect(origins.get("wal.commitProfile")?.source).toBe("default");
  });
  test("a flag of its own counts as a flag", () => {
    const { config } = load({
      environment: { CHRONIK_DATA_DIR: "from-env" },
      flags: [["dataDir", "from-flag"]],
    });
    expect(config.dataDir).toBe(join(folder, "from-flag"));
  });
  test("CHRONIK_CONFIG names the file", () => {
    write("env.toml", "[node]\nid = 7\n");
    expect(load({ environment: { CHRONIK_CONFIG: "env.toml" } }).config.node.id).toBe(7);
  });
  test("variables named like the flags", () => {
    const { config } = load({
      environment: { CHRONIK_NO_WAL_INDEXING: "true", CHRONIK_WAL_INDEXING_INTERVAL: "60" },
    });
    expect(config.indexer.enableWalIndexing).toBe(false);
    expect(config.indexer.walIndexingIntervalSecs).toBe(60);
  });
  test("an empty variable is no value", () => {
    expect(load({ environment: { CHRONIK_NODE_ID: "" } }).config.node.id).toBe(1);
  });
});

describe("values", () => {
  test("folders are resolved, the index below the data", () => {
    const { config } = load({ toml: 'data_dir = "d"\n' });
    expect(config.indexer.indexBasePath).toBe(join(folder, "d", "tantivy_indexes"));
    const other = load({ toml: 'index_base_path = "elsewhere"\n' });
    expect(other.config.indexer.indexBasePath).toBe(join(folder, "elsewhere"));
  });
  test.each([
    ["1048576", 1_048_576],
    ["2MiB", 2_097_152],
    ["2048 KiB", 2_097_152],
    ["1gib", 1_073_741_824],
  ])("%p bytes", (raw, value) => {
    const { config } = load({ overrides: [["wal.segment_bytes_max", raw]] });
    expect(config.wal.segmentBytesMax).toBe(value);
  });
  test.each(["", "x", "-5", "1.5", "1e9", "4GiB", "9999999999999999999999", "2MB"])(
    "%p is not a segment size",
    (raw) => {
      const message = refusal({ overrides: [["wal.segment_bytes_max", raw]] });
      expect(message).toContain("-X wal.segment_bytes_max");
      expect(message).toContain("1048576 to 2147483647");
    },
  );
  test("a TOML value of the wrong type is refused", () => {
    expect(refusal({ toml: "enable_wal_indexing = 3\n" })).toContain("true or false");
    expect(refusal({ toml: "[node]\nid = 1.5\n" })).toContain("node.id");
    expect(refusal({ toml: "[node]\nid = 2020-01-01\n" })).toContain("chronik.toml");
  });
  test("Kafka's largest number means no limit", () => {
    const { config } = load({
      overrides: [["log.message.timestamp.after.max.ms", "9223372036854775807"]],
    });
    expect(config.topic.timestampAfterMsMax).toBe(Number.MAX_SAFE_INTEGER);
  });
  test("log levels for components", () => {
    expect(load({ overrides: [["log_level", "warn,indexer=debug"]] }).config.logging.level).toBe(
      "warn,indexer=debug",
    );
    expect(refusal({ overrides: [["log_level", "loud"]] })).toContain("debug, info, warn or error");
  });
});

describe("addresses", () => {
  test("several, with IPv6 and without a port", () => {
    const { config } = load({ flags: [["bind", ["127.0.0.1:0", "[::1]", "localhost:93"]]] });
    expect(config.bind).toEqual([
      { host: "127.0.0.1", port: 0 },
      { host: "::1", port: 9092 },
      { host: "localhost", port: 93 },
    ]);
    expect(config.advertised).toEqual({ host: "localhost", port: null });
  });
  test.each(["", "1.2.3.4:99999", "::1:9092", "a b:1", "http://x:1", "[::1", "x:y"])(
    "%p is not an address",
    (raw) => {
      expect(refusal({ flags: [["bind", raw]] })).toContain("HOST:PORT");
    },
  );
  test("a host of its own is advertised as it is", () => {
    const { config } = load({ overrides: [["bind", "10.0.0.5:9093"]] });
    expect(config.advertised).toEqual({ host: "10.0.0.5", port: 9093 });
  });
  test("what is advertised keeps the bound port unless it names one", () => {
    const bind: [string, string] = ["bind", "0.0.0.0:9095"];
    const without = load({ overrides: [bind, ["advertised_addr", "broker.example"]] });
    expect(without.config.advertised).toEqual({ host: "broker.example", port: 9095 });
    const named = load({ overrides: [bind, ["advertised_addr", "[2001:db8::1]:99"]] });
    expect(named.config.advertised).toEqual({ host: "2001:db8::1", port: 99 });
  });
  test.each(["0.0.0.0:9092", "[::]:9092", ":9092", "*:9092", "[0:0:0:0:0:0:0:0]:9092"])(
    "%p without an advertised address is refused with the command to type",
    (bind) => {
      const message = refusal({
        flags: [["bind", bind]],
        commandLine: ["chronik", "--bind", bind, "--data-dir", "my data", "standalone"],
      });
      expect(message).toContain("chronik --advertised-addr box:9092 --bind ");
      expect(message).toContain("--data-dir 'my data' standalone");
    },
  );
  test("a wildcard advertised is refused, and the command put right", () => {
    const commandLine = ["chronik", "--advertised-addr", "0.0.0.0", "--advertised-addr=::", "all"];
    const message = refusal({ flags: [["advertisedAddr", "0.0.0.0"]], commandLine });
    expect(message).toEndWith(": chronik --advertised-addr box:9092 all");
  });
  test("the admin API stays on this machine", () => {
    const message = refusal({ overrides: [["admin_bind", "0.0.0.0:6092"]] });
    expect(message).toContain("TLS and a token");
    expect(message).toContain("--admin-bind 127.0.0.1:6092");
  });
  test("the same address twice is refused", () => {
    expect(refusal({ overrides: [["admin_bind", "127.0.0.1:9092"]] })).toContain("127.0.0.1:9092");
  });
});

describe("Kafka's names", () => {
  test("a stock server.properties is read, with one warning for each name not used", () => {
    const { config, warnings } = load({
      properties: `
# Licensed to the Apache Software Foundation
process.roles=broker,controller
node.id=3
controller.quorum.bootstrap.servers=localhost:9093
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
inter.broker.listener.name=PLAINTEXT
advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
socket.receive.buffer.bytes=102400
socket.request.max.bytes=104857600
log.dirs=kraft-combined-logs
num.partitions=4
num.recovery.threads.per.data.dir=1
offsets.topic.replication.factor=1
share.coordinator.state.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.retention.hours=168
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000
`,
    });
    expect(config.node.id).toBe(3);
    expect(config.bind).toEqual([{ host: "0.0.0.0", port: 9092 }]);
    expect(config.advertised).toEqual({ host: "localhost", port: 9092 });
    expect(config.dataDir).toBe(join(folder, "kraft-combined-logs"));
    expect(config.topic.numPartitions).toBe(4);
    expect(config.topic.retentionMs).toBe(604_800_000);
    expect(config.wal.segmentBytesMax).toBe(1_073_741_824);
    expect(warnings).toHaveLength(14);
    expect(config.retention.checkIntervalMs).toBe(300_000);
    expect(warnings[0]).toStartWith("process.roles in ");
  });
  test("any session may be allowed, as in Kafka", () => {
    const session = (ms: number) => ({ properties: `group.min.session.timeout.ms=${ms}\n` });
    expect(load(session(0)).config.group.minSessionTimeoutMs).toBe(0);
    expect(refusal(session(-1))).toContain("group.min.session.timeout.ms");
  });

  test("milliseconds win over minutes over hours, in any order", () => {
    const hours = "log.retention.hours=1\n";
    const minutes = "log.retention.minutes=2\n";
    const retention = (properties: string) => load({ properties }).config.topic.retentionMs;
    expect(retention(hours)).toBe(3_600_000);
    expect(retention(minutes + hours)).toBe(120_000);
    expect(retention(`${hours}log.retention.ms=5000\n${minutes}`)).toBe(5000);
    expect(retention("log.retention.hours=-1\n")).toBe(-1);
  });
  test("they work in TOML too", () => {
    const { config } = load({ toml: 'num.partitions = 6\n"auto.create.topics.enable" = false\n' });
    expect(config.topic).toMatchObject({ numPartitions: 6, autoCreate: false });
  });
  test("properties syntax: separators, blanks, escapes, continued lines", () => {
    const { config } = load({
      properties:
        "! note\nnum.partitions : 2\r\n  log.dirs=a\\\n   b\nnode.id 9\ncluster.id=x\\u0041\\=\n",
    });
    expect(config.topic.numPartitions).toBe(2);
    expect(config.dataDir).toBe(join(folder, "ab"));
    expect(config.node.id).toBe(9);
    expect(config.cluster.id).toBe("xA=");
  });
  test("a listener with TLS, and several data folders, are refused", () => {
    expect(refusal({ properties: "listeners=SSL://:9093\n" })).toContain("needs TLS");
    expect(refusal({ properties: "log.dirs=a,b\n" })).toContain("several folders");
  });
});

describe("mistakes", () => {
  test.each([
    ["num.partition", "num.partitions"],
    ["wal.segment_byte_max", "wal.segment_bytes_max"],
    ["auto.create.topic.enable", "auto.create.topics.enable"],
    ["wal_indexing_interval_sec", "wal_indexing_interval_secs"],
  ])("the unknown name %p is refused with %p", (wrong, right) => {
    const message = refusal({ toml: `"${wrong}" = 1\n` });
    expect(message).toContain(`${wrong} in ${join(folder, "chronik.toml")}`);
    expect(message).toEndWith(`did you mean ${right}?`);
    expect(refusal({ overrides: [[wrong, "1"]] })).toContain(right);
  });
  test("an unknown variable is a warning, for it may mean something to others", () => {
    const { warnings } = load({ environment: { CHRONIK_NODEID: "1", OTHER: "2" } });
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toEndWith("CHRONIK_NODEID means nothing; did you mean CHRONIK_NODE_ID?");
  });
  test("variables that an orchestrator sets are passed over", () => {
    const environment = {
      CHRONIK_SERVICE_HOST: "10.0.0.1",
      CHRONIK_SERVICE_PORT: "9092",
      CHRONIK_PORT_9092_TCP: "tcp://10.0.0.1:9092",
    };
    expect(load({ environment }).warnings).toEqual([]);
  });
  test("the same setting under two names is refused", () => {
    const message = refusal({ toml: "num.partitions = 1\n[topic]\nnum_partitions = 2\n" });
    expect(message).toContain("give one of them");
  });
  test("a missing file and bad TOML are named", () => {
    const absent: ConfigInput = {
      file: "absent.toml",
      environment: {},
      flags: new Map(),
      overrides: [],
      commandLine: [],
      folder,
      hostname: "box",
    };
    expect(() => loadConfig(absent)).toThrow(join(folder, "absent.toml"));
    expect(refusal({ toml: "a = = 1" })).toContain("not valid TOML");
  });
  test("session bounds the wrong way round", () => {
    expect(refusal({ overrides: [["group.min.session.timeout.ms", "9000000"]] })).toContain(
      "must not be larger",
    );
  });
});
