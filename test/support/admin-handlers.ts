import { metadataHandler } from "../../src/api/03-metadata.ts";
import { createTopicsHandler } from "../../src/api/19-create-topics.ts";
import { deleteTopicsHandler } from "../../src/api/20-delete-topics.ts";
import { describeConfigsHandler } from "../../src/api/32-describe-configs.ts";
import { alterConfigsHandler } from "../../src/api/33-alter-configs.ts";
import { describeLogDirsHandler, type VolumeSpace } from "../../src/api/35-describe-log-dirs.ts";
import { createPartitionsHandler } from "../../src/api/37-create-partitions.ts";
import { incrementalAlterConfigsHandler } from "../../src/api/44-incremental-alter-configs.ts";
import { describeClientQuotasHandler } from "../../src/api/48-describe-client-quotas.ts";
import { alterClientQuotasHandler } from "../../src/api/49-alter-client-quotas.ts";
import { describeClusterHandler } from "../../src/api/60-describe-cluster.ts";
import { describeTopicPartitionsHandler } from "../../src/api/75-describe-topic-partitions.ts";
import type { ApiHandler } from "../../src/api/context.ts";

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
    describeClientQuotasHandler,
    alterClientQuotasHandler,
    describeClusterHandler,
    describeTopicPartitionsHandler,
  ];
}
