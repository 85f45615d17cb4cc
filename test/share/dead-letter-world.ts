import type { BrokerError } from "../../src/lib/errors.ts";
import type { Partition } from "../../src/log/partition.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { batchesIn, recordsPayload } from "../../src/protocol/record-batch.ts";
import { parseRecords } from "../../src/protocol/records.ts";
import { shareConfigDefaults, shareGroupSettings } from "../../src/share/config.ts";
import type { Destination } from "../../src/share/dead-letter-topic.ts";
import type { DeadLetterEvents } from "../../src/share/dead-letters.ts";
import { ShareGroups } from "../../src/share/share-groups.ts";
import type { SharePartition } from "../../src/share/share-partition.ts";
import { batch, LogLab, topicA, topicB } from "../support/log-lab.ts";
import { StateWorld } from "./state-world.ts";

const key = { groupId: "g", topicId: topicA.id, partition: 0 };
const noPartition = "the partition of dlq.b is not open";

/** Group "g" reads topic "a" and its dead letters go to topic "b", over partitions in memory. */
export class DeadLetterWorld {
  readonly lab: LogLab;
  readonly states: StateWorld;
  readonly heard: string[] = [];
  readonly configs = new Map([
    ["share.auto.offset.reset", "earliest"],
    ["share.delivery.count.limit", "2"],
    ["errors.deadletterqueue.topic.name", "dlq.b"],
    ["errors.deadletterqueue.copy.record.enable", "true"],
  ]);
  source: Partition | null = null;
  queue: Partition | null = null;
  destination: Destination = { kind: "failed", reason: noPartition };
  /** What finding a destination waits for, and how often one was looked for. */
  beforeFind: Promise<void> | null = null;
  finds = 0;
  /** share.version is 2. */
  servesDeadLetters = true;
  decompressError: BrokerError | null = null;
  groups: ShareGroups;

  constructor(lab = new LogLab(), states = new StateWorld()) {
    this.lab = lab;
    this.states = states;
    this.groups = this.open();
  }

  /** As after kill -9: what was durable is there. */
  async restart(): Promise<DeadLetterWorld> {
    const again = new DeadLetterWorld(this.lab.restart(), this.states);
    for (const [name, value] of this.configs) again.configs.set(name, value);
    await again.start();
    return again;
  }

  async start(maxMessageBytes = 1_048_588): Promise<void> {
    this.source = await this.lab.open({}, 0, topicA, 0);
    this.queue = await this.lab.open({ maxMessageBytes }, 0, topicB, 0);
    this.destination = { kind: "found", partition: this.queue };
    await this.groups.persister.initialize([{ key, epoch: 1, start: -1 }], false);
    const session = { groupId: "g", memberId: "m", connectionId: 1, epoch: 0 };
    const added = [{ topicId: topicA.id, partition: 0 }];
    this.groups.sessions.fetch({ ...session, added, forgotten: [], acknowledges: false });
  }

  async share(partition = 0): Promise<SharePartition> {
    const share = this.groups.partition("g", { ...key, partition });
    if (typeof share === "number") throw new Error(`error ${share}`);
    const errorCode = await share.load();
    if (errorCode !== ErrorCode.NONE) throw new Error(`error ${errorCode}`);
    return share;
  }

  /** Partitions of the source from 1 on, with a record each. */
  async morePartitions(count: number): Promise<SharePartition[]> {
    const shares: SharePartition[] = [];
    for (let partition = 1; partition <= count; partition++) {
      const log = await this.lab.open({}, 0, topicA, partition);
      await log.append(batch(), { origin: "client" });
      const init = { key: { ...key, partition }, epoch: 1, start: -1 };
      await this.groups.persister.initialize([init], false);
      shares.push(await this.share(partition));
    }
    return shares;
  }

  /** All there is to acquire: "first-last:delivery count". */
  take(share: SharePartition, memberId = "m"): string {
    const end = share.log.highWatermark;
    const fetchOffset = share.beginRead(end);
    if (fetchOffset === null) return "";
    const logBatches = [{ base: fetchOffset, last: end - 1 }];
    const limits = { mode: "batch_optimized", batchSize: 100, maxRecords: 100 } as const;
    const acquired = share.acquire({ memberId, ...limits, fetchOffset, logBatches }, []);
    share.endRead();
    return acquired.map((one) => `${one.first}-${one.last}:${one.deliveryCount}`).join(" ");
  }

  /** "key=value|header=…" of every record in the queue. */
  async letters(): Promise<string[]> {
    const { queue } = this;
    if (queue === null || queue.highWatermark === 0) return [];
    const offsetLimit = queue.highWatermark;
    const read = await queue.read({ offset: 0, bytesMax: 64 << 20, offsetLimit });
    const text = (bytes: Uint8Array | null) =>
      bytes === null ? "null" : Buffer.from(bytes).toString();
    return read.chunks.flatMap((chunk) =>
      [...batchesIn(chunk)].flatMap(({ position, header }) =>
        parseRecords(recordsPayload(chunk, position, header), header).map((record) => {
          const headers = record.headers.map((one) => `${one.key}=${text(one.value)}`);
          return [`${text(record.key)}=${text(record.value)}`, ...headers].join("|");
        }),
      ),
    );
  }

  /** The offsets that the queue's records tell of. */
  async offsets(): Promise<number[]> {
    const found = (await this.letters()).map((one) => /__dlq.errors.offset=(\d+)/.exec(one)?.[1]);
    return found.map(Number);
  }

  private open(): ShareGroups {
    const { lab } = this;
    const events: DeadLetterEvents = {
      copied: (records, isRejected) => this.heard.push(`copied ${records} ${isRejected}`),
      refused: (_job, records, reason) => this.heard.push(`refused ${records}: ${reason}`),
      failed: (_job, reason) => this.heard.push(`failed: ${reason}`),
    };
    return new ShareGroups({
      config: shareConfigDefaults,
      persister: this.states.open(),
      clock: lab.clock,
      find: ({ topicId, partition }) =>
        lab.partitions.byId(topicId, partition) ?? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
      settingsOf: () =>
        shareGroupSettings(this.configs, shareConfigDefaults, this.servesDeadLetters),
      deadLetters: {
        readBudget: lab.partitions.readBudget,
        find: async (topic) => {
          this.finds++;
          await this.beforeFind;
          return topic === null ? { kind: "refused", reason: "no queue" } : this.destination;
        },
        decompress: async (codec, records) => {
          if (this.decompressError !== null) throw this.decompressError;
          return await lab.wal.decompress(codec, records);
        },
        events,
      },
    });
  }
}
