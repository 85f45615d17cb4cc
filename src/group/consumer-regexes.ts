import { compileRegex, tooLarge } from "../lib/linear-regex.ts";
import type { ConsumerDraft } from "./consumer-draft.ts";
import { dropRegexIfUnused } from "./consumer-fence.ts";
import { type MemberMetadata, regexOf, sameNames } from "./consumer-member.ts";

/** Refreshes follow each other at least this far apart. */
const refreshIntervalMsMin = 10_000;

export type RegexUpdate =
  /** The expression cannot be understood; the text says why. */
  | { readonly kind: "invalid"; readonly reason: string }
  /** `changed`: this member reads by another expression; `bumps`: the group needs a new target. */
  | { readonly kind: "updated"; readonly changed: boolean; readonly bumps: boolean };

/**
 * Follows a member to its new expression, and finds anew what all expressions of the group match
 * when topics have changed since, or when that is long ago.
 */
export function updateRegexes(
  draft: ConsumerDraft,
  old: MemberMetadata,
  next: MemberMetadata,
): RegexUpdate {
  const { state, context } = draft;
  const oldRegex = regexOf(old);
  const newRegex = regexOf(next);
  const changed = oldRegex !== newRegex;
  let bumps = changed;
  if (changed && oldRegex !== null) dropRegexIfUnused(draft, oldRegex);
  if (changed && newRegex !== null && !state.regexes.has(newRegex)) {
    const reason = resolveRegex(draft, newRegex);
    if (reason !== null) return { kind: "invalid", reason };
  }
  if (state.regexCounts.size === 0) return { kind: "updated", changed, bumps };
  const { value: newest } = state.regexes.values().next();
  const lastMs = newest?.timestampMs ?? Number.NEGATIVE_INFINITY;
  const isUnresolved = state.regexes.size !== state.regexCounts.size;
  const isStale =
    isUnresolved ||
    (newest?.version ?? -1) < context.topics.topicsVersion ||
    context.nowMs > lastMs + context.config.consumer.regexRefreshIntervalMs;
  if (isStale && context.nowMs > lastMs + refreshIntervalMsMin) {
    if (refreshAll(draft)) bumps = true;
  }
  return { kind: "updated", changed, bumps };
}

/** True when an expression matches other topics than before. */
function refreshAll(draft: ConsumerDraft): boolean {
  const { state } = draft;
  let hasChanged = false;
  for (const regex of [...state.regexCounts.keys()]) {
    const before = state.regexes.get(regex)?.topics ?? [];
    if (resolveRegex(draft, regex) !== null) continue;
    if (!sameNames(before, state.regexes.get(regex)?.topics ?? [])) hasChanged = true;
  }
  return hasChanged;
}

/** Stores what the expression matches now; a text when it is no expression. */
function resolveRegex(draft: ConsumerDraft, regex: string): string | null {
  const { topics, nowMs } = draft.context;
  const compiled = compileRegex(regex);
  if (typeof compiled === "string") return compiled;
  const matched = compiled.matching(topics.topicNames());
  if (matched === null) return tooLarge;
  const value = { topics: matched.sort(), version: topics.topicsVersion, timestampMs: nowMs };
  draft.change({ type: "regex", regex, value });
  return null;
}
