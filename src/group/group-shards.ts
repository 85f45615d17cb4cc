import { assert } from "../lib/assert.ts";
import type { Clock } from "../lib/clock.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import type { GroupConfig } from "./config.ts";
import type { ShardContext } from "./entry.ts";
import { partitionForGroup } from "./partition-hash.ts";
import type { CoordinatorTopics } from "./ports.ts";
import { GroupShard } from "./shard.ts";

/** The shard of a group, and why a request for the group is refused (0: it is not). */
export interface ShardLookup {
  readonly shard: GroupShard;
  readonly errorCode: number;
}

/** All groups of a coordinator, by partition of `__consumer_offsets`. */
export class GroupShards {
  readonly context: ShardContext;
  readonly all: readonly GroupShard[];
  isStarting = false;
  private closed = false;

  constructor(context: ShardContext) {
    this.context = context;
    const { topics } = context;
    this.all = Array.from(
      { length: topics.partitionCount },
      (_, partition) => new GroupShard(partition, context, () => topics.offsetsLog(partition)),
    );
  }

  get config(): GroupConfig {
    return this.context.config;
  }

  get topics(): CoordinatorTopics {
    return this.context.topics;
  }

  get clock(): Clock {
    return this.context.clock;
  }

  get isClosed(): boolean {
    return this.closed;
  }

  close(): void {
    this.closed = true;
    for (const shard of this.all) shard.close();
  }

  shardOf(groupId: string): GroupShard {
    const shard = this.all[partitionForGroup(groupId, this.topics.partitionCount)];
    assert(shard !== undefined, "every group has a partition");
    return shard;
  }

  /**
   * The group's shard, loaded if need be. Answers at once when nothing has to be loaded, so that
   * a connection's requests keep their order.
   */
  ready(groupId: string, emptyId?: "emptyIdIsFine"): ShardLookup | Promise<ShardLookup> {
    const shard = this.shardOf(groupId);
    const errorCode = this.refusal(groupId, emptyId);
    if (errorCode !== ErrorCode.NONE || shard.isReady) return { shard, errorCode };
    return shard.becomeReady().then((loadError) => ({ shard, errorCode: loadError }));
  }

  hasRoomFor(bytes: number): boolean {
    return this.context.usage.bytes + bytes <= this.config.stateBytesMax;
  }

  /** Why a request for this group id is refused before anything is looked at; 0 if it is not. */
  private refusal(groupId: string, emptyId?: "emptyIdIsFine"): number {
    if (this.isClosed) return ErrorCode.COORDINATOR_NOT_AVAILABLE;
    if (groupId.length > this.config.textCharsMax) return ErrorCode.INVALID_GROUP_ID;
    return groupId === "" && emptyId === undefined ? ErrorCode.INVALID_GROUP_ID : ErrorCode.NONE;
  }
}
