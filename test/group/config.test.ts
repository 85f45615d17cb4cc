import { expect, test } from "bun:test";
import { groupConfigDefaults, groupConfigFrom } from "../../src/group/config.ts";

test("settings of the configuration arrive where the coordinator looks for them", () => {
  const settings = {
    offsetsRetentionMinutes: 2,
    offsetsRetentionCheckIntervalMs: 3,
    offsetMetadataBytesMax: 4,
    initialRebalanceDelayMs: 5,
    minSessionTimeoutMs: 6,
    maxSessionTimeoutMs: 7,
    maxSize: 8,
  };
  const config = groupConfigFrom(settings, { groupsMax: 9, groupStateBytesMax: 10 });
  expect(config).toEqual({
    ...groupConfigDefaults,
    offsetsRetentionMs: 120_000,
    offsetsRetentionCheckIntervalMs: 3,
    offsetMetadataBytesMax: 4,
    initialRebalanceDelayMs: 5,
    sessionTimeoutMsMin: 6,
    sessionTimeoutMsMax: 7,
    groupSizeMax: 8,
    groupsMax: 9,
    stateBytesMax: 10,
  });
});

test("offset metadata never outgrows what old clients can read", () => {
  const settings = {
    offsetsRetentionMinutes: 1,
    offsetsRetentionCheckIntervalMs: 1,
    offsetMetadataBytesMax: 1_000_000,
    initialRebalanceDelayMs: 1,
    minSessionTimeoutMs: 1,
    maxSessionTimeoutMs: 1,
    maxSize: 1,
  };
  const limits = { groupsMax: 1, groupStateBytesMax: 1 };
  expect(groupConfigFrom(settings, limits).offsetMetadataBytesMax * 3).toBeLessThan(32_768);
});
