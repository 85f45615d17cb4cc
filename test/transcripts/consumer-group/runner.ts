import { type GroupConfig, groupConfigDefaults } from "../../../src/group/config.ts";
import { ConsumerGroup, ConsumerReplay } from "../../../src/group/consumer-group.ts";
import type { ConsumerHeartbeatAnswer } from "../../../src/group/consumer-heartbeat.ts";
import {
  type OwnedPartitions,
  staticLeaveEpoch,
  type TargetPartitions,
} from "../../../src/group/consumer-member.ts";
import { decodeConsumerChange } from "../../../src/group/consumer-records.ts";
import { type ConsumerChange, ConsumerState } from "../../../src/group/consumer-state.ts";
import type { RecordStep, StepContext, TimerEffect } from "../../../src/group/group-kinds.ts";
import type { JoinResponse, SyncResponse } from "../../../src/group/group-types.ts";
import type { OffsetsRecord } from "../../../src/group/ports.ts";
import { errorName } from "../../../src/protocol/error-code.ts";
import { MemoryTopics } from "../../group/harness.ts";
import { encodeSubscription } from "../group/runner.ts";
import { type Player, parseCommand } from "../play.ts";

const topicIds: ReadonlyMap<string, string> = new Map(
  ["t1", "t2", "t3"].map((name, index) => [name, `AAAAAAAAAAAAAAAAAAAA${"BCD"[index]}A`]),
);

/**
 * Plays a transcript against the pure consumer group, in the form of the classic ones: comments, a
 * command, `----`, the answer, the records (`+`), the timers, and the state after it. After every
 * command a group made from the records alone must be in the same state.
 *
 *   topic t1 3 (makes it, or sets its partitions)     drop t1
 *   hb a 0 [topics=t1,t2] [regex=] [owned=t1:0+1] [instance=] [assignor=] [rebalance=60000]
 *   leave a [instance=] [away]       join a [topics=t1] [instance=] [member=] [owned=] (classic)
 *   sync a gen= [instance=]          beat a gen= [instance=]       part a [instance=] (classic)
 *   commit a EPOCH t1:0              advance 3000 (fires timers)   config name=value   undo
 */
export class ConsumerGroupPlayer implements Player {
  private config: GroupConfig = groupConfigDefaults;
  private group = new ConsumerGroup(new ConsumerState("g"));
  private readonly topics = new MemoryTopics();
  private nowMs = 1_000;
  private readonly timers = new Map<string, number>();
  private records: OffsetsRecord[] = [];
  private last: { step: RecordStep<unknown>; records: number } | null = null;
  private lines: string[] = [];

  constructor() {
    this.topics.topics.clear();
  }

  run(line: string): string[] {
    this.lines = [];
    const { command, words, args } = parseCommand(line);
    this.execute(command, words, args);
    const state = describe(this.group, this.topics);
    const replayed = describe(this.replay(), this.topics);
    this.lines.push(`= ${state}`);
    if (replayed !== state) throw new Error(`${line}: ${state}\nreplayed: ${replayed}`);
    return this.lines;
  }

  private execute(command: string, words: readonly string[], args: Map<string, string>): void {
    const [first = "", second = ""] = words;
    const instanceId = args.get("instance") ?? null;
    const member = {
      request: 0,
      memberId: args.get("member") ?? first,
      groupInstanceId: instanceId,
      generationId: Number(args.get("gen") ?? -1),
    };
    switch (command) {
      case "topic":
        this.topics.topics.set(first, {
          id: topicIds.get(first) ?? "",
          partitions: Number(second),
        });
        this.topics.topicsVersion++;
        break;
      case "drop":
        this.topics.topics.delete(first);
        this.topics.topicsVersion++;
        break;
      case "config":
        for (const [name, value] of args) {
          const number = Number(value);
          const parsed = Number.isNaN(number) ? value : number;
          this.config = { ...this.config, consumer: { ...this.config.consumer, [name]: parsed } };
        }
        break;
      case "hb":
        this.heartbeat(first, Number(second), args);
        break;
      case "leave":
        this.heartbeat(first, words.includes("away") ? staticLeaveEpoch : -1, args);
        break;
      case "join":
        this.join(first, args);
        break;
      case "sync": {
        const event = { ...member, protocolType: null, protocolName: null, assignments: [] };
        this.step(this.group.sync({ kind: "sync", ...event }, this.context()), showSync);
        break;
      }
      case "beat": {
        const step = this.group.classicHeartbeat({ kind: "heartbeat", ...member }, this.context());
        this.step(step, errorName);
        break;
      }
      case "part": {
        const step = this.group.leave([member], this.context());
        const show = (one: (typeof step)["answer"]) =>
          one.members.map(({ errorCode }) => errorName(errorCode)).join(" ");
        this.step(step, show);
        break;
      }
      case "commit": {
        const check = this.group.checkCommit({ memberId: first, memberEpoch: Number(second) }, 10);
        const [[topicId = "", [partition = 0] = []] = []] = [...this.owned(words[2] ?? "")];
        const errorCode = typeof check === "number" ? check : check(topicId, partition);
        this.lines.push(errorName(errorCode));
        break;
      }
      case "advance":
        this.advance(Number(first));
        break;
      case "undo":
        this.last?.step.undo(0);
        this.records = this.records.slice(0, this.last?.records);
        break;
      default:
        throw new Error(`unknown command: ${command}`);
    }
  }

