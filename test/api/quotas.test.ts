import { describe, expect, test } from "bun:test";
import { produceHandler } from "../../src/api/00-produce.ts";
import { fetchHandler } from "../../src/api/01-fetch.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { metadataApi } from "../../src/protocol/messages/03-metadata.ts";
import { createTopicsApi } from "../../src/protocol/messages/19-create-topics.ts";
import { deleteTopicsApi } from "../../src/protocol/messages/20-delete-topics.ts";
import { createPartitionsApi } from "../../src/protocol/messages/37-create-partitions.ts";
import { describeClientQuotasApi } from "../../src/protocol/messages/48-describe-client-quotas.ts";
import { alterClientQuotasApi } from "../../src/protocol/messages/49-alter-client-quotas.ts";
import { describeClusterApi } from "../../src/protocol/messages/60-describe-cluster.ts";
import { ApiLab } from "../support/api-lab.ts";
import { type ApiServer, apiServer } from "../support/api-server.ts";
import { batch, topicA } from "../support/log-lab.ts";
import { spec } from "../support/metadata.ts";

function limit(lab: ApiLab, values: Record<string, number>): void {
  const quota = {
    entity: [["client-id", "test"]] as const,
    values: new Map(Object.entries(values)),
  };
  lab.quotas.update(new Map([["one", quota]]));
}

function fetchOf(sessionId: number, sessionEpoch: number, named = true) {
  const partitions = [{ partition: 0, fetchOffset: 0, partitionMaxBytes: 1 << 20 }];
  const topics = named ? [{ topic: topicA.name, partitions }] : [];
  return { maxWaitMs: 0, minBytes: 1, sessionId, sessionEpoch, topics };
}

describe("Produce", () => {
  const produce = (lab: ApiLab, acks: number) =>
    lab.call(
      produceHandler,
      {
        acks,
        timeoutMs: 1_000,
        topicData: [{ name: "a", partitionData: [{ index: 0, records: batch() }] }],
      },
      9,
    );

  test("is charged by the size of its request, with or without an answer", async () => {
    const lab = new ApiLab();
    const [partition] = await lab.open();
    limit(lab, { producer_byte_rate: 1 });
    for (const acks of [-1, 1, 0]) await produce(lab, acks);
    // Held back is the client, not what it sent.
    expect(partition.highWatermark).toBe(3);
    const waits = lab.throttles.filter((ms) => ms > 0);
    expect(waits.length).toBe(3);
    expect(waits).toEqual(waits.toSorted((left, right) => left - right));
  });

  test("pays for event-loop time only when it is answered", async () => {
    const lab = new ApiLab();
    await lab.open();
    limit(lab, { request_percentage: 1 });
    lab.workMs = 10_000;
    await produce(lab, 0);
    expect(lab.throttles.filter((ms) => ms > 0)).toEqual([]);
    await produce(lab, 1);
    expect(lab.throttles.filter((ms) => ms > 0)).toEqual([1_000]);
  });
});

