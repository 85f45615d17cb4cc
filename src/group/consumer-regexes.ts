import { compileRegex, tooLarge } from "../lib/linear-regex.ts";
import { inPortions, type Portions, runAll, runSome } from "../lib/turn-budget.ts";
import { ConsumerDraft } from "./consumer-draft.ts";
import { dropRegexIfUnused } from "./consumer-fence.ts";
import { type MemberMetadata, regexOf, sameNames } from "./consumer-member.ts";
import { bumpEpoch } from "./consumer-rebalance.ts";
import type { ConsumerState } from "./consumer-state.ts";
import type { RecordStep, StepContext } from "./group-kinds.ts";
import type { CoordinatorTopics } from "./ports.ts";

/** Refreshes follow each other at least this far apart. */
const refreshIntervalMsMin = 10_000;
/** Portions of a refresh that are done in the step that asks for it. */
const inlinePortionsMax = 4;

/** What an expression matched when the topics were in this version, or why it is refused. */
export interface RegexMatch {
  readonly regex: string;
  readonly version: number;
  readonly found: readonly string[] | string;
}

export type RegexUpdate =
  /** The expression is not accepted; the text says why. */
  | { readonly kind: "invalid"; readonly reason: string }
  /** `changed`: this member reads by another expression; `bumps`: the group needs a new target. */
  | { readonly kind: "updated"; readonly changed: boolean; readonly bumps: boolean };

/** Finds the topics an expression matches now. */
export function* matchTopics(
  regex: string,
  { names, topicsVersion: version }: TopicNames,
): Generator<void, RegexMatch> {
  const compiled = compileRegex(regex);
  if (typeof compiled === "string") return { regex, version, found: compiled };
  const matched = yield* inPortions(compiled.matchingInPortions(names));
  return { regex, version, found: matched === null ? tooLarge : matched.sort() };
}

/** The topics as they are at one moment. */
export interface TopicNames {
  readonly names: readonly string[];
  readonly topicsVersion: number;
}

export function topicNamesOf(topics: CoordinatorTopics): TopicNames {
  return { names: [...topics.topicNames()], topicsVersion: topics.topicsVersion };
}

/**
 * Follows a member to its new expression, and finds anew what all expressions of the group match
 * when topics have changed since, or when that is long ago. `match` is what was found for the new
 * expression before the step.
 */
export function updateRegexes(
  draft: ConsumerDraft,
  old: MemberMetadata,
  next: MemberMetadata,
  match: RegexMatch | null,
): RegexUpdate {
  const { state, context } = draft;
  const oldRegex = regexOf(old);
  const newRegex = regexOf(next);
  const changed = oldRegex !== newRegex;
  let bumps = changed;
  if (changed && oldRegex !== null) dropRegexIfUnused(draft, oldRegex);
  if (changed && newRegex !== null && !state.regexes.has(newRegex)) {
    const { regexesMax } = context.config.consumer;
    if (state.regexCounts.size > regexesMax) {
      return { kind: "invalid", reason: `the group has its maximum of ${regexesMax} expressions` };
    }
    const found =
      match?.regex === newRegex
        ? match
        : runAll(matchTopics(newRegex, topicNamesOf(context.topics)));
    const reason = storeMatch(draft, found);
    if (reason !== null) return { kind: "invalid", reason };
  }
  if (state.regexCounts.size === 0) return { kind: "updated", changed, bumps };
  if (isStale(state, context) && refreshAll(draft)) bumps = true;
  return { kind: "updated", changed, bumps };
}

function isStale(state: ConsumerState, { topics, config, nowMs }: StepContext): boolean {
  if (state.isRefreshing) return false;
  const { value: newest } = state.regexes.values().next();
  const lastMs = newest?.timestampMs ?? Number.NEGATIVE_INFINITY;
  const isUnresolved = state.regexes.size !== state.regexCounts.size;
  const isDue =
    isUnresolved ||
    (newest?.version ?? -1) < topics.topicsVersion ||
    nowMs > lastMs + config.consumer.regexRefreshIntervalMs;
  return isDue && nowMs > lastMs + refreshIntervalMsMin;
}

/** True when an expression matches other topics than before; where that takes long, it shows
 * later. */
function refreshAll(draft: ConsumerDraft): boolean {
  const { state, context } = draft;
  const portions = matchAll([...state.regexCounts.keys()], topicNamesOf(context.topics));
  const matches = runSome(portions, inlinePortionsMax);
  if (matches !== null) return storeMatches(draft, matches.result);
  draft.computeLater({ lane: "expressions", portions: refreshedLater(state, portions) }, () => {
    state.isRefreshing = true;
  });
  return false;
}

function* matchAll(
  regexes: readonly string[],
  topics: TopicNames,
): Generator<void, readonly RegexMatch[]> {
  const matches: RegexMatch[] = [];
  for (const regex of regexes) {
    matches.push(yield* matchTopics(regex, topics));
    yield;
  }
  return matches;
}

function* refreshedLater(
  state: ConsumerState,
  portions: Portions<readonly RegexMatch[]>,
): Generator<void, (context: StepContext) => RecordStep<void>> {
  const matches = yield* inPortions(portions);
  return (context) => {
    const draft = new ConsumerDraft(state, context);
    state.isRefreshing = false;
    if (storeMatches(draft, matches)) bumpEpoch(draft);
    return draft.done(undefined);
  };
}

function storeMatches(draft: ConsumerDraft, matches: readonly RegexMatch[]): boolean {
  const { state } = draft;
  let hasChanged = false;
  for (const match of matches) {
    // Its last member may have left since.
    if (!state.regexCounts.has(match.regex)) continue;
    const before = state.regexes.get(match.regex)?.topics ?? [];
    // A later version of the topics asks for the next refresh, whatever a crash left of this one.
    draft.mayBreak();
    if (storeMatch(draft, match) !== null) continue;
    if (!sameNames(before, state.regexes.get(match.regex)?.topics ?? [])) hasChanged = true;
  }
  if (hasChanged) draft.mayBreak();
  return hasChanged;
}

/** A text when the expression is refused. */
function storeMatch(draft: ConsumerDraft, { regex, version, found }: RegexMatch): string | null {
  if (typeof found === "string") return found;
  const { state, context } = draft;
  const before = state.regexes.get(regex)?.topics.length ?? 0;
  if (state.matchCount - before + found.length > context.config.consumer.regexMatchesMax)
    return tooLarge;
  const value = { topics: found, version, timestampMs: context.nowMs };
  draft.change({ type: "regex", regex, value });
  return null;
}
