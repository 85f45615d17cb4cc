import { crc32c } from "../../src/protocol/crc32c.ts";
import { produceApi } from "../../src/protocol/messages/00-produce.ts";
import { fetchApi } from "../../src/protocol/messages/01-fetch.ts";
import { listOffsetsApi } from "../../src/protocol/messages/02-list-offsets.ts";
import { deleteRecordsApi } from "../../src/protocol/messages/21-delete-records.ts";
import { initProducerIdApi } from "../../src/protocol/messages/22-init-producer-id.ts";
import { offsetForLeaderEpochApi } from "../../src/protocol/messages/23-offset-for-leader-epoch.ts";
import { sealBatch } from "../../src/protocol/record-batch.ts";
import { type BatchOptions, buildBatch } from "../../src/protocol/records.ts";
import { zeroUuid } from "../../src/protocol/uuid.ts";
import { fetchOf } from "./fetch-of.ts";
import type { Case, Peer } from "./peer.ts";
import { create } from "./topic-cases.ts";

const unknownId = "AAAAAAAAAAAAAAAAAAAAZg";
const day = 86_400_000;

interface BatchParts extends BatchOptions {
  readonly count?: number;
  readonly key?: string | null;
  readonly value?: string;
  readonly timestamps?: readonly number[];
}

export function batch(parts: BatchParts = {}): Buffer {
  const { count = 1, key = "k", value = "v", timestamps, ...options } = parts;
  const records = Array.from({ length: count }, (_, offsetDelta) => ({
    offsetDelta,
    timestamp: timestamps?.[offsetDelta] ?? Date.now(),
    key: key === null ? null : Buffer.from(key),
    value: Buffer.from(value),
    headers: [],
  }));
  return Buffer.from(buildBatch(records, options, crc32c));
}

function changed(bytes: Buffer, change: (bytes: Buffer) => void, seal = true): Buffer {
  change(bytes);
  if (seal) sealBatch(bytes, 0, crc32c);
  return bytes;
}

interface ProduceParts {
  readonly acks?: number;
  readonly index?: number;
  readonly topicId?: string;
  readonly transactionalId?: string;
}

export function produceOf(name: string, records: Uint8Array | null, parts: ProduceParts = {}) {
  const { acks = -1, index = 0, topicId, transactionalId = null } = parts;
  const partitionData = [{ index, records }];
  const topicData = [topicId === undefined ? { name, partitionData } : { topicId, partitionData }];
  return { transactionalId, acks, timeoutMs: 10_000, topicData };
}

async function produce(peer: Peer): Promise<void> {
  const id = await create(peer, "pr");
  await peer.every("good", produceApi, [3, 12], () => produceOf("pr", batch()));
  await peer.note("good", produceApi, 13, produceOf("", batch(), { topicId: id }));
  await peer.note("no such id", produceApi, 13, produceOf("", batch(), { topicId: unknownId }));
  await peer.note("zero id", produceApi, 13, produceOf("", batch(), { topicId: zeroUuid }));
  await peer.note(
    "no such index",
    produceApi,
    13,
    produceOf("", batch(), { topicId: id, index: 5 }),
  );
  await peer.every("no such topic", produceApi, [3, 12], () => produceOf("pr-none", batch()));
  await peer.note("bad topic name", produceApi, 9, produceOf("a b", batch()));
  await peer.note("no such index", produceApi, 9, produceOf("pr", batch(), { index: 7 }));
  await peer.note("index -1", produceApi, 9, produceOf("pr", batch(), { index: -1 }));
  for (const acks of [1, 2, -2, 7]) {
    await peer.note(`acks ${acks}`, produceApi, 9, produceOf("pr", batch(), { acks }));
  }
  await peer.note("no topics", produceApi, 9, { ...produceOf("pr", null), topicData: [] });
  await peer.note("internal", produceApi, 9, produceOf("__consumer_offsets", batch()));
  for (const [label, bytes] of Object.entries(lies())) {
    // Kafka never answers where there are none.
    const waitMs = bytes === null ? 2000 : undefined;
    await peer.note(label, produceApi, 9, produceOf("pr", bytes), waitMs);
  }
  await peer.note(
    "zstd",
    produceApi,
    6,
    produceOf(
      "pr",
      changed(batch(), (b) => b.writeInt16BE(4, 21)),
    ),
  );
}

