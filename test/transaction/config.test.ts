import { expect, test } from "bun:test";
import { loadConfig } from "../../src/config.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { transactionConfigDefaults, transactionConfigFrom } from "../../src/transaction/config.ts";
import { Harness } from "./harness.ts";

function configWith(overrides: readonly (readonly [string, string])[]) {
  const { config } = loadConfig({
    file: undefined,
    environment: {},
    flags: new Map(),
    overrides: overrides.map(([key, value]): [string, string] => [key, value]),
    commandLine: ["chronik"],
    folder: "/",
    hostname: "box",
  });
  return transactionConfigFrom(config.transaction, config.limits);
}

test("without settings the coordinator has its defaults", () => {
  expect(configWith([])).toEqual(transactionConfigDefaults);
});

test("a small limit of transactional ids is the coordinator's", async () => {
  const config = configWith([
    ["limits.transactional_ids_max", "1"],
    ["limits.transaction_state_bytes_max", "64KiB"],
  ]);
  expect(config.stateBytesMax).toBe(65_536);
  const world = new Harness(config);
  const first = await world.init("first");
  expect((await world.init("second")).errorCode).toBe(ErrorCode.COORDINATOR_NOT_AVAILABLE);
  const partitions = (count: number) =>
    Array.from({ length: count }, (_, index) => `${"t".repeat(200)}${index}-0`);
  expect(await world.add(first, ...partitions(1_000))).toBe(ErrorCode.COORDINATOR_NOT_AVAILABLE);
  expect(await world.add(first, ...partitions(1))).toBe(ErrorCode.NONE);
});
