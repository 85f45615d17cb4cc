import { expect, test } from "bun:test";
import { offsetCommitHandler } from "../../src/api/08-offset-commit.ts";
import { offsetFetchHandler } from "../../src/api/09-offset-fetch.ts";
import { findCoordinatorHandler } from "../../src/api/10-find-coordinator.ts";
import { joinGroupHandler } from "../../src/api/11-join-group.ts";
import { heartbeatHandler } from "../../src/api/12-heartbeat.ts";
import { leaveGroupHandler } from "../../src/api/13-leave-group.ts";
import { syncGroupHandler } from "../../src/api/14-sync-group.ts";
import { describeGroupsHandler } from "../../src/api/15-describe-groups.ts";
import { listGroupsHandler } from "../../src/api/16-list-groups.ts";
import { deleteGroupsHandler } from "../../src/api/42-delete-groups.ts";
import { offsetDeleteHandler } from "../../src/api/47-offset-delete.ts";
import type { ApiHandler } from "../../src/api/context.ts";
import { Reader } from "../../src/protocol/reader.ts";
import { Writer } from "../../src/protocol/writer.ts";

/** A request of every API that names one of everything, so that each has a place for the error. */
const member = { groupId: "g", memberId: "m", generationId: 1 };
const topicsById = (version: number, field: object) => [
  version >= 10 ? { topicId: "AAAAAAAAAAAAAAAAAAAAAQ", ...field } : { name: "t", ...field },
];
const committed = { partitionIndex: 0, committedOffset: 1, committedMetadata: "" };

const apis: readonly [ApiHandler<never, unknown>, (version: number) => object][] = [
  [
    offsetCommitHandler as never,
    (v) => ({ groupId: "g", memberId: "", topics: topicsById(v, { partitions: [committed] }) }),
  ],
  [
    offsetFetchHandler as never,
    (v) => {
      const topics = topicsById(v, { partitionIndexes: [0] });
      return v >= 8 ? { groups: [{ groupId: "g", topics }] } : { groupId: "g", topics };
    },
  ],
  [findCoordinatorHandler as never, (v) => (v >= 4 ? { coordinatorKeys: ["g"] } : { key: "g" })],
  [
    joinGroupHandler as never,
    () => ({ ...member, sessionTimeoutMs: 1, protocolType: "c", protocols: [] }),
  ],
  [heartbeatHandler as never, () => member],
  [
    leaveGroupHandler as never,
    (v) => (v >= 3 ? { groupId: "g", members: [] } : { groupId: "g", memberId: "m" }),
  ],
  [syncGroupHandler as never, () => ({ ...member, assignments: [] })],
  [describeGroupsHandler as never, () => ({ groups: ["g"] })],
  [listGroupsHandler as never, () => ({})],
  [deleteGroupsHandler as never, () => ({ groupsNames: ["g"] })],
  [offsetDeleteHandler as never, () => ({ groupId: "g", topics: [] })],
];

test.each(apis.map(([handler, request]) => [handler.codec.name, handler, request] as const))(
  "%s: a handler that breaks still answers, in every version",
  (_name, handler, request) => {
    const { codec } = handler;
    for (let version = handler.minVersion; version <= handler.maxVersion; version++) {
      const wire = new Writer();
      codec.encodeRequest(wire, request(version) as never, version);
      const decoded = codec.decodeRequest(new Reader(wire.take()), version);
      const failed = handler.failure?.(decoded, version, -1, "broken");
      expect(failed, `${codec.name} v${version}`).toBeTruthy();
      codec.encodeResponse(wire, failed, version);
      const answer = codec.decodeResponse(new Reader(wire.take()), version);
      expect(JSON.stringify(answer), `${codec.name} v${version}`).toContain('"errorCode":-1');
    }
  },
);

test("every group API serves Kafka's whole range", () => {
  const ranges = apis.map(([{ codec, minVersion, maxVersion }]) => [
    codec.name,
    minVersion === codec.minVersion && maxVersion === codec.maxVersion,
  ]);
  expect(ranges.filter(([, isWhole]) => !isWhole)).toEqual([]);
});