function lies(): Record<string, Buffer | null> {
  const set = (change: (b: Buffer) => void, seal = true) =>
    changed(batch({ count: 2 }), change, seal);
  return {
    null: null,
    empty: Buffer.alloc(0),
    "ten bytes": Buffer.alloc(10),
    "seventy zeros": Buffer.alloc(70),
    "wrong checksum": set((b) => b.writeUInt32BE(1, 17), false),
    "magic 1": set((b) => b.writeInt8(1, 16), false),
    "magic 0": set((b) => b.writeInt8(0, 16), false),
    "magic 3": set((b) => b.writeInt8(3, 16), false),
    "magic -1": set((b) => b.writeInt8(-1, 16), false),
    "length too long": set((b) => b.writeInt32BE(b.length, 8), false),
    "length too short": set((b) => b.writeInt32BE(b.length - 13, 8), false),
    "length tiny": set((b) => b.writeInt32BE(10, 8), false),
    "length negative": set((b) => b.writeInt32BE(-5, 8), false),
    "two batches": Buffer.concat([batch(), batch()]),
    "trailing bytes": Buffer.concat([batch(), Buffer.alloc(5)]),
    "base offset 5": set((b) => b.writeBigInt64BE(5n, 0)),
    "count too high": set((b) => b.writeInt32BE(3, 57)),
    "count and delta too high": set((b) => [b.writeInt32BE(3, 57), b.writeInt32BE(2, 23)]),
    "count too low": set((b) => [b.writeInt32BE(1, 57), b.writeInt32BE(0, 23)]),
    "count zero": set((b) => [b.writeInt32BE(0, 57), b.writeInt32BE(-1, 23)]),
    "count negative": set((b) => b.writeInt32BE(-1, 57)),
    "delta too high": set((b) => b.writeInt32BE(5, 23)),
    control: batch({ isControl: true }),
    transactional: batch({
      isTransactional: true,
      producerId: 1,
      producerEpoch: 0,
      baseSequence: 0,
    }),
    "log append time": batch({ timestampType: "LogAppendTime" }),
    "codec 5": set((b) => b.writeInt16BE(5, 21)),
    "codec 7": set((b) => b.writeInt16BE(7, 21)),
    "unused attribute": set((b) => b.writeInt16BE(0x80, 21)),
    "delete horizon": set((b) => b.writeInt16BE(0x40, 21)),
    "gzip that is none": set((b) => b.writeInt16BE(1, 21)),
    "record delta wrong": set((b) => b.writeInt8(4, 64)),
    "too large": batch({ value: "x".repeat(1_100_000) }),
    "max timestamp wrong": set((b) => b.writeBigInt64BE(5n, 35)),
    "no timestamps": batch({ timestamps: [-1] }),
    "negative timestamp": batch({ timestamps: [-5] }),
    "in an hour and more": batch({ timestamps: [Date.now() + 3_700_000] }),
    "partition epoch 7": batch({ partitionLeaderEpoch: 7 }),
  };
}

