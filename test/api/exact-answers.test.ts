/** The administrators' APIs to the letter: every field of an answer. */
import { describe, expect, test } from "bun:test";
import type { ApiCodec } from "../../src/protocol/api-codec.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { describeAclsApi } from "../../src/protocol/messages/29-describe-acls.ts";
import { createAclsApi } from "../../src/protocol/messages/30-create-acls.ts";
import { deleteAclsApi } from "../../src/protocol/messages/31-delete-acls.ts";
import { alterReplicaLogDirsApi } from "../../src/protocol/messages/34-alter-replica-log-dirs.ts";
import { createDelegationTokenApi } from "../../src/protocol/messages/38-create-delegation-token.ts";
import { renewDelegationTokenApi } from "../../src/protocol/messages/39-renew-delegation-token.ts";
import { expireDelegationTokenApi } from "../../src/protocol/messages/40-expire-delegation-token.ts";
import { describeDelegationTokenApi } from "../../src/protocol/messages/41-describe-delegation-token.ts";
import { electLeadersApi } from "../../src/protocol/messages/43-elect-leaders.ts";
import { alterPartitionReassignmentsApi } from "../../src/protocol/messages/45-alter-partition-reassignments.ts";
import { listPartitionReassignmentsApi } from "../../src/protocol/messages/46-list-partition-reassignments.ts";
import { describeUserScramCredentialsApi } from "../../src/protocol/messages/50-describe-user-scram-credentials.ts";
import { alterUserScramCredentialsApi } from "../../src/protocol/messages/51-alter-user-scram-credentials.ts";
import { describeQuorumApi } from "../../src/protocol/messages/55-describe-quorum.ts";
import { updateFeaturesApi } from "../../src/protocol/messages/57-update-features.ts";
import { unregisterBrokerApi } from "../../src/protocol/messages/64-unregister-broker.ts";
import { apiServer } from "../support/api-server.ts";
import {
  anonymous,
  credential,
  expectAnswers,
  filter,
  noToken,
  rule,
  throttleTimeMs,
} from "../support/exact-answers.ts";

const zeroUuid = "AAAAAAAAAAAAAAAAAAAAAA";
const partitionOfT = { topic: "t", partitions: [0] };

