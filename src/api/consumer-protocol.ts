import { featureLevel } from "../metadata/features.ts";
import type { Services } from "./context.ts";

const groupFeature = "group.version";

/** Whether the cluster's features have groups of the consumer protocol (KIP-848); without them
 * its APIs are not served. */
export function servesConsumerProtocol({ metadata }: Services): boolean {
  return featureLevel(metadata.image, groupFeature) > 0;
}
