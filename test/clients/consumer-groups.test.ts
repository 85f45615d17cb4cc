import { describe, expect, test } from "bun:test";
import { WireClient } from "../../src/client/wire-client.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { consumerGroupDescribeApi } from "../../src/protocol/messages/69-consumer-group-describe.ts";
import { type BrokerProcess, brokerExists, startBroker, until } from "../support/broker-process.ts";
import { type GroupMember, type MemberOptions, startMember } from "./members.ts";
import { type ClientProgram, clients, ensureToolchains } from "./programs.ts";
import { createTopics, kafkaAt, withAdmin } from "./topics.ts";

/**
 * Real clients in groups of the consumer protocol (KIP-848): names, expressions, static members,
 * assignors, a broker that is killed, and a group that goes from the classic protocol to the new
 * one and back while it runs.
 */
const partitions = 6;
const sessionTimeoutMs = 6_000;
const settleMsMax = 60_000;
const testMsMax = 240_000;
const isCi = process.env["CI"] === "true";

const brokerArgs = [
  ...["-X", `consumer_group.min_session_timeout_ms=${sessionTimeoutMs}`],
  ...["-X", `consumer_group.session_timeout_ms=${sessionTimeoutMs}`],
  ...["-X", "consumer_group.min_heartbeat_interval_ms=500"],
  ...["-X", "consumer_group.heartbeat_interval_ms=500"],
  ...["-X", "group.initial_rebalance_delay_ms=500"],
];

const wanted = new Set(["java", "confluent-kafka"]);
const programs = clients.filter(({ name }) => wanted.has(name));

class Group {
  readonly members: GroupMember[] = [];
  readonly topic: string;
  private readonly broker: BrokerProcess;
  private readonly id: string;
  private produced = 0;

  constructor(broker: BrokerProcess, name: string) {
    this.broker = broker;
    this.topic = `topic-${name}`;
    this.id = `group-${name}`;
  }

  start(program: ClientProgram, id: string, options: Partial<MemberOptions> = {}): GroupMember {
    const { topic, id: group } = this;
    const { bootstrap } = this.broker;
    const assignor = "consumer-uniform";
    const basic = { bootstrap, topic, group, id, sessionTimeoutMs, assignor };
    const member = startMember(program, { ...basic, ...options });
    this.members.push(member);
    return member;
  }

  /** These, and no others, own every partition once, as they and the broker say. */
  async settles(members: readonly GroupMember[], protocol: "classic" | "consumer"): Promise<void> {
    const isSettled = async (): Promise<boolean> => {
      const owned = members.flatMap((member) => member.owned).toSorted((a, b) => a - b);
      if (owned.join() !== Array.from({ length: partitions }, (_, i) => i).join()) return false;
      const described = await this.described();
      if (protocol === "classic") return described === null && (await this.isClassicStable());
      if (described?.groupState !== "Stable") return false;
      return described.members.length === members.length;
    };
    try {
      await until(`${members.length} members own every partition`, settleMsMax, isSettled, 100);
    } catch (error) {
      const states = this.members.map((member) => member.describe()).join("\n");
      const described = JSON.stringify(await this.described());
      throw new Error(`${states}\nbroker: ${described}\n${this.broker.log().slice(-2000)}`, {
        cause: error,
      });
    }
  }

  /** New records reach the group, and are committed by who owns their partition. */
  async delivers(members: readonly GroupMember[]): Promise<void> {
    const producer = kafkaAt(this.broker.bootstrap).producer();
    await producer.connect();
    const messages = Array.from({ length: partitions }, (_, partition) => {
      return { partition, value: `record ${this.produced}` };
    });
    await producer.send({ topic: this.topic, acks: -1, messages });
    await producer.disconnect();
    this.produced++;
    await until("the records are committed", settleMsMax, () =>
      members.every((member) =>
        member.owned.every((partition) => member.committed.get(partition) === this.produced),
      ),
    );
  }