  private heartbeat(memberId: string, memberEpoch: number, args: Map<string, string>): void {
    const joins = memberEpoch === 0;
    const owned = args.get("owned") ?? (joins ? "" : null);
    const names = args.get("topics");
    const step = this.group.heartbeat(
      {
        memberId,
        memberEpoch,
        instanceId: args.get("instance") ?? null,
        rackId: null,
        rebalanceTimeoutMs: Number(args.get("rebalance") ?? (joins ? 60_000 : -1)),
        topicNames: names === undefined ? null : names.split(",").filter((name) => name !== ""),
        topicRegex: args.get("regex") ?? null,
        serverAssignor: args.get("assignor") ?? null,
        reported: owned === null ? null : this.owned(owned),
        clientId: "c",
        clientHost: "/h",
      },
      this.context(),
    );
    this.step(step, (answer) => showAnswer(answer, this.topics));
  }

  private join(memberId: string, args: Map<string, string>): void {
    const metadata = encodeSubscription((args.get("topics") ?? "t1").split(","));
    const step = this.group.join(
      {
        kind: "join",
        request: 0,
        memberId: args.get("member") ?? memberId,
        groupInstanceId: args.get("instance") ?? null,
        clientId: "c",
        clientHost: "/h",
        sessionTimeoutMs: 10_000,
        rebalanceTimeoutMs: 60_000,
        protocolType: "consumer",
        protocols: [{ name: "range", metadata }],
        requiresMemberId: true,
        canSkipAssignment: true,
        uuid: memberId,
      },
      this.context(),
    );
    this.step(step, showJoin);
  }

  private step<Answer>(step: RecordStep<Answer>, show: (answer: Answer) => string): void {
    this.lines.push(show(step.answer));
    this.last = { step, records: this.records.length };
    this.records.push(...step.records);
    for (const record of step.records) this.lines.push(this.showRecord(record));
    this.applyTimers(step.timers);
    if (step.becomes !== undefined) {
      const { state } = step.becomes.group;
      this.lines.push(
        `becomes classic: gen ${state.generationId}, members ${[...state.members.keys()]}` +
          (step.becomes.rebalances ? ", rebalancing" : ""),
      );
      // The rest is the classic group's matter.
      this.group = new ConsumerGroup(new ConsumerState("g"));
    }
  }

  private advance(delayMs: number): void {
    const endMs = this.nowMs + delayMs;
    for (;;) {
      const [due] = [...this.timers].filter(([, at]) => at <= endMs).sort((a, b) => a[1] - b[1]);
      if (due === undefined) break;
      const [name, atMs] = due;
      this.timers.delete(name);
      this.nowMs = atMs;
      this.lines.push(`@${atMs} ${name}`);
      this.step(this.group.onTimer(name, this.context()), () => "fired");
    }
    this.nowMs = endMs;
  }

  private applyTimers(timers: readonly TimerEffect[]): void {
    for (const effect of timers) {
      const { timer } = effect;
      if (effect.kind === "cancelTimer") {
        if (this.timers.delete(timer)) this.lines.push(`timer ${timer} off`);
        continue;
      }
      if (effect.kind === "startTimer" && this.timers.has(timer)) continue;
      this.timers.set(timer, this.nowMs + effect.delayMs);
      this.lines.push(`timer ${timer} ${effect.delayMs}`);
    }
  }

