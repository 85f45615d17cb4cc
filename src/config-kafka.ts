/**
 * Broker settings of Kafka 4 that chronik knows and does not use: one warning each, so that an
 * existing `server.properties` can be tried as it is. A name in neither list is a mistake.
 */
const ignored = new Set(
  `alter.config.policy.class.name
  alter.log.dirs.replication.quota.window.num
  alter.log.dirs.replication.quota.window.size.seconds authorizer.class.name
  auto.include.jmx.reporter auto.leader.rebalance.enable background.threads
  broker.heartbeat.interval.ms broker.rack broker.session.timeout.ms
  client.quota.callback.class connection.failed.authentication.delay.ms connections.max.reauth.ms
  controlled.shutdown.enable controlled.shutdown.max.retries
  controlled.shutdown.retry.backoff.ms controller.listener.names
  controller.performance.always.log.threshold.ms controller.performance.sample.period.ms
  controller.quorum.append.linger.ms controller.quorum.auto.join.enable
  controller.quorum.bootstrap.servers controller.quorum.election.backoff.max.ms
  controller.quorum.election.timeout.ms controller.quorum.fetch.timeout.ms
  controller.quorum.request.timeout.ms controller.quorum.retry.backoff.ms
  controller.quorum.voters controller.socket.timeout.ms
  create.topic.policy.class.name early.start.listeners
  fetch.purgatory.purge.interval.requests group.coordinator.append.linger.ms
  group.coordinator.rebalance.protocols group.coordinator.threads
  initial.broker.registration.timeout.ms inter.broker.listener.name
  inter.broker.protocol.version internal.topic.creation.enabled
  kafka.metrics.polling.interval.secs kafka.metrics.reporters
  leader.imbalance.check.interval.seconds leader.imbalance.per.broker.percentage
  listener.security.protocol.map log.deletion.retention.minutes log.dir.failure.timeout.ms
  log.flush.interval.messages log.flush.interval.ms log.flush.offset.checkpoint.interval.ms
  log.flush.scheduler.interval.ms log.flush.start.offset.checkpoint.interval.ms
  log.index.interval.bytes log.index.size.max.bytes 
  log.local.retention.bytes log.local.retention.ms log.message.downconversion.enable
  log.message.format.version log.message.timestamp.difference.max.ms log.preallocate
  log.roll.jitter.hours log.roll.jitter.ms log.segment.delete.delay.ms
  max.connection.creation.rate max.connections.per.ip max.connections.per.ip.overrides
  max.request.partition.size.limit metadata.log.dir
  metadata.log.max.record.bytes.between.snapshots metadata.log.max.snapshot.interval.ms
  metadata.log.segment.bytes metadata.log.segment.ms metadata.max.idle.interval.ms
  metadata.max.retention.bytes metadata.max.retention.ms metric.reporters metrics.num.samples
  metrics.recording.level metrics.sample.window.ms num.io.threads num.network.threads
  num.recovery.threads.per.data.dir num.replica.alter.log.dirs.threads num.replica.fetchers
  offsets.commit.required.acks offsets.commit.timeout.ms offsets.load.buffer.size
  offsets.topic.compression.codec offsets.topic.replication.factor offsets.topic.segment.bytes
  principal.builder.class process.roles
  producer.purgatory.purge.interval.requests queued.max.requests
  replica.fetch.backoff.ms replica.fetch.max.bytes
  replica.fetch.min.bytes replica.fetch.response.max.bytes replica.fetch.wait.max.ms
  replica.high.watermark.checkpoint.interval.ms replica.lag.time.max.ms replica.selector.class
  replica.socket.receive.buffer.bytes replica.socket.timeout.ms replication.quota.window.num
  replication.quota.window.size.seconds request.timeout.ms reserved.broker.max.id
  server.max.startup.time.ms socket.connection.setup.timeout.max.ms
  socket.connection.setup.timeout.ms socket.listen.backlog.size socket.receive.buffer.bytes
  socket.send.buffer.bytes
  transaction.partition.verification.enable transaction.state.log.load.buffer.size
  transaction.state.log.min.isr transaction.state.log.replication.factor
  transaction.two.phase.commit.enable unclean.leader.election.enable
  unclean.leader.election.interval.ms unstable.api.versions.enable
  unstable.feature.versions.enable zookeeper.connect zookeeper.connection.timeout.ms
  zookeeper.session.timeout.ms`.split(/\s+/),
);

/** Families of names that belong to features chronik does not have. */
const ignoredFamilies = [
  "delegation.token.",
  "group.consumer.assignor.offload.",
  "group.share.assignor",
  "group.share.initialize.",
  "group.share.persister.",
  "group.streams.",
  "listener.name.",
  "log.cleaner.",
  "remote.log.",
  "sasl.",
  "security.",
  "share.coordinator.append.",
  "share.coordinator.cached.",
  "share.coordinator.cold.",
  "share.coordinator.load.",
  "share.coordinator.state.topic.compression.",
  "share.coordinator.state.topic.min.",
  "share.coordinator.state.topic.prune.",
  "share.coordinator.state.topic.replication.",
  "share.coordinator.state.topic.segment.",
  "share.coordinator.threads",
  "share.coordinator.write.",
  "ssl.",
];

/** Whether a name is one of Kafka's that chronik reads over. */
export function isIgnoredKafkaName(name: string): boolean {
  return ignored.has(name) || ignoredFamilies.some((family) => name.startsWith(family));
}
