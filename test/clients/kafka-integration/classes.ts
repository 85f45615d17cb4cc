/** Every class; `server.quota.CustomQuotaCallbackTest` lies beside the package. */
export const testClasses: readonly string[] = `
  clients.ClientRebootstrapTest clients.CreateTopicsRequestWithPolicyTest
  clients.MetadataVersionIntegrationTest clients.MetricsDuringTopicCreationDeletionTest
  clients.TransactionsExpirationTest clients.TransactionsWithMaxInFlightOneTest
  clients.admin.AdminClientWithPoliciesIntegrationTest clients.admin.AdminFenceProducersTest
  clients.admin.AutoTopicCreationTest clients.admin.ClientTelemetryTest
  clients.admin.ConcurrentListOffsetsRequestTest clients.admin.DeleteTopicTest
  clients.admin.DescribeAuthorizedOperationsTest clients.admin.DescribeFeaturesTest
  clients.admin.DescribeProducersWithBrokerIdTest clients.admin.DynamicGroupConfigIntegrationTest
  clients.admin.ListOffsetsIntegrationTest clients.admin.RackAwareAutoTopicCreationTest
  clients.admin.StaticBrokerConfigTest clients.consumer.ConsumerBounceTest
  clients.consumer.ConsumerIntegrationTest clients.consumer.ConsumerTopicCreationTest
  clients.consumer.ConsumerWithLegacyMessageFormatIntegrationTest
  clients.consumer.PlaintextConsumerAssignTest clients.consumer.PlaintextConsumerCallbackTest
  clients.consumer.PlaintextConsumerCloseTest clients.consumer.PlaintextConsumerCommitTest
  clients.consumer.PlaintextConsumerFetchTest clients.consumer.PlaintextConsumerPollTest
  clients.consumer.PlaintextConsumerSubscriptionTest clients.consumer.PlaintextConsumerTest
  clients.consumer.SaslPlainPlaintextConsumerTest clients.consumer.ShareConsumerRackAwareTest
  clients.consumer.ShareConsumerTest clients.producer.ProducerCompressionTest
  clients.producer.ProducerFailureHandlingTest clients.producer.ProducerIdExpirationTest
  clients.producer.ProducerIntegrationTest clients.producer.ProducerSendWhileDeletionTest
  clients.producer.SocketServerMemoryPoolTest clients.security.GroupAuthorizerIntegrationTest
  server.quota.CustomQuotaCallbackTest`
  .trim()
  .split(/\s+/)
  .map((name) => `org.apache.kafka.${name}`);

/** What CI has time for: each in a second or two, one at least of every kind. */
export const shortTests: readonly string[] = `
  clients.TransactionsWithMaxInFlightOneTest clients.admin.AdminFenceProducersTest
  clients.admin.ConcurrentListOffsetsRequestTest clients.consumer.ConsumerTopicCreationTest
  clients.consumer.PlaintextConsumerAssignTest clients.consumer.PlaintextConsumerCallbackTest
  clients.consumer.PlaintextConsumerCloseTest clients.consumer.PlaintextConsumerCommitTest
  clients.consumer.PlaintextConsumerSubscriptionTest clients.producer.ProducerIntegrationTest`
  .trim()
  .split(/\s+/)
  .map((name) => `org.apache.kafka.${name}`);
