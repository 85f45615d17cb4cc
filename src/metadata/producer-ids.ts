/** Gives out blocks of producer ids; durable before it resolves. */
export interface ProducerIdBlocks {
  /** First id of a block of `count` that nobody else ever gets. */
  allocateProducerIds(count: number): Promise<number>;
}

const blockCount = 1000;

/** Producer ids for InitProducerId: unique over restarts, since blocks are (the rest of a block is
 * given up at a restart). */
export class ProducerIds {
  private readonly blocks: ProducerIdBlocks;
  private nextId = 0;
  private endId = 0;
  private refill: Promise<void> | null = null;

  constructor(blocks: ProducerIdBlocks) {
    this.blocks = blocks;
  }

  /** Rejects with BrokerError when no block could be written. */
  async next(): Promise<{ producerId: number; producerEpoch: 0 }> {
    while (this.nextId >= this.endId) {
      this.refill ??= this.fetchBlock();
      await this.refill;
    }
    const producerId = this.nextId;
    this.nextId += 1;
    return { producerId, producerEpoch: 0 };
  }

  private async fetchBlock(): Promise<void> {
    try {
      this.nextId = await this.blocks.allocateProducerIds(blockCount);
      this.endId = this.nextId + blockCount;
    } finally {
      this.refill = null;
    }
  }
}
