export interface Ask {
  readonly partition?: number;
  readonly fetchOffset: number;
  readonly currentLeaderEpoch?: number;
  readonly lastFetchedEpoch?: number;
  readonly partitionMaxBytes?: number;
}

export interface FetchParts {
  readonly maxWaitMs?: number;
  readonly minBytes?: number;
  readonly maxBytes?: number;
  readonly isolationLevel?: number;
  readonly sessionId?: number;
  readonly sessionEpoch?: number;
  readonly topicId?: string;
  readonly replicaId?: number;
  readonly rackId?: string;
}

export function fetchOf(topic: string, asks: readonly Ask[], parts: FetchParts = {}) {
  const { topicId, ...rest } = parts;
  const partitions = asks.map((ask) => ({ partition: 0, partitionMaxBytes: 1 << 20, ...ask }));
  const topics = [topicId === undefined ? { topic, partitions } : { topicId, partitions }];
  const wait = { maxWaitMs: 50, minBytes: 1, maxBytes: 1 << 20, sessionEpoch: -1 };
  return { ...wait, ...rest, topics };
}
