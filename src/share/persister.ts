import { assert } from "../lib/assert.ts";
import type { Clock, Timer } from "../lib/clock.ts";
import type { BrokerError } from "../lib/errors.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import type { ShareConfig } from "./config.ts";
import type { StateTopic } from "./ports.ts";
import { type ShareKey, type ShareState, stateKey } from "./records.ts";
import { StateShard, type StateWrite } from "./state-shard.ts";

export interface PersisterOptions {
  readonly config: ShareConfig;
  readonly topic: StateTopic;
  readonly clock: Clock;
  readonly onProblem: (error: BrokerError) => void;
}

export type ReadState =
  | { readonly errorCode: typeof ErrorCode.NONE; readonly state: ShareState }
  | { readonly errorCode: number; readonly state: null };

export interface StateInit {
  readonly key: ShareKey;
  readonly epoch: number;
  /** −1: share.auto.offset.reset decides when it is first read. */
  readonly start: number;
}

/** What is durable about share partitions: the share coordinator, in `__share_group_state`. */
export class Persister {
  private readonly options: PersisterOptions;
  private readonly shards: readonly StateShard[];
  private timer: Timer | null = null;
  private isClosed = false;

  constructor(options: PersisterOptions) {
    this.options = options;
    const { config, clock, onProblem, topic } = options;
    const context = { config, clock, onProblem, usage: { states: 0 } };
    this.shards = Array.from(
      { length: topic.partitionCount },
      (_, partition) => new StateShard(partition, context, () => topic.open(partition)),
    );
  }

  /** Loads what is stored. What cannot be loaded is tried again when it is asked for. */
  async start(): Promise<void> {
    this.schedulePrune();
    if (!this.options.topic.exists) return;
    for (const shard of this.shards) await shard.becomeReady();
  }

  close(): void {
    this.isClosed = true;
    this.timer?.cancel();
  }

  /** Where the key's state is, or would be. */
  partitionFor(key: ShareKey): number {
    return this.options.topic.partitionFor(stateKey(key));
  }

  /** Makes the partition of the state topic exist, where the key's state belongs. */
  async ready(key: ShareKey): Promise<number> {
    return await this.shardOf(key).becomeReady();
  }

  /** Whether the state is known to exist. */
  has(key: ShareKey): boolean {
    return this.shardOf(key).find(key) !== null;
  }

  async read(key: ShareKey): Promise<ReadState> {
    const shard = this.shardOf(key);
    const errorCode = await shard.becomeReady();
    if (errorCode !== ErrorCode.NONE) return { errorCode, state: null };
    const state = shard.find(key);
    if (state === null) return { errorCode: ErrorCode.INVALID_REQUEST, state: null };
    return { errorCode: ErrorCode.NONE, state };
  }

  /** Resolves with an ErrorCode once the change is durable. */
  async write(key: ShareKey, write: StateWrite): Promise<number> {
    const shard = this.shardOf(key);
    const errorCode = await shard.becomeReady();
    return errorCode === ErrorCode.NONE ? await shard.write(key, write) : errorCode;
  }

  /** Begins states; those that exist are left alone unless `anew`. An ErrorCode for each. */
  async initialize(inits: readonly StateInit[], anew: boolean): Promise<number[]> {
    return await this.byShard(
      inits,
      ({ key }) => key,
      (shard, some) => {
        const wanted = anew ? some : some.filter(({ key }) => shard.find(key) === null);
        return wanted.length === 0 ? Promise.resolve(ErrorCode.NONE) : shard.initialize(wanted);
      },
    );
  }

  /** Forgets states, those that do not exist included. An ErrorCode for each. */
  async remove(keys: readonly ShareKey[]): Promise<number[]> {
    return await this.byShard(
      keys,
      (key) => key,
      (shard, some) => shard.remove(some),
    );
  }

  /** A topic is gone: so are the states of its partitions. */
  async topicDeleted(topicId: string): Promise<void> {
    if (!this.options.topic.exists) return;
    const keys = this.shards.flatMap((shard) => shard.keys());
    await this.remove(keys.filter((key) => key.topicId === topicId));
  }

  private async byShard<Item>(
    items: readonly Item[],
    keyOf: (item: Item) => ShareKey,
    work: (shard: StateShard, items: readonly Item[]) => Promise<number>,
  ): Promise<number[]> {
    const groups = new Map<StateShard, { readonly index: number; readonly item: Item }[]>();
    for (const [index, item] of items.entries()) {
      const shard = this.shardOf(keyOf(item));
      const group = groups.get(shard) ?? [];
      groups.set(shard, group);
      group.push({ index, item });
    }
    const results = items.map((): number => ErrorCode.NONE);
    const jobs = [...groups].map(async ([shard, group]) => {
      const notReady = await shard.becomeReady();
      const errorCode =
        notReady === ErrorCode.NONE
          ? await work(
              shard,
              group.map(({ item }) => item),
            )
          : notReady;
      for (const { index } of group) results[index] = errorCode;
    });
    await Promise.all(jobs);
    return results;
  }

  private shardOf(key: ShareKey): StateShard {
    const shard = this.shards[this.partitionFor(key)];
    assert(shard !== undefined, "every key has a partition");
    return shard;
  }

  private schedulePrune(): void {
    const { clock, config } = this.options;
    this.timer = clock.schedule(config.pruneIntervalMs, () => void this.prune());
  }

  private async prune(): Promise<void> {
    for (const shard of this.shards) if (!this.isClosed) await shard.prune();
    if (!this.isClosed) this.schedulePrune();
  }
}
