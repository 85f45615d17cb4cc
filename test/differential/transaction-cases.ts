import { ErrorCode } from "../../src/protocol/error-code.ts";
import { produceApi } from "../../src/protocol/messages/00-produce.ts";
import { fetchApi } from "../../src/protocol/messages/01-fetch.ts";
import { listOffsetsApi } from "../../src/protocol/messages/02-list-offsets.ts";
import { initProducerIdApi } from "../../src/protocol/messages/22-init-producer-id.ts";
import { addPartitionsToTxnApi } from "../../src/protocol/messages/24-add-partitions-to-txn.ts";
import { addOffsetsToTxnApi } from "../../src/protocol/messages/25-add-offsets-to-txn.ts";
import { endTxnApi } from "../../src/protocol/messages/26-end-txn.ts";
import { writeTxnMarkersApi } from "../../src/protocol/messages/27-write-txn-markers.ts";
import { describeProducersApi } from "../../src/protocol/messages/61-describe-producers.ts";
import { describeTransactionsApi } from "../../src/protocol/messages/65-describe-transactions.ts";
import { listTransactionsApi } from "../../src/protocol/messages/66-list-transactions.ts";
import { batch, produceOf } from "./data-cases.ts";
import { fetchOf } from "./fetch-of.ts";
import type { Case, Peer } from "./peer.ts";
import { create } from "./topic-cases.ts";

/** Who writes in a transaction. */
export interface Writer {
  readonly transactionalId: string;
  readonly producerId: number;
  readonly producerEpoch: number;
}

type Topics = readonly (readonly [name: string, partitions: number[]])[];

const timeoutMs = 60_000;

/** A transactional id with a producer id: asked again while the coordinator gets ready. */
export async function begin(peer: Peer, transactionalId: string, version = 4): Promise<Writer> {
  for (let tries = 0; ; tries++) {
    const request = { transactionalId, transactionTimeoutMs: timeoutMs };
    const answer = await peer.ask(initProducerIdApi, version, request);
    const { errorCode, producerId, producerEpoch } = answer;
    if (errorCode === ErrorCode.NONE) return { transactionalId, producerId, producerEpoch };
    if (tries > 200) throw new Error(`no producer id for ${transactionalId}: ${errorCode}`);
    await Bun.sleep(50);
  }
}

/** Waits until the markers of an ended transaction are written. */
export async function settled(peer: Peer, { transactionalId }: Writer): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    const request = { transactionalIds: [transactionalId] };
    const { transactionStates } = await peer.ask(describeTransactionsApi, 0, request);
    if (!/^Prepare/.test(transactionStates[0]?.transactionState ?? "")) return;
    await Bun.sleep(20);
  }
  throw new Error(`the transaction of ${transactionalId} does not end`);
}

const records = (writer: Writer, baseSequence: number, count = 1) =>
  batch({ ...writer, isTransactional: true, baseSequence, count });

export function written(topic: string, writer: Writer, baseSequence: number, index = 0) {
  const { transactionalId } = writer;
  return produceOf(topic, records(writer, baseSequence), { transactionalId, index });
}

function adding(version: number, writer: Writer, topics: Topics) {
  const named = topics.map(([name, partitions]) => ({ name, partitions }));
  if (version >= 4) return { transactions: [{ ...writer, verifyOnly: false, topics: named }] };
  return {
    v3AndBelowTransactionalId: writer.transactionalId,
    v3AndBelowProducerId: writer.producerId,
    v3AndBelowProducerEpoch: writer.producerEpoch,
    v3AndBelowTopics: named,
  };
}

const end = (writer: Writer, committed: boolean) => ({ ...writer, committed });

