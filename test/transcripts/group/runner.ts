import { type GroupConfig, groupConfigDefaults } from "../../../src/group/config.ts";
import { ClassicGroup } from "../../../src/group/group.ts";
import type {
  GroupEffect,
  GroupEvent,
  GroupSnapshot,
  JoinResponse,
} from "../../../src/group/group-types.ts";
import { subscribedTopicsOf } from "../../../src/group/subscription.ts";
import { ErrorCode } from "../../../src/protocol/error-code.ts";
import { type Player, parseCommand } from "../play.ts";

export function encodeSubscription(topics: readonly string[]): Uint8Array {
  const bytes: number[] = [0, 0, 0, 0, 0, topics.length];
  for (const topic of topics) bytes.push(0, topic.length, ...new TextEncoder().encode(topic));
  return new Uint8Array([...bytes, 255, 255, 255, 255]);
}

/**
 * Plays a transcript against the pure group. A transcript is a list of blocks: `#` comments, a
 * command line, `----`, and the effects it had; the last line of a block is the state after it.
 * Ids are predictable: the random part of a member id is the number of the request that got it.
 *
 *   join 1 [member=] [instance=] [client=c] [session=10000] [rebalance=60000] [type=consumer]
 *        [protocols=range:t1+t2,rr:t1] [v=9]
 *   sync 2 member= gen= [instance=] [assign=id:text,id:text] [type=] [protocol=]
 *   heartbeat 3 member= gen= [instance=]      commit 4 [member=] [gen=-1] [instance=]
 *   leave 5 members=id,id/instance,/instance  persisted 1 [error=NAME]
 *   advance 3000 (fires timers)   writes auto|manual   config name=number   reload   unload
 */
export class ClassicGroupPlayer implements Player {
  private config: GroupConfig = groupConfigDefaults;
  private group = new ClassicGroup("g", this.config, 0);
  private nowMs = 0;
  private readonly timers = new Map<string, number>();
  private autoPersist = true;
  private stored: GroupSnapshot | null = null;
  private lines: string[] = [];

  run(line: string): string[] {
    this.lines = [];
    const { command, words, args } = parseCommand(line);
    const request = Number(words[0] ?? 0);
    if (!this.control(command, words, args)) this.step(this.event(command, request, args));
    this.lines.push(`= ${this.describe()}`);
    return this.lines;
  }

  private control(command: string, words: string[], args: Map<string, string>): boolean {
    switch (command) {
      case "advance":
        this.advance(Number(words[0]));
        return true;
      case "writes":
        this.autoPersist = words[0] === "auto";
        return true;
      case "config":
        for (const [name, value] of args) {
          this.config = { ...this.config, [name]: Number(value) };
        }
        this.group = new ClassicGroup("g", this.config, this.nowMs);
        return true;
      case "reload":
        if (this.stored === null) throw new Error("nothing was stored");
        this.timers.clear();
        this.group = ClassicGroup.restore("g", this.config, this.stored, this.nowMs);
        this.step({ kind: "loaded" });
        return true;
      default:
        return false;
    }
  }

  private event(command: string, request: number, args: Map<string, string>): GroupEvent {
    const member = {
      request,
      memberId: args.get("member") ?? "",
      groupInstanceId: args.get("instance") ?? null,
      generationId: Number(args.get("gen") ?? -1),
    };
    switch (command) {
      case "join":
        return this.joinEvent(member, args);
      case "sync":
        return {
          kind: "sync",
          ...member,
          protocolType: args.get("type") ?? null,
          protocolName: args.get("protocol") ?? null,
          assignments: list(args.get("assign")).map((pair) => {
            const [memberId = "", text = ""] = pair.split(":");
            return { memberId, assignment: new TextEncoder().encode(text) };
          }),
        };
      case "heartbeat":
        return { kind: "heartbeat", ...member };
      case "commit":
        return { kind: "commit", ...member };
      case "leave":
        return {
          kind: "leave",
          request,
          members: list(args.get("members")).map((text) => {
            const [memberId = "", groupInstanceId = null] = text.split("/");
            return { memberId, groupInstanceId };
          }),
        };
      case "persisted":
        return {
          kind: "persisted",
          token: request,
          errorCode: codeOf(args.get("error") ?? "NONE"),
        };
      case "unload":
        return { kind: "unload" };
      default:
        throw new Error(`unknown command: ${command}`);
    }
  }

  private joinEvent(
    member: { request: number; memberId: string; groupInstanceId: string | null },
    args: Map<string, string>,
  ): GroupEvent {
    const version = Number(args.get("v") ?? 9);
    return {
      kind: "join",
      request: member.request,
      memberId: member.memberId,
      groupInstanceId: member.groupInstanceId,
      clientId: args.get("client") ?? "c",
      clientHost: "/127.0.0.1",
      sessionTimeoutMs: Number(args.get("session") ?? 10_000),
      rebalanceTimeoutMs: Number(args.get("rebalance") ?? 60_000),
      protocolType: args.get("type") ?? "consumer",
      protocols: list(args.get("protocols") ?? "range:t1").map((text) => {
        const [name = "", topics = ""] = text.split(":");
        return { name, metadata: encodeSubscription(topics.split("+")) };
      }),
      requiresMemberId: version >= 4,
      canSkipAssignment: version >= 9,
      uuid: String(member.request),
    };
  }

