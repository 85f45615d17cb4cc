import { bytes, integer } from "./config-values.ts";

const MiB = 1024 * 1024;
const hourMs = 3_600_000;
const int32Max = 2 ** 31 - 1;

/** The settings of producers and of their transactions; see `settings`. */
export const transactionSettings = {
  "transaction.maxTimeoutMs": integer({
    kafka: ["transaction.max.timeout.ms"],
    default: 900_000,
    min: 1,
    max: int32Max,
    doc: "Longest transaction timeout a producer may ask for, in milliseconds",
  }),
  "transaction.idExpirationMs": integer({
    kafka: ["transactional.id.expiration.ms"],
    default: 7 * 24 * hourMs,
    min: 1,
    max: int32Max,
    doc: "Milliseconds an unused transactional id is kept",
  }),
  "transaction.abortTimedOutIntervalMs": integer({
    kafka: ["transaction.abort.timed.out.transaction.cleanup.interval.ms"],
    default: 10_000,
    min: 1,
    max: int32Max,
    doc: "Milliseconds between two looks for transactions that timed out",
  }),
  "transaction.removeExpiredIntervalMs": integer({
    kafka: ["transaction.remove.expired.transaction.cleanup.interval.ms"],
    default: hourMs,
    min: 1,
    max: int32Max,
    doc: "Milliseconds between two looks for transactional ids that expired",
  }),
  "transaction.stateLogNumPartitions": integer({
    kafka: ["transaction.state.log.num.partitions"],
    default: 50,
    min: 1,
    max: 10_000,
    doc: "Partitions of __transaction_state, fixed when it is first created",
  }),
  "transaction.stateLogSegmentBytes": integer({
    kafka: ["transaction.state.log.segment.bytes"],
    default: 100 * MiB,
    min: 1_048_576,
    max: int32Max,
    doc: "Bytes of one segment of __transaction_state, fixed when it is first created",
  }),
  "limits.transactionalIdsMax": integer({
    default: 100_000,
    min: 1,
    max: 10_000_000,
    doc: "Transactional ids kept; a producer with a new one is told to come back",
  }),
  "limits.transactionStateBytesMax": bytes({
    default: 256 * MiB,
    min: 65_536,
    doc: "Memory for transactional ids and the partitions of their transactions",
  }),
  "producer.idExpirationMs": integer({
    kafka: ["producer.id.expiration.ms"],
    default: 24 * hourMs,
    min: 1,
    max: int32Max,
    doc: "Milliseconds after which a silent idempotent producer is forgotten",
  }),
  "producer.idExpirationCheckIntervalMs": integer({
    kafka: ["producer.id.expiration.check.interval.ms"],
    default: 600_000,
    min: 1,
    max: int32Max,
    doc: "Milliseconds between two looks for producers to forget",
  }),
};
