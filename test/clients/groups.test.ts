import { describe, expect, test } from "bun:test";
import { AssignerProtocol } from "kafkajs";
import { type BrokerProcess, brokerExists, startBroker, until } from "../support/broker-process.ts";
import { type GroupMember, type MemberOptions, type Span, startMember } from "./members.ts";
import { type ClientProgram, clients, ensureToolchains } from "./programs.ts";
import { createTopics, kafkaAt, untilServed, withAdmin } from "./topics.ts";

/**
 * Three members of a classic group, in processes of their own: they join, one leaves, one is
 * killed, the broker is killed. See clients.test.ts for CHRONIK_BOOTSTRAP and CHRONIK_CLIENTS.
 */

const externalBootstrap = process.env["CHRONIK_BOOTSTRAP"];
const isCi = process.env["CI"] === "true";
const partitions = 6;
const batchPerPartition = 10;
const settleMsMax = 45_000;
const crashSessionTimeoutMs = 6_000;
/** So long that only a LeaveGroup, never this timeout, can explain a prompt rebalance. */
const leaverSessionTimeoutMs = 60_000;
const testMsMax = 240_000;

interface Case {
  readonly name: string;
  /** The first stays, the second leaves, the third is killed. */
  readonly programs: readonly [ClientProgram, ClientProgram, ClientProgram];
  readonly assignor: string;
}

function program(name: string): ClientProgram {
  const found = clients.find((client) => client.name === name);
  if (found === undefined) throw new Error(`no client program ${name}`);
  return found;
}

function three(name: string, assignor: string): Case {
  const one = program(name);
  return { name, programs: [one, one, one], assignor };
}

const wantedNames = process.env["CHRONIK_CLIENTS"]?.split(",");
const allCases: readonly Case[] = [
  three("java", "cooperative-sticky"),
  three("confluent-kafka", "cooperative-sticky"),
  three("kafka-python", "range"),
  three("franz-go", "cooperative-sticky"),
  three("sarama", "sticky"),
  three("kafkajs", "round-robin"),
  {
    name: "java + confluent-kafka + franz-go",
    programs: [program("java"), program("confluent-kafka"), program("franz-go")],
    assignor: "range",
  },
];
const cases = allCases.filter(({ name }) => wantedNames?.includes(name) ?? true);

/** A topic with its group: what was produced, and who should be there. */
class Group {
  readonly topic: string;
  readonly id: string;
  readonly bootstrap: string;
  /** The same in every partition. */
  endOffset = 0;

  constructor(bootstrap: string, name: string) {
    const run = `${name.replaceAll(/\W+/g, "-")}-${Date.now().toString(36)}`;
    this.bootstrap = bootstrap;
    this.topic = `groups-${run}`;
    this.id = `group-${run}`;
  }

  options(id: string, sessionTimeoutMs: number, assignor: string): MemberOptions {
    const { bootstrap, topic, id: group } = this;
    return { bootstrap, topic, group, id, sessionTimeoutMs, assignor };
  }

  /** Adds the same number of records to every partition. */
  async produce(perPartition: number): Promise<void> {
    const producer = kafkaAt(this.bootstrap).producer();
    await producer.connect();
    const messages = Array.from({ length: perPartition * partitions }, (_, i) => ({
      partition: i % partitions,
      value: `record ${i}`,
    }));
    await producer.send({ topic: this.topic, acks: -1, messages });
    await producer.disconnect();
    this.endOffset += perPartition;
  }

  /** What the broker says: member count and assigned partitions, or null when not stable. */
  async described(): Promise<number[][] | null> {
    const { groups } = await untilServed("DescribeGroups", () =>
      withAdmin(this.bootstrap, (admin) => admin.describeGroups([this.id])),
    );
    const [group] = groups;
    if (group?.state !== "Stable") return null;
    return group.members.map(({ memberAssignment }) => {
      if (memberAssignment.length === 0) return [];
      const decoded = AssignerProtocol.MemberAssignment.decode(memberAssignment);
      return (decoded?.assignment[this.topic] ?? []).toSorted((a, b) => a - b);
    });
  }

  /** Waits until these members, and no others, own every partition exactly once. */
  async settles(members: readonly GroupMember[]): Promise<void> {
    const all = Array.from({ length: partitions }, (_, i) => i);
    const text = (lists: readonly (readonly number[])[]) => lists.map(String).sort().join(" | ");
    try {
      await until(
        `${members.length} members own every partition once`,
        settleMsMax,
        async () => {
          const owned = members.flatMap((member) => member.owned).toSorted((a, b) => a - b);
          if (String(owned) !== String(all)) return false;
          // A rebalance may be on its way: before and after the broker's word all must agree.
          const before = text(members.map((member) => member.owned));
          if (text((await this.described()) ?? []) !== before) return false;
          return text(members.map((member) => member.owned)) === before;
        },
        50,
      );
    } catch (error) {
      const states = members.map((member) => member.describe()).join("\n");
      throw new Error(`${states}\nbroker: ${JSON.stringify(await this.described())}`, {
        cause: error,
      });
    }
  }

