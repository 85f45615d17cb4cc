/** The administrators' APIs in the form they have with one broker and no authorizer. */
import { describe, expect, test } from "bun:test";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { describeAclsApi } from "../../src/protocol/messages/29-describe-acls.ts";
import { createAclsApi } from "../../src/protocol/messages/30-create-acls.ts";
import { deleteAclsApi } from "../../src/protocol/messages/31-delete-acls.ts";
import { alterReplicaLogDirsApi } from "../../src/protocol/messages/34-alter-replica-log-dirs.ts";
import { createDelegationTokenApi } from "../../src/protocol/messages/38-create-delegation-token.ts";
import { describeDelegationTokenApi } from "../../src/protocol/messages/41-describe-delegation-token.ts";
import { electLeadersApi } from "../../src/protocol/messages/43-elect-leaders.ts";
import { alterPartitionReassignmentsApi } from "../../src/protocol/messages/45-alter-partition-reassignments.ts";
import { describeQuorumApi } from "../../src/protocol/messages/55-describe-quorum.ts";
import { unregisterBrokerApi } from "../../src/protocol/messages/64-unregister-broker.ts";
import { listConfigResourcesApi } from "../../src/protocol/messages/74-list-config-resources.ts";
import { type ApiServer, apiServer } from "../support/api-server.ts";
import { spec } from "../support/metadata.ts";

async function withTopic(): Promise<ApiServer> {
  const api = await apiServer({ partitions: [{ topic: "t", index: 0, bytes: 0 }] });
  await api.metadata.createTopics([spec("t")], false);
  return api;
}

const filter = {
  resourceTypeFilter: 2,
  resourceNameFilter: null,
  principalFilter: null,
  hostFilter: null,
  operation: 1,
  permissionType: 1,
};
const rule = {
  resourceType: 2,
  resourceName: "t",
  principal: "User:a",
  host: "*",
  operation: 3,
  permissionType: 3,
};

describe("without an authorizer", () => {
  for (const version of [1, 2, 3]) {
    test(`ACLs v${version} are disabled, one answer for each rule`, async () => {
      await using api = await apiServer();
      const { client } = api;
      const described = await client.request(describeAclsApi, version, filter);
      expect(described.errorCode).toBe(ErrorCode.SECURITY_DISABLED);
      const created = await client.request(createAclsApi, version, { creations: [rule, rule] });
      expect(created.results.map(({ errorCode }) => errorCode)).toEqual([54, 54]);
      const deleted = await client.request(deleteAclsApi, version, { filters: [filter] });
      expect(deleted.filterResults).toMatchObject([{ errorCode: 54, matchingAcls: [] }]);
    });

    test(`delegation tokens v${version} need a connection that logged in`, async () => {
      await using api = await apiServer();
      const notAllowed = ErrorCode.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED;
      const asked = { renewers: [], maxLifetimeMs: -1 };
      const token = await api.client.request(createDelegationTokenApi, version, asked);
      expect(token).toMatchObject({ errorCode: notAllowed, principalName: "ANONYMOUS" });
      const known = await api.client.request(describeDelegationTokenApi, version, { owners: null });
      expect(known).toMatchObject({ errorCode: notAllowed, tokens: [] });
    });
  }

  test("a rule of the unknown type is malformed: the connection ends", async () => {
    await using api = await apiServer();
    const asked = api.client.request(createAclsApi, 3, {
      creations: [{ ...rule, resourceType: 0 }],
    });
    await expect(asked).rejects.toThrow("closed the connection");
  });
});

