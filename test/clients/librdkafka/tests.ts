/** Which of librdkafka's tests run, and what is known of those that cannot. */

import type { Exclusion, Feature } from "../suite.ts";

const security = "logs in or needs an authorizer, which comes with security";
const cluster = "needs several brokers";
const compaction = "needs log compaction, which comes with retention";

/** Parts of 0081_admin that run one by one, for one that fails ends the test. */
export const adminParts: readonly string[] = [
  "unclean_destroy CreateTopics DeleteTopics CreatePartitions AlterConfigs DescribeConfigs",
  "DeleteRecords ListConsumerGroups DescribeConsumerGroups DescribeTopics DescribeCluster",
  "DeleteGroups DeleteConsumerGroupOffsets ListOffsets AlterConsumerGroupOffsets",
  "ListConsumerGroupOffsets",
].flatMap((line) => line.split(" "));
/**
 * They break connections by an emulation that sometimes closes what it does not own, and then ends
 * the runner: each has one for itself.
 */
export const brokenNetTests: readonly string[] = ["0049", "0068", "0075", "0076", "0088", "0094"];
export const adminLeftOut = "ACLs, SCRAM credentials";

export const exclusions: readonly Exclusion[] = [
  { test: "0047_partial_buf_tmout", reason: "is marked as a known issue of librdkafka's own" },
  {
    test: "0055_producer_latency",
    reason: "measures milliseconds, which a busy machine does not keep; leaves itself out on CI",
  },
  { test: "0077_compaction", reason: compaction },
  {
    test: "0092_mixed_msgver",
    reason: "writes message format 1, which Kafka 4 no longer takes; leaves itself out",
  },
  { test: "0097_ssl_verify", reason: security },
  { test: `0081_admin (${adminLeftOut})`, reason: security },
  { test: "0098_consumer_txn", reason: `${cluster}: its topics have three replicas` },
  { test: "0101_fetch_from_follower", reason: cluster },
  { test: "0103_transactions", reason: `${cluster}: its topics have three replicas` },
  { test: "0107_topic_recreate", reason: `${cluster}: its topics have three replicas` },
  { test: "0111_delay_create_topics", reason: `${cluster}: its topics have three replicas` },
  {
    test: "0132_strategy_ordering (consumer protocol)",
    reason: "is about assignors that run in the client; leaves itself out",
  },
  { test: "0109_auto_create_topics", reason: security },
  { test: "0115_producer_auth", reason: security },
  { test: "0119_consumer_auth", reason: security },
  { test: "0126_oauthbearer_oidc", reason: security },
  { test: "0135_sasl_credentials", reason: security },
  { test: "0142_reauthentication", reason: security },
  {
    test: "0172_share_consumer_acknowledge",
    reason:
      "its last part wants a second member there before the first reads: Kafka assigns with the " +
      "heartbeat after joining, 5 s later, chronik at once; all parts before it pass",
  },
  {
    test: "0190_share_consumer_telemetry",
    reason: "needs a plugin in the broker that writes clients' metrics to a topic",
  },
];

/** What CI has time for: produce, consume, groups, offsets, admin, transactions. */
export const shortTests: readonly string[] = [
  "0001 0002 0003 0005 0007 0008 0011 0012 0013 0014 0015 0017 0019 0022 0026 0029 0031",
  "0034 0035 0036 0040 0044 0048 0050 0054 0055 0057 0059 0060 0061 0063 0064 0065 0067",
  "0070 0073 0083 0085 0086 0090 0099 0112 0130 0132 0137 0140",
].flatMap((line) => line.split(" "));

/** The name of a run with `group.protocol=consumer`. */
export const consumerSuffix = " (consumer protocol)";

/** Tests of group members, which run once more with the consumer protocol. */
export const consumerTests: readonly string[] = [
  "0014 0018 0020 0022 0026 0029 0030 0033 0050 0051 0056 0060 0061 0064 0065 0067 0073",
  "0083 0085 0089 0093 0099 0102 0112 0113 0118 0122 0127 0130 0132 0137",
].flatMap((line) => line.split(" "));

/** Tests of its scenario `noautocreate`. */
export const noAutoCreateTests: readonly string[] = ["0045", "0107", "0111"];

const rules: readonly (readonly [RegExp, Feature])[] = [
  [/^01[789]\d_.*share|^0190/, "share"],
  [/transactions|consumer_txn|aborted/, "txn"],
  [/admin|partition_cnt|create_topics|topic_recreate/, "admin"],
  [/api_version|clusterid|swname|connections|ssl|sasl|oidc|reauth/, "connection"],
  [/cgrp|group|rebalance|subscri|assign|max_poll|commit|static|strategy|reconsume/, "group"],
  [/produce|reqacks|idempot|partitioner|msgmaxsize|order|performance|batch_size|purge/, "produce"],
  [/compression|headers|null|timestamps|flush|event|autotopic|unkpart|interceptors/, "produce"],
  [/./, "consume"],
];

export function featureOf(test: string): Feature {
  if (test.endsWith(consumerSuffix)) return "cgroup";
  return rules.find(([pattern]) => pattern.test(test))?.[1] ?? "consume";
}
