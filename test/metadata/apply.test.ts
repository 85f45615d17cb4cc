import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { apply, imageOf, snapshotOf } from "../../src/metadata/apply.ts";
import type { ClientQuota } from "../../src/metadata/client-quotas.ts";
import type { Command } from "../../src/metadata/command.ts";
import { emptyImage, type MetadataImage } from "../../src/metadata/image.ts";
import { decodeEntry, encodeCommands, encodeSnapshot } from "../../src/metadata/journal-entry.ts";

function partition(index: number, leader = 1) {
  return { index, leader, leaderEpoch: 0, replicas: [leader], isr: [leader] };
}

/** What a generated step means depends on the image it meets, so that it always fits. */
type Step = readonly [kind: number, pick: number, count: number, text: string];

const steps = fc.array(
  fc.tuple(fc.nat(14), fc.nat(50), fc.integer({ min: 1, max: 4 }), fc.string({ maxLength: 6 })),
  { maxLength: 40 },
);

function commandOf(image: MetadataImage, [kind, pick, count, text]: Step, serial: number): Command {
  const topics = [...image.topicsById.values()];
  const topic = topics[pick % Math.max(1, topics.length)];
  const change = { set: [[`key.${pick % 5}`, text] as const], remove: [`key.${count}`] };
  const partitions = Array.from({ length: count }, (_, index) => partition(index));
  const create: Command = {
    type: "topic",
    name: `topic-${serial}`,
    id: `id-${serial}`,
    internal: pick % 7 === 0,
    partitions,
    configs: [["retention.ms", text]],
  };
  switch (kind) {
    case 0:
      return { type: "broker", broker: { id: pick % 3, rack: text || null, endpoints: [] } };
    case 1:
      return { type: "broker-configs", broker: pick % 2 ? "" : "1", change };
    case 2:
      return { type: "group-configs", group: text, change };
    case 3:
      return { type: "producer-ids", next: image.producerIdNext + count };
    case 4:
      return { type: "leader-epochs", broker: 1 };
    case 5:
      return topic ? { type: "topic-deleted", id: topic.id } : create;
    case 6: {
      const gone = [...image.tombstones.keys()][0];
      return gone === undefined ? create : { type: "topic-cleaned", id: gone };
    }
    case 7: {
      if (topic === undefined) return create;
      const first = topic.partitions.length;
      const added = partitions.map(({ index }) => partition(first + index, 2));
      return { type: "partitions-added", id: topic.id, partitions: added };
    }
    case 8:
      return topic ? { type: "topic-configs", id: topic.id, change } : create;
    case 9:
      return { type: "feature", name: `feature.${pick % 3}`, level: count };
    case 10:
      return { type: "client-metrics", name: text, change };
    case 11:
      return {
        type: "scram",
        credential: {
          user: text,
          mechanism: 1 + (pick % 2),
          iterations: 4096 + count,
          salt: "c2FsdA==",
          storedKey: "a2V5",
          serverKey: "a2V5",
        },
      };
    case 12:
      return { type: "scram-deleted", user: text, mechanism: 1 + (pick % 2) };
    case 13:
      return {
        type: "client-quota",
        entity: [["user", pick % 3 ? text : null]],
        set: pick % 2 ? [["producer_byte_rate", count]] : [],
        remove: ["producer_byte_rate"],
      };
    default:
      return create;
  }
}

/** Everything an image says, in a form that compares. */
function plain(image: MetadataImage): unknown {
  const sorted = (map: ReadonlyMap<unknown, unknown>): unknown[] =>
    [...map]
      .map(([key, value]) => [key, value instanceof Map ? sorted(value) : value])
      .sort((left, right) => (String(left[0]) < String(right[0]) ? -1 : 1));
  const topics = [...image.topicsById.values()]
    .map((topic) => ({ ...topic, configs: sorted(topic.configs) }))
    .sort((left, right) => (left.id < right.id ? -1 : 1));
  return {
    ...image,
    brokers: sorted(image.brokers),
    topicsById: topics,
    topicsByName: [...image.topicsByName.keys()].sort(),
    brokerConfigs: sorted(image.brokerConfigs),
    groupConfigs: sorted(image.groupConfigs),
    clientMetricsConfigs: sorted(image.clientMetricsConfigs),
    scramCredentials: sorted(image.scramCredentials),
    clientQuotas: sorted(image.clientQuotas).map((entry) => {
      const [key, { entity, values }] = entry as [string, ClientQuota];
      return [key, entity, sorted(values)];
    }),
    tombstones: sorted(image.tombstones),
    featureLevels: sorted(image.featureLevels),
  };
}