describe("with one broker", () => {
  for (const version of [0, 1, 2]) {
    test(`ElectLeaders v${version}: never needed`, async () => {
      await using api = await withTopic();
      const ask = async (topicPartitions: { topic: string; partitions: number[] }[] | null) => {
        const answer = await api.client.request(electLeadersApi, version, { topicPartitions });
        return answer.replicaElectionResults.map(({ topic, partitionResult }) => [
          topic,
          partitionResult.map(({ errorCode }) => errorCode),
        ]);
      };
      expect(await ask([{ topic: "t", partitions: [0, 1, -1] }])).toEqual([
        ["t", [ErrorCode.ELECTION_NOT_NEEDED, 3, 3]],
      ]);
      expect(await ask([{ topic: "none", partitions: [0] }])).toEqual([["none", [3]]]);
      expect(await ask(null)).toEqual([["t", []]]);
      const late = { topicPartitions: [{ topic: "t", partitions: [0] }], timeoutMs: -1 };
      const { errorCode, replicaElectionResults } = await api.client.request(
        electLeadersApi,
        version,
        late,
      );
      expect(errorCode).toBe(version === 0 ? 0 : ErrorCode.REQUEST_TIMED_OUT);
      expect(replicaElectionResults[0]?.partitionResult[0]?.errorCode).toBe(7);
    });
  }

  test("reassignments: the assignment there is, or an error", async () => {
    await using api = await withTopic();
    const ask = async (replicas: number[] | null, partitionIndex = 0, name = "t") => {
      const topics = [{ name, partitions: [{ partitionIndex, replicas }] }];
      const request = { topics };
      const answer = await api.client.request(alterPartitionReassignmentsApi, 1, request);
      return answer.responses[0]?.partitions[0]?.errorCode;
    };
    expect(await ask([1])).toBe(0);
    for (const wrong of [[], [2], [1, 1], [1, 2], [-1]]) {
      expect([wrong, await ask(wrong)]).toEqual([wrong, ErrorCode.INVALID_REPLICA_ASSIGNMENT]);
    }
    expect(await ask(null)).toBe(ErrorCode.NO_REASSIGNMENT_IN_PROGRESS);
    expect(await ask([1], 5)).toBe(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
    expect(await ask([1], 0, "none")).toBe(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
  });

  test("log directories: the one there is", async () => {
    await using api = await withTopic();
    const dirs = [
      { path: "/data", topics: [{ name: "t", partitions: [0, 4] }] },
      { path: "/other", topics: [{ name: "u", partitions: [0] }] },
    ];
    const { results } = await api.client.request(alterReplicaLogDirsApi, 2, { dirs });
    expect(results).toEqual([
      {
        topicName: "t",
        partitions: [
          { partitionIndex: 0, errorCode: 0 },
          { partitionIndex: 4, errorCode: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION },
        ],
      },
      { topicName: "u", partitions: [{ partitionIndex: 0, errorCode: 57 }] },
    ]);
  });

  for (const version of [0, 1, 2]) {
    test(`DescribeQuorum v${version}: one voter, which leads`, async () => {
      await using api = await withTopic();
      const ask = (topicName: string) => {
        const topics = [{ topicName, partitions: [{ partitionIndex: 0 }] }];
        return api.client.request(describeQuorumApi, version, { topics });
      };
      const { topics, nodes } = await ask("__cluster_metadata");
      const { version: logEndOffset } = api.metadata.image;
      expect(topics[0]?.partitions[0]).toMatchObject({
        errorCode: 0,
        leaderId: 1,
        highWatermark: logEndOffset,
        currentVoters: [{ replicaId: 1, logEndOffset }],
        observers: [],
      });
      expect(nodes.map(({ nodeId }) => nodeId)).toEqual(version === 2 ? [1] : []);
      const other = await ask("t");
      expect(other.topics[0]?.partitions[0]?.errorCode).toBe(3);
    });
  }

  test("a running broker is not unregistered, an unknown one cannot be", async () => {
    await using api = await apiServer();
    const ask = async (brokerId: number) => {
      return (await api.client.request(unregisterBrokerApi, 0, { brokerId })).errorCode;
    };
    expect(await ask(1)).toBe(ErrorCode.INVALID_REQUEST);
    expect(await ask(9)).toBe(ErrorCode.BROKER_ID_NOT_REGISTERED);
    expect(api.metadata.image.brokers.has(1)).toBe(true);
  });

  test("ListConfigResources: by type, v0 only subscriptions", async () => {
    await using api = await withTopic();
    const change = { set: [["interval.ms", "500"] as const], remove: [] };
    await api.metadata.change(() => ({
      commands: [{ type: "client-metrics", name: "s", change }],
      result: null,
    }));
    const ask = async (version: number, resourceTypes: number[]) => {
      const request = version === 0 ? {} : { resourceTypes };
      const answer = await api.client.request(listConfigResourcesApi, version, request);
      const named = answer.configResources.map((one) => `${one.resourceType} ${one.resourceName}`);
      return [answer.errorCode, ...named];
    };
    expect(await ask(0, [])).toEqual([0, "16 s"]);
    expect(await ask(1, [])).toEqual([0, "16 s", "8 1", "4 1", "2 t"]);
    expect(await ask(1, [2])).toEqual([0, "2 t"]);
    expect(await ask(1, [2, 99])).toEqual([ErrorCode.UNSUPPORTED_VERSION]);
  });
});
