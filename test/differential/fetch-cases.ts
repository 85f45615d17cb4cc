import { produceApi } from "../../src/protocol/messages/00-produce.ts";
import { fetchApi } from "../../src/protocol/messages/01-fetch.ts";
import { listOffsetsApi } from "../../src/protocol/messages/02-list-offsets.ts";
import { deleteRecordsApi } from "../../src/protocol/messages/21-delete-records.ts";
import { zeroUuid } from "../../src/protocol/uuid.ts";
import { batch, produceOf } from "./data-cases.ts";
import { fetchOf } from "./fetch-of.ts";
import type { Case, Peer } from "./peer.ts";
import { create, remove } from "./topic-cases.ts";

const unknownId = "AAAAAAAAAAAAAAAAAAAAZg";

/** Kafka tells of a leader before it leads. */
async function put(peer: Peer, topic: string, index = 0): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    const { responses } = await peer.ask(produceApi, 9, produceOf(topic, batch(), { index }));
    if (responses[0]?.partitionResponses[0]?.errorCode === 0) return;
    await Bun.sleep(20);
  }
  throw new Error(`${topic} takes nothing`);
}

async function fetch(peer: Peer): Promise<void> {
  const id = await create(peer, "fe", { numPartitions: 2 });
  for (let index = 0; index < 5; index++) {
    await peer.ask(produceApi, 9, produceOf("fe", batch({ count: 3, value: "x".repeat(100) })));
  }
  await peer.ask(produceApi, 9, produceOf("fe", batch({ value: "y" }), { index: 1 }));
  await peer.every("all", fetchApi, [4, 12], (v) =>
    fetchOf("fe", [{ fetchOffset: 0 }], v < 7 ? { sessionEpoch: -1 } : {}),
  );
  await peer.every("all", fetchApi, [13, 17], () =>
    fetchOf("", [{ fetchOffset: 0 }], { topicId: id }),
  );
  await peer.every("no such id", fetchApi, [13, 17], () =>
    fetchOf("", [{ fetchOffset: 0 }], { topicId: unknownId }),
  );
  await peer.note(
    "zero id",
    fetchApi,
    13,
    fetchOf("", [{ fetchOffset: 0 }], { topicId: zeroUuid }),
  );
  await peer.every("no such topic", fetchApi, [4, 12], () =>
    fetchOf("fe-no", [{ fetchOffset: 0 }]),
  );
  await peer.note("no such index", fetchApi, 13, {
    ...fetchOf("", [{ fetchOffset: 0, partition: 9 }], { topicId: id }),
  });
  for (const fetchOffset of [-1, -2, 1, 14, 15, 16, 1e12]) {
    await peer.note(`offset ${fetchOffset}`, fetchApi, 12, fetchOf("fe", [{ fetchOffset }]));
  }
  for (const partitionMaxBytes of [0, 1, -1, 200, 1000]) {
    const ask = fetchOf("fe", [{ fetchOffset: 0, partitionMaxBytes }]);
    await peer.note(`partition bytes ${partitionMaxBytes}`, fetchApi, 12, ask);
  }
  const both = [{ fetchOffset: 0 }, { fetchOffset: 0, partition: 1 }];
  for (const maxBytes of [0, 1, -1, 500, 1000, 1900, 5000]) {
    await peer.note(`bytes ${maxBytes}`, fetchApi, 12, fetchOf("fe", both, { maxBytes }));
  }
  const small = both.map((ask) => ({ ...ask, partitionMaxBytes: 10 }));
  await peer.note("both small", fetchApi, 12, fetchOf("fe", small));
  await peer.note("error and data", fetchApi, 12, fetchOf("fe", [{ fetchOffset: 99 }, ...both]));
  await peer.note("error and wait", fetchApi, 12, {
    ...fetchOf("fe", [{ fetchOffset: 99 }, { fetchOffset: 15 }], { maxWaitMs: 500 }),
  });
  await peer.note("twice", fetchApi, 12, fetchOf("fe", [{ fetchOffset: 0 }, { fetchOffset: 3 }]));
  await peer.note("committed", fetchApi, 12, {
    ...fetchOf("fe", [{ fetchOffset: 0 }], { isolationLevel: 1 }),
  });
  for (const epoch of [-1, 0, 1, 5]) {
    const current = fetchOf("fe", [{ fetchOffset: 0, currentLeaderEpoch: epoch }]);
    await peer.note(`current epoch ${epoch}`, fetchApi, 12, current);
    const last = fetchOf("fe", [{ fetchOffset: 3, lastFetchedEpoch: epoch }]);
    await peer.note(`last epoch ${epoch}`, fetchApi, 12, last);
    const far = fetchOf("fe", [{ fetchOffset: 99, lastFetchedEpoch: epoch }]);
    await peer.note(`last epoch ${epoch}, too far`, fetchApi, 12, far);
  }
  await sessions(peer);
  await peer.note("no topics", fetchApi, 12, { ...fetchOf("fe", []), topics: [] });
  await peer.note(
    "min bytes 0",
    fetchApi,
    12,
    fetchOf("fe", [{ fetchOffset: 15 }], { minBytes: 0 }),
  );
  await peer.note("a follower", fetchApi, 12, {
    ...fetchOf("fe", [{ fetchOffset: 0 }]),
    replicaId: 5,
  });
}

