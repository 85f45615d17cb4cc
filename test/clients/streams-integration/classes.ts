/**
 * Classes with a cluster whose tests ask most of a broker, in two halves that take about as long:
 * most of that time they wait for sessions of clients that are gone, so the halves run at once.
 */
const wholeHalves = [
  `EosIntegrationTest EOSUncleanShutdownIntegrationTest InternalTopicIntegrationTest
  GlobalKTableEOSIntegrationTest HandlingSourceTopicDeletionIntegrationTest
  PurgeRepartitionTopicIntegrationTest RestoreIntegrationTest StandbyTaskCreationIntegrationTest
  StandbyTaskEOSIntegrationTest SwallowUnknownTopicErrorIntegrationTest`,
  `FineGrainedAutoResetIntegrationTest GlobalKTableIntegrationTest GlobalStateReprocessTest
  JoinStoreIntegrationTest KStreamAggregationDedupIntegrationTest
  KStreamAggregationIntegrationTest KStreamRepartitionIntegrationTest
  KTableKTableForeignKeyInnerJoinMultiIntegrationTest KafkaStreamsCloseOptionsIntegrationTest
  LagFetchIntegrationTest MetricsIntegrationTest RegexSourceIntegrationTest
  ResetPartitionTimeIntegrationTest`,
];

/** What CI has time for: classes, or single methods, whose tests take a second or two each. */
const shortHalves = [
  `EosIntegrationTest#shouldBeAbleToCommitToMultiplePartitions
  EosIntegrationTest#shouldBeAbleToPerformMultipleTransactions
  EosIntegrationTest#shouldBeAbleToRunWithTwoSubtopologies EOSUncleanShutdownIntegrationTest
  PurgeRepartitionTopicIntegrationTest`,
  `GlobalKTableEOSIntegrationTest InternalTopicIntegrationTest
  RestoreIntegrationTest#shouldRestoreStateFromChangelogTopic StandbyTaskCreationIntegrationTest`,
];

const words = (text: string): readonly string[] => text.split(/\s+/);

export const tests: Readonly<Record<"short" | "whole", readonly (readonly string[])[]>> = {
  short: shortHalves.map(words),
  whole: wholeHalves.map(words),
};

/** For the runner. */
export const fullName = (test: string): string => `org.apache.kafka.streams.integration.${test}`;
