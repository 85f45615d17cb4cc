import { describe, expect, test } from "bun:test";
import {
  add,
  judge,
  parseBunTest,
  parseCargoTest,
  skippedNames,
  summary,
} from "../../scripts/results.ts";

const mixed = `t/p.test.ts:
(pass) a [0.06ms]
(skip) suite > needs java
(fail) b [0.16ms]

# Unhandled error between tests
 1 pass
 1 skip
 2 fail
 1 error
 2 expect() calls
Ran 4 tests across 2 files. [5.00ms]
`;

describe("bun test's summary", () => {
  test("counts every kind", () => {
    expect(parseBunTest(mixed)).toEqual({ passed: 1, failed: 2, skipped: 1 });
  });
  test("a todo counts as skipped", () => {
    expect(parseBunTest(" 3 pass\n 2 todo\n 0 fail\n").skipped).toBe(2);
  });
  test("an error without a failed test counts as failed", () => {
    expect(parseBunTest(" 3 pass\n 0 fail\n 2 errors\n").failed).toBe(2);
  });
  test("numbers that tests print are not taken for the summary", () => {
    const text = "sent 99 pass through\n 5 pass\n 1 fail\n 7 pass\n 0 fail\n";
    expect(parseBunTest(text)).toEqual({ passed: 7, failed: 0, skipped: 0 });
  });
  test("names what was skipped", () => {
    expect(skippedNames(mixed)).toEqual(["suite > needs java"]);
  });
});

test("cargo test's lines are added up over its binaries", () => {
  const text = `
test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.5s
test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1s
`;
  expect(parseCargoTest(text)).toEqual({ passed: 15, failed: 2, skipped: 1 });
});

describe("the verdict", () => {
  test("a suite that crashed without a failed test is one failure", () => {
    expect(judge({ passed: 4, failed: 0, skipped: 0 }, 139).failed).toBe(1);
  });
  test("a suite without tests is one failure", () => {
    expect(judge({ passed: 0, failed: 0, skipped: 0 }, 0).failed).toBe(1);
  });
  test("named failures are not counted twice", () => {
    expect(judge({ passed: 0, failed: 3, skipped: 0 }, 1).failed).toBe(3);
  });
  test("a clean suite stays clean", () => {
    expect(judge({ passed: 4, failed: 0, skipped: 0 }, 0).failed).toBe(0);
  });
});

test("the last line has the form the README names", () => {
  const totals = add({ passed: 1, failed: 0, skipped: 0 }, { passed: 2, failed: 1, skipped: 0 });
  expect(summary(totals)).toBe("3 passed, 1 failed");
  expect(summary({ passed: 3, failed: 0, skipped: 2 })).toBe("3 passed, 0 failed, 2 skipped");
});
