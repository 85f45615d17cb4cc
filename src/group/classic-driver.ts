import { assert } from "../lib/assert.ts";
import type { ClassicEntry, Entry, ShardContext } from "./entry.ts";
import type { ClassicGroup } from "./group.ts";
import type { GroupEffect, GroupEvent, GroupSnapshot, RequestToken } from "./group-types.ts";
import type { OffsetsRecord } from "./ports.ts";
import { encodeGroup } from "./records.ts";

type Answer = Extract<GroupEffect, { readonly request: RequestToken }>;
type AnswerKind = Answer["kind"];

/** What the driver needs of the shard it works for. */
export interface DriverShard {
  /** Bytes of records that are best not exceeded in one batch. */
  readonly batchBytesMax: number;
  isListed(entry: Entry): boolean;
  write(records: readonly OffsetsRecord[], done: (errorCode: number) => void): Promise<number>;
  account(entry: Entry): void;
  dropIfVacant(entry: Entry): void;
}

/** Runs the steps of classic groups: their timers, their writes and the requests that wait. */
export class ClassicDriver {
  private readonly shard: DriverShard;
  private readonly context: ShardContext;
  private readonly waiting = new Map<RequestToken, (answer: Answer) => void>();
  private nextToken: RequestToken = 1;

  constructor(shard: DriverShard, context: ShardContext) {
    this.shard = shard;
    this.context = context;
  }

  /** Gives the group an event with a request in it; resolves with the group's answer. */
  ask<Kind extends AnswerKind>(
    entry: ClassicEntry,
    kind: Kind,
    event: (request: RequestToken) => GroupEvent,
  ): Promise<Extract<Answer, { readonly kind: Kind }>> {
    return new Promise((resolve) => {
      const token = this.nextToken++;
      this.waiting.set(token, (answer) => {
        assert(isKind(answer, kind), `asked for ${kind}, got ${answer.kind}`);
        resolve(answer);
      });
      this.step(entry, event(token));
    });
  }

  /** May the member commit now? Answered at once, and keeps its session alive. */
  checkCommit(
    entry: ClassicEntry,
    member: { memberId: string; groupInstanceId: string | null; generationId: number },
  ): number {
    const token = this.nextToken++;
    let errorCode: number | null = null;
    this.waiting.set(token, (answer) => {
      if (answer.kind === "respondCommit") errorCode = answer.errorCode;
    });
    this.step(entry, { kind: "commit", request: token, ...member });
    assert(errorCode !== null, "a commit check is answered at once");
    return errorCode;
  }

  step(entry: ClassicEntry, event: GroupEvent): void {
    this.stepGroup(entry, entry.group, event);
  }

  /** `group` may have been given up meanwhile: then nothing but answers comes of it. */
  private stepGroup(entry: Entry, group: ClassicGroup, event: GroupEvent): void {
    const writes: Promise<number>[] = [];
    for (const effect of group.step(event, this.context.clock.nowMs())) {
      switch (effect.kind) {
        case "setTimer":
          entry.timers.set(effect.timer, effect.delayMs);
          break;
        case "cancelTimer":
          entry.timers.cancel(effect.timer);
          break;
        case "persist":
          writes.push(this.persist(entry, group, effect.token, effect.snapshot));
          break;
        case "respondLeave":
          this.answerAfter(writes, effect);
          break;
        default:
          this.answer(effect);
      }
    }
    this.shard.account(entry);
  }

  private persist(
    entry: Entry,
    group: ClassicGroup,
    token: number,
    snapshot: GroupSnapshot,
  ): Promise<number> {
    const record = encodeGroup(entry.groupId, snapshot, this.context.clock.nowMs());
    return this.shard.write([record], (errorCode) => {
      this.stepGroup(entry, group, { kind: "persisted", token, errorCode });
      this.shard.dropIfVacant(entry);
    });
  }

  private answerAfter(
    writes: readonly Promise<number>[],
    effect: Extract<Answer, { kind: "respondLeave" }>,
  ): void {
    if (writes.length === 0) {
      this.answer(effect);
      return;
    }
    // The member is out either way; a lost write means it may come back at the next start.
    void Promise.all(writes).then(() => this.answer(effect));
  }

  private answer(answer: Answer): void {
    const resolve = this.waiting.get(answer.request);
    assert(resolve !== undefined, `request ${answer.request} was answered before`);
    this.waiting.delete(answer.request);
    resolve(answer);
  }
}

function isKind<Kind extends AnswerKind>(
  answer: Answer,
  kind: Kind,
): answer is Extract<Answer, { readonly kind: Kind }> {
  return answer.kind === kind;
}
