/** Limits and delays of the transaction coordinator; Kafka's own settings carry Kafka's name. */
export interface TransactionConfig {
  /** transaction.max.timeout.ms */
  readonly timeoutMsMax: number;
  /** transactional.id.expiration.ms */
  readonly idExpirationMs: number;
  /** transaction.abort.timed.out.transaction.cleanup.interval.ms */
  readonly abortIntervalMs: number;
  /** transaction.remove.expired.transaction.cleanup.interval.ms */
  readonly expiryIntervalMs: number;
  /** UTF-16 units of a transactional id. */
  readonly idCharsMax: number;
  /** Transactional ids held. */
  readonly idsMax: number;
  /** Bytes of ids and partitions of transactions held for all ids together. */
  readonly stateBytesMax: number;
  /** add.partitions.to.txn.retry.backoff.max.ms: how long a produce waits for the end before it. */
  readonly concurrentWaitMs: number;
  /** First delay before a marker, or a completion, that failed is tried again; doubles. */
  readonly retryDelayMsMin: number;
  readonly retryDelayMsMax: number;
}

export const transactionConfigDefaults: TransactionConfig = {
  timeoutMsMax: 900_000,
  idExpirationMs: 604_800_000,
  abortIntervalMs: 10_000,
  expiryIntervalMs: 3_600_000,
  idCharsMax: 8_192,
  idsMax: 100_000,
  stateBytesMax: 268_435_456,
  concurrentWaitMs: 100,
  retryDelayMsMin: 50,
  retryDelayMsMax: 10_000,
};

/** The settings of the `transaction` section of chronik's configuration. */
export interface TransactionSettings {
  readonly maxTimeoutMs: number;
  readonly idExpirationMs: number;
  readonly abortTimedOutIntervalMs: number;
  readonly removeExpiredIntervalMs: number;
}

/** The settings of the `limits` section that bound the coordinator. */
export interface TransactionLimits {
  readonly transactionalIdsMax: number;
  readonly transactionStateBytesMax: number;
}

/** The coordinator's limits under these settings. */
export function transactionConfigFrom(
  settings: TransactionSettings,
  limits: TransactionLimits,
): TransactionConfig {
  return {
    ...transactionConfigDefaults,
    idsMax: limits.transactionalIdsMax,
    stateBytesMax: limits.transactionStateBytesMax,
    timeoutMsMax: settings.maxTimeoutMs,
    idExpirationMs: settings.idExpirationMs,
    abortIntervalMs: settings.abortTimedOutIntervalMs,
    expiryIntervalMs: settings.removeExpiredIntervalMs,
  };
}