async function sessions(peer: Peer): Promise<void> {
  for (const [sessionId, sessionEpoch] of [
    [0, 1],
    [0, 7],
    [77, 0],
    [77, 1],
    [77, -1],
    [0, -2],
  ] as const) {
    const request = fetchOf("fe", [{ fetchOffset: 0 }], { sessionId, sessionEpoch });
    await peer.note(`session ${sessionId} ${sessionEpoch}`, fetchApi, 12, request);
  }
}

/** One session from its beginning to its end, by name and by id. */
async function sessionLife(peer: Peer): Promise<void> {
  const id = await create(peer, "fs", { numPartitions: 3 });
  for (const index of [0, 1, 2]) await put(peer, "fs", index);
  for (const version of [7, 8, 11, 12, 13, 15, 16, 17]) {
    const byId = version >= 13;
    const own = byId ? { topicId: id } : {};
    const topic = byId ? "" : "fs";
    let sessionId = 0;
    let ends = [0, 0, 0];
    const produce = async (index: number) => {
      await put(peer, "fs", index);
    };
    const ask = async (
      label: string,
      sessionEpoch: number,
      asks: { partition: number; fetchOffset: number }[],
      forget: number[] = [],
    ) => {
      const request = fetchOf(topic, asks, { sessionId, sessionEpoch, ...own });
      const forgotten = [{ ...(byId ? { topicId: id } : { topic }), partitions: forget }];
      const answer = await peer.note(`session: ${label}`, fetchApi, version, {
        ...request,
        topics: asks.length === 0 ? [] : request.topics,
        ...(forget.length > 0 && { forgottenTopicsData: forgotten }),
      });
      return answer;
    };
    const latest = await peer.ask(listOffsetsApi, 7, {
      replicaId: -1,
      topics: [
        {
          name: "fs",
          partitions: [0, 1, 2].map((partitionIndex) => ({ partitionIndex, timestamp: -1 })),
        },
      ],
    });
    for (const { partitionIndex, offset } of latest.topics[0]?.partitions ?? []) {
      ends[partitionIndex] = offset;
    }
    const at = (partition: number, back = 0) => ({
      partition,
      fetchOffset: (ends[partition] ?? 0) - back,
    });
    const made = await ask("made", 0, [at(0), at(1)]);
    sessionId = made?.sessionId ?? 0;
    await ask("nothing new", 1, []);
    await produce(1);
    await ask("data", 2, []);
    await ask("again, not moved on", 3, []);
    ends = ends.map((end, index) => (index === 1 ? end + 1 : end));
    await ask("moved on", 4, [at(1)]);
    await ask("added and forgotten", 5, [at(2)], [0]);
    await produce(0);
    await ask("forgotten says nothing", 6, []);
    await ask("epoch repeated", 6, []);
    await ask("out of range", 7, [{ partition: 2, fetchOffset: 99_999 }]);
    await ask("still out of range", 8, []);
    await ask("back in range", 9, [at(2)]);
    await ask("no such index", 10, [{ partition: 8, fetchOffset: 0 }]);
    await ask("nor now", 11, [], [8]);
    await ask("other names", byId ? 12 : 12, []);
    await ask("all forgotten", 13, [], [1, 2]);
    await ask("gone", 14, []);
  }
}

/** What a session by name, or by id, hears when its topic goes and comes again. */
async function sessionTopics(peer: Peer): Promise<void> {
  for (const version of [12, 13]) {
    const id = await create(peer, "ft");
    await put(peer, "ft");
    const own = version >= 13 ? { topicId: id } : {};
    const topic = version >= 13 ? "" : "ft";
    const full = fetchOf(topic, [{ fetchOffset: 0 }], { sessionEpoch: 0, ...own });
    const made = await peer.note("topic there", fetchApi, version, full);
    const sessionId = made?.sessionId ?? 0;
    const next = (sessionEpoch: number) => ({
      ...fetchOf("", [], { sessionId, sessionEpoch }),
      topics: [],
    });
    const other = version >= 13 ? 12 : 13;
    await peer.note("other kind of names", fetchApi, other, next(1));
    await remove(peer, "ft");
    await peer.note("topic gone", fetchApi, version, next(1));
    await peer.note("topic still gone", fetchApi, version, next(2));
    await create(peer, "ft");
    await put(peer, "ft");
    await peer.note("topic made again", fetchApi, version, next(3));
    await peer.note("topic there again", fetchApi, version, next(4));
    await remove(peer, "ft");
  }
}

