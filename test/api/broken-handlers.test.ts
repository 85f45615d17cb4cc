/** What the administrators' APIs answer for a handler that breaks, every field of it. */
import { describe, expect, test } from "bun:test";
import type { ApiCodec } from "../../src/protocol/api-codec.ts";
import { apiInfos } from "../../src/protocol/api-key.ts";
import { createTopicsApi } from "../../src/protocol/messages/19-create-topics.ts";
import { describeAclsApi } from "../../src/protocol/messages/29-describe-acls.ts";
import { createAclsApi } from "../../src/protocol/messages/30-create-acls.ts";
import { deleteAclsApi } from "../../src/protocol/messages/31-delete-acls.ts";
import { describeConfigsApi } from "../../src/protocol/messages/32-describe-configs.ts";
import { alterConfigsApi } from "../../src/protocol/messages/33-alter-configs.ts";
import { alterReplicaLogDirsApi } from "../../src/protocol/messages/34-alter-replica-log-dirs.ts";
import { createPartitionsApi } from "../../src/protocol/messages/37-create-partitions.ts";
import { createDelegationTokenApi } from "../../src/protocol/messages/38-create-delegation-token.ts";
import { renewDelegationTokenApi } from "../../src/protocol/messages/39-renew-delegation-token.ts";
import { expireDelegationTokenApi } from "../../src/protocol/messages/40-expire-delegation-token.ts";
import { describeDelegationTokenApi } from "../../src/protocol/messages/41-describe-delegation-token.ts";
import { electLeadersApi } from "../../src/protocol/messages/43-elect-leaders.ts";
import { incrementalAlterConfigsApi } from "../../src/protocol/messages/44-incremental-alter-configs.ts";
import { alterPartitionReassignmentsApi } from "../../src/protocol/messages/45-alter-partition-reassignments.ts";
import { listPartitionReassignmentsApi } from "../../src/protocol/messages/46-list-partition-reassignments.ts";
import { describeClientQuotasApi } from "../../src/protocol/messages/48-describe-client-quotas.ts";
import { alterClientQuotasApi } from "../../src/protocol/messages/49-alter-client-quotas.ts";
import { describeUserScramCredentialsApi } from "../../src/protocol/messages/50-describe-user-scram-credentials.ts";
import { alterUserScramCredentialsApi } from "../../src/protocol/messages/51-alter-user-scram-credentials.ts";
import { describeQuorumApi } from "../../src/protocol/messages/55-describe-quorum.ts";
import { updateFeaturesApi } from "../../src/protocol/messages/57-update-features.ts";
import { unregisterBrokerApi } from "../../src/protocol/messages/64-unregister-broker.ts";
import { listConfigResourcesApi } from "../../src/protocol/messages/74-list-config-resources.ts";
import { Reader } from "../../src/protocol/reader.ts";
import { Writer } from "../../src/protocol/writer.ts";
import { adminHandlers } from "../support/admin-handlers.ts";
import {
  anonymous,
  credential,
  filter,
  noToken,
  rule,
  throttleTimeMs,
} from "../support/exact-answers.ts";

const noSpace = async () => ({ totalBytes: 0, usableBytes: 0 });
const oneTopic = {
  name: "n",
  numPartitions: 1,
  replicationFactor: 1,
  assignments: [],
  configs: [],
};
const ofTopic = { resourceType: 2, resourceName: "t" };
const entity = [{ entityType: "user", entityName: "u" }];

