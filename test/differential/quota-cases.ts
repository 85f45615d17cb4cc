import { createTopicsApi } from "../../src/protocol/messages/19-create-topics.ts";
import { deleteTopicsApi } from "../../src/protocol/messages/20-delete-topics.ts";
import { createPartitionsApi } from "../../src/protocol/messages/37-create-partitions.ts";
import { describeClientQuotasApi } from "../../src/protocol/messages/48-describe-client-quotas.ts";
import { alterClientQuotasApi } from "../../src/protocol/messages/49-alter-client-quotas.ts";
import type { Case, Peer } from "./peer.ts";
import { create, remove, topic } from "./topic-cases.ts";

type Pairs = readonly (readonly [string, string | null])[];

function entityOf(pairs: Pairs) {
  return pairs.map(([entityType, entityName]) => ({ entityType, entityName }));
}

function alter(
  entities: readonly (readonly [Pairs, readonly (readonly [string, number | null])[]])[],
  validateOnly = false,
) {
  const entries = entities.map(([pairs, ops]) => ({
    entity: entityOf(pairs),
    ops: ops.map(([key, value]) => ({ key, value: value ?? 0, remove: value === null })),
  }));
  return { entries, validateOnly };
}

function find(components: readonly (readonly [string, number, string | null])[], strict = false) {
  return {
    components: components.map(([entityType, matchType, match]) => ({
      entityType,
      matchType,
      match,
    })),
    strict,
  };
}

const user: Pairs = [["user", "ann"]];
const keys = [
  "producer_byte_rate",
  "consumer_byte_rate",
  "request_percentage",
  "controller_mutation_rate",
  "connection_creation_rate",
  "unknown_rate",
  "",
];

/** Which values each key takes, for users and for addresses. */
async function values(peer: Peer): Promise<void> {
  const entities: Pairs[] = [user, [["ip", "10.1.2.3"]]];
  for (const entity of entities) {
    for (const key of keys) {
      for (const value of [1, 0, -1, 0.5, 1.5, 100, 3e9, 1e19, null]) {
        const label = `${entity[0]?.[0]} ${key} ${value}`;
        const request = alter([[entity, [[key, value]]]], true);
        await peer.note(label, alterClientQuotasApi, 1, request);
      }
    }
  }
}

/** What may be an entity. */
async function entities(peer: Peer): Promise<void> {
  const shapes: Record<string, Pairs> = {
    nothing: [],
    user: [["user", "a"]],
    "default user": [["user", null]],
    "empty user": [["user", ""]],
    "odd user": [["user", "a b/ü%"]],
    "client id": [["client-id", "c"]],
    "default client id": [["client-id", null]],
    "empty client id": [["client-id", ""]],
    both: [
      ["user", "a"],
      ["client-id", "c"],
    ],
    "both the other way": [
      ["client-id", "c"],
      ["user", "a"],
    ],
    "user twice": [
      ["user", "a"],
      ["user", "b"],
    ],
    ip: [["ip", "127.0.0.1"]],
    "ip six": [["ip", "::1"]],
    "default ip": [["ip", null]],
    "no ip": [["ip", "1.2.3.400"]],
    "ip and user": [
      ["ip", "127.0.0.1"],
      ["user", "a"],
    ],
    "unknown type": [["group", "g"]],
    "no type": [["", "g"]],
  };
  for (const [label, entity] of Object.entries(shapes)) {
    const key = entity[0]?.[0] === "ip" ? "connection_creation_rate" : "producer_byte_rate";
    for (const version of [0, 1]) {
      const request = alter([[entity, [[key, 5]]]], true);
      await peer.note(`is ${label}`, alterClientQuotasApi, version, request);
    }
  }
  await peer.note("no entities", alterClientQuotasApi, 1, alter([]));
  await peer.note("no operations", alterClientQuotasApi, 1, alter([[user, []]]));
  const twice = alter([
    [
      user,
      [
        ["producer_byte_rate", 1],
        ["producer_byte_rate", 2],
      ],
    ],
  ]);
  await peer.note("key twice", alterClientQuotasApi, 1, twice);
}

/** Kafka answers before its brokers know. */
function known(): Promise<void> {
  return Bun.sleep(500);
}

