/** A stop that was not clean begins a leader epoch, and clients of the one before notice. */

import { expect, test } from "bun:test";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { fetchApi } from "../../src/protocol/messages/01-fetch.ts";
import { metadataApi } from "../../src/protocol/messages/03-metadata.ts";
import { offsetForLeaderEpochApi } from "../../src/protocol/messages/23-offset-for-leader-epoch.ts";
import { zeroUuid } from "../../src/protocol/uuid.ts";
import { startBroker } from "../support/broker-process.ts";
import { Kafka } from "./kafka.ts";

/** One partition's answer to a fetch from someone who was told of `epoch` and read up to there. */
async function fetch(
  kafka: Kafka,
  topicId: string,
  ask: { fetchOffset: number; currentLeaderEpoch: number; lastFetchedEpoch?: number },
) {
  const answer = await kafka.client.request(fetchApi, 16, {
    maxWaitMs: 0,
    minBytes: 1,
    topics: [{ topicId, partitions: [{ partition: 0, partitionMaxBytes: 1 << 20, ...ask }] }],
  });
  const partition = answer.responses[0]?.partitions[0];
  if (partition === undefined) throw new Error("no answer");
  return { ...partition, nodeEndpoints: answer.nodeEndpoints };
}

test("kill -9 begins an epoch: the old one is fenced, the hint names the new", async () => {
  await using broker = await startBroker();
  const before = await Kafka.connect(broker.kafkaPort);
  await before.createTopic("epochs");
  await before.append("epochs", 0, ["a", "b"]);
  const { topics } = await before.client.request(metadataApi, 12, {
    topics: [{ name: "epochs", topicId: zeroUuid }],
  });
  const topicId = topics[0]?.topicId ?? "";
  const epoch = topics[0]?.partitions[0]?.leaderEpoch ?? -1;
  const first = { fetchOffset: 0, currentLeaderEpoch: epoch };
  expect((await fetch(before, topicId, first)).errorCode).toBe(ErrorCode.NONE);
  before.close();
  await broker.kill9();
  await broker.restart();
  const after = await Kafka.connect(broker.kafkaPort);
  const old = await fetch(after, topicId, { fetchOffset: 2, currentLeaderEpoch: epoch });
  expect(old.errorCode).toBe(ErrorCode.FENCED_LEADER_EPOCH);
  expect(old.currentLeader).toEqual({ leaderId: 1, leaderEpoch: epoch + 1 });
  expect(old.nodeEndpoints.map(({ nodeId, port }) => [nodeId, port])).toEqual([
    [1, broker.kafkaPort],
  ]);
  await after.append("epochs", 0, ["c"]);
  const now = { currentLeaderEpoch: epoch + 1 };
  const ended = await after.client.request(offsetForLeaderEpochApi, 4, {
    topics: [{ topic: "epochs", partitions: [{ partition: 0, leaderEpoch: epoch, ...now }] }],
  });
  expect(ended.topics[0]?.partitions[0]).toMatchObject({ leaderEpoch: epoch, endOffset: 2 });
  // Who read all of the old epoch goes on; who read more of it than was kept must truncate.
  const good = await fetch(after, topicId, { fetchOffset: 2, lastFetchedEpoch: epoch, ...now });
  expect([good.errorCode, good.divergingEpoch.epoch]).toEqual([0, -1]);
  expect(good.records?.length).toBeGreaterThan(0);
  const ahead = await fetch(after, topicId, { fetchOffset: 3, lastFetchedEpoch: epoch, ...now });
  expect(ahead.divergingEpoch).toEqual({ epoch, endOffset: 2 });
  const unknown = await fetch(after, topicId, { fetchOffset: 3, currentLeaderEpoch: epoch + 2 });
  expect(unknown.errorCode).toBe(ErrorCode.UNKNOWN_LEADER_EPOCH);
  after.close();
  // A clean stop begins none.
  expect(await broker.stop()).toBe(0);
  await broker.restart();
  const again = await Kafka.connect(broker.kafkaPort);
  expect((await fetch(again, topicId, { fetchOffset: 3, ...now })).errorCode).toBe(0);
  again.close();
}, 60_000);
