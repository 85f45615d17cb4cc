import { metadataHandler } from "../../src/api/03-metadata.ts";
import { createTopicsHandler } from "../../src/api/19-create-topics.ts";
import { deleteTopicsHandler } from "../../src/api/20-delete-topics.ts";
import { describeAclsHandler } from "../../src/api/29-describe-acls.ts";
import { createAclsHandler } from "../../src/api/30-create-acls.ts";
import { deleteAclsHandler } from "../../src/api/31-delete-acls.ts";
import { describeConfigsHandler } from "../../src/api/32-describe-configs.ts";
import { alterConfigsHandler } from "../../src/api/33-alter-configs.ts";
import { alterReplicaLogDirsHandler } from "../../src/api/34-alter-replica-log-dirs.ts";
import { describeLogDirsHandler, type VolumeSpace } from "../../src/api/35-describe-log-dirs.ts";
import { createPartitionsHandler } from "../../src/api/37-create-partitions.ts";
import { createDelegationTokenHandler } from "../../src/api/38-create-delegation-token.ts";
import { renewDelegationTokenHandler } from "../../src/api/39-renew-delegation-token.ts";
import { expireDelegationTokenHandler } from "../../src/api/40-expire-delegation-token.ts";
import { describeDelegationTokenHandler } from "../../src/api/41-describe-delegation-token.ts";
import { electLeadersHandler } from "../../src/api/43-elect-leaders.ts";
import { incrementalAlterConfigsHandler } from "../../src/api/44-incremental-alter-configs.ts";
import { alterPartitionReassignmentsHandler } from "../../src/api/45-alter-partition-reassignments.ts";
import { listPartitionReassignmentsHandler } from "../../src/api/46-list-partition-reassignments.ts";
import { describeClientQuotasHandler } from "../../src/api/48-describe-client-quotas.ts";
import { alterClientQuotasHandler } from "../../src/api/49-alter-client-quotas.ts";
import { describeUserScramCredentialsHandler } from "../../src/api/50-describe-user-scram-credentials.ts";
import { alterUserScramCredentialsHandler } from "../../src/api/51-alter-user-scram-credentials.ts";
import { describeQuorumHandler } from "../../src/api/55-describe-quorum.ts";
import { updateFeaturesHandler } from "../../src/api/57-update-features.ts";
import { describeClusterHandler } from "../../src/api/60-describe-cluster.ts";
import { unregisterBrokerHandler } from "../../src/api/64-unregister-broker.ts";
import { listConfigResourcesHandler } from "../../src/api/74-list-config-resources.ts";
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
    alterReplicaLogDirsHandler,
    describeAclsHandler,
    createAclsHandler,
    deleteAclsHandler,
    createDelegationTokenHandler,
    renewDelegationTokenHandler,
    expireDelegationTokenHandler,
    describeDelegationTokenHandler,
    electLeadersHandler,
    alterPartitionReassignmentsHandler,
    listPartitionReassignmentsHandler,
    describeUserScramCredentialsHandler,
    alterUserScramCredentialsHandler,
    describeQuorumHandler,
    updateFeaturesHandler,
    unregisterBrokerHandler,
    listConfigResourcesHandler,
  ];
}