/** Ids and timeouts as no client would choose them. */
async function ids(peer: Peer): Promise<void> {
  await begin(peer, "tx-warm");
  const api = initProducerIdApi;
  const hostile = {
    empty: "",
    umlaut: "ü ö/ß\u0000",
    emoji: "😀",
    dots: "..",
  };
  for (const [label, transactionalId] of Object.entries(hostile)) {
    const request = { transactionalId, transactionTimeoutMs: timeoutMs };
    await peer.every(label, api, [0, 5], () => request);
  }
  for (const transactionTimeoutMs of [-2_147_483_648, -1, 0, 1, 900_000, 900_001, 2_147_483_647]) {
    await peer.every(`timeout ${transactionTimeoutMs}`, api, [0, 5], (version) => ({
      transactionalId: `tx-timeout-${transactionTimeoutMs}-${version}`,
      transactionTimeoutMs,
    }));
  }
}

/** Chronik has a limit for ids, Kafka for records only. */
async function longIds(peer: Peer): Promise<void> {
  for (const length of [255, 20_000]) {
    const transactionalId = "x".repeat(length);
    await begin(peer, "tx-warm");
    const request = { transactionalId, transactionTimeoutMs: timeoutMs };
    await peer.note(`${length} characters`, initProducerIdApi, 4, request);
  }
}

/** A producer that names the id and epoch it had: recovery (KIP-360) and fencing. */
async function recovery(peer: Peer): Promise<void> {
  for (const version of [3, 4, 5]) {
    const id = `tx-recover-${version}`;
    const first = await begin(peer, id);
    const ask = (label: string, producerId: number, producerEpoch: number, transactionalId = id) =>
      peer.note(label, initProducerIdApi, version, {
        transactionalId,
        transactionTimeoutMs: timeoutMs,
        producerId,
        producerEpoch,
      });
    await ask("own", first.producerId, 0);
    await ask("own again", first.producerId, 0);
    await ask("epoch behind", first.producerId, 0);
    await ask("epoch ahead", first.producerId, 99);
    await ask("another producer", first.producerId + 1_000_000, 0);
    await ask("an id without an epoch", first.producerId, -1);
    await ask("an epoch without an id", -1, 0);
    await ask("neither", -1, -1);
    await ask("id below -1", -5, 0);
    await ask("unknown id", 77, 0, `tx-recover-none-${version}`);
    await peer.note("then", describeTransactionsApi, 0, { transactionalIds: [id] });
  }
}

async function additions(peer: Peer): Promise<void> {
  await create(peer, "tx-add", { numPartitions: 3 });
  const api = addPartitionsToTxnApi;
  for (let version = 0; version <= 5; version++) {
    const writer = await begin(peer, `tx-add-${version}`);
    const note = (label: string, parts: Partial<Writer>, topics: Topics) =>
      peer.note(label, api, version, adding(version, { ...writer, ...parts }, topics));
    const good: Topics = [["tx-add", [0, 1]]];
    const { producerId } = writer;
    await note("unknown transactional id", { transactionalId: "tx-none" }, good);
    await note("empty transactional id", { transactionalId: "" }, good);
    await note("another producer", { producerId: producerId + 1_000_000 }, good);
    await note("epoch ahead", { producerEpoch: 5 }, good);
    await note("epoch -1", { producerEpoch: -1 }, good);
    await note("unknown topic", {}, [["tx-none", [0]]]);
    await note("known and unknown", {}, [...good, ["tx-none", [0]]]);
    await note("unknown index", {}, [["tx-add", [0, 9]]]);
    await note("bad name", {}, [["a b", [0]]]);
    await note("internal", {}, [["__consumer_offsets", [0]]]);
    await note("no partitions", {}, [["tx-add", []]]);
    await note("nothing", {}, []);
    await note("good", {}, good);
    await note("good again", {}, good);
    await note("one more", {}, [["tx-add", [2]]]);
    await peer.note(`then of v${version}`, describeTransactionsApi, 0, {
      transactionalIds: [writer.transactionalId],
    });
    await peer.ask(endTxnApi, 4, end(writer, false));
    await settled(peer, writer);
  }
  for (const version of [4, 5]) await verifications(peer, version);
}