function checkInvariants(image: MetadataImage): void {
  expect(image.topicsByName.size).toBe(image.topicsById.size);
  let partitions = 0;
  for (const [name, topic] of image.topicsByName) {
    expect(topic.name).toBe(name);
    expect(image.topicsById.get(topic.id)).toBe(topic);
    expect(image.tombstones.has(topic.id)).toBe(false);
    expect(topic.partitions.map(({ index }) => index)).toEqual([...topic.partitions.keys()]);
    partitions += topic.partitions.length;
  }
  expect(image.partitionCount).toBe(partitions);
}

describe("apply", () => {
  test("keeps the image consistent and never changes an older one", () => {
    fc.assert(
      fc.property(steps, (script) => {
        let image = emptyImage;
        for (const [serial, step] of script.entries()) {
          const before = JSON.stringify(plain(image));
          const next = apply(image, [commandOf(image, step, serial)]);
          expect(JSON.stringify(plain(image))).toBe(before);
          expect(next.version).toBe(image.version + 1);
          checkInvariants(next);
          image = next;
        }
      }),
    );
  });

  test("the journal's entries, replayed, give the same image; so does a snapshot half way", () => {
    fc.assert(
      fc.property(steps, fc.nat(40), (script, cut) => {
        let image = emptyImage;
        const entries: Uint8Array[] = [];
        for (const [serial, step] of script.entries()) {
          const commands = [commandOf(image, step, serial)];
          image = apply(image, commands);
          if (serial === cut) entries.splice(0, Infinity, encodeSnapshot(snapshotOf(image)));
          else entries.push(encodeCommands(commands));
        }
        let replayed = emptyImage;
        for (const bytes of entries) {
          const entry = decodeEntry(bytes);
          replayed = entry.commands ? apply(replayed, entry.commands) : imageOf(entry.snapshot);
        }
        expect(plain(replayed)).toEqual(plain(image));
      }),
    );
  });

  test("commands of one entry apply together", () => {
    const commands: Command[] = [
      { type: "cluster", clusterId: "c" },
      {
        type: "topic",
        name: "a",
        id: "1",
        internal: false,
        partitions: [partition(0)],
        configs: [],
      },
      { type: "topic-deleted", id: "1" },
    ];
    const image = apply(emptyImage, commands);
    expect(image.version).toBe(1);
    expect([...image.tombstones.values()]).toEqual([{ id: "1", name: "a", partitions: 1 }]);
  });

  test("leader epochs grow for the partitions of that broker only", () => {
    const partitions = [partition(0, 1), partition(1, 2)];
    const created = apply(emptyImage, [
      { type: "topic", name: "a", id: "1", internal: false, partitions, configs: [] },
    ]);
    const bumped = apply(created, [{ type: "leader-epochs", broker: 1 }]);
    const epochs = bumped.topicsByName.get("a")?.partitions.map(({ leaderEpoch }) => leaderEpoch);
    expect(epochs).toEqual([1, 0]);
  });

  test("hostile names are names, not properties", () => {
    const partitions = [partition(0)];
    const image = apply(emptyImage, [
      {
        type: "topic",
        name: "__proto__",
        id: "constructor",
        internal: false,
        partitions,
        configs: [["__proto__", "x"]],
      },
    ]);
    const entry = decodeEntry(encodeSnapshot(snapshotOf(image)));
    expect(entry.snapshot && plain(imageOf(entry.snapshot))).toEqual(plain(image));
  });

  test("a command that cannot be is a bug, not a silent change", () => {
    expect(() => apply(emptyImage, [{ type: "topic-deleted", id: "x" }])).toThrow(/no topic/);
    const gap = { type: "topic", name: "a", id: "1", internal: false, configs: [] } as const;
    expect(() => apply(emptyImage, [{ ...gap, partitions: [partition(1)] }])).toThrow(/gap/);
  });
});

describe("journal entries", () => {
  const text = (value: string): Uint8Array => new TextEncoder().encode(value);

  test("damage and newer versions are told apart", () => {
    expect(() => decodeEntry(text("{"))).toThrow(/cannot be read/);
    expect(() => decodeEntry(new Uint8Array([0xff, 0xfe]))).toThrow(/cannot be read/);
    expect(() => decodeEntry(text('{"v":1}'))).toThrow(/neither commands nor a snapshot/);
    expect(() => decodeEntry(text('{"v":2,"commands":[]}'))).toThrow(
      /version 2.*start the version/,
    );
    const unknown = text('{"v":1,"commands":[{"type":"quota"}]}');
    expect(() => decodeEntry(unknown)).toThrow(/command "quota"/);
  });
});
