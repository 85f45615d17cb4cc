import { metadataHandler } from "./03-metadata.ts";
import { createTopicsHandler } from "./19-create-topics.ts";
import { deleteTopicsHandler } from "./20-delete-topics.ts";
import { describeConfigsHandler } from "./32-describe-configs.ts";
import { alterConfigsHandler } from "./33-alter-configs.ts";
import { describeLogDirsHandler, type VolumeSpace } from "./35-describe-log-dirs.ts";
import { createPartitionsHandler } from "./37-create-partitions.ts";
import { incrementalAlterConfigsHandler } from "./44-incremental-alter-configs.ts";
import { describeClusterHandler } from "./60-describe-cluster.ts";
import { describeTopicPartitionsHandler } from "./75-describe-topic-partitions.ts";
import type { ApiHandler } from "./context.ts";

/** The handlers of cluster, topics and configs; ApiVersions is the router's own. */
export function adminHandlers(volumeSpace: VolumeSpace): ApiHandler<unknown, unknown>[] {
  return [
    metadataHandler,
    createTopicsHandler,
    deleteTopicsHandler,
    describeConfigsHandler,
    alterConfigsHandler,
    describeLogDirsHandler(volumeSpace),
    createPartitionsHandler,
    incrementalAlterConfigsHandler,
    describeClusterHandler,
    describeTopicPartitionsHandler,
  ];
}
