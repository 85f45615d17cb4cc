import java.io.PrintWriter;
import java.io.StringWriter;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.admin.ListTopicsOptions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.clients.producer.ProducerConfig;
import com.fasterxml.jackson.databind.ObjectMapper;

/**
 * What a ksqlDB server asks of a broker: its admin calls, and its command topic, to which each
 * server writes in transactions under one name and only after it has read everything before.
 * Prints one JSON line a step: {"name", "failure": null or text}.
 */
public final class KsqlProbe {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final String COMMANDS = "_confluent-ksql-default__command_topic";
  private static final TopicPartition COMMAND_LOG = new TopicPartition(COMMANDS, 0);
  private static final String SERVICE = "default_";

  private final String bootstrap;
  private final Admin admin;

  private KsqlProbe(String bootstrap) {
    this.bootstrap = bootstrap;
    admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
  }

  /** One step; throws where the broker is not what ksqlDB expects. */
  private interface Step {
    void run() throws Exception;
  }

  public static void main(String[] args) {
    KsqlProbe probe = new KsqlProbe(args[0]);
    step("describeCluster and the broker's configs", probe::cluster);
    step("command topic: created for ever, its configs told and changed", probe::commandTopic);
    step("command topic: transactions in turn, each after all before it", probe::commands);
    step("command topic: a second server takes the name over", probe::takeOver);
    step("command topic: read again from its beginning", probe::replay);
    step("sink and internal topics: created, listed, described, deleted", probe::topics);
    step("listOffsets and offsets of a query's group", probe::offsets);
    step("listConsumerGroups and deleteConsumerGroups", probe::groups);
    probe.admin.close(Duration.ofSeconds(5));
    Runtime.getRuntime().halt(0);
  }

  private static void step(String name, Step step) {
    String failure = null;
    try {
      step.run();
    } catch (Exception | AssertionError thrown) {
      StringWriter text = new StringWriter();
      thrown.printStackTrace(new PrintWriter(text));
      failure = text.toString();
    }
    System.out.println(JSON.createObjectNode().put("name", name).put("failure", failure));
  }

  private static void expect(boolean isTrue, String what) {
    if (!isTrue) {
      throw new AssertionError(what);
    }
  }

  private void cluster() throws Exception {
    var cluster = admin.describeCluster();
    expect(!cluster.clusterId().get().isEmpty(), "no cluster id");
    Collection<Node> nodes = cluster.nodes().get();
    expect(nodes.contains(cluster.controller().get()), "the controller is no broker");
    ConfigResource broker = new ConfigResource(
        ConfigResource.Type.BROKER, nodes.iterator().next().idString());
    Config config = admin.describeConfigs(List.of(broker)).all().get().get(broker);
    for (String name : List.of("auto.create.topics.enable", "delete.topic.enable",
        "default.replication.factor", "num.partitions", "transaction.max.timeout.ms")) {
      expect(config.get(name) != null && config.get(name).value() != null, "no " + name);
    }
  }

  private void commandTopic() throws Exception {
    Map<String, String> configs = new HashMap<>();
    configs.put("retention.ms", "-1");
    configs.put("cleanup.policy", "delete");
    configs.put("unclean.leader.election.enable", "false");
    configs.put("min.insync.replicas", "1");
    admin.createTopics(List.of(new NewTopic(COMMANDS, 1, (short) 1).configs(configs))).all().get();
    ConfigResource topic = new ConfigResource(ConfigResource.Type.TOPIC, COMMANDS);
    Config told = admin.describeConfigs(List.of(topic)).all().get().get(topic);
    configs.forEach((name, value) ->
        expect(value.equals(told.get(name).value()), name + " is " + told.get(name)));
    expect(told.get("retention.ms").source() == ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG,
        "retention.ms comes from " + told.get("retention.ms").source());
    admin.incrementalAlterConfigs(Map.of(topic, List.of(new AlterConfigOp(
        new ConfigEntry("max.message.bytes", "2000000"), AlterConfigOp.OpType.SET)))).all().get();
    String changed = admin.describeConfigs(List.of(topic)).all().get().get(topic)
        .get("max.message.bytes").value();
    expect(changed.equals("2000000"), "max.message.bytes is " + changed);
  }

  private KafkaProducer<String, String> commandProducer() {
    KafkaProducer<String, String> producer = new KafkaProducer<>(Map.of(
        "bootstrap.servers", bootstrap,
        ProducerConfig.TRANSACTIONAL_ID_CONFIG, SERVICE,
        ProducerConfig.ACKS_CONFIG, "all",
        "key.serializer", StringSerializer.class.getName(),
        "value.serializer", StringSerializer.class.getName()));
    producer.initTransactions();
    return producer;
  }

  private KafkaConsumer<String, String> commandConsumer() {
    KafkaConsumer<String, String> consumer = new KafkaConsumer<>(Map.of(
        "bootstrap.servers", bootstrap,
        "isolation.level", "read_committed",
        "auto.offset.reset", "none",
        "key.deserializer", StringDeserializer.class.getName(),
        "value.deserializer", StringDeserializer.class.getName()));
    consumer.assign(List.of(COMMAND_LOG));
    consumer.seekToBeginning(List.of(COMMAND_LOG));
    return consumer;
  }