async function produceWithConfigs(peer: Peer): Promise<void> {
  const make = (name: string, config: string, value: string) =>
    create(peer, name, { configs: [{ name: config, value }] });
  await make("pc-compact", "cleanup.policy", "compact");
  await peer.note(
    "compact",
    produceApi,
    9,
    produceOf("pc-compact", batch({ key: null, count: 2 })),
  );
  await peer.note("compact, old", produceApi, 7, produceOf("pc-compact", batch({ key: null })));
  await peer.note("compact, empty key", produceApi, 9, produceOf("pc-compact", batch({ key: "" })));
  await make("pc-after", "message.timestamp.after.max.ms", "1000");
  const later = [Date.now() + day, Date.now(), Date.now() + 2 * day];
  const late = batch({ count: 3, timestamps: later });
  await peer.note("after", produceApi, 9, produceOf("pc-after", late));
  await make("pc-before", "message.timestamp.before.max.ms", "1000");
  const early = batch({ count: 3, timestamps: later.map((at) => at - 3 * day) });
  await peer.note("before", produceApi, 9, produceOf("pc-before", early));
  await peer.note(
    "before, none",
    produceApi,
    9,
    produceOf("pc-before", batch({ timestamps: [-1] })),
  );
  await make("pc-lat", "message.timestamp.type", "LogAppendTime");
  await peer.note("append time", produceApi, 9, produceOf("pc-lat", batch({ timestamps: [5] })));
  await peer.note("append time, far", produceApi, 9, produceOf("pc-lat", late));
  const told = batch({ timestampType: "LogAppendTime" });
  await peer.note("append time, told", produceApi, 9, produceOf("pc-lat", told));
  await make("pc-small", "max.message.bytes", "100");
  await peer.note("small", produceApi, 9, produceOf("pc-small", batch({ value: "x".repeat(90) })));
  await make("pc-isr", "min.insync.replicas", "2");
  await peer.note("insync all", produceApi, 9, produceOf("pc-isr", batch()));
  await peer.note("insync one", produceApi, 9, produceOf("pc-isr", batch(), { acks: 1 }));
  for (const name of ["pc-lat", "pc-isr", "pc-before"]) {
    await peer.note(`read ${name}`, fetchApi, 11, fetchOf(name, [{ fetchOffset: 0 }]));
  }
}

async function idempotent(peer: Peer): Promise<void> {
  await create(peer, "id");
  const init = { transactionalId: null, transactionTimeoutMs: 60_000 };
  let first = await peer.ask(initProducerIdApi, 4, init);
  // Kafka fetches its first block of ids when it is asked for one.
  for (let tries = 0; first.errorCode !== 0 && tries < 50; tries++) {
    await Bun.sleep(50);
    first = await peer.ask(initProducerIdApi, 4, init);
  }
  const second = await peer.ask(initProducerIdApi, 4, init);
  const send = (
    label: string,
    producerId: number,
    epoch: number,
    baseSequence: number,
    count = 1,
  ) =>
    peer.note(label, produceApi, 9, {
      ...produceOf("id", batch({ producerId, producerEpoch: epoch, baseSequence, count })),
    });
  const { producerId } = first;
  await send("unknown producer, sequence 5", producerId, 0, 5);
  await send("sequence 0", second.producerId, 0, 0);
  await send("0 again", second.producerId, 0, 0);
  await send("1 to 3", second.producerId, 0, 1, 3);
  await send("1 to 3 again", second.producerId, 0, 1, 3);
  await send("1 to 2, within", second.producerId, 0, 1, 2);
  await send("gap", second.producerId, 0, 9);
  for (let at = 4; at < 11; at++) await send(`step ${at}`, second.producerId, 0, at);
  await send("an old one again", second.producerId, 0, 0);
  await send("one of the five again", second.producerId, 0, 7);
  await send("new epoch, sequence 3", second.producerId, 1, 3);
  await send("new epoch, sequence 0", second.producerId, 1, 0);
  await send("old epoch", second.producerId, 0, 11);
  await send("sequence -1", second.producerId, 1, -1);
  await send("epoch -1", second.producerId, -1, 0);
  await send("never given out", 987_654_321, 0, 0);
  await send("wrap", 987_654_322, 0, 2_147_483_646);
  await send("wrapped", 987_654_322, 0, 2_147_483_647, 2);
  await send("after wrap", 987_654_322, 0, 1);
  await peer.note("all", fetchApi, 11, fetchOf("id", [{ fetchOffset: 0 }]));
}