describe("answers", () => {
  test("without an authorizer", async () => {
    const { SECURITY_DISABLED } = ErrorCode;
    const errorMessage = "No Authorizer is configured.";
    const disabled = { errorCode: SECURITY_DISABLED, errorMessage };
    await expectAnswers([
      [
        describeAclsApi,
        3,
        filter,
        {
          throttleTimeMs,
          errorCode: SECURITY_DISABLED,
          errorMessage: "No Authorizer is configured on the broker",
          resources: [],
        },
      ],
      [createAclsApi, 3, { creations: [rule] }, { throttleTimeMs, results: [disabled] }],
      [
        deleteAclsApi,
        3,
        { filters: [filter] },
        { throttleTimeMs, filterResults: [{ ...disabled, matchingAcls: [] }] },
      ],
    ]);
  });

  test("filters of the unknown type, pattern or operation end the connection", async () => {
    const unknown = [
      { resourceTypeFilter: 0 },
      { patternTypeFilter: 0 },
      { operation: 0 },
      { permissionType: 0 },
    ];
    for (const part of unknown) {
      for (const codec of [describeAclsApi, deleteAclsApi] as ApiCodec<object, unknown>[]) {
        await using api = await apiServer();
        const wrong = { ...filter, ...part };
        const request = { ...wrong, filters: [wrong] };
        await expect(api.client.request(codec, 3, request)).rejects.toThrow("closed");
      }
    }
  });

  test("delegation tokens", async () => {
    const errorCode = ErrorCode.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED;
    const asked = { renewers: [], maxLifetimeMs: -1 };
    const unnamed = { tokenRequesterPrincipalType: "", tokenRequesterPrincipalName: "" };
    const named = {
      tokenRequesterPrincipalType: "User",
      tokenRequesterPrincipalName: "ANONYMOUS",
    };
    const owner = (ownerPrincipalType: string | null) => {
      return { ...asked, ownerPrincipalType, ownerPrincipalName: "o" };
    };
    const ofOwner = (principalType: string) => {
      return { errorCode, principalType, principalName: "o", ...named, ...noToken };
    };
    await expectAnswers([
      [createDelegationTokenApi, 2, asked, { errorCode, ...anonymous, ...unnamed, ...noToken }],
      [createDelegationTokenApi, 3, asked, { errorCode, ...anonymous, ...named, ...noToken }],
      [createDelegationTokenApi, 3, owner("Group"), ofOwner("Group")],
      [createDelegationTokenApi, 3, owner(null), ofOwner("")],
      [
        renewDelegationTokenApi,
        2,
        { hmac: new Uint8Array(1), renewPeriodMs: 1 },
        { errorCode, expiryTimestampMs: -1, throttleTimeMs },
      ],
      [
        expireDelegationTokenApi,
        2,
        { hmac: new Uint8Array(1), expiryTimePeriodMs: 1 },
        { errorCode, expiryTimestampMs: -1, throttleTimeMs },
      ],
      [describeDelegationTokenApi, 3, { owners: null }, { errorCode, tokens: [], throttleTimeMs }],
    ]);
  });

  test("log directories: names too long for a folder, topics without partitions", async () => {
    const ask = (path: string, name: string, partitions: number[]) => {
      return { dirs: [{ path, topics: [{ name, partitions }] }] };
    };
    const told = (topicName: string, errorCode: number) => {
      const partitions = [{ partitionIndex: 0, errorCode }];
      return { throttleTimeMs, results: [{ topicName, partitions }] };
    };
    const [longest, tooLong] = ["x".repeat(249), "x".repeat(250)];
    await expectAnswers([
      [alterReplicaLogDirsApi, 1, ask("/data", "t", [0, 0]), told("t", 0)],
      [alterReplicaLogDirsApi, 2, ask("/data", "t", []), { throttleTimeMs, results: [] }],
      [alterReplicaLogDirsApi, 2, ask("/other", longest, [0]), told(longest, 57)],
      [
        alterReplicaLogDirsApi,
        2,
        ask("/other", tooLong, [0]),
        told(tooLong, ErrorCode.INVALID_TOPIC_EXCEPTION),
      ],
    ]);
  });

  test("elections", async () => {
    const answer = (errorCode: number, errorMessage: string | null, topic = "t") => ({
      throttleTimeMs,
      errorCode: 0,
      replicaElectionResults: [
        { topic, partitionResult: [{ partitionId: 0, errorCode, errorMessage }] },
      ],
    });
    const notNeeded = answer(84, "Leader election not needed for topic partition.");
    const noTopic = answer(3, "No such topic as u", "u");
    const invalid = (electionType: number) => {
      const text = `Value ${electionType} must be one of [0, 1]`;
      return { ...answer(ErrorCode.INVALID_REQUEST, text), errorCode: ErrorCode.INVALID_REQUEST };
    };
    const ask = (electionType: number, timeoutMs = 1000, topic = "t") => {
      return { electionType, timeoutMs, topicPartitions: [{ ...partitionOfT, topic }] };
    };
    const late = { electionType: 0, timeoutMs: -1, topicPartitions: null };
    const none = { throttleTimeMs, replicaElectionResults: [] };
    await expectAnswers([
      [electLeadersApi, 2, ask(0), notNeeded],
      [electLeadersApi, 2, ask(1), notNeeded],
      [electLeadersApi, 2, ask(0, 0), notNeeded],
      [electLeadersApi, 2, ask(0, 1000, "u"), noTopic],
      [
        electLeadersApi,
        2,
        { topicPartitions: [{ topic: "t", partitions: [7] }] },
        {
          throttleTimeMs,
          errorCode: 0,
          replicaElectionResults: [
            {
              topic: "t",
              partitionResult: [
                { partitionId: 7, errorCode: 3, errorMessage: "No such partition as t-7" },
              ],
            },
          ],
        },
      ],
      [electLeadersApi, 2, ask(2), invalid(2)],
      [electLeadersApi, 2, ask(-1), invalid(-1)],
      [electLeadersApi, 2, late, { ...none, errorCode: ErrorCode.REQUEST_TIMED_OUT }],
    ]);
  });

  test("reassignments", async () => {
    const ask = (name: string, partitionIndex: number, timeoutMs = 0) => {
      return { timeoutMs, topics: [{ name, partitions: [{ partitionIndex, replicas: [1] }] }] };
    };
    const answer = (
      name: string,
      partitionIndex: number,
      errorCode: number,
      errorMessage: string | null,
    ) => ({
      throttleTimeMs,
      allowReplicationFactorChange: true,
      errorCode: 0,
      errorMessage: null,
      responses: [{ name, partitions: [{ partitionIndex, errorCode, errorMessage }] }],
    });
    const api = alterPartitionReassignmentsApi;
    const timedOut = ErrorCode.REQUEST_TIMED_OUT;
    const nothing = { errorMessage: "", responses: [] };
    await expectAnswers([
      [api, 1, ask("t", 0), answer("t", 0, 0, null)],
      [api, 1, ask("u", 0), answer("u", 0, 3, "Unable to find a topic named u.")],
      [api, 1, ask("t", 9), answer("t", 9, 3, "Unable to find partition t:9.")],
      [api, 1, { topics: [] }, { ...answer("", 0, 0, null), ...nothing }],
      [api, 1, ask("t", 0, -1), { ...answer("t", 0, timedOut, null), errorCode: timedOut }],
      [
        listPartitionReassignmentsApi,
        0,
        {},
        { throttleTimeMs, errorCode: 0, errorMessage: null, topics: [] },
      ],
    ]);
  });

  test("the quorum: only the metadata's own partition", async () => {
    const ask = (...topics: [string, number[]][]) => ({
      topics: topics.map(([topicName, indexes]) => ({
        topicName,
        partitions: indexes.map((partitionIndex) => ({ partitionIndex })),
      })),
    });
    const nobody = (partitionIndex: number) => ({
      partitionIndex,
      errorCode: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
      errorMessage: "This server does not host this topic-partition.",
      leaderId: 0,
      leaderEpoch: 0,
      highWatermark: 0,
      currentVoters: [],
      observers: [],
    });
    const log = "__cluster_metadata";
    const refused = (...topics: [string, number[]][]) => ({
      errorCode: 0,
      errorMessage: "",
      topics: topics.map(([topicName, indexes]) => {
        return { topicName, partitions: indexes.map(nobody) };
      }),
      nodes: [],
    });
    const wrong: [string, number[]][][] = [
      [],
      [[log, []]],
      [[log, [1]]],
      [[log, [0, 1]]],
      [["t", [0]]],
      [
        [log, [0]],
        ["t", [0]],
      ],
    ];
    await expectAnswers(
      wrong.map((topics) => [describeQuorumApi, 2, ask(...topics), refused(...topics)]),
    );
    await using api = await apiServer();
    const answer = await api.client.request(describeQuorumApi, 2, ask([log, [0]]));
    const times = {
      lastFetchTimestamp: expect.any(Number),
      lastCaughtUpTimestamp: expect.any(Number),
    };
    const { version } = api.metadata.image;
    expect(answer).toEqual({
      errorCode: 0,
      errorMessage: "",
      topics: [
        {
          topicName: log,
          partitions: [
            {
              partitionIndex: 0,
              errorCode: 0,
              errorMessage: "",
              leaderId: 1,
              leaderEpoch: 1,
              highWatermark: version,
              currentVoters: [
                {
                  replicaId: 1,
                  replicaDirectoryId: zeroUuid,
                  logEndOffset: version,
                  ...times,
                },
              ],
              observers: [],
            },
          ],
        },
      ],
      nodes: [{ nodeId: 1, listeners: expect.any(Array) }],
    });
    expect(answer.nodes[0]?.listeners.length).toBeGreaterThan(0);
  });

  test("features, and brokers that leave", async () => {
    const lower = { feature: "group.version", maxVersionLevel: 0, upgradeType: 2 };
    const unknown = { feature: "no.such", maxVersionLevel: 1, upgradeType: 1 };
    const done = { throttleTimeMs, errorCode: 0, errorMessage: null };
    const text = "The operation completed successfully.";
    const each = [{ feature: "group.version", errorCode: 0, errorMessage: text }];
    const dryRun = { featureUpdates: [lower], validateOnly: true };
    const failed =
      "The update failed for all features since the following feature had an error: " +
      "Invalid update version 1 for feature no.such. Local controller 1 does not support this " +
      "feature.";
    await expectAnswers([
      [updateFeaturesApi, 1, dryRun, { ...done, results: each }],
      [updateFeaturesApi, 2, dryRun, { ...done, results: [] }],
      [
        updateFeaturesApi,
        1,
        { featureUpdates: [unknown] },
        { throttleTimeMs, errorCode: 95, errorMessage: failed, results: [] },
      ],
      [
        unregisterBrokerApi,
        0,
        { brokerId: 7 },
        {
          throttleTimeMs,
          errorCode: 102,
          errorMessage: "Broker ID 7 is not currently registered",
        },
      ],
      [
        unregisterBrokerApi,
        0,
        { brokerId: 1 },
        {
          throttleTimeMs,
          errorCode: ErrorCode.INVALID_REQUEST,
          errorMessage: "Broker 1 is running: stop a broker before it is unregistered.",
        },
      ],
    ]);
  });

  test("SCRAM credentials, in the order of their mechanisms", async () => {
    const upsertion = (mechanism: number) => ({
      deletions: [],
      upsertions: [{ ...credential, mechanism }],
    });
    const altered = {
      throttleTimeMs,
      results: [{ user: "u", errorCode: 0, errorMessage: null }],
    };
    const told = (...results: object[]) => {
      return { throttleTimeMs, errorCode: 0, errorMessage: "", results };
    };
    const credentialInfos = [1, 2].map((mechanism) => ({ mechanism, iterations: 4096 }));
    const known = { user: "u", errorCode: 0, errorMessage: null, credentialInfos };
    const failed = (user: string, errorCode: number, errorMessage: string) => {
      return { user, errorCode, errorMessage, credentialInfos: [] };
    };
    const users = ["x", "u", "x", "y"].map((name) => ({ name }));
    const twice =
      "Cannot describe SCRAM credentials for the same user twice in a single request: x";
    const unknown = "Attempt to describe a user credential that does not exist: y";
    await expectAnswers([
      [alterUserScramCredentialsApi, 0, upsertion(2), altered],
      [alterUserScramCredentialsApi, 0, upsertion(1), altered],
      [describeUserScramCredentialsApi, 0, { users: [] }, told(known)],
      [
        describeUserScramCredentialsApi,
        0,
        { users },
        told(
          failed("x", ErrorCode.DUPLICATE_RESOURCE, twice),
          known,
          failed("y", ErrorCode.RESOURCE_NOT_FOUND, unknown),
        ),
      ],
    ]);
  });
});
