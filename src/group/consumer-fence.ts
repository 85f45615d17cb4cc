import type { ConsumerDraft } from "./consumer-draft.ts";
import { type ConsumerMember, regexOf } from "./consumer-member.ts";
import { downgradeOf } from "./consumer-migration.ts";
import { bumpEpoch } from "./consumer-rebalance.ts";
import type { ConsumerState } from "./consumer-state.ts";
import type { RecordStep, StepContext } from "./group-kinds.ts";

/** Members leave or are put out; the group may be left to the classic protocol by that. */
export function fenceMembers<Answer>(
  draft: ConsumerDraft,
  members: readonly ConsumerMember[],
  answer: Answer,
): RecordStep<Answer> {
  if (members.length === 0) return draft.done(answer);
  const { state, context } = draft;
  if (mayDowngradeWithout(state, context, members)) {
    const leaving = new Set(members.map(({ memberId }) => memberId));
    const downgrade = downgradeOf(draft, leaving, true);
    if (downgrade !== null) return draft.doneAs(answer, downgrade);
  }
  for (const { memberId } of members) {
    draft.removeMember(memberId);
    draft.cancelTimers(memberId);
  }
  for (const regex of new Set(members.map(regexOf))) {
    if (regex !== null) dropRegexIfUnused(draft, regex);
  }
  bumpEpoch(draft);
  return draft.done(answer);
}

/** Forgets what an expression matched when nobody subscribes by it any more. */
export function dropRegexIfUnused(draft: ConsumerDraft, regex: string): void {
  const { state } = draft;
  if (state.regexCounts.has(regex) || !state.regexes.has(regex)) return;
  draft.change({ type: "regex", regex, value: null });
}

/** Would only classic members be left, and may the group become a classic one then? */
function mayDowngradeWithout(
  state: ConsumerState,
  context: StepContext,
  leaving: readonly ConsumerMember[],
): boolean {
  const classicLeaving = leaving.filter(({ classic }) => classic !== null).length;
  const membersLeft = state.members.size - leaving.length;
  if (state.classicCount - classicLeaving !== membersLeft) return false;
  return membersLeft > 0 && allowsDowngrade(context, membersLeft);
}

export function allowsDowngrade({ config }: StepContext, members: number): boolean {
  const { migrationPolicy } = config.consumer;
  const isAllowed = migrationPolicy === "bidirectional" || migrationPolicy === "downgrade";
  return isAllowed && members <= config.groupSizeMax;
}

export function allowsUpgrade({ config }: StepContext, members: number): boolean {
  const { migrationPolicy } = config.consumer;
  const isAllowed = migrationPolicy === "bidirectional" || migrationPolicy === "upgrade";
  return isAllowed && members <= config.consumer.maxSize;
}
