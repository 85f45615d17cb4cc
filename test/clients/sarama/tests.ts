/** Which of sarama's functional tests run, and what is known of those that cannot. */

import type { Exclusion, Feature } from "../suite.ts";

const containers = "starts Kafka's own programs in containers";
const cluster = "needs several brokers";

export const exclusions: readonly Exclusion[] = [
  { test: "TestConsumerFetchFollowerFailover", reason: cluster },
  { test: "TestJava*", reason: containers },
];

export const shortTests: readonly string[] = [
  "TestFuncAdminListOffsets",
  "TestFuncAdminDeleteRecords",
  "TestFuncAdminDescribeConfig",
  "TestFuncClientMetadata",
  "TestFuncConsumerOffsetOutOfRange",
  "TestConsumerHighWaterMarkOffset",
  "TestFuncOffsetManager",
  "TestFuncProducingGzip",
  "TestFuncProducingIdempotentWithBrokerFailure",
  "TestVersionMatrixZstd",
];

const rules: readonly (readonly [RegExp, Feature])[] = [
  [/Txn|Transactions|DescribeProducers|ReadOnlyAndAllCommitted/, "txn"],
  [/Admin/, "admin"],
  [/Group|OffsetManager|Rebalance/, "group"],
  [/Client|Connection/, "connection"],
  [/Produc|Interceptors|InitProducerId|VersionMatrix|Idempotent/, "produce"],
  [/./, "consume"],
];

export function featureOf(test: string): Feature {
  return rules.find(([pattern]) => pattern.test(test))?.[1] ?? "consume";
}