/** What brokers ask before they append (KIP-890). */
async function verifications(peer: Peer, version: number): Promise<void> {
  const writer = await begin(peer, `tx-verify-${version}`);
  const topics = (...partitions: number[]) => [{ name: "tx-add", partitions }];
  const one = (partitions: number[], verifyOnly = true) => ({
    ...writer,
    verifyOnly,
    topics: topics(...partitions),
  });
  const note = (label: string, ...transactions: ReturnType<typeof one>[]) =>
    peer.note(label, addPartitionsToTxnApi, version, { transactions });
  await note("verify what is not there", one([0]));
  await note("add", one([0], false));
  await note("verify what is there", one([0]));
  await note("verify one of two", one([0, 1]));
  await note("verify another index", one([9]));
  await note("two", one([1], false), { ...one([0]), transactionalId: "tx-none" });
  await note("verify, epoch behind", { ...one([0]), producerEpoch: writer.producerEpoch - 1 });
}

async function offsetsAdded(peer: Peer): Promise<void> {
  const api = addOffsetsToTxnApi;
  for (let version = 0; version <= 4; version++) {
    const writer = await begin(peer, `tx-off-${version}`);
    const note = (label: string, parts: Partial<Writer>, groupId = "tx-g") =>
      peer.note(label, api, version, { ...writer, groupId, ...parts });
    await note("unknown transactional id", { transactionalId: "tx-none" });
    await note("empty transactional id", { transactionalId: "" });
    await note("another producer", { producerId: writer.producerId + 1_000_000 });
    await note("epoch ahead", { producerEpoch: 5 });
    await note("empty group", {}, "");
    await note("good", {});
    await note("again", {});
    await peer.ask(endTxnApi, 4, end(writer, true));
    await settled(peer, writer);
  }
}

/** EndTxn in every state a transaction can be in. */
async function ends(peer: Peer): Promise<void> {
  await create(peer, "tx-end");
  for (let version = 0; version <= 5; version++) {
    for (const committed of [true, false]) {
      const word = committed ? "commit" : "abort";
      let writer = await begin(peer, `tx-end-${version}-${word}`);
      const note = (label: string, parts: object = {}) =>
        peer.note(`${word}: ${label}`, endTxnApi, version, { ...end(writer, committed), ...parts });
      await note("empty");
      await note("unknown transactional id", { transactionalId: "tx-none" });
      await note("empty transactional id", { transactionalId: "" });
      if (version >= 5) {
        // An abort of nothing bumped the epoch.
        await settled(peer, writer);
        writer = await begin(peer, writer.transactionalId);
      }
      await peer.ask(addPartitionsToTxnApi, 3, adding(3, writer, [["tx-end", [0]]]));
      await note("another producer", { producerId: writer.producerId + 1_000_000 });
      await note("epoch ahead", { producerEpoch: 50 });
      await note("epoch behind", { producerEpoch: writer.producerEpoch - 1 });
      await note("ongoing");
      await settled(peer, writer);
      await note("repeated");
      await note("the other way", { committed: !committed });
      const request = { transactionalIds: [writer.transactionalId] };
      await peer.note(`${word}: then of EndTxn v${version}`, describeTransactionsApi, 0, request);
    }
  }
}

