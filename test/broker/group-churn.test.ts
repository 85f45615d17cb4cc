import { describe, expect, test } from "bun:test";
import { brokerExists, startBroker, until } from "../support/broker-process.ts";
import {
  ClassicMember,
  ConsumerMember,
  OwnershipLedger,
  type SimulatedGroup,
  type SimulatedMember,
} from "../support/group-members.ts";
import { unannouncedMoment } from "../support/moments.ts";
import { Random } from "../support/random.ts";
import { Kafka } from "./kafka.ts";

/**
 * A group whose members never stop coming, leaving and dying: no partition ever has two owners, and
 * when all is quiet every partition has one. CHRONIK_CHURN_SECS sets the length (600 for the whole
 * proof), CHRONIK_CHURN_MEMBERS the size.
 */
const churnSecs = Number(process.env["CHRONIK_CHURN_SECS"] ?? 60);
const memberCount = Number(process.env["CHRONIK_CHURN_MEMBERS"] ?? 200);
const partitions = memberCount + Math.floor(memberCount / 2);
const sessionTimeoutMs = 4_000;
const heartbeatMs = 400;
const convergeMsMax = 10_000;

const brokerArgs = [
  ...["-X", "group.min_session_timeout_ms=1000"],
  ...["-X", "group.initial_rebalance_delay_ms=500"],
  ...["-X", `consumer_group.min_session_timeout_ms=${sessionTimeoutMs}`],
  ...["-X", `consumer_group.session_timeout_ms=${sessionTimeoutMs}`],
  ...["-X", `consumer_group.min_heartbeat_interval_ms=${heartbeatMs}`],
  ...["-X", `consumer_group.heartbeat_interval_ms=${heartbeatMs}`],
];

type Protocol = "consumer" | "classic" | "both";

class Churn {
  readonly group: SimulatedGroup;
  readonly members: SimulatedMember[] = [];
  private readonly protocol: Protocol;
  private readonly random: Random;
  private created = 0;

  constructor(port: number, protocol: Protocol, random: Random) {
    this.protocol = protocol;
    this.random = random;
    const ledger = new OwnershipLedger(sessionTimeoutMs);
    const groupId = `churn-${protocol}`;
    const topic = `topic-${protocol}`;
    this.group = { port, groupId, topic, partitions, sessionTimeoutMs, heartbeatMs, ledger };
  }

  join(): void {
    const name = `member-${this.created++}`;
    const isConsumer = this.protocol === "consumer" || this.created % 2 === 0;
    const speaksNew = this.protocol !== "classic" && isConsumer;
    const member = speaksNew
      ? new ConsumerMember(this.group, name)
      : new ClassicMember(this.group, name);
    this.members.push(member);
    member.start();
  }

  /** One of them goes, by its own will or not, and often another comes. */
  async step(): Promise<void> {
    const index = this.random.between(0, this.members.length - 1);
    const choice = this.random.between(0, 2);
    if (choice < 2 && this.members.length > memberCount / 2) {
      const [member] = this.members.splice(index, 1);
      if (choice === 0) await member?.leave();
      else member?.kill();
    }
    if (this.members.length < memberCount) this.join();
  }

  /** Every partition is held by one member that lives. */
  hasConverged(): boolean {
    const held = this.group.ledger.held();
    if (held.size !== partitions) return false;
    const owned = this.members.reduce((sum, member) => sum + member.owned.size, 0);
    return owned === partitions && [...held.values()].every((one) => this.members.includes(one));
  }
}

async function run(protocol: Protocol): Promise<void> {
  await using broker = await startBroker({ args: brokerArgs });
  const random = Random.from("CHRONIK_CHURN_SEED");
  const kafka = await Kafka.connect(broker.kafkaPort);
  await kafka.createTopic(`topic-${protocol}`, partitions);
  kafka.close();
  const churn = new Churn(broker.kafkaPort, protocol, random);
  const { ledger } = churn.group;
  try {
    for (let count = 0; count < memberCount; count++) churn.join();
    const endMs = performance.now() + churnSecs * 1_000;
    let steps = 0;
    while (performance.now() < endMs && ledger.violations.length === 0) {
      await unannouncedMoment(random, 20, 200);
      await churn.step();
      steps++;
    }
    expect(ledger.violations).toEqual([]);
    const quietMs = performance.now();
    // What died last is known to be dead when its session ends.
    const waitMs = convergeMsMax + sessionTimeoutMs;
    await until("every partition has one owner", waitMs, () => churn.hasConverged(), 50);
    const tookMs = Math.round(performance.now() - quietMs);
    console.log(`${protocol}: ${steps} steps, converged in ${tookMs} ms`);
    expect(ledger.violations).toEqual([]);
    const sizes = churn.members.map((member) => member.owned.size);
    // Ranges and classic members' own sums differ by one at most, too.
    expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
  } finally {
    for (const member of churn.members) member.kill();
  }
}

describe.skipIf(!brokerExists)("a group that never rests", () => {
  const testMsMax = churnSecs * 1_000 + 60_000;
  test("consumer protocol", () => run("consumer"), testMsMax);
  test("classic protocol", () => run("classic"), testMsMax);
  test("both protocols in one group", () => run("both"), testMsMax);
});