/** Leader epochs, followers, racks and hints. */
async function leadership(peer: Peer): Promise<void> {
  const id = await create(peer, "fl", { numPartitions: 2 });
  for (let n = 0; n < 4; n++) await put(peer, "fl");
  await peer.ask(deleteRecordsApi, 2, {
    topics: [{ name: "fl", partitions: [{ partitionIndex: 0, offset: 2 }] }],
    timeoutMs: 5000,
  });
  for (let version = 9; version <= 17; version++) {
    const own = version >= 13 ? { topicId: id } : {};
    const topic = version >= 13 ? "" : "fl";
    const replica = (replicaId: number) =>
      version >= 15 ? { replicaState: { replicaId, replicaEpoch: 1 } } : { replicaId };
    for (const currentLeaderEpoch of [-1, 0, 1]) {
      const asks = [{ fetchOffset: 2, currentLeaderEpoch }];
      await peer.note(`leader epoch ${currentLeaderEpoch}`, fetchApi, version, {
        ...fetchOf(topic, asks, own),
      });
      for (const replicaId of [1, 5]) {
        await peer.note(`replica ${replicaId} at ${currentLeaderEpoch}`, fetchApi, version, {
          ...fetchOf(topic, asks, own),
          ...replica(replicaId),
        });
      }
    }
    await peer.note("a debugger", fetchApi, version, {
      ...fetchOf(topic, [{ fetchOffset: 2 }], own),
      ...replica(-2),
    });
    await peer.note("replica, no such index", fetchApi, version, {
      ...fetchOf(topic, [{ fetchOffset: 2, partition: 9 }], own),
      ...replica(5),
    });
    if (version >= 11) {
      const asks = [{ fetchOffset: 2 }];
      await peer.note("rack", fetchApi, version, fetchOf(topic, asks, { ...own, rackId: "r" }));
    }
    if (version < 12) continue;
    for (const lastFetchedEpoch of [-1, 0, 1, 7]) {
      for (const fetchOffset of [0, 1, 2, 4, 5, 9]) {
        const label = `last epoch ${lastFetchedEpoch} at ${fetchOffset}`;
        const asks = [{ fetchOffset, lastFetchedEpoch }];
        await peer.note(label, fetchApi, version, fetchOf(topic, asks, own));
      }
    }
  }
}

async function listOffsets(peer: Peer): Promise<void> {
  await create(peer, "lo", { numPartitions: 2 });
  const timestamps = [1_000_000, 3_000_000, 2_000_000];
  await peer.ask(produceApi, 9, produceOf("lo", batch({ count: 3, timestamps })));
  await peer.ask(produceApi, 9, produceOf("lo", batch({ count: 1, timestamps: [2_500_000] })));
  const ask = (partitionIndex: number, timestamp: number, currentLeaderEpoch = -1) => ({
    replicaId: -1,
    topics: [{ name: "lo", partitions: [{ partitionIndex, currentLeaderEpoch, timestamp }] }],
  });
  const times = [-1, -2, -3, -4, -5, -6, -7, 0, 1_000_000, 1_000_001, 2_000_001, 3_000_000];
  for (const timestamp of [...times, 3_000_001]) {
    await peer.every(`at ${timestamp}`, listOffsetsApi, [1, 11], () => ask(0, timestamp));
  }
  for (const timestamp of [-1, -2, -3, -4, -5, -6, 5]) {
    await peer.note(`empty at ${timestamp}`, listOffsetsApi, 11, ask(1, timestamp));
  }
  await peer.note("no such index", listOffsetsApi, 7, ask(5, -1));
  for (const epoch of [0, 1]) {
    await peer.note(`epoch ${epoch}`, listOffsetsApi, 7, ask(0, -1, epoch));
  }
  const [first] = ask(0, -1).topics;
  const [second] = ask(0, -2).topics;
  const partitions = [...first!.partitions, ...second!.partitions];
  for (const version of [1, 7]) {
    await peer.note("twice", listOffsetsApi, version, {
      replicaId: -1,
      topics: [{ name: "lo", partitions }],
    });
  }
  await peer.note("unknown", listOffsetsApi, 7, {
    replicaId: -1,
    topics: [{ name: "lo-none", partitions: first!.partitions }],
  });
  for (const timestamp of [-4, -5, -6, -7]) {
    await peer.note(`index 9 at ${timestamp}`, listOffsetsApi, 8, ask(9, timestamp));
    await peer.note(`epoch 4 at ${timestamp}`, listOffsetsApi, 11, ask(0, timestamp, 4));
  }
  await peer.note("a follower", listOffsetsApi, 7, { ...ask(0, -1), replicaId: 5 });
  await peer.note("a debugger", listOffsetsApi, 7, { ...ask(0, -1), replicaId: -2 });
  await peer.note("committed", listOffsetsApi, 7, { ...ask(0, -1), isolationLevel: 1 });
}

export const fetchCases: Readonly<Record<string, Case>> = {
  fetch: fetch,
  "fetch-sessions": sessionLife,
  "fetch-session-topics": sessionTopics,
  "fetch-leadership": leadership,
  "list-offsets": listOffsets,
};
