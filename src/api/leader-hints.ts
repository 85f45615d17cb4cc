/** Who leads, told beside an error (KIP-951), so that clients need no round of Metadata. */
import { clusterNodes } from "./cluster-nodes.ts";
import type { RequestContext, Services } from "./context.ts";

export interface CurrentLeader {
  readonly leaderId: number;
  readonly leaderEpoch: number;
}

export interface NodeEndpoint {
  readonly nodeId: number;
  readonly host: string;
  readonly port: number;
  readonly rack: string | null;
}

/** Of a partition named by id, or by name where `topicId` is unknown; −1/−1: nobody known. */
export function currentLeader(
  { metadata, partitions }: Services,
  { topic, topicId, partition }: { topic: string; topicId: string; partition: number },
): CurrentLeader {
  const { topicsById, topicsByName } = metadata.image;
  const image = (topicsById.get(topicId) ?? topicsByName.get(topic))?.partitions[partition];
  const open = partitions.byId(topicId, partition) ?? partitions.get(topic, partition);
  if (image === undefined) return { leaderId: -1, leaderEpoch: -1 };
  return { leaderId: image.leader, leaderEpoch: open?.leaderEpoch ?? image.leaderEpoch };
}

/** Where the leaders named in hints listen, each once. */
export function leaderEndpoints(
  { services, session }: RequestContext,
  leaderIds: ReadonlySet<number>,
): NodeEndpoint[] {
  if (leaderIds.size === 0) return [];
  return clusterNodes(services.metadata.image, session.listener)
    .filter(({ id }) => leaderIds.has(id))
    .map(({ id, host, port, rack }) => ({ nodeId: id, host, port, rack }));
}