describe("Fetch", () => {
  test("over the quota: an answer without partitions, and the session goes on", async () => {
    const lab = new ApiLab();
    const [partition] = await lab.open();
    for (let n = 0; n < 4; n++) await partition.append(batch(), { origin: "client" });
    limit(lab, { consumer_byte_rate: 40 });
    const ask = async (epoch: number, id = 1, named = false) => {
      const response = await lab.call(fetchHandler, fetchOf(id, epoch, named), 12);
      const bytes = response!.responses.flatMap(({ partitions }) =>
        partitions.map(({ records }) => records?.length ?? 0),
      );
      return { ...response!, bytes };
    };
    // At most what ten windows allow, 400 bytes, is read at all.
    const full = await ask(0, 0, true);
    expect([full.throttleTimeMs, full.sessionId, full.bytes]).toEqual([0, 1, [4 * batch().length]]);
    const held = await ask(1);
    expect([held.errorCode, held.sessionId, held.bytes]).toEqual([0, 1, []]);
    expect(held.throttleTimeMs).toBeGreaterThan(1_000);
    expect(lab.throttles.at(-1)).toBe(held.throttleTimeMs);
    // What was not sent is not counted: when the first answer is out of the windows, it comes.
    lab.log.clock.advance(11_000);
    const after = await ask(2);
    expect([after.throttleTimeMs, after.bytes]).toEqual([0, [4 * batch().length]]);
  });

  test("over the quota in a first full request: no session is made", async () => {
    const lab = new ApiLab();
    const [partition] = await lab.open();
    await partition.append(batch(), { origin: "client" });
    limit(lab, { consumer_byte_rate: 1 });
    await lab.call(fetchHandler, fetchOf(0, -1), 12);
    const answer = await lab.call(fetchHandler, fetchOf(0, 0), 12);
    expect([answer!.sessionId, answer!.responses]).toEqual([0, []]);
    expect(lab.fetchSessions.size).toBe(0);
  });

  test("a quota smaller than one batch lets one through at a time", async () => {
    const lab = new ApiLab();
    const [partition] = await lab.open();
    for (let n = 0; n < 3; n++) await partition.append(batch(), { origin: "client" });
    limit(lab, { consumer_byte_rate: 1 });
    for (let n = 0; n < 3; n++) {
      const sent = await lab.call(fetchHandler, fetchOf(0, -1), 12);
      const records = sent!.responses[0]?.partitions[0]?.records;
      expect(records?.length).toBe(batch().length);
      expect(sent!.throttleTimeMs).toBeGreaterThan(10_000);
      expect(lab.throttles.at(-1)).toBe(sent!.throttleTimeMs);
      const held = await lab.call(fetchHandler, fetchOf(0, -1), 12);
      expect([held!.responses, held!.throttleTimeMs > 0]).toEqual([[], true]);
      lab.log.clock.advance(sent!.throttleTimeMs);
    }
  });

  test("pays for event-loop time, and is then not charged for its bytes", async () => {
    const lab = new ApiLab();
    const [partition] = await lab.open();
    await partition.append(batch(), { origin: "client" });
    limit(lab, { request_percentage: 1, consumer_byte_rate: 20 });
    lab.workMs = 10_000;
    const held = await lab.call(fetchHandler, fetchOf(0, -1), 12);
    expect([held!.throttleTimeMs, held!.responses]).toEqual([1_000, []]);
    // Two of them at a time would be too much.
    limit(lab, { consumer_byte_rate: 20 });
    const free = await lab.call(fetchHandler, fetchOf(0, -1), 12);
    expect([free!.throttleTimeMs, free!.responses.length]).toEqual([0, 1]);
  });
});

async function alter(
  api: ApiServer,
  entity: [string, string | null][],
  key: string,
  value: number,
  version = 1,
) {
  const { entries } = await api.client.request(alterClientQuotasApi, version, {
    entries: [
      {
        entity: entity.map(([entityType, entityName]) => ({ entityType, entityName })),
        ops: [{ key, value, remove: false }],
      },
    ],
    validateOnly: false,
  });
  return entries[0]?.errorCode;
}

test("every version sets and finds; a filter that means nothing is refused", async () => {
  await using api = await apiServer();
  for (const version of [0, 1]) {
    const name = `user ${version}`;
    expect(await alter(api, [["user", name]], "producer_byte_rate", 5, version)).toBe(0);
    const find = (matchType: number, match: string | null) =>
      api.client.request(describeClientQuotasApi, version, {
        components: [{ entityType: "user", matchType, match }],
        strict: true,
      });
    const found = await find(0, name);
    expect([found.errorCode, found.errorMessage, found.entries]).toEqual([
      0,
      "",
      [
        {
          entity: [{ entityType: "user", entityName: name }],
          values: [{ key: "producer_byte_rate", value: 5 }],
        },
      ],
    ]);
    const refused = await find(7, null);
    expect([refused.errorCode, refused.entries]).toEqual([ErrorCode.INVALID_REQUEST, null]);
  }
  for (let n = 0; n < 3; n++) {
    expect(await alter(api, [["user", `more ${n}`]], "producer_byte_rate", 5)).toBe(0);
  }
  expect(await alter(api, [["user", "one more"]], "producer_byte_rate", 5)).toBe(
    ErrorCode.POLICY_VIOLATION,
  );
});

