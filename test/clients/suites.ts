import { franzGo } from "./franz-go/suite.ts";
import { kafkaPython } from "./kafka-python/suite.ts";
import { librdkafka } from "./librdkafka/suite.ts";
import { sarama } from "./sarama/suite.ts";
import type { Suite } from "./suite.ts";

/** Every conformance suite, in the order of `docs/compatibility.md`. */
export const suites: readonly Suite[] = [franzGo, librdkafka, kafkaPython, sarama];