/** Set, change, find and remove. */
async function life(peer: Peer): Promise<void> {
  const sets: [Pairs, [string, number][]][] = [
    [
      [["user", "ann"]],
      [
        ["producer_byte_rate", 1000],
        ["request_percentage", 12.5],
      ],
    ],
    [[["user", null]], [["producer_byte_rate", 2000]]],
    [
      [
        ["user", "ann"],
        ["client-id", "c"],
      ],
      [["consumer_byte_rate", 3000]],
    ],
    [
      [
        ["user", "ann"],
        ["client-id", null],
      ],
      [["consumer_byte_rate", 4000]],
    ],
    [
      [
        ["user", null],
        ["client-id", null],
      ],
      [["controller_mutation_rate", 0.5]],
    ],
    [[["client-id", "c"]], [["producer_byte_rate", 1e9]]],
    [[["client-id", null]], [["producer_byte_rate", 1e10]]],
    [[["ip", "10.9.8.7"]], [["connection_creation_rate", 7]]],
    [[["ip", null]], [["connection_creation_rate", 1e6]]],
  ];
  await peer.note("set", alterClientQuotasApi, 1, alter(sets));
  await known();
  const filters: Record<string, [string, number, string | null][]> = {
    all: [],
    users: [["user", 2, null]],
    "default user": [["user", 1, null]],
    ann: [["user", 0, "ann"]],
    bob: [["user", 0, "bob"]],
    "client ids": [["client-id", 2, null]],
    "both kinds": [
      ["user", 2, null],
      ["client-id", 2, null],
    ],
    "ann and c": [
      ["user", 0, "ann"],
      ["client-id", 0, "c"],
    ],
    "ann and default": [
      ["user", 0, "ann"],
      ["client-id", 1, null],
    ],
    ips: [["ip", 2, null]],
    "an ip": [["ip", 0, "10.9.8.7"]],
    "ip and user": [
      ["ip", 2, null],
      ["user", 2, null],
    ],
    "user twice": [
      ["user", 2, null],
      ["user", 0, "ann"],
    ],
    "unknown type": [["group", 2, null]],
    "empty type": [["", 2, null]],
    "match 3": [["user", 3, null]],
    "match -1": [["user", -1, null]],
    "exact without name": [["user", 0, null]],
    "default with name": [["user", 1, "ann"]],
    "any with name": [["user", 2, "ann"]],
  };
  for (const [label, components] of Object.entries(filters)) {
    for (const strict of [false, true]) {
      for (const version of [0, 1]) {
        const name = strict ? `find ${label}, strict` : `find ${label}`;
        await peer.note(name, describeClientQuotasApi, version, find(components, strict));
      }
    }
  }
  const check = async (label: string) => {
    await known();
    await peer.note(label, describeClientQuotasApi, 1, find([]));
  };
  await peer.note(
    "try",
    alterClientQuotasApi,
    1,
    alter([[user, [["producer_byte_rate", 9]]]], true),
  );
  await check("after trying");
  const half = alter([
    [
      user,
      [
        ["producer_byte_rate", 9],
        ["consumer_byte_rate", -1],
      ],
    ],
    [[["user", null]], [["producer_byte_rate", 9]]],
  ]);
  await peer.note("half bad", alterClientQuotasApi, 1, half);
  await check("after half bad");
  const swap = alter([
    [
      user,
      [
        ["producer_byte_rate", null],
        ["consumer_byte_rate", 5],
      ],
    ],
  ]);
  await peer.note("swap", alterClientQuotasApi, 1, swap);
  await check("after swap");
  const none = alter(sets.map(([entity]) => [entity, keys.slice(0, 5).map((key) => [key, null])]));
  await peer.note("remove", alterClientQuotasApi, 1, none);
  await check("after removing");
}

/** Topics and partitions beyond a quota; each client has saved up 11 s of 0.2 a second. */
async function mutations(peer: Peer): Promise<void> {
  for (const name of ["qm-1", "qm-2", "qm-3"]) await remove(peer, name);
  const mine: Pairs = [["client-id", "differ"]];
  const set = (value: number | null) =>
    peer.ask(alterClientQuotasApi, 1, alter([[mine, [["controller_mutation_rate", value]]]]));
  const ask = (name: string) => ({
    topics: [topic(name, { numPartitions: 4 })],
    timeoutMs: 30_000,
    validateOnly: true,
  });
  /** Whether to wait, and without the configs of a new topic, which differ. */
  const quiet = (answer: { throttleTimeMs: number; topics?: readonly object[] }) => ({
    ...answer,
    throttleTimeMs: answer.throttleTimeMs > 0,
    ...(answer.topics && { topics: answer.topics.map((one) => ({ ...one, configs: [] })) }),
  });
  await create(peer, "qm-3", { numPartitions: 4 });
  await set(0.2);
  await Bun.sleep(300);
  const tries = await peer.connection();
  try {
    // The first may overdraw, whoever comes next is refused, the oldest versions only wait.
    peer.add("first", quiet(await tries.request(createTopicsApi, 7, ask("qm-1"))));
  } finally {
    tries.close();
  }
  const later = async <T>(run: (client: Awaited<ReturnType<Peer["connection"]>>) => Promise<T>) => {
    const client = await peer.connection();
    try {
      return await run(client);
    } finally {
      client.close();
    }
  };
  for (const version of [5, 6, 7]) {
    const answer = await later((client) => client.request(createTopicsApi, version, ask("qm-2")));
    peer.add(`create v${version}`, quiet(answer));
  }
  const gone = { topicNames: ["qm-3"], timeoutMs: 30_000 };
  peer.add("delete v5", quiet(await later((client) => client.request(deleteTopicsApi, 5, gone))));
  const more = {
    topics: [{ name: "qm-3", count: 6, assignments: null }],
    timeoutMs: 30_000,
    validateOnly: true,
  };
  for (const version of [2, 3]) {
    const answer = await later((client) => client.request(createPartitionsApi, version, more));
    peer.add(`more partitions v${version}`, quiet(answer));
  }
  await later((client) =>
    client.request(alterClientQuotasApi, 1, alter([[mine, [["controller_mutation_rate", null]]]])),
  );
}

export const quotaCases: Readonly<Record<string, Case>> = {
  "quota-values": values,
  "quota-entities": entities,
  "quota-life": life,
  "quota-mutations": mutations,
};
