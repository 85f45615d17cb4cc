import { describe, expect, test } from "bun:test";
import { parseGoTests } from "./go-tests.ts";
import { parseJunit } from "./pytest.ts";

describe("go tests", () => {
  const event = (Action: string, Test?: string, Output?: string) =>
    JSON.stringify({ Action, Test, Output });
  test("subtests count, their parents do not; one without an end failed", () => {
    const output = [
      event("run", "TestA"),
      event("output", "TestA", "a line\n"),
      event("pass", "TestA"),
      event("run", "TestB"),
      event("run", "TestB/one"),
      event("pass", "TestB/one"),
      event("run", "TestB/two"),
      event("skip", "TestB/two"),
      event("pass", "TestB"),
      event("run", "TestC"),
      "panic: not JSON",
      event("fail"),
    ].join("\n");
    expect(parseGoTests(output).map(({ name, outcome }) => [name, outcome])).toEqual([
      ["TestA", "passed"],
      ["TestB/one", "passed"],
      ["TestB/two", "skipped"],
      ["TestC", "failed"],
    ]);
  });
  test("a parent that failed by itself counts", () => {
    const output = [
      event("run", "TestD"),
      event("run", "TestD/fine"),
      event("pass", "TestD/fine"),
      event("fail", "TestD"),
    ].join("\n");
    expect(parseGoTests(output).map(({ name, outcome }) => [name, outcome])).toEqual([
      ["TestD", "failed"],
      ["TestD/fine", "passed"],
    ]);
  });
});

test("a JUnit report: passed, failed, skipped, broken in a fixture", () => {
  const xml = `<?xml version="1.0"?><testsuites><testsuite name="pytest">
    <testcase classname="test.integration.test_a" name="test_one[a-&lt;b&gt;]" time="0.1" />
    <testcase classname="test.integration.test_a" name="test_two" time="0.1"><failure
      message="assert 1 &lt; 0">trace</failure></testcase>
    <testcase classname="test.integration.test_a" name="test_three" time="0.1"><skipped
      type="pytest.skip" message="old brokers only">x</skipped></testcase>
    <testcase classname="test_b" name="test_four" time="0.1"><error message="no broker">t</error>
    </testcase></testsuite></testsuites>`;
  expect(
    parseJunit(xml).map(({ name, outcome, detail = "" }) => [name, outcome, detail.split("\n")[0]]),
  ).toEqual([
    ["test_a::test_one[a-<b>]", "passed", ""],
    ["test_a::test_two", "failed", "assert 1 < 0"],
    ["test_a::test_three", "skipped", "old brokers only"],
    ["test_b::test_four", "failed", "no broker"],
  ]);
});
