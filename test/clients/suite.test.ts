import { describe, expect, test } from "bun:test";
import { judgeSuite, matches, type RunTest, type Suite, tally } from "./suite.ts";

const suite: Suite = {
  name: "sample",
  client: "sample",
  version: "1",
  kind: "program",
  about: "",
  exclusions: [
    { test: "Cluster*", reason: "needs three brokers" },
    { test: "Gone", reason: "was removed" },
  ],
  brokerArgs: [],
  featureOf: () => "admin",
  prepare: async () => null,
  run: async () => [],
};

describe("a run's verdict", () => {
  const ran: RunTest[] = [
    { name: "Works", outcome: "passed" },
    { name: "Breaks", outcome: "failed", detail: "no answer" },
    { name: "ClusterSkipped", outcome: "skipped" },
    { name: "ClusterBreaks", outcome: "failed" },
    { name: "ClusterWorks", outcome: "passed" },
    { name: "LeavesItselfOut", outcome: "skipped", detail: "wants an old broker" },
  ];
  const outcomes = (scope: "short" | "whole") =>
    Object.fromEntries(
      judgeSuite(suite, ran, { scope, only: null }).tests.map((t) => [t.name, t.outcome]),
    );

  test("excludes what is listed and did not pass, and nothing else", () => {
    expect(outcomes("short")).toEqual({
      Breaks: "failed",
      ClusterBreaks: "excluded",
      ClusterSkipped: "excluded",
      ClusterWorks: "passed",
      LeavesItselfOut: "failed",
      Works: "passed",
    });
  });
  test("an entry that names no test fails a whole run", () => {
    expect(outcomes("whole")["Gone"]).toBe("failed");
    expect(tally(judgeSuite(suite, ran, { scope: "whole", only: null }).tests)).toEqual({
      passed: 2,
      failed: 3,
      excluded: 2,
    });
  });
  test("a run without any test is no run", () => {
    expect(() => judgeSuite(suite, [], { scope: "short", only: null })).toThrow("no test ran");
  });
});

test("a pattern's star stands for any text, all else for itself", () => {
  expect(matches("TestTxn*", "TestTxnEtl/cooperative-sticky")).toBe(true);
  expect(matches("TestTxn*", "NotTestTxn")).toBe(false);
  expect(matches("a.b[*]", "a.b[x\ny]")).toBe(true);
  expect(matches("a.b", "axb")).toBe(false);
});