  /** New records reach a settled group exactly once, at their partition's owner. */
  async expectDelivery(members: readonly GroupMember[]): Promise<void> {
    const from = this.endOffset;
    await this.produce(batchPerPartition);
    await until("the new records are committed", settleMsMax, () =>
      members.every((member) =>
        member.owned.every((partition) => member.committed.get(partition) === this.endOffset),
      ),
    );
    for (const member of members) {
      for (const partition of member.owned) {
        const seen = members.map((one) => offsetsIn(one.consumed, partition, from));
        const wanted = members.map((one) =>
          one === member ? Array.from({ length: batchPerPartition }, (_, i) => from + i) : [],
        );
        expect({ partition, seen }).toEqual({ partition, seen: wanted });
      }
    }
  }

  /** Committed offsets as the broker tells them, by partition. */
  async committed(): Promise<number[]> {
    const [found] = await untilServed("OffsetFetch", () =>
      withAdmin(this.bootstrap, (admin) =>
        admin.fetchOffsets({ groupId: this.id, topics: [this.topic] }),
      ),
    );
    const list = found?.partitions.toSorted((a, b) => a.partition - b.partition) ?? [];
    return list.map(({ offset }) => Number(offset));
  }
}

function offsetsIn(spans: readonly Span[], partition: number, from: number): number[] {
  return spans
    .filter((span) => span.partition === partition && span.last >= from)
    .flatMap(({ first, last }) => Array.from({ length: last - first + 1 }, (_, i) => first + i))
    .filter((offset) => offset >= from);
}

async function joinLeaveCrash({ programs, assignor }: Case, group: Group, members: GroupMember[]) {
  const [stays, leaves, dies] = programs;
  const start = (one: ClientProgram, id: string, sessionTimeoutMs: number) => {
    const member = startMember(one, group.options(id, sessionTimeoutMs, assignor));
    members.push(member);
    return member;
  };
  await createTopics(group.bootstrap, [group.topic], partitions);
  await group.produce(batchPerPartition);

  const stayer = start(stays, "stayer", crashSessionTimeoutMs);
  await group.settles([stayer]);

  const leaver = start(leaves, "leaver", leaverSessionTimeoutMs);
  const victim = start(dies, "victim", crashSessionTimeoutMs);
  const trio = [stayer, leaver, victim];
  await group.settles(trio);
  expect(trio.map((member) => member.owned.length)).toEqual([2, 2, 2]);
  await group.expectDelivery(trio);

  expect(await leaver.leave()).toBe(0);
  await group.settles([stayer, victim]);
  await group.expectDelivery([stayer, victim]);

  const killedMs = performance.now();
  await victim.kill9();
  await group.settles([stayer]);
  // A closed connection must not cost the membership: only the session's end may.
  expect(performance.now() - killedMs).toBeGreaterThan(crashSessionTimeoutMs * 0.7);
  await group.expectDelivery([stayer]);
  expect(await group.committed()).toEqual(Array(partitions).fill(group.endOffset));
  return { stayer, start };
}

async function brokerCrash(broker: BrokerProcess, group: Group, stayer: GroupMember) {
  await broker.kill9();
  await broker.restart();
  expect(await group.committed()).toEqual(Array(partitions).fill(group.endOffset));
  await group.settles([stayer]);
  await group.expectDelivery([stayer]);
}

async function runCase(one: Case): Promise<void> {
  await using broker = externalBootstrap === undefined ? await startBroker() : undefined;
  const group = new Group(externalBootstrap ?? broker!.bootstrap, one.name);
  const members: GroupMember[] = [];
  try {
    const { stayer, start } = await joinLeaveCrash(one, group, members);
    if (broker !== undefined) await brokerCrash(broker, group, stayer);
    expect(await stayer.leave()).toBe(0);
    const successor = start(one.programs[0], "successor", crashSessionTimeoutMs);
    await group.settles([successor]);
    await group.expectDelivery([successor]);
    // It went on where the group had stopped: nothing older came again.
    const oldest = Math.min(...successor.consumed.map(({ first }) => first));
    expect(oldest).toBe(group.endOffset - batchPerPartition);
    expect(await successor.leave()).toBe(0);
  } finally {
    for (const member of members) await member[Symbol.asyncDispose]();
  }
}

const canRun = externalBootstrap !== undefined || brokerExists;
const setups = canRun ? await ensureToolchains(clients) : new Map();

function skipReason({ programs }: Case): string | null {
  if (!canRun) return "dist/chronik is not built";
  for (const { toolchain } of programs) {
    const setup = setups.get(toolchain);
    if (setup?.status === "skipped") return setup.reason;
  }
  return null;
}

describe("groups of three", () => {
  for (const one of cases) {
    const reason = skipReason(one);
    const title = `${one.name} · join, leave, crash; commits survive`;
    if (reason === null) test(title, () => runCase(one), testMsMax);
    else test.skipIf(!isCi)(`${title} (skipped: ${reason})`, () => expect(reason).toBeNull());
  }
});
