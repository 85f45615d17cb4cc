/** Classes with `EmbeddedKafkaCluster` whose tests ask most of a broker, in 12 minutes together. */
export const testClasses: readonly string[] = `
  EosIntegrationTest RestoreIntegrationTest PurgeRepartitionTopicIntegrationTest
  InternalTopicIntegrationTest StandbyTaskEOSIntegrationTest StandbyTaskCreationIntegrationTest
  GlobalKTableIntegrationTest GlobalKTableEOSIntegrationTest KStreamAggregationIntegrationTest`
  .trim()
  .split(/\s+/);

/** What CI has time for: classes, or single methods, of about a second each. */
export const shortTests: readonly string[] = `
  InternalTopicIntegrationTest StandbyTaskCreationIntegrationTest GlobalKTableEOSIntegrationTest
  EosIntegrationTest#shouldBeAbleToRunWithTwoSubtopologies`
  .trim()
  .split(/\s+/);

const packageName = "org.apache.kafka.streams.integration";

/** For the runner. */
export const fullName = (test: string): string => `${packageName}.${test}`;
