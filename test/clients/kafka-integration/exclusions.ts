import type { Exclusion } from "../suite.ts";

/**
 * What cannot run against a broker that is a process of its own and the only one. Each name is a
 * class, one of its methods, or with `*` all methods that begin so.
 */
const several = "needs several brokers: they wait for the cluster";
const inProcess = "looks into the broker's own JVM (its log, metrics or coordinator objects)";
const plugin = "loads a Java class of the test into the broker";
const oldLevel = "formats the broker's folder with a metadata.version older than 4.0";
const security = "needs SASL or an authorizer: they come with security";

const names: Readonly<Record<string, readonly string[]>> = {
  [several]: [
    "ClientRebootstrapTest",
    "ConsumerBounceTest",
    "RackAwareAutoTopicCreationTest",
    "ShareConsumerRackAwareTest",
    "ShareConsumerTest.testShareConsumerAfterCoordinatorMovement",
    "ShareConsumerTest.testSharePartitionLagOnGroupCoordinatorMovement",
    "ShareConsumerTest.testSharePartitionLagOnShareCoordinatorMovement",
    "AutoTopicCreationTest",
    "ConsumerIntegrationTest.testRackAwareAssignment",
    "ConsumerIntegrationTest.testSingleCoordinatorOwnershipAfterPartitionReassignment",
    "ConsumerIntegrationTest.testLeaderEpoch",
    "DescribeProducersWithBrokerIdTest.testDescribeProducersFromFollower",
    "DescribeProducersWithBrokerIdTest.testDescribeProducersWithInvalidBrokerId",
    "ListOffsetsIntegrationTest.testThree*",
    "PlaintextConsumerTest.testClassicConsumerCoordinatorFailover",
    "ProducerFailureHandlingTest.testNotEnoughReplicasAfterBrokerShutdown",
    "ProducerSendWhileDeletionTest.testSendWithTopicDeletionMidWay",
    "ProducerSendWhileDeletionTest.testSendWithTopicReassignmentIsMidWay",
  ],
  [inProcess]: [
    "ConsumerWithLegacyMessageFormatIntegrationTest",
    "MetricsDuringTopicCreationDeletionTest",
    "SocketServerMemoryPoolTest",
    "ShareConsumerTest.testRenewAcknowledgementInvalidStateRecord",
    "ShareConsumerTest.testRenewAcknowledgementNoResultInPoll",
    "ShareConsumerTest.testRenewAcknowledgementOnCommitSync",
    "ShareConsumerTest.testRenewAcknowledgementOnPoll",
    "DeleteTopicTest.testAddPartitionDuringDeleteTopic",
    "DeleteTopicTest.testDeleteNonExistingTopic",
    "DeleteTopicTest.testDeleteTopicDuringAddPartition",
    "DeleteTopicTest.testDeleteTopicWithCleaner",
    "DeleteTopicTest.testDisableDeleteTopic",
    "DeleteTopicTest.testIncreasePartitionCountDuringDeleteTopic",
    "DeleteTopicTest.testPartitionReassignmentDuringDeleteTopic",
    "DeleteTopicTest.testRecreateTopicAfterDeletion",
    "DeleteTopicTest.testResumeDeleteTopicWithRecoveredFollower",
    "DescribeFeaturesTest.testSendRequestToWrongNodeType",
    "PlaintextConsumerTest.testClassicConsumerQuotaMetricsNotCreatedIfNoQuotasConfigured",
    "PlaintextConsumerTest.testAsyncConsumerQuotaMetricsNotCreatedIfNoQuotasConfigured",
    "ProducerFailureHandlingTest.testCannotSendToInternalTopic",
    "ProducerIdExpirationTest.testDynamicProducerIdExpirationMs",
    "ProducerSendWhileDeletionTest.testSendWithRecreatedTopic",
    "StaticBrokerConfigTest.testInternalConfigsDoNotReturnForDescribeConfigs",
    "StaticBrokerConfigTest.testTopicConfigsGetImpactedIfStaticConfigsAddToBroker",
    "StaticBrokerConfigTest.testTopicConfigsGetImpactedIfStaticConfigsAddToController",
  ],
  [plugin]: [
    "CreateTopicsRequestWithPolicyTest",
    "CustomQuotaCallbackTest",
    "AdminClientWithPoliciesIntegrationTest.testInvalidAlterConfigsDueToPolicy",
  ],
  [oldLevel]: [
    "MetadataVersionIntegrationTest.testBasicMetadataVersionUpgrade",
    "MetadataVersionIntegrationTest.testUpgradeSameVersion",
    "DescribeFeaturesTest.testUnstableApiVersions",
    "ProducerIntegrationTest.testUniqueProducerIds",
  ],
  [security]: [
    "DescribeAuthorizedOperationsTest",
    "GroupAuthorizerIntegrationTest",
    "SaslPlainPlaintextConsumerTest",
  ],
  "expects the metadata.version 4.4-IV0, which no release has yet": [
    "MetadataVersionIntegrationTest.testDefaultIsLatestVersion",
  ],
  "looks every topic setting up in Kafka's own table, and chronik has some of its own": [
    "StaticBrokerConfigTest.testInternalConfigsDoNotReturnForCreateTopics",
  ],
};

/** For the runner, which leaves these out: by class, or class and method. */
export const exclusionReasons: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(names).flatMap(([reason, list]) =>
    list.map((name) => [name.replace(".", "#"), reason]),
  ),
);

/** Invocations of a method are numbered: `Class.method [1]`. */
function patternOf(name: string): string {
  if (name.endsWith("*")) return name;
  return name.includes(".") ? `${name} [*` : `${name}.*`;
}

export const exclusions: readonly Exclusion[] = Object.entries(names).flatMap(([reason, list]) =>
  list.map((name) => ({ test: patternOf(name), reason })),
);
