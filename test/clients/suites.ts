import { aiokafka } from "./aiokafka/suite.ts";
import { confluentJavascript } from "./confluent-javascript/suite.ts";
import { confluentKafka } from "./confluent-kafka/suite.ts";
import { connect } from "./connect/suite.ts";
import { exactlyOnce } from "./exactly-once/suite.ts";
import { franzGo } from "./franz-go/suite.ts";
import { kafkaIntegration } from "./kafka-integration/suite.ts";
import { kafkaPython } from "./kafka-python/suite.ts";
import { kafkajs } from "./kafkajs/suite.ts";
import { kcat } from "./kcat/suite.ts";
import { ksqldb } from "./ksqldb/suite.ts";
import { librdkafka } from "./librdkafka/suite.ts";
import { platformatic } from "./platformatic/suite.ts";
import { sarama } from "./sarama/suite.ts";
import { streams } from "./streams/suite.ts";
import { streamsIntegration } from "./streams-integration/suite.ts";
import type { Suite } from "./suite.ts";
import { tools39 } from "./tools-3.9/suite.ts";

/** Every conformance suite, in the order in which `bun run conformance` runs them. */
export const suites: readonly Suite[] = [
  kafkaIntegration,
  exactlyOnce,
  streams,
  streamsIntegration,
  connect,
  ksqldb,
  tools39,
  franzGo,
  librdkafka,
  confluentKafka,
  confluentJavascript,
  kcat,
  kafkaPython,
  aiokafka,
  sarama,
  kafkajs,
  platformatic,
];
