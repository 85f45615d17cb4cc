import type { Exclusion } from "../suite.ts";

/**
 * What does not run: a class by its name, or one invocation of a method (`Class.method [1] …`).
 * Classes without a cluster (TopologyTestDriver) are no part of the suite.
 */
const streamsGroups = "needs groups of the streams protocol (KIP-1071): no API of it is served yet";
const client =
  "about the client's own stores, windows, threads or logs: it asks nothing of a broker that the " +
  "classes that run do not ask";

const names: Readonly<Record<string, readonly string[]>> = {
  [streamsGroups]: [
    "*=streams*",
    "*rotocolEnabled=true",
    "*useNewProtocol=true",
    "RebalanceProtocolMigrationIntegrationTest",
  ],
  "loads a Java class of the test into the broker": ["KafkaStreamsTelemetryIntegrationTest"],
  "its application runs in the suite `streams`, with exactly_once_v2 and the broker killed": [
    "SmokeTestDriverIntegrationTest",
  ],
  "counts what an at-least-once application writes while it rebalances: a duplicate fails it": [
    "KTableKTableForeignKeyJoinDistributedTest",
  ],
  [client]: [
    "AdjustStreamThreadCountTest",
    "AtLeastOnceDeliveryMessageLossIntegrationTest",
    "ConsistencyVectorIntegrationTest",
    "DeadLetterQueueIntegrationTest",
    "EmitOnChangeIntegrationTest",
    "GlobalThreadShutDownOrderTest",
    "HeadersStoreUpgradeIntegrationTest",
    "HighAvailabilityTaskAssignorIntegrationTest",
    "IQv2EndpointToPartitionsIntegrationTest",
    "IQv2IntegrationTest",
    "IQv2StoreIntegrationTest",
    "IQv2VersionedStoreIntegrationTest",
    "InMemoryStoreMetricsIntegrationTest",
    "JoinGracePeriodDurabilityIntegrationTest",
    "JoinWithIncompleteMetadataIntegrationTest",
    "KStreamKStreamIntegrationTest",
    "KTableKTableForeignKeyInnerJoinCustomPartitionerIntegrationTest",
    "KTableSourceTopicRestartIntegrationTest",
    "MetricsReporterIntegrationTest",
    "NamedTopologyIntegrationTest",
    "OptimizedKTableIntegrationTest",
    "OuterJoinListValueStoreRestorationTest",
    "PauseResumeIntegrationTest",
    "PositionRestartIntegrationTest",
    "QueryableStateIntegrationTest",
    "RangeQueryIntegrationTest",
    "RebalanceIntegrationTest",
    "RebalanceTaskClosureIntegrationTest",
    "RocksDBMetricsIntegrationTest",
    "SelfJoinUpgradeIntegrationTest",
    "SessionsStoreWithHeadersTest",
    "SlidingWindowedKStreamIntegrationTest",
    "StandbyTaskEOSMultiRebalanceIntegrationTest",
    "StateDirectoryIntegrationTest",
    "StateUpdaterFailureIntegrationTest",
    "StoreQueryIntegrationTest",
    "StreamTableJoinTopologyOptimizationIntegrationTest",
    "StreamsUncaughtExceptionHandlerIntegrationTest",
    "StreamsUpgradeTestIntegrationTest",
    "SuppressionDurabilityIntegrationTest",
    "SuppressionIntegrationTest",
    "TaskAssignorIntegrationTest",
    "TaskMetadataIntegrationTest",
    "TimeWindowedKStreamIntegrationTest",
    "TimestampedKeyValueStoreWithHeadersTest",
    "TimestampedStoreUpgradeIntegrationTest",
    "TimestampedWindowStoreWithHeadersTest",
    "VersionedKeyValueStoreIntegrationTest",
  ],
};

/** For the runner, which leaves these out. */
export const exclusionReasons: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(names).flatMap(([reason, list]) => list.map((name) => [name, reason])),
);

export const exclusions: readonly Exclusion[] = Object.entries(exclusionReasons).map(
  ([test, reason]) => ({ test, reason }),
);

/** Whole classes of the list: they are reported as such. */
export const excludedClasses: readonly string[] = exclusions
  .map(({ test }) => test)
  .filter((test) => /^\w+$/.test(test));