  /** The group as one of the consumer protocol; null when it is none. */
  async described() {
    const port = this.broker.kafkaPort;
    const client = await WireClient.connect({ host: "127.0.0.1", port, clientId: "describe" });
    try {
      const request = { groupIds: [this.id], includeAuthorizedOperations: false };
      const { groups } = await client.request(consumerGroupDescribeApi, 1, request);
      const [group] = groups;
      return group?.errorCode === ErrorCode.NONE ? group : null;
    } finally {
      client.close();
    }
  }

  async dispose(): Promise<void> {
    for (const member of this.members) await member[Symbol.asyncDispose]();
  }

  private async isClassicStable(): Promise<boolean> {
    const { groups } = await withAdmin(this.broker.bootstrap, (admin) =>
      admin.describeGroups([this.id]),
    );
    return groups[0]?.state === "Stable";
  }
}

async function inGroup(name: string, use: (group: Group, broker: BrokerProcess) => Promise<void>) {
  await using broker = await startBroker({ args: brokerArgs });
  const group = new Group(broker, name);
  try {
    await createTopics(broker.bootstrap, [group.topic], partitions);
    await use(group, broker);
  } finally {
    await group.dispose();
  }
}

/** Join by name, by expression and as a static member; leave, kill, broker killed. */
async function livesAndDies(program: ClientProgram): Promise<void> {
  await inGroup(program.name, async (group, broker) => {
    const stayer = group.start(program, "stayer");
    await group.settles([stayer], "consumer");
    const leaver = group.start(program, "leaver", { regex: `${group.topic}.*` });
    const victim = group.start(program, "victim", { instance: "victim" });
    await group.settles([stayer, leaver, victim], "consumer");
    expect([stayer, leaver, victim].map(({ owned }) => owned.length)).toEqual([2, 2, 2]);
    expect((await group.described())?.assignorName).toBe("uniform");
    await group.delivers([stayer, leaver, victim]);

    expect(await leaver.leave()).toBe(0);
    await group.settles([stayer, victim], "consumer");
    await broker.kill9();
    await broker.restart();
    await group.settles([stayer, victim], "consumer");
    await group.delivers([stayer, victim]);
    await victim.kill9();
    await group.settles([stayer], "consumer");
    await group.delivers([stayer]);
    expect(await stayer.leave()).toBe(0);
  });
}

/** Two classic members are rolled to the consumer protocol, one after the other, and back. */
async function migrates(program: ClientProgram): Promise<void> {
  await inGroup(`migrates-${program.name}`, async (group) => {
    const classic = { assignor: "range" };
    const ranges = { assignor: "consumer-range" };
    const old1 = group.start(program, "old1", classic);
    const old2 = group.start(program, "old2", classic);
    await group.settles([old1, old2], "classic");
    await group.delivers([old1, old2]);

    expect(await old1.leave()).toBe(0);
    const new1 = group.start(program, "new1", ranges);
    await group.settles([old2, new1], "consumer");
    await group.delivers([old2, new1]);
    expect(await old2.leave()).toBe(0);
    const new2 = group.start(program, "new2", ranges);
    await group.settles([new1, new2], "consumer");
    await group.delivers([new1, new2]);

    expect(await new1.leave()).toBe(0);
    const back1 = group.start(program, "back1", classic);
    await group.settles([new2, back1], "consumer");
    expect(await new2.leave()).toBe(0);
    const back2 = group.start(program, "back2", classic);
    await group.settles([back1, back2], "classic");
    await group.delivers([back1, back2]);
  });
}

const setups = brokerExists ? await ensureToolchains(programs) : new Map();

function skipReason({ toolchain }: ClientProgram): string | null {
  if (!brokerExists) return "dist/chronik is not built";
  const setup = setups.get(toolchain);
  return setup?.status === "skipped" ? setup.reason : null;
}

describe("groups of the consumer protocol", () => {
  for (const program of programs) {
    const reason = skipReason(program);
    const cases = { "join, leave, crash": livesAndDies, "classic, consumer, classic": migrates };
    for (const [title, run] of Object.entries(cases)) {
      const name = `${program.name} · ${title}`;
      if (reason === null) test(name, () => run(program), testMsMax);
      else test.skipIf(!isCi)(`${name} (skipped: ${reason})`, () => expect(reason).toBeNull());
    }
  }
});
