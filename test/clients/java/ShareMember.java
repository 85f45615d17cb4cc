import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.consumer.AcknowledgeType;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** What a share group's members go through: one scenario a run, one JSON line a step. */
final class ShareMember {
  private static final long STEP_MS = 30_000;
  private final Map<String, String> flags;

  private ShareMember(Map<String, String> flags) {
    this.flags = flags;
  }

  static void run(Map<String, String> flags) throws Exception {
    ShareMember member = new ShareMember(flags);
    switch (flags.get("scenario")) {
      case "acknowledge" -> member.acknowledge();
      case "share" -> member.share();
      case "hold" -> member.hold();
      case "rest" -> member.rest();
      case "lock" -> member.lock();
      case "letters" -> member.letters();
      case "reject" -> member.reject();
      case "queue" -> member.queue();
      default -> throw new IllegalArgumentException("no such scenario");
    }
    System.exit(0);
  }

  private Properties config(String... pairs) {
    Properties config = new Properties();
    config.put("bootstrap.servers", flags.get("bootstrap"));
    for (int i = 0; i < pairs.length; i += 2) config.put(pairs[i], pairs[i + 1]);
    return config;
  }

  private KafkaShareConsumer<byte[], byte[]> consumer(String mode) {
    Properties config = config("group.id", flags.get("group"), "max.poll.records", "50",
        "share.acknowledgement.mode", mode);
    var consumer = new KafkaShareConsumer<>(
        config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    consumer.subscribe(List.of(flags.get("topic")));
    return consumer;
  }

  /** From the first record on, whoever comes late. */
  private void prepare(int records) throws Exception {
    try (Admin admin = Admin.create(config())) {
      var group = new ConfigResource(ConfigResource.Type.GROUP, flags.get("group"));
      var earliest = new AlterConfigOp(
          new ConfigEntry("share.auto.offset.reset", "earliest"), AlterConfigOp.OpType.SET);
      admin.incrementalAlterConfigs(Map.of(group, List.of(earliest))).all().get();
    }
    try (var producer = new KafkaProducer<>(
        config("acks", "all"), new ByteArraySerializer(), new ByteArraySerializer())) {
      for (int i = 0; i < records; i++) {
        producer.send(new ProducerRecord<>(flags.get("topic"), 0, null, new byte[] {(byte) i}));
      }
    }
  }

  private static List<ConsumerRecord<byte[], byte[]>> poll(
      KafkaShareConsumer<byte[], byte[]> consumer, int wanted) {
    return poll(consumer, wanted, STEP_MS);
  }

  private static void tell(String step, List<ConsumerRecord<byte[], byte[]>> records) {
    ObjectNode line = Contract.JSON.createObjectNode().put("step", step);
    ArrayNode list = line.putArray("records");
    for (var record : records) {
      list.addArray().add(record.offset()).add(record.deliveryCount().orElse((short) 0));
    }
    Contract.print(line);
  }

  private void acknowledge() throws Exception {
    prepare(9);
    try (var consumer = consumer("explicit")) {
      var records = poll(consumer, 9);
      tell("first", records);
      for (int i = 0; i < records.size(); i++) {
        consumer.acknowledge(records.get(i), i < 3 ? AcknowledgeType.ACCEPT
            : i < 6 ? AcknowledgeType.REJECT : AcknowledgeType.RELEASE);
      }
      requireDone(consumer);
      var again = poll(consumer, 3);
      tell("released", again);
      for (var record : again) consumer.acknowledge(record);
      requireDone(consumer);
    }
    try (var consumer = consumer("implicit")) {
      tell("nothing", poll(consumer, 1, 1_500));
    }
  }

  private static void requireDone(KafkaShareConsumer<byte[], byte[]> consumer) {
    for (var failure : consumer.commitSync().values()) {
      if (failure.isPresent()) throw failure.get();
    }
  }

  /** Two members read one partition: each record comes to one of them. */
  private void share() throws Exception {
    prepare(1);
    TreeMap<Long, Integer> seen = new TreeMap<>();
    int[] counts = new int[2];
    int sent = 1;
    try (var producer = new KafkaProducer<>(
            config("acks", "all"), new ByteArraySerializer(), new ByteArraySerializer());
        var left = consumer("implicit");
        var right = consumer("implicit")) {
      var members = List.of(left, right);
      long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(STEP_MS);
      while (System.nanoTime() < end) {
        boolean bothRead = counts[0] > 20 && counts[1] > 20;
        if (bothRead && seen.size() == sent) break;
        for (int i = 0; i < 20 && !bothRead; i++, sent++) {
          producer.send(new ProducerRecord<>(flags.get("topic"), 0, null, new byte[1])).get();
        }
        for (int i = 0; i < 2; i++) {
          for (var record : members.get(i).poll(Duration.ofMillis(100))) {
            seen.merge(record.offset(), 1, Integer::sum);
            counts[i]++;
          }
        }
      }
      for (var member : members) requireDone(member);
    }
    long twice = seen.values().stream().filter(count -> count > 1).count();
    Contract.print(Contract.JSON.createObjectNode().put("step", "shared").put("sent", sent)
        .put("seen", seen.size()).put("twice", twice).put("left", counts[0])
        .put("right", counts[1]));
  }

  /** Acknowledges some, holds the rest, and waits to be killed. */
  private void hold() throws Exception {
    prepare(20);
    var consumer = consumer("explicit");
    var records = poll(consumer, 20);
    for (var record : records) {
      if (record.offset() % 2 == 0) consumer.acknowledge(record);
      else if (record.offset() == 19) consumer.acknowledge(record, AcknowledgeType.RELEASE);
    }
    requireDone(consumer);
    tell("held", records);
    System.in.read();
  }

  private void rest() {
    try (var consumer = consumer("implicit")) {
      var records = poll(consumer, Integer.parseInt(flags.get("records")));
      requireDone(consumer);
      records.addAll(poll(consumer, 1, 1_500));
      tell("rest", records);
    }
  }

  private static List<ConsumerRecord<byte[], byte[]>> poll(
      KafkaShareConsumer<byte[], byte[]> consumer, int wanted, long ms) {
    List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
    long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(ms);
    while (records.size() < wanted && System.nanoTime() < end) {
      consumer.poll(Duration.ofMillis(200)).forEach(records::add);
    }
    return records;
  }

  /** One member holds records without a word: its locks end, and another one gets them. */
  private void lock() throws Exception {
    prepare(5);
    try (var idle = consumer("explicit"); var busy = consumer("implicit")) {
      tell("held", poll(idle, 5));
      var records = poll(busy, 5);
      requireDone(busy);
      tell("after", records);
    }
  }

  /** Its dead letters go to the topic named by --queue. */
  private void prepareQueue(int records) throws Exception {
    prepare(records);
    try (Admin admin = Admin.create(config())) {
      var group = new ConfigResource(ConfigResource.Type.GROUP, flags.get("group"));
      var wanted = Map.of("errors.deadletterqueue.topic.name", flags.get("queue"),
          "errors.deadletterqueue.copy.record.enable", "true", "share.delivery.count.limit", "2");
      var ops = wanted.entrySet().stream().map(each -> new AlterConfigOp(
          new ConfigEntry(each.getKey(), each.getValue()), AlterConfigOp.OpType.SET)).toList();
      admin.incrementalAlterConfigs(Map.of(group, ops)).all().get();
    }
  }

  /** Rejects some records, lets the deliveries of another run out, and accepts the rest. */
  private void letters() throws Exception {
    prepareQueue(6);
    try (var consumer = consumer("explicit")) {
      var records = poll(consumer, 6);
      for (var record : records) {
        consumer.acknowledge(record, record.offset() == 1 || record.offset() == 4
            ? AcknowledgeType.REJECT : record.offset() == 5
            ? AcknowledgeType.RELEASE : AcknowledgeType.ACCEPT);
      }
      requireDone(consumer);
      var again = poll(consumer, 1);
      for (var record : again) consumer.acknowledge(record, AcknowledgeType.RELEASE);
      requireDone(consumer);
      tell("again", again);
    }
    queue();
  }

  /** Rejects record after record until it is killed, or its broker is; tells each that it may. */
  private void reject() throws Exception {
    if (flags.containsKey("records")) prepareQueue(Integer.parseInt(flags.get("records")));
    try (var consumer = consumer("explicit")) {
      for (;;) {
        var records = poll(consumer, 1, 3_000);
        if (records.isEmpty()) return;
        for (var record : records) consumer.acknowledge(record, AcknowledgeType.REJECT);
        var done = consumer.commitSync();
        if (done.values().stream().allMatch(Optional::isEmpty)) tell("rejected", records);
      }
    }
  }

  /** What a consumer finds in the queue: from which offset it comes, and why. */
  private void queue() {
    var partition = new TopicPartition(flags.get("queue"), 0);
    try (var consumer = new KafkaConsumer<>(
        config(), new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
      consumer.assign(List.of(partition));
      consumer.seekToBeginning(List.of(partition));
      long wanted = Long.parseLong(flags.getOrDefault("letters", "3"));
      ObjectNode line = Contract.JSON.createObjectNode().put("step", "queue");
      ArrayNode list = line.putArray("letters");
      TreeMap<String, Integer> seen = new TreeMap<>();
      long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(STEP_MS);
      while (seen.size() < wanted && System.nanoTime() < end) {
        for (var record : consumer.poll(Duration.ofMillis(200))) {
          String offset = header(record, "offset");
          seen.merge(offset, 1, Integer::sum);
          list.addArray().add(Long.parseLong(offset)).add(record.value()[0])
              .add(header(record, "topic")).add(header(record, "delivery.count"))
              .add(header(record, "message"));
        }
      }
      Contract.print(line);
    }
  }

  private static String header(ConsumerRecord<byte[], byte[]> record, String name) {
    return new String(record.headers().lastHeader("__dlq.errors." + name).value(), UTF_8);
  }
}
