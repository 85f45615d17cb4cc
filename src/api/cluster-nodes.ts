import type { MetadataImage } from "../metadata/image.ts";

export interface ClusterNode {
  readonly id: number;
  readonly host: string;
  readonly port: number;
  readonly rack: string | null;
}

/** The brokers with the addresses that clients of `listener` are told, lowest id first. */
export function clusterNodes(image: MetadataImage, listener: string): ClusterNode[] {
  const nodes: ClusterNode[] = [];
  for (const { id, rack, endpoints } of image.brokers.values()) {
    const endpoint = endpoints.find((one) => one.listener === listener) ?? endpoints[0];
    if (endpoint === undefined) continue;
    nodes.push({ id, rack, host: endpoint.host, port: endpoint.port });
  }
  return nodes.sort((left, right) => left.id - right.id);
}

/** Kafka names any live broker here: admin requests may go to each. */
export function controllerId(nodes: readonly ClusterNode[]): number {
  return nodes[0]?.id ?? -1;
}
