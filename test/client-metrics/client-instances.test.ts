import { describe, expect, test } from "bun:test";
import {
  ClientInstances,
  type ClientPeer,
  type PushHead,
  subscriptionIdOf,
} from "../../src/client-metrics/client-instances.ts";
import { Subscriptions } from "../../src/client-metrics/subscriptions.ts";
import { errorName } from "../../src/protocol/error-code.ts";
import { newUuid, zeroUuid } from "../../src/protocol/uuid.ts";
import { FakeClock } from "../support/fake-clock.ts";

const intervalMs = 10_000;
const id = "Y2xpZW50LTAwMDAwMDAwMQ";

const peer: ClientPeer = {
  connectionId: 1,
  attributes: {
    client_id: "app",
    client_software_name: "java",
    client_software_version: "4.3.1",
    client_source_address: "127.0.0.1",
    client_source_port: "50000",
  },
};

type Configs = Readonly<Record<string, Readonly<Record<string, string>>>>;

class Lab {
  readonly clock = new FakeClock();
  readonly subscriptions = new Subscriptions();
  readonly instances: ClientInstances;

  constructor(configs: Configs = { all: { metrics: "*", "interval.ms": `${intervalMs}` } }) {
    const limits = { instancesMax: 3, bytesMax: 1000 };
    this.instances = new ClientInstances(this.clock, this.subscriptions, limits);
    this.configure(configs);
  }

  configure(configs: Configs): void {
    const entries = Object.entries(configs);
    this.subscriptions.update(
      new Map(entries.map(([name, values]) => [name, new Map(Object.entries(values))])),
    );
  }

  ask(clientId = id, from = peer): string {
    return errorName(this.instances.ask(clientId, from).errorCode);
  }

  push(more: Partial<PushHead> = {}, from = peer): string {
    const clientInstanceId = more.clientInstanceId ?? id;
    const head = {
      clientInstanceId,
      subscriptionId: subscriptionIdOf(["*"], intervalMs, clientInstanceId),
      terminating: false,
      compressionType: 0,
      metricsBytes: 1,
    };
    return errorName(this.instances.admit({ ...head, ...more }, from).errorCode);
  }
}

describe("asking", () => {
  test("once an interval", () => {
    const lab = new Lab();
    expect([lab.ask(), lab.ask()]).toEqual(["NONE", "THROTTLING_QUOTA_EXCEEDED"]);
    lab.clock.advance(intervalMs - 1);
    expect(lab.ask()).toBe("THROTTLING_QUOTA_EXCEEDED");
    lab.clock.advance(1);
    expect(lab.ask()).toBe("NONE");
  });

  test("an interval after the last push, too", () => {
    const lab = new Lab();
    lab.ask();
    lab.clock.advance(intervalMs / 2);
    lab.push();
    lab.clock.advance(intervalMs / 2);
    expect(lab.ask()).toBe("THROTTLING_QUOTA_EXCEEDED");
    lab.clock.advance(intervalMs / 2);
    expect([lab.ask(), lab.push()]).toEqual(["NONE", "NONE"]);
  });

  test("at once after a push that was told to", () => {
    for (const wrong of [{ subscriptionId: 1 }, { compressionType: 9 }]) {
      const lab = new Lab();
      lab.ask();
      expect(lab.push(wrong)).toBe(
        "subscriptionId" in wrong ? "UNKNOWN_SUBSCRIPTION_ID" : "UNSUPPORTED_COMPRESSION_TYPE",
      );
      expect([lab.ask(), lab.ask()]).toEqual(["NONE", "THROTTLING_QUOTA_EXCEEDED"]);
    }
    const lab = new Lab();
    lab.ask();
    expect(lab.push({ metricsBytes: 1001 })).toBe("TELEMETRY_TOO_LARGE");
    expect(lab.ask()).toBe("THROTTLING_QUOTA_EXCEEDED");
  });

  test("at once when subscriptions changed", () => {
    const lab = new Lab();
    lab.ask();
    lab.configure({ all: { metrics: "a" } });
    expect(lab.ask()).toBe("NONE");
  });

  test("without an id, everybody gets one of their own", () => {
    const lab = new Lab();
    const ids = [1, 2].map(() => lab.instances.ask(zeroUuid, peer).instance.id);
    expect(new Set([...ids, zeroUuid]).size).toBe(3);
  });
});

describe("pushing", () => {
  test("at any time after a question, then once an interval", () => {
    const lab = new Lab();
    lab.ask();
    lab.clock.advance(1);
    expect([lab.push(), lab.push()]).toEqual(["NONE", "THROTTLING_QUOTA_EXCEEDED"]);
    lab.clock.advance(intervalMs);
    expect([lab.push(), lab.push()]).toEqual(["NONE", "THROTTLING_QUOTA_EXCEEDED"]);
  });

  test("with an id that is a client's", () => {
    const lab = new Lab();
    const pushed = [zeroUuid, "AAAAAAAAAAAAAAAAAAAAAQ"].map((one) =>
      lab.push({ clientInstanceId: one }),
    );
    expect(pushed).toEqual(["INVALID_REQUEST", "INVALID_REQUEST"]);
    expect(lab.instances.count()).toBe(0);
  });

  test("early for the last time, and not after it", () => {
    const lab = new Lab();
    lab.ask();
    lab.push();
    expect(lab.push({ terminating: true })).toBe("NONE");
    expect(lab.push({ terminating: true })).toBe("INVALID_REQUEST");
    // Kafka too takes the newest word for it.
    expect(lab.push()).toBe("INVALID_REQUEST");
    expect(lab.push()).toBe("THROTTLING_QUOTA_EXCEEDED");
  });

  test("codecs of Kafka only, and no more bytes than allowed", () => {
    const answers = [-1, 0, 4, 5].map((compressionType) => new Lab().push({ compressionType }));
    const refused = "UNSUPPORTED_COMPRESSION_TYPE";
    expect(answers).toEqual([refused, "NONE", "NONE", refused]);
    expect([1000, 1001].map((metricsBytes) => new Lab().push({ metricsBytes }))).toEqual([
      "NONE",
      "TELEMETRY_TOO_LARGE",
    ]);
  });
});

