/** Which of sarama's functional tests run, and what is known of those that cannot. */

import type { Exclusion, Feature } from "../suite.ts";

const containers = "starts Kafka's own programs in containers";
const cluster = "needs several brokers";

export const exclusions: readonly Exclusion[] = [
  { test: "TestConsumerFetchFollowerFailover", reason: cluster },
  { test: "TestFuncAdminAlterPartitionReassignments", reason: cluster },
  { test: "TestFuncAdminDescribeLogDirs", reason: cluster },
  { test: "TestFuncAdminListConsumerGroupOffsets", reason: `${cluster}: it stops one of them` },
  { test: "TestFuncTxnProduceWithBrokerFailure", reason: `${cluster}: it stops one of them` },
  { test: "TestFuncIdempotentBufferedSequence", reason: containers },
  { test: "TestFuncJavaInteropCooperativeRebalance", reason: containers },
  { test: "TestJava*", reason: containers },
  {
    test: "TestReadOnlyAndAllCommittedMessages",
    reason: "leaves itself out everywhere: its authors call it unreliable",
  },
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