  /** Reads to the end as the transaction sees it, as ksqlDB waits for its command runner. */
  private static List<String> readToEnd(KafkaConsumer<String, String> consumer) {
    List<String> values = new ArrayList<>();
    long end = consumer.endOffsets(List.of(COMMAND_LOG)).get(COMMAND_LOG);
    long deadline = System.currentTimeMillis() + 30_000;
    while (consumer.position(COMMAND_LOG) < end) {
      expect(System.currentTimeMillis() < deadline, "the end " + end + " is never reached");
      for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(100))) {
        values.add(record.value());
      }
    }
    return values;
  }

  private void commands() {
    try (KafkaProducer<String, String> producer = commandProducer();
        KafkaConsumer<String, String> consumer = commandConsumer()) {
      List<String> seen = new ArrayList<>();
      for (int i = 0; i < 20; i++) {
        producer.beginTransaction();
        // A commit is answered before its markers are written: the end may lag behind it.
        long deadline = System.currentTimeMillis() + 10_000;
        do {
          seen.addAll(readToEnd(consumer));
        } while (seen.size() < i - i / 5 && System.currentTimeMillis() < deadline);
        expect(seen.size() == i - i / 5, seen.size() + " commands before number " + i);
        producer.send(new ProducerRecord<>(COMMANDS, 0, "stream/S" + i, "CREATE STREAM S" + i));
        if (i % 5 == 4) {
          producer.abortTransaction(); // a statement that was not valid in the end
        } else {
          producer.commitTransaction();
        }
      }
    }
  }

  private void takeOver() {
    try (KafkaProducer<String, String> first = commandProducer()) {
      first.beginTransaction();
      first.send(new ProducerRecord<>(COMMANDS, 0, "stream/LOST", "CREATE STREAM LOST"));
      first.flush();
      try (KafkaProducer<String, String> second = commandProducer()) {
        second.beginTransaction();
        second.send(new ProducerRecord<>(COMMANDS, 0, "stream/NEXT", "CREATE STREAM NEXT"));
        second.commitTransaction();
      }
      try {
        first.commitTransaction();
      } catch (KafkaException fenced) {
        return;
      }
      throw new AssertionError("the first server commits though another one took its name");
    }
  }

  private void replay() {
    try (KafkaConsumer<String, String> consumer = commandConsumer()) {
      List<String> all = readToEnd(consumer);
      expect(all.size() == 17, "17 commands were committed, not " + all);
      expect(all.get(16).equals("CREATE STREAM NEXT"), "the last is " + all.get(16));
    }
  }

  private void topics() throws Exception {
    List<String> names = List.of("PAGEVIEWS_ENRICHED",
        "_confluent-ksql-default_query_CTAS_T_1-Aggregate-GroupBy-repartition",
        "_confluent-ksql-default_query_CTAS_T_1-Aggregate-Aggregate-Materialize-changelog");
    admin.createTopics(names.stream().map(name -> new NewTopic(name, 4, (short) 1)
        .configs(Map.of("cleanup.policy", name.endsWith("changelog") ? "compact" : "delete")))
        .toList()).all().get();
    Set<String> listed =
        admin.listTopics(new ListTopicsOptions().listInternal(true)).names().get();
    expect(listed.containsAll(names), "listTopics gives " + listed);
    var described = admin.describeTopics(names).allTopicNames().get();
    expect(described.values().stream().allMatch(topic -> topic.partitions().size() == 4),
        "describeTopics gives " + described);
    admin.deleteTopics(names.subList(1, 3)).all().get();
    try {
      admin.describeTopics(names.subList(1, 2)).allTopicNames().get();
    } catch (ExecutionException gone) {
      expect(gone.getCause() instanceof UnknownTopicOrPartitionException, "not " + gone);
      return;
    }
    throw new AssertionError("a deleted topic is described");
  }

  private void offsets() throws Exception {
    long start = admin.listOffsets(Map.of(COMMAND_LOG, OffsetSpec.earliest())).all().get()
        .get(COMMAND_LOG).offset();
    long end = admin.listOffsets(Map.of(COMMAND_LOG, OffsetSpec.latest())).all().get()
        .get(COMMAND_LOG).offset();
    expect(start == 0 && end > 17, "offsets from " + start + " to " + end);
    String group = "_confluent-ksql-default_query_CTAS_T_1";
    TopicPartition partition = new TopicPartition("PAGEVIEWS_ENRICHED", 2);
    admin.alterConsumerGroupOffsets(group, Map.of(partition, new OffsetAndMetadata(3))).all().get();
    long committed = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get()
        .get(partition).offset();
    expect(committed == 3, "the group's offset is " + committed);
  }

  private void groups() throws Exception {
    String group = "_confluent-ksql-default_query_CTAS_T_1";
    Set<String> listed = admin.listConsumerGroups().all().get().stream()
        .map(listing -> listing.groupId()).collect(Collectors.toSet());
    expect(listed.contains(group), "listConsumerGroups gives " + listed);
    admin.deleteConsumerGroups(List.of(group)).all().get();
    Set<String> left = admin.listGroups().all().get().stream()
        .map(GroupListing::groupId).collect(Collectors.toSet());
    expect(!left.contains(group), "the group is still there");
  }
}