/** What a request may look like; the answer when its handler breaks with error 42, "bug". */
const broken: readonly [codec: unknown, request: object, answer: object][] = [
  [createTopicsApi, { topics: [oneTopic], timeoutMs: 1 }, { topics: [failedTopic("n")] }],
  [describeAclsApi, filter, { errorCode: 42, errorMessage: "bug", resources: [] }],
  [createAclsApi, { creations: [rule] }, { results: [{ errorCode: 42, errorMessage: "bug" }] }],
  [
    deleteAclsApi,
    { filters: [filter] },
    { filterResults: [{ errorCode: 42, errorMessage: "bug", matchingAcls: [] }] },
  ],
  [
    describeConfigsApi,
    { resources: [{ ...ofTopic, configurationKeys: null }] },
    { results: [{ errorCode: 42, errorMessage: "bug", ...ofTopic, configs: [] }] },
  ],
  [
    alterConfigsApi,
    { resources: [{ ...ofTopic, configs: [] }], validateOnly: false },
    { responses: [{ errorCode: 42, errorMessage: "bug", ...ofTopic }] },
  ],
  [
    alterReplicaLogDirsApi,
    { dirs: [{ path: "/", topics: [{ name: "t", partitions: [3] }] }] },
    { results: [{ topicName: "t", partitions: [{ partitionIndex: 3, errorCode: 42 }] }] },
  ],
  [
    createPartitionsApi,
    { topics: [{ name: "t", count: 3, assignments: null }], timeoutMs: 1, validateOnly: false },
    { results: [{ name: "t", errorCode: 42, errorMessage: "bug" }] },
  ],
  [
    createDelegationTokenApi,
    { renewers: [], maxLifetimeMs: 1 },
    {
      errorCode: 42,
      ...anonymous,
      tokenRequesterPrincipalType: "User",
      tokenRequesterPrincipalName: "ANONYMOUS",
      ...noToken,
    },
  ],
  [
    renewDelegationTokenApi,
    { hmac: new Uint8Array(1), renewPeriodMs: 1 },
    { errorCode: 42, expiryTimestampMs: -1 },
  ],
  [
    expireDelegationTokenApi,
    { hmac: new Uint8Array(1), expiryTimePeriodMs: 1 },
    { errorCode: 42, expiryTimestampMs: -1 },
  ],
  [describeDelegationTokenApi, { owners: null }, { errorCode: 42, tokens: [] }],
  [electLeadersApi, { topicPartitions: null }, { errorCode: 42, replicaElectionResults: [] }],
  [
    incrementalAlterConfigsApi,
    { resources: [{ ...ofTopic, configs: [] }], validateOnly: false },
    { responses: [{ errorCode: 42, errorMessage: "bug", ...ofTopic }] },
  ],
  [
    alterPartitionReassignmentsApi,
    { topics: [{ name: "t", partitions: [{ partitionIndex: 0, replicas: null }] }] },
    {
      allowReplicationFactorChange: true,
      errorCode: 42,
      errorMessage: "bug",
      responses: [
        { name: "t", partitions: [{ partitionIndex: 0, errorCode: 42, errorMessage: "bug" }] },
      ],
    },
  ],
  [listPartitionReassignmentsApi, {}, { errorCode: 42, errorMessage: "bug", topics: [] }],
  [
    describeClientQuotasApi,
    { components: [], strict: false },
    { errorCode: 42, errorMessage: "bug", entries: null },
  ],
  [
    alterClientQuotasApi,
    { entries: [{ entity, ops: [] }], validateOnly: false },
    { entries: [{ errorCode: 42, errorMessage: "bug", entity }] },
  ],
  [
    describeUserScramCredentialsApi,
    { users: null },
    { errorCode: 42, errorMessage: "bug", results: [] },
  ],
  [
    alterUserScramCredentialsApi,
    { deletions: [{ name: "u", mechanism: 2 }], upsertions: [credential] },
    { results: [{ user: "u", errorCode: 42, errorMessage: "bug" }] },
  ],
  [
    describeQuorumApi,
    { topics: [] },
    { errorCode: 42, errorMessage: "bug", topics: [], nodes: [], throttleTimeMs: undefined },
  ],
  [updateFeaturesApi, { featureUpdates: [] }, { errorCode: 42, errorMessage: "bug", results: [] }],
  [unregisterBrokerApi, { brokerId: 1 }, { errorCode: 42, errorMessage: "bug" }],
  [listConfigResourcesApi, {}, { errorCode: 42, configResources: [] }],
];

function failedTopic(name: string) {
  return { name, errorCode: 42, errorMessage: "bug" };
}

test("the versions served are Kafka's", () => {
  for (const { codec, minVersion, maxVersion } of adminHandlers(noSpace)) {
    const kafka = apiInfos.get(codec.key);
    expect([codec.name, minVersion, maxVersion]).toEqual([
      codec.name,
      kafka?.min ?? -1,
      kafka?.max ?? -1,
    ]);
  }
});

describe("a handler that breaks", () => {
  for (const [codec, request, answer] of broken) {
    const { name, key } = codec as ApiCodec<unknown, unknown>;
    test(`${name} tells it for each thing asked`, () => {
      const handler = adminHandlers(noSpace).find((one) => one.codec.key === key);
      if (handler === undefined) throw new Error(`nobody serves ${name}`);
      const { codec: served, maxVersion } = handler;
      const writer = new Writer(64);
      served.encodeRequest(writer, request, maxVersion);
      const decoded = served.decodeRequest(new Reader(writer.bytesWritten()), maxVersion);
      const failed = handler.failure?.(decoded, maxVersion, 42, "bug");
      expect(failed).toEqual({ throttleTimeMs, ...answer });
    });
  }
});