/** Records of transactions that began, did not, or are over. */
async function writes(peer: Peer): Promise<void> {
  await create(peer, "tx-write", { numPartitions: 2 });
  for (const version of [3, 9, 11, 12]) {
    const writer = await begin(peer, `tx-write-${version}`);
    const put = (label: string, sequence: number, parts: Partial<Writer> = {}, index = 0) => {
      const request = written("tx-write", { ...writer, ...parts }, sequence, index);
      return peer.note(label, produceApi, version, request);
    };
    await put("another transactional id", 0, { transactionalId: "tx-none" });
    await put("not begun", 0);
    // Elsewhere: Kafka remembers the sequence of what it refused.
    await put("epoch ahead", 0, { producerEpoch: 9 }, 1);
    await peer.note("no transactional id", produceApi, version, {
      ...written("tx-write", writer, 0),
      transactionalId: null,
    });
    const add = (partitions: number[]) => adding(3, writer, [["tx-write", partitions]]);
    await peer.ask(addPartitionsToTxnApi, 3, add([0]));
    await put("begun", version >= 12 ? 1 : 0);
    await put("begun, another partition", 0, {}, 1);
    await put("gap", 30);
    await peer.ask(endTxnApi, 4, end(writer, version % 2 === 0));
    await settled(peer, writer);
    await put("over", 2);
    await peer.note("read", fetchApi, 12, {
      ...fetchOf("tx-write", [{ fetchOffset: 0 }, { fetchOffset: 0, partition: 1 }]),
      isolationLevel: 1,
    });
    const next = await begin(peer, `tx-write-${version}`);
    await put("fenced", 3);
    await peer.note("fenced", addPartitionsToTxnApi, 3, add([0]));
    await peer.note("fenced", endTxnApi, 4, end(writer, true));
    await peer.note("fenced", addOffsetsToTxnApi, 3, { ...writer, groupId: "tx-g" });
    await peer.ask(endTxnApi, 4, end(next, false));
  }
}

/** What is seen of an open transaction, and of its end. */
async function visibility(peer: Peer): Promise<void> {
  await create(peer, "tx-see");
  const writer = await begin(peer, "tx-see");
  const look = async (label: string) => {
    for (const isolationLevel of [0, 1]) {
      const read = { ...fetchOf("tx-see", [{ fetchOffset: 0 }]), isolationLevel };
      await peer.note(`${label}, isolation ${isolationLevel}`, fetchApi, 12, read);
      for (const timestamp of [-1, -3]) {
        const partitions = [{ partitionIndex: 0, timestamp }];
        await peer.note(
          `${label}, isolation ${isolationLevel} at ${timestamp}`,
          listOffsetsApi,
          7,
          {
            replicaId: -1,
            isolationLevel,
            topics: [{ name: "tx-see", partitions }],
          },
        );
      }
    }
    await peer.note(label, describeProducersApi, 0, {
      topics: [
        { name: "tx-see", partitionIndexes: [0, 7] },
        { name: "tx-none", partitionIndexes: [0] },
      ],
    });
    await peer.note(label, describeTransactionsApi, 0, {
      transactionalIds: ["tx-see", "", "tx-none", "tx-see"],
    });
  };
  await look("before");
  await peer.ask(addPartitionsToTxnApi, 3, adding(3, writer, [["tx-see", [0]]]));
  await look("added");
  await peer.ask(produceApi, 9, written("tx-see", writer, 0));
  await peer.ask(produceApi, 9, produceOf("tx-see", batch()));
  await look("open");
  await peer.ask(endTxnApi, 4, end(writer, false));
  await settled(peer, writer);
  await look("aborted");
  await peer.ask(addPartitionsToTxnApi, 3, adding(3, writer, [["tx-see", [0]]]));
  await peer.ask(produceApi, 9, written("tx-see", writer, 1));
  await peer.ask(endTxnApi, 4, end(writer, true));
  await settled(peer, writer);
  await look("committed");
}

