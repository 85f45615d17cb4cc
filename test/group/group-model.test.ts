import { expect, test } from "bun:test";
import fc from "fast-check";
import { groupConfigDefaults } from "../../src/group/config.ts";
import { ClassicGroup } from "../../src/group/group.ts";
import type { GroupEffect, GroupEvent, MemberProtocol } from "../../src/group/group-types.ts";
import { memberBytes, pendingBytes } from "../../src/group/member.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { encodeSubscription } from "../transcripts/group/runner.ts";

/**
 * Random clients against one group, with writes that finish late or fail. What must always hold:
 * one answer per request, an assignment only for the generation it was made for, one leader, and in
 * the end nobody is left waiting.
 */
const config = { ...groupConfigDefaults, groupSizeMax: 4, pendingMembersMax: 2 };
const clientCount = 5;

interface Action {
  readonly op:
    | "drive"
    | "join"
    | "sync"
    | "heartbeat"
    | "leave"
    | "commit"
    | "persisted"
    | "advance";
  readonly client: number;
  readonly pick: number;
}

interface Client {
  memberId: string;
  readonly groupInstanceId: string | null;
  generationId: number;
  isLeader: boolean;
  /** What a well-behaved client would send next. */
  next: "join" | "sync" | "heartbeat";
}

const action: fc.Arbitrary<Action> = fc.record({
  op: fc.oneof(
    { weight: 20, arbitrary: fc.constant("drive" as const) },
    { weight: 1, arbitrary: fc.constant("join" as const) },
    { weight: 1, arbitrary: fc.constant("sync" as const) },
    { weight: 2, arbitrary: fc.constant("heartbeat" as const) },
    { weight: 1, arbitrary: fc.constant("leave" as const) },
    { weight: 1, arbitrary: fc.constant("commit" as const) },
    { weight: 6, arbitrary: fc.constant("persisted" as const) },
    { weight: 4, arbitrary: fc.constant("advance" as const) },
  ),
  client: fc.nat(clientCount - 1),
  pick: fc.nat(11),
});

const protocolSets: readonly (readonly MemberProtocol[])[] = [
  [{ name: "range", metadata: encodeSubscription(["t1"]) }],
  [
    { name: "range", metadata: encodeSubscription(["t1"]) },
    { name: "rr", metadata: encodeSubscription(["t2"]) },
  ],
  [
    { name: "rr", metadata: encodeSubscription(["t2"]) },
    { name: "range", metadata: encodeSubscription(["t1", "t3"]) },
  ],
];

class World {
  readonly group = new ClassicGroup("g", config, 0);
  nowMs = 0;
  private nextRequest = 1;
  private readonly waiting = new Map<number, { client: Client; generationId: number }>();
  private readonly timers = new Map<string, number>();
  private readonly writes: number[] = [];
  /** Who was told to lead which generation; static members may hand the role on. */
  private readonly leaders = new Map<number, Set<string>>();
  private readonly clients: Client[] = [];

  constructor() {
    for (let index = 0; index < clientCount; index++) {
      const groupInstanceId = index < 2 ? `i${index}` : null;
      this.clients.push({
        memberId: "",
        groupInstanceId,
        generationId: -1,
        isLeader: false,
        next: "join",
      });
    }
  }

  get waitingCount(): number {
    return this.waiting.size;
  }

  act({ op, client: index, pick }: Action): void {
    const client = this.clients[index]!;
    if (op === "persisted") this.finishWrite(pick);
    else if (op === "advance") this.advance([0, 1000, 3000, 6000, 20_000][pick % 5]!);
    else if (op !== "drive") this.request(op, client, pick);
    else if (!this.isWaiting(client)) this.request(client.next, client, pick);
    this.check();
  }

  /** Everything in flight ends: writes succeed, timers run out. */
  settle(): void {
    for (let round = 0; round < 50; round++) {
      while (this.writes.length > 0) this.finishWrite(1);
      this.advance(600_000);
      this.check();
    }
  }

  private isWaiting(client: Client): boolean {
    return [...this.waiting.values()].some((one) => one.client === client);
  }

  private request(
    op: "join" | "sync" | "heartbeat" | "leave" | "commit",
    client: Client,
    pick: number,
  ): void {
    const request = this.nextRequest++;
    this.waiting.set(request, { client, generationId: client.generationId });
    const { groupInstanceId, generationId } = client;
    const isRestart = op === "join" && pick === 0;
    const member = {
      request,
      memberId: isRestart ? "" : client.memberId,
      groupInstanceId,
      generationId,
    };
    if (op === "leave") {
      this.step({ kind: "leave", request, members: [member] });
    } else if (op === "join") {
      this.step(this.joinEvent(member, pick));
    } else if (op === "sync") {
      const text = new TextEncoder().encode(`g${generationId}`);
      const members = client.isLeader ? [...this.group.state.members.keys()] : [];
      const assignments = members.map((memberId) => ({ memberId, assignment: text }));
      this.step({ kind: "sync", ...member, protocolType: null, protocolName: null, assignments });
    } else {
      this.step({ kind: op, ...member });
    }
  }

  private joinEvent(
    member: { request: number; memberId: string; groupInstanceId: string | null },
    pick: number,
  ): GroupEvent {
    return {
      kind: "join",
      ...member,
      clientId: "c",
      clientHost: "h",
      sessionTimeoutMs: 6000 + 1000 * pick,
      rebalanceTimeoutMs: 5000 + 2000 * pick,
      protocolType: "consumer",
      protocols: protocolSets[pick % 3]!,
      requiresMemberId: pick % 2 === 0,
      canSkipAssignment: pick % 5 < 3,
      uuid: `u${member.request}`,
    };
  }