test("mutations beyond the quota are refused, with a wait", async () => {
  await using api = await apiServer();
  await api.metadata.createTopics([spec("t", 2)], false);
  await alter(api, [["client-id", "test"]], "controller_mutation_rate", 0.1);
  const topics = (name: string, validateOnly = false) => ({
    topics: [{ ...spec(name, 3), configs: [] }],
    timeoutMs: 1_000,
    validateOnly,
  });
  const first = await api.client.request(createTopicsApi, 7, topics("a"));
  // Overdrawn by what one request asks; the connection is free once more.
  expect([first.topics[0]?.errorCode, first.throttleTimeMs]).toEqual([0, 0]);
  const again = await api.client.request(createTopicsApi, 7, topics("b"));
  expect(again.topics[0]?.errorCode).toBe(ErrorCode.THROTTLING_QUOTA_EXCEEDED);
  expect(again.throttleTimeMs).toBeGreaterThan(10_000);
  expect(api.metadata.image.topicsByName.has("b")).toBe(false);
});

test("old clients, which know no refusal, wait instead", async () => {
  const boundaries: [createVersion: number, growVersion: number, errorCode: number][] = [
    [5, 2, ErrorCode.NONE],
    [6, 3, ErrorCode.THROTTLING_QUOTA_EXCEEDED],
  ];
  for (const [createVersion, growVersion, errorCode] of boundaries) {
    for (const grows of [false, true]) {
      await using api = await apiServer();
      await api.metadata.createTopics([spec("t", 4)], false);
      await alter(api, [["client-id", "test"]], "controller_mutation_rate", 0.1);
      const create = (name: string, version: number) =>
        api.client.request(createTopicsApi, version, {
          topics: [{ ...spec(name, 3), configs: [] }],
          timeoutMs: 1_000,
          validateOnly: false,
        });
      await create("spent", 7);
      const grow = [{ name: "t", count: 6, assignments: null }];
      const request = { topics: grow, timeoutMs: 1_000, validateOnly: false };
      const answer = grows
        ? await api.client.request(createPartitionsApi, growVersion, request)
        : await create("more", createVersion);
      const [result] = "topics" in answer ? answer.topics : answer.results;
      expect([grows, createVersion, result?.errorCode]).toEqual([grows, createVersion, errorCode]);
      expect(answer.throttleTimeMs).toBeGreaterThan(10_000);
    }
  }
});

test("deleting and growing count as well, and auto-creation", async () => {
  for (const name of ["delete", "grow", "auto"]) {
    await using api = await apiServer();
    await api.metadata.createTopics([spec("t", 4)], false);
    await alter(api, [["client-id", "test"]], "controller_mutation_rate", 0.1);
    await api.client.request(createTopicsApi, 7, {
      topics: [{ ...spec("spent", 3), configs: [] }],
      timeoutMs: 1_000,
      validateOnly: false,
    });
    if (name === "delete") {
      const request = { topicNames: ["t"], timeoutMs: 1_000 };
      const { responses } = await api.client.request(deleteTopicsApi, 5, request);
      expect(responses[0]?.errorCode).toBe(ErrorCode.THROTTLING_QUOTA_EXCEEDED);
    } else if (name === "grow") {
      const grow = [{ name: "t", count: 6, assignments: null }];
      const request = { topics: grow, timeoutMs: 1_000, validateOnly: false };
      const { results } = await api.client.request(createPartitionsApi, 3, request);
      expect(results[0]?.errorCode).toBe(ErrorCode.THROTTLING_QUOTA_EXCEEDED);
    } else {
      const request = { topics: [{ name: "auto" }], allowAutoTopicCreation: true };
      const { topics } = await api.client.request(metadataApi, 9, request);
      expect(topics[0]?.errorCode).toBe(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
    }
    expect(api.metadata.image.topicsByName.get("t")?.partitions.length).toBe(4);
    expect(api.metadata.image.topicsByName.has("auto")).toBe(false);
  }
});

test("any request pays for its time of the event loop; its answer tells the wait", async () => {
  await using api = await apiServer();
  const before = await api.client.request(describeClusterApi, 1, {
    includeClusterAuthorizedOperations: false,
  });
  expect(before.throttleTimeMs).toBe(0);
  // One part in a billion: whatever takes time at all is too much.
  expect(await alter(api, [["user", null]], "request_percentage", 1e-7)).toBe(0);
  const { throttleTimeMs } = await api.client.request(describeClusterApi, 1, {
    includeClusterAuthorizedOperations: false,
  });
  expect(throttleTimeMs).toBeGreaterThan(0);
  expect(throttleTimeMs).toBeLessThanOrEqual(1_000);
});