  private showRecord({ key, value }: OffsetsRecord): string {
    const recordType = new DataView(key.buffer, key.byteOffset).getInt16(0);
    if (recordType === 2) return "+ classic group";
    const { change } = decodeConsumerChange(recordType, key.subarray(2), value);
    return `+ ${showChange(change, this.topics)}`;
  }

  private replay(): ConsumerGroup {
    const replay = new ConsumerReplay();
    for (const { key, value } of this.records) {
      const recordType = new DataView(key.buffer, key.byteOffset).getInt16(0);
      if (recordType !== 2) replay.replay(recordType, key.subarray(2), value);
    }
    const [group] = replay.groups();
    return group instanceof ConsumerGroup ? group : new ConsumerGroup(new ConsumerState("g"));
  }

  private owned(text: string): Map<string, number[]> {
    const parts = text.split(",").filter((part) => part !== "");
    return new Map(
      parts.map((part) => {
        const [topic = "", partitions = ""] = part.split(":");
        return [this.topics.topicId(topic) ?? "", partitions.split("+").map(Number)];
      }),
    );
  }

  private context(): StepContext {
    const { nowMs, config, topics } = this;
    return { nowMs, config, topics, groupConfig: (groupId) => topics.groupConfig(groupId) };
  }
}

function showAnswer(answer: ConsumerHeartbeatAnswer, topics: MemoryTopics): string {
  if (answer.errorCode !== 0) return `${errorName(answer.errorCode)}: ${answer.errorMessage}`;
  const assignment = answer.assignment === null ? "" : `, has ${show(answer.assignment, topics)}`;
  return `-> epoch ${answer.memberEpoch}${assignment}`;
}

function showJoin(answer: JoinResponse): string {
  if (answer.errorCode !== 0) return `${errorName(answer.errorCode)} ${answer.memberId}`;
  return `-> ${answer.memberId} gen ${answer.generationId} ${answer.protocolName}`;
}

function showSync(answer: SyncResponse): string {
  if (answer.errorCode !== 0) return errorName(answer.errorCode);
  return `-> ${answer.assignment.length} bytes`;
}

function showChange(change: ConsumerChange, topics: MemoryTopics): string {
  const name = "memberId" in change ? `${change.type} ${change.memberId}` : change.type;
  if (change.value === null) return `${name} gone`;
  switch (change.type) {
    case "group":
      return `${name} epoch ${change.value.epoch}`;
    case "member":
      return `${name} ${change.value.topicNames.join(",")}${change.value.topicRegex ?? ""}`;
    case "current": {
      const { epoch, previousEpoch, state, assigned, pendingRevocation } = change.value;
      const given = show(pendingRevocation, topics);
      const revoking = pendingRevocation.size > 0 ? `, gives ${given}` : "";
      const epochs = `${previousEpoch}→${epoch} ${states[state]}`;
      return `${name} ${epochs} ${show(assigned, topics)}${revoking}`;
    }
    case "target":
      return `${name} ${show(change.value, topics)}`;
    case "targetEpoch":
      return `${name} ${change.value.epoch} @${change.value.timestampMs}`;
    case "regex":
      return `${name} ${change.regex} = ${change.value.topics.join(",")}`;
    default:
      return name;
  }
}

const states = ["stable", "unrevoked", "unreleased"];

function show(owned: OwnedPartitions | TargetPartitions, topics: MemoryTopics): string {
  const parts = [...owned].map(([topicId, partitions]) => {
    const list =
      partitions instanceof Map
        ? [...partitions].map(([partition, epoch]) => `${partition}@${epoch}`)
        : [...partitions.values()];
    return `${topics.topicName(topicId) ?? "?"}:${list.join("+")}`;
  });
  return `[${parts.sort().join(" ")}]`;
}

function describe(group: ConsumerGroup, topics: MemoryTopics): string {
  const { state } = group;
  const members = [...state.members.values()]
    .sort((left, right) => (left.memberId < right.memberId ? -1 : 1))
    .map((one) => `${one.memberId}(${one.epoch} ${show(one.assigned, topics)})`);
  const epochs = `epoch ${state.group.epoch}/${state.targetEpoch.epoch}`;
  return [group.stateName, epochs, ...members].join(" ");
}