  private finishWrite(pick: number): void {
    const token = this.writes.shift();
    if (token === undefined) return;
    const errorCode = pick % 6 === 0 ? ErrorCode.NOT_ENOUGH_REPLICAS : ErrorCode.NONE;
    this.step({ kind: "persisted", token, errorCode });
  }

  private advance(ms: number): void {
    const targetMs = this.nowMs + ms;
    // Absent static members make the join timer repeat: bounded by their sessions.
    for (let fired = 0; fired < 10_000; fired++) {
      let next: [string, number] | undefined;
      for (const timer of this.timers) {
        if (timer[1] <= targetMs && (next === undefined || timer[1] < next[1])) next = timer;
      }
      if (next === undefined) break;
      this.timers.delete(next[0]);
      this.nowMs = Math.max(this.nowMs, next[1]);
      this.step({ kind: "timer", timer: next[0] });
    }
    this.nowMs = targetMs;
  }

  private step(event: GroupEvent): void {
    for (const effect of this.group.step(event, this.nowMs)) this.apply(effect);
  }

  private apply(effect: GroupEffect): void {
    switch (effect.kind) {
      case "setTimer":
        this.timers.set(effect.timer, this.nowMs + effect.delayMs);
        return;
      case "cancelTimer":
        this.timers.delete(effect.timer);
        return;
      case "persist":
        this.writes.push(effect.token);
        return;
      default:
        this.answer(effect);
    }
  }

  private answer(effect: Extract<GroupEffect, { request: number }>): void {
    const asked = this.waiting.get(effect.request);
    expect(asked, `request ${effect.request} is answered once`).toBeDefined();
    this.waiting.delete(effect.request);
    const { client, generationId } = asked!;
    client.next = nextOf(effect);
    if (effect.kind === "respondSync" && effect.response.errorCode === 0) {
      const text = new TextDecoder().decode(effect.response.assignment);
      expect(["", `g${generationId}`]).toContain(text);
      expect(generationId).toBe(this.group.state.generationId);
    }
    if (effect.kind !== "respondJoin") return;
    const { response } = effect;
    if (response.errorCode === ErrorCode.MEMBER_ID_REQUIRED) client.memberId = response.memberId;
    if (response.errorCode === ErrorCode.UNKNOWN_MEMBER_ID) client.memberId = "";
    if (response.errorCode !== 0) return;
    client.memberId = response.memberId;
    client.generationId = response.generationId;
    client.isLeader = response.leader === response.memberId && !response.skipAssignment;
    expect(response.generationId).toBe(this.group.state.generationId);
    if (response.leader !== response.memberId) return;
    expect(response.memberId).toBe(this.group.state.leader!);
    const told = this.leaders.get(response.generationId) ?? new Set<string>();
    this.leaders.set(response.generationId, told.add(client.groupInstanceId ?? response.memberId));
    expect(told.size, "one leader a generation").toBe(1);
  }

  private check(): void {
    const { state } = this.group;
    const members = [...state.members.values()];
    expect(state.awaitingJoinCount).toBe(members.filter((one) => one.joinRequest !== null).length);
    expect(state.sizeBytes).toBe(
      [...members.map(memberBytes), ...[...state.pendingJoin].map(pendingBytes)].reduce(
        (sum, bytes) => sum + bytes,
        0,
      ),
    );
    expect(state.leader === null).toBe(members.length === 0);
    if (state.leader !== null) expect(state.members.has(state.leader)).toBe(true);
    const statics = members.filter((one) => one.groupInstanceId !== null);
    expect([...state.staticMembers.values()].sort()).toEqual(
      statics.map((one) => one.memberId).sort(),
    );
    const syncing = members.filter((one) => one.syncRequest !== null);
    if (state.name !== "CompletingRebalance") expect(syncing).toEqual([]);
    if (state.name === "Empty") expect(members).toEqual([]);
    if (state.name === "Stable" || state.name === "CompletingRebalance") {
      expect(members.length).toBeGreaterThan(0);
      for (const member of members) {
        expect(member.protocols.map((one) => one.name)).toContain(state.protocolName!);
        expect(
          this.timers.has(`session/${member.memberId}`) ||
            member.joinRequest !== null ||
            member.syncRequest !== null,
        ).toBe(true);
      }
    }
    if (state.name === "PreparingRebalance") expect(this.timers.has("join")).toBe(true);
    for (const memberId of state.pendingJoin)
      expect(this.timers.has(`session/${memberId}`)).toBe(true);
  }
}

function nextOf(effect: Extract<GroupEffect, { request: number }>): Client["next"] {
  if (effect.kind === "respondJoin") return effect.response.errorCode === 0 ? "sync" : "join";
  if (effect.kind === "respondSync") return effect.response.errorCode === 0 ? "heartbeat" : "join";
  if (effect.kind === "respondLeave") return "join";
  return effect.errorCode === 0 ? "heartbeat" : "join";
}

test("any interleaving keeps the group sound and answers every request once", () => {
  const seen = new Map<string, number>();
  fc.assert(
    fc.property(fc.array(action, { minLength: 1, maxLength: 250, size: "max" }), (actions) => {
      const world = new World();
      for (const one of actions) {
        world.act(one);
        const { name } = world.group.state;
        seen.set(name, (seen.get(name) ?? 0) + 1);
      }
      world.settle();
      expect(world.waitingCount).toBe(0);
      expect(world.group.state.name).toBe("Empty");
      expect(world.group.state.sizeBytes).toBe(0);
    }),
    { numRuns: 300 },
  );
  // The walk is worth something only if it visits all of it.
  expect([...seen.keys()].sort()).toEqual([
    "CompletingRebalance",
    "Empty",
    "PreparingRebalance",
    "Stable",
  ]);
});
