package org.apache.kafka.streams.integration.utils;

import java.time.Duration;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ListTopicsOptions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.InvalidReplicationFactorException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.test.api.ClusterConfig;
import org.apache.kafka.server.util.MockTime;
import org.apache.kafka.test.TestUtils;
import suite.OneBroker;

/**
 * Stands in for the class of the same name: the cluster of a test is one broker, a process of its
 * own with the test's broker properties, whatever number of brokers the test asks for.
 */
public class EmbeddedKafkaCluster {
  private static final long ANSWER_SECONDS_MAX = 120;

  /** The clock of the tests, not of the broker: they write records by it. */
  public final MockTime time;
  private final int brokers;
  private final OneBroker broker;

  public EmbeddedKafkaCluster(int brokers) {
    this(brokers, new Properties());
  }

  public EmbeddedKafkaCluster(int brokers, Properties properties) {
    this(brokers, properties, Map.of());
  }

  public EmbeddedKafkaCluster(int brokers, Properties properties, long startMs) {
    this(brokers, properties, Map.of(), startMs, System.nanoTime());
  }

  public EmbeddedKafkaCluster(
      int brokers, Properties properties, Map<Integer, Map<String, String>> ofEach) {
    this(brokers, properties, ofEach, System.currentTimeMillis(), System.nanoTime());
  }

  public EmbeddedKafkaCluster(int brokers, Properties properties,
      Map<Integer, Map<String, String>> ofEach, long startMs, long startNs) {
    Map<String, String> all = new HashMap<>();
    properties.forEach((name, value) -> all.put(name.toString(), value.toString()));
    all.putIfAbsent("group.min.session.timeout.ms", "0");
    all.putIfAbsent("group.initial.rebalance.delay.ms", "0");
    all.putIfAbsent("auto.create.topics.enable", "true");
    this.brokers = brokers;
    broker = OneBroker.of(ClusterConfig.defaultBuilder()
        .setServerProperties(all).setPerServerProperties(ofEach).build());
    time = new MockTime(startMs, startNs);
  }

  public void start() {
    broker.start();
    verifyClusterReadiness();
  }

  /** Leaves behind what every group needs, `__consumer_offsets`: tests list it among the topics. */
  public void verifyClusterReadiness() {
    String name = "warmup-" + UUID.randomUUID();
    createTopic(name);
    produce(new HashMap<>(clientDefaultConfig()), name, null, "key", "value");
    try (KafkaConsumer<byte[], byte[]> consumer =
        createConsumerAndSubscribeTo(Map.of("group.id", name), name)) {
      if (consumer.poll(Duration.ofSeconds(ANSWER_SECONDS_MAX)).isEmpty()) {
        throw new AssertionError("the broker's first record did not come back");
      }
    }
    ask(admin -> admin.deleteConsumerGroups(List.of(name)).all());
    deleteTopic(name);
  }

  public void stop() {
    broker.stop();
  }

  public String bootstrapServers() {
    return broker.bootstrapServers();
  }

  public boolean sslEnabled() {
    return false;
  }

  public void createTopics(String... topics) throws InterruptedException {
    Arrays.stream(topics).forEach(this::createTopic);
  }

  public void createTopic(String topic) {
    createTopic(topic, 1);
  }

  public void createTopic(String topic, int partitions) {
    createTopic(topic, partitions, 1, Map.of());
  }

  public void createTopic(String topic, int partitions, int replicas) throws InterruptedException {
    createTopic(topic, partitions, replicas, Map.of());
  }

  public void createTopic(
      String topic, int partitions, int replicas, Map<String, String> configs) {
    if (replicas > brokers) {
      throw new InvalidReplicationFactorException(replicas + " replicas on " + brokers);
    }
    NewTopic asked = new NewTopic(topic, partitions, (short) 1).configs(configs);
    ask(admin -> admin.createTopics(List.of(asked)).all(), TopicExistsException.class);
  }

  public void deleteTopics(String... topics) {
    Arrays.stream(topics).forEach(this::deleteTopic);
  }

  public void deleteTopic(String topic) {
    ask(admin -> admin.deleteTopics(List.of(topic)).all(), UnknownTopicOrPartitionException.class);
  }

