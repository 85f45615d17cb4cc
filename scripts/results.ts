/** What one suite reported. */
export interface Totals {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

export const nothing: Totals = { passed: 0, failed: 0, skipped: 0 };

export function add(left: Totals, right: Totals): Totals {
  return {
    passed: left.passed + right.passed,
    failed: left.failed + right.failed,
    skipped: left.skipped + right.skipped,
  };
}

/** Reads the summary lines that `bun test` prints: ` 12 pass`, ` 1 fail`, ` 2 skip`, ` 1 todo`. */
export function parseBunTest(output: string): Totals {
  const count = (word: string): number => {
    const found = [...output.matchAll(new RegExp(`^ *(\\d+) ${word}$`, "gm"))].at(-1);
    return Number(found?.[1] ?? 0);
  };
  return {
    passed: count("pass"),
    // A file that cannot be loaded counts as an error, and as a failure in most cases.
    failed: Math.max(count("fail"), count("errors?")),
    skipped: count("skip") + count("todo"),
  };
}

/** Adds up the `test result:` lines of `cargo test`, one for each test binary. */
export function parseCargoTest(output: string): Totals {
  const lines = output.matchAll(/^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored;/gm);
  let totals = nothing;
  for (const [, passed, failed, skipped] of lines) {
    totals = add(totals, {
      passed: Number(passed),
      failed: Number(failed),
      skipped: Number(skipped),
    });
  }
  return totals;
}

/**
 * The verdict on one suite. A suite that ended badly without naming a failed test counts as one
 * failure (it did not start, or crashed), and so does a suite in which no test ran at all.
 */
export function judge(parsed: Totals, exitCode: number): Totals {
  const ran = parsed.passed + parsed.failed;
  if (parsed.failed === 0 && (exitCode !== 0 || ran + parsed.skipped === 0)) {
    return { ...parsed, failed: 1 };
  }
  return parsed;
}

/** The last line of a run: `12 passed, 0 failed`, with `, 1 skipped` where something was. */
export function summary(totals: Totals): string {
  const skipped = totals.skipped === 0 ? "" : `, ${totals.skipped} skipped`;
  return `${totals.passed} passed, ${totals.failed} failed${skipped}`;
}

/** Names of the tests that `bun test` skipped, for the report. */
export function skippedNames(output: string): string[] {
  return [...output.matchAll(/^\(skip\) (.+)$/gm)].map(([, name]) => name ?? "");
}