  private advance(ms: number): void {
    const targetMs = this.nowMs + ms;
    for (;;) {
      const due = [...this.timers].filter(([, atMs]) => atMs <= targetMs);
      const [next] = due.sort((left, right) => left[1] - right[1]);
      if (next === undefined) break;
      this.timers.delete(next[0]);
      this.nowMs = next[1];
      this.lines.push(`@${this.nowMs} ${next[0]}`);
      this.step({ kind: "timer", timer: next[0] });
    }
    this.nowMs = targetMs;
  }

  private step(event: GroupEvent): void {
    for (const effect of this.group.step(event, this.nowMs)) this.apply(effect);
  }

  private apply(effect: GroupEffect): void {
    this.lines.push(effectText(effect));
    if (effect.kind === "setTimer") this.timers.set(effect.timer, this.nowMs + effect.delayMs);
    if (effect.kind === "cancelTimer") this.timers.delete(effect.timer);
    if (effect.kind !== "persist") return;
    this.stored = effect.snapshot;
    if (this.autoPersist) this.step({ kind: "persisted", token: effect.token, errorCode: 0 });
  }

  private describe(): string {
    const { state } = this.group;
    const parts = [`${state.name} gen ${state.generationId}`];
    if (state.leader !== null) parts.push(`leader ${state.leader}`);
    if (state.members.size > 0) parts.push(`members ${[...state.members.keys()].join(" ")}`);
    if (state.pendingJoin.size > 0) parts.push(`pending ${[...state.pendingJoin].join(" ")}`);
    return parts.join(", ");
  }
}

function effectText(effect: GroupEffect): string {
  switch (effect.kind) {
    case "respondJoin":
      return `join ${effect.request} -> ${joinText(effect.response)}`;
    case "respondSync": {
      const { errorCode, protocolType, protocolName, assignment } = effect.response;
      const text = new TextDecoder().decode(assignment);
      const result = errorCode === 0 ? `${protocolType}/${protocolName} "${text}"` : "";
      return `sync ${effect.request} -> ${nameOf(errorCode)} ${result}`.trimEnd();
    }
    case "respondHeartbeat":
      return `heartbeat ${effect.request} -> ${nameOf(effect.errorCode)}`;
    case "respondCommit":
      return `commit ${effect.request} -> ${nameOf(effect.errorCode)}`;
    case "respondLeave": {
      const members = effect.response.members.map(
        (one) => `${one.memberId}/${one.groupInstanceId ?? ""} ${nameOf(one.errorCode)}`,
      );
      const { errorCode } = effect.response;
      return `leave ${effect.request} -> ${nameOf(errorCode)} [${members.join(", ")}]`;
    }
    case "setTimer":
      return `timer ${effect.timer} ${effect.delayMs}`;
    case "cancelTimer":
      return `timer ${effect.timer} off`;
    case "persist":
      return `persist ${effect.token}: ${snapshotText(effect.snapshot)}`;
  }
}

function joinText(response: JoinResponse): string {
  if (response.errorCode !== 0) {
    return `${nameOf(response.errorCode)} member "${response.memberId}"`;
  }
  const members = response.members.map((member) => {
    const instance = member.groupInstanceId === null ? "" : `/${member.groupInstanceId}`;
    return `${member.memberId}${instance}:${topicsText(member.metadata)}`;
  });
  const skip = response.skipAssignment ? " skip assignment" : "";
  const { memberId, generationId, protocolType, protocolName, leader } = response;
  return (
    `NONE member ${memberId} gen ${generationId} ${protocolType}/${protocolName} ` +
    `leader ${leader} [${members.join(" ")}]${skip}`
  );
}

function snapshotText(snapshot: GroupSnapshot): string {
  const members = snapshot.members.map((member) => {
    const assignment = new TextDecoder().decode(member.assignment);
    return `${member.memberId}:${topicsText(member.subscription)}="${assignment}"`;
  });
  const { generationId, protocolType, protocolName, leader } = snapshot;
  const protocol = `${protocolType}/${protocolName}`;
  return `gen ${generationId} ${protocol} leader ${leader} [${members.join(" ")}]`;
}

function topicsText(metadata: Uint8Array): string {
  return subscribedTopicsOf(metadata)?.join("+") ?? "?";
}

function list(text: string | undefined): string[] {
  return text === undefined || text === "" ? [] : text.split(",");
}

function nameOf(errorCode: number): string {
  const entry = Object.entries(ErrorCode).find(([, code]) => code === errorCode);
  return entry?.[0] ?? `error ${errorCode}`;
}

function codeOf(name: string): number {
  const code = Object.entries(ErrorCode).find(([key]) => key === name)?.[1];
  if (code === undefined) throw new Error(`no such error: ${name}`);
  return code;
}