  public void deleteAllTopics() {
    Collection<String> topics = ask(admin -> admin.listTopics().names());
    ask(admin -> admin.deleteTopics(topics).all(), UnknownTopicOrPartitionException.class);
  }

  public void produce(Map<String, Object> configs, String topic, Integer partition, String key,
      String value) {
    try (KafkaProducer<byte[], byte[]> producer =
        new KafkaProducer<>(configs, new ByteArraySerializer(), new ByteArraySerializer())) {
      ProducerRecord<byte[], byte[]> sent =
          new ProducerRecord<>(topic, partition, bytes(key), bytes(value));
      producer.send(sent).get(ANSWER_SECONDS_MAX, TimeUnit.SECONDS);
    } catch (Exception cause) {
      throw new KafkaException("not produced to " + topic, cause);
    }
  }

  private static byte[] bytes(String text) {
    return text == null ? null : text.getBytes();
  }

  public Admin createAdminClient() {
    return Admin.create(new HashMap<>(clientDefaultConfig()));
  }

  public Map<String, String> clientDefaultConfig() {
    return new HashMap<>(Map.of("bootstrap.servers", bootstrapServers()));
  }

  public KafkaConsumer<byte[], byte[]> createConsumer(Map<String, Object> configs) {
    Map<String, Object> all = new HashMap<>(clientDefaultConfig());
    all.put("group.id", UUID.randomUUID().toString());
    all.put("enable.auto.commit", "false");
    all.put("auto.offset.reset", "earliest");
    all.put("key.deserializer", ByteArrayDeserializer.class.getName());
    all.put("value.deserializer", ByteArrayDeserializer.class.getName());
    all.putAll(configs);
    return new KafkaConsumer<>(all);
  }

  public KafkaConsumer<byte[], byte[]> createConsumerAndSubscribeTo(
      Map<String, Object> configs, String... topics) {
    return createConsumerAndSubscribeTo(configs, null, topics);
  }

  public KafkaConsumer<byte[], byte[]> createConsumerAndSubscribeTo(
      Map<String, Object> configs, ConsumerRebalanceListener listener, String... topics) {
    KafkaConsumer<byte[], byte[]> consumer = createConsumer(configs);
    if (listener == null) {
      consumer.subscribe(List.of(topics));
    } else {
      consumer.subscribe(List.of(topics), listener);
    }
    return consumer;
  }

  public void waitForRemainingTopics(long timeoutMs, String... topics)
      throws InterruptedException {
    TestUtils.waitForCondition(() -> getAllTopicsInCluster().equals(Set.of(topics)), timeoutMs,
        () -> "topics are " + getAllTopicsInCluster() + " and not " + Set.of(topics));
  }

  public Set<String> getAllTopicsInCluster() {
    return ask(admin -> admin.listTopics(new ListTopicsOptions().listInternal(true)).names());
  }

  /** What was set for this topic, without defaults. */
  public Properties getLogConfig(String topic) {
    ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
    Properties properties = new Properties();
    ask(admin -> admin.describeConfigs(List.of(resource)).all()).get(resource).entries().stream()
        .filter(each -> each.source() == ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG)
        .collect(Collectors.toMap(ConfigEntry::name, ConfigEntry::value))
        .forEach(properties::put);
    return properties;
  }

  // Tests set these for whatever protocol; they bear on groups of the streams protocol only.

  public void setGroupSessionTimeout(String group, int timeoutMs) {}

  public void setGroupHeartbeatTimeout(String group, int intervalMs) {}

  public void setGroupStandbyReplicas(String group, int replicas) {}

  public void setGroupStreamsInitialRebalanceDelay(String group, int delayMs) {}

  private interface Question<T> {
    KafkaFuture<T> of(Admin admin);
  }

  /** Null where the answer is the error that is no matter. */
  private <T> T ask(Question<T> question, Class<?>... ignored) {
    try (Admin admin = createAdminClient()) {
      return question.of(admin).get(ANSWER_SECONDS_MAX, TimeUnit.SECONDS);
    } catch (ExecutionException failed) {
      if (Arrays.stream(ignored).anyMatch(each -> each.isInstance(failed.getCause()))) {
        return null;
      }
      throw new IllegalStateException(failed.getCause());
    } catch (Exception cause) {
      throw new IllegalStateException(cause);
    }
  }
}
