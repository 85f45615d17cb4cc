import { featureLevel } from "../metadata/features.ts";
import type { Services } from "./context.ts";

const groupFeature = "group.version";

/** Whether the cluster's features have the consumer protocol (KIP-848); without it its APIs are
 * not served, and its clients are told so (UNSUPPORTED_VERSION). */
export function servesConsumerGroups({ metadata }: Services): boolean {
  return featureLevel(metadata.image, groupFeature) > 0;
}