async function initProducerId(peer: Peer): Promise<void> {
  const api = initProducerIdApi;
  const plain = { transactionalId: null, transactionTimeoutMs: 60_000 };
  await peer.every("plain", api, [0, 5], () => plain);
  await peer.every("timeout -1", api, [0, 5], () => ({ ...plain, transactionTimeoutMs: -1 }));
  await peer.every("timeout 0", api, [0, 5], () => ({ ...plain, transactionTimeoutMs: 0 }));
  for (const [producerId, producerEpoch] of [
    [5, 1],
    [5, -1],
    [-1, 1],
    [123_456, 0],
  ] as const) {
    const request = { ...plain, producerId, producerEpoch };
    await peer.note(`with ${producerId} ${producerEpoch}`, api, 4, request);
  }
  await peer.note("empty id", api, 4, { ...plain, transactionalId: "" });
}

async function leaderEpochs(peer: Peer): Promise<void> {
  await create(peer, "le");
  await peer.ask(produceApi, 9, produceOf("le", batch({ count: 3 })));
  const api = offsetForLeaderEpochApi;
  const ask = (topic: string, leaderEpoch: number, currentLeaderEpoch = -1, partition = 0) => ({
    topics: [{ topic, partitions: [{ partition, leaderEpoch, currentLeaderEpoch }] }],
  });
  for (const epoch of [-1, 0, 1, 9]) {
    await peer.every(`epoch ${epoch}`, api, [2, 4], () => ask("le", epoch));
    await peer.note(`current ${epoch}`, api, 4, ask("le", 0, epoch));
  }
  await peer.note("no such topic", api, 4, ask("le-none", 0));
  await peer.note("no such index", api, 4, ask("le", 0, -1, 8));
}

async function deleteRecords(peer: Peer): Promise<void> {
  await create(peer, "dr");
  await peer.ask(produceApi, 9, produceOf("dr", batch({ count: 5 })));
  await peer.ask(produceApi, 9, produceOf("dr", batch({ count: 5 })));
  const ask = (offset: number, partitionIndex = 0, name = "dr") => ({
    topics: [{ name, partitions: [{ partitionIndex, offset }] }],
    timeoutMs: 5000,
  });
  for (const offset of [-2, 0, 3, 2, 11, 5, 1e12]) {
    await peer.note(`to ${offset}`, deleteRecordsApi, 2, ask(offset));
  }
  await peer.note("read 2", fetchApi, 12, fetchOf("dr", [{ fetchOffset: 2 }]));
  await peer.note("read 5", fetchApi, 12, fetchOf("dr", [{ fetchOffset: 5 }]));
  await peer.every("to the end", deleteRecordsApi, [0, 2], () => ask(-1));
  await peer.note("read 10", fetchApi, 12, fetchOf("dr", [{ fetchOffset: 10 }]));
  await peer.note("no such topic", deleteRecordsApi, 2, ask(0, 0, "dr-none"));
  await peer.note("no such index", deleteRecordsApi, 2, ask(0, 4));
  await peer.note("internal", deleteRecordsApi, 2, ask(0, 0, "__consumer_offsets"));
  await create(peer, "dr-compact", { configs: [{ name: "cleanup.policy", value: "compact" }] });
  await peer.ask(produceApi, 9, produceOf("dr-compact", batch({ count: 5 })));
  await peer.note("compact", deleteRecordsApi, 2, ask(2, 0, "dr-compact"));
  const times = [-1, -2, -3, 0];
  for (const timestamp of times) {
    await peer.note(`offsets of an emptied log at ${timestamp}`, listOffsetsApi, 7, {
      replicaId: -1,
      topics: [{ name: "dr", partitions: [{ partitionIndex: 0, timestamp }] }],
    });
  }
}

export const dataCases: Readonly<Record<string, Case>> = {
  produce: produce,
  "produce-configs": produceWithConfigs,
  idempotent: idempotent,
  "producer-ids": initProducerId,
  "leader-epochs": leaderEpochs,
  "delete-records": deleteRecords,
};