async function lists(peer: Peer): Promise<void> {
  const api = listTransactionsApi;
  await create(peer, "tx-list");
  const open = await begin(peer, "tx-list-open");
  await peer.ask(addPartitionsToTxnApi, 3, adding(3, open, [["tx-list", [0]]]));
  const done = await begin(peer, "tx-list-done");
  await peer.ask(addPartitionsToTxnApi, 3, adding(3, done, [["tx-list", [0]]]));
  await peer.ask(endTxnApi, 4, end(done, true));
  await settled(peer, done);
  const none = { stateFilters: [], producerIdFilters: [] };
  const filters = {
    "of producers": { ...none, producerIdFilters: [open.producerId, done.producerId] },
    "of a stranger": { ...none, producerIdFilters: [-1, 9e15] },
    ongoing: { stateFilters: ["Ongoing"], producerIdFilters: [open.producerId, done.producerId] },
    "unknown states": { ...none, stateFilters: ["Ongoing", "ongoing", "", "Dead", "No"] },
    "only unknown": { ...none, stateFilters: ["No", "No"] },
  };
  for (const [label, request] of Object.entries(filters)) {
    await peer.every(label, api, [0, 2], () => request);
  }
  for (const durationFilter of [-2, -1, 0, 3_600_000, Number.MAX_SAFE_INTEGER]) {
    const request = { ...none, producerIdFilters: [open.producerId], durationFilter };
    await peer.every(`for ${durationFilter} ms`, api, [1, 2], () => request);
  }
  const patterns = [
    "tx-list-.*",
    "tx-list",
    "",
    "(",
    "(a)\\1",
    "a**",
    ".*-open|.*-done",
    "^tx-list",
  ];
  for (const transactionalIdPattern of [...patterns, "(?i)TX-LIST-O.*", "[[:alpha:]]x-list.*"]) {
    await peer.note(`like ${transactionalIdPattern}`, api, 2, {
      ...none,
      producerIdFilters: [open.producerId, done.producerId],
      transactionalIdPattern,
    });
  }
  await peer.ask(endTxnApi, 4, end(open, false));
}

/** Markers as a coordinator, or somebody who says so, would write them. */
async function markers(peer: Peer): Promise<void> {
  await create(peer, "tx-mark", { numPartitions: 2 });
  const writer = await begin(peer, "tx-mark");
  await peer.ask(addPartitionsToTxnApi, 3, adding(3, writer, [["tx-mark", [0]]]));
  await peer.ask(produceApi, 9, written("tx-mark", writer, 0));
  const { producerId, producerEpoch } = writer;
  const note = (label: string, version: number, parts: object = {}, names = ["tx-mark"]) =>
    peer.note(label, writeTxnMarkersApi, version, {
      markers: [
        {
          producerId,
          producerEpoch,
          transactionResult: true,
          topics: names.map((name) => ({ name, partitionIndexes: [0] })),
          coordinatorEpoch: 5,
          ...parts,
        },
      ],
    });
  await note("unknown topic", 1, {}, ["tx-none"]);
  await note("unknown index", 1, { topics: [{ name: "tx-mark", partitionIndexes: [8] }] });
  await note("epoch behind", 1, { producerEpoch: producerEpoch - 1 });
  await note("good", 1);
  await note("again", 1);
  await note("coordinator behind", 1, { coordinatorEpoch: 4 });
  await note("coordinator ahead", 1, { coordinatorEpoch: 6, transactionResult: false });
  await note("nobody's", 1, { producerId: 8_888_888, producerEpoch: 0 });
  for (const transactionVersion of [0, 1, 2]) {
    await note(`transaction version ${transactionVersion}`, 2, { transactionVersion });
    const producerEpochs = { transactionVersion, producerEpoch: producerEpoch + 3 };
    await note(`transaction version ${transactionVersion}, epoch on`, 2, producerEpochs);
  }
  await peer.note("then", describeProducersApi, 0, {
    topics: [{ name: "tx-mark", partitionIndexes: [0] }],
  });
  await peer.note("then", fetchApi, 12, {
    ...fetchOf("tx-mark", [{ fetchOffset: 0 }]),
    isolationLevel: 1,
  });
}

export const transactionCases: Readonly<Record<string, Case>> = {
  "transaction-ids": ids,
  "transaction-long-ids": longIds,
  "transaction-recovery": recovery,
  "transaction-partitions": additions,
  "transaction-groups": offsetsAdded,
  "transaction-ends": ends,
  "transaction-writes": writes,
  "transaction-visibility": visibility,
  "transaction-lists": lists,
  "transaction-markers": markers,
};