describe("who is remembered", () => {
  const other = (number: number) => `Y2xpZW50LTAwMDAwMDAw${number}Q`;
  const others = [2, 3, 4].map(other);

  test("so many; the longest unheard of goes first", () => {
    const lab = new Lab();
    lab.ask();
    for (const one of others.slice(0, 2)) lab.ask(one);
    // Heard of again.
    expect(lab.ask()).toBe("THROTTLING_QUOTA_EXCEEDED");
    lab.ask(others[2]);
    expect(lab.instances.count()).toBe(3);
    expect(lab.ask()).toBe("THROTTLING_QUOTA_EXCEEDED");
    expect(lab.ask(others[0])).toBe("NONE");
  });

  test("for three intervals, a minute at least", () => {
    const lab = new Lab();
    lab.ask();
    lab.clock.advance(59_999);
    expect(lab.instances.count()).toBe(1);
    lab.clock.advance(1);
    expect(lab.instances.count()).toBe(0);
    lab.configure({ all: { "interval.ms": "30000" } });
    lab.ask();
    lab.clock.advance(89_999);
    expect(lab.instances.count()).toBe(1);
    lab.clock.advance(1);
    // Forgotten at once, whether somebody looked or not: what ended is over.
    expect(lab.push({ subscriptionId: subscriptionIdOf([], 30_000, id) })).toBe("NONE");
  });

  test("a client that ended and comes again after that time is a new one", () => {
    const lab = new Lab();
    lab.push({ terminating: true });
    lab.clock.advance(60_000);
    expect(lab.push()).toBe("NONE");
  });

  test("until its connection is gone", () => {
    const lab = new Lab();
    lab.ask();
    lab.instances.disconnected(2);
    expect(lab.ask()).toBe("THROTTLING_QUOTA_EXCEEDED");
    lab.instances.disconnected(1);
    expect(lab.ask()).toBe("NONE");
    lab.instances.disconnected(1);
    lab.instances.disconnected(1);
    expect(lab.instances.count()).toBe(0);
  });
});

describe("what a client is asked for", () => {
  const wanted = (configs: Configs, from = peer) =>
    new Lab(configs).instances.ask(id, from).instance;

  test("nothing, all of what matches, or everything", () => {
    expect(wanted({})).toMatchObject({ metrics: [], intervalMs: 300_000 });
    const two = { a: { metrics: "b,a" }, b: { metrics: " c , a", "interval.ms": "100" } };
    expect(wanted(two)).toMatchObject({ metrics: ["a", "b", "c"], intervalMs: 100 });
    expect(wanted({ ...two, c: { metrics: "*" } })).toMatchObject({ metrics: ["*"] });
    expect(wanted({ a: { metrics: "a", match: "client_id=x" } })).toMatchObject({ metrics: [] });
  });

  test("by expressions over the whole of what it is", () => {
    const matches = (match: string, from = peer) =>
      wanted({ a: { metrics: "a", match } }, from).metrics.length === 1;
    const good = [
      "client_id=app",
      "client_id=a.*",
      `client_instance_id=${id}`,
      "client_software_name=(?i)JAVA,client_software_version=4\\..*",
      "client_source_address=127\\.0\\.0\\.1,client_source_port=5[0-9]{4}",
      "client_id=x,client_id=app",
    ];
    const bad = ["client_id=ap", "client_id=pp", "client_id=app,client_source_port=1"];
    expect(good.filter((match) => !matches(match))).toEqual([]);
    expect(bad.filter((match) => matches(match))).toEqual([]);
    const nameless = { ...peer, attributes: { ...peer.attributes, client_id: null } };
    expect(matches("client_id=.*", nameless)).toBe(false);
    expect(matches("client_software_name=.*", nameless)).toBe(true);
  });

  test("an expression that is refused nowadays matches nobody", () => {
    for (const match of ["client_id=(?!b)app", "client_id=", "client_id=app,other=x"]) {
      expect(wanted({ a: { metrics: "a", match } }).metrics).toEqual([]);
    }
  });

  test("an expression that takes for ever ends early and matches nobody", () => {
    const slow = "client_id=(?:[ab]?){900}(a|b)*a[ab]{900}";
    const long = { ...peer, attributes: { ...peer.attributes, client_id: "ab".repeat(2_000) } };
    expect(wanted({ a: { metrics: "a", match: slow } }, long).metrics).toEqual([]);
  });

  test("under the number that Kafka gives it", () => {
    // Apache Kafka 4.3.1 answered these.
    expect(subscriptionIdOf(["x"], 300_000, "Y2xpZW50LTAwMDAwMDMwMQ")).toBe(1_027_634_111);
    const numbers = new Set(
      [id, newUuid()].flatMap((one) => [
        subscriptionIdOf([], 1000, one),
        subscriptionIdOf(["a"], 1000, one),
        subscriptionIdOf(["a"], 2000, one),
      ]),
    );
    expect(numbers.size).toBe(6);
  });
});
