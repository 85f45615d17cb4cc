import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Transactions of a producer of version 2; prints one JSON object of counts. */
final class Transactions {
  private static final long READ_MS_MAX = 20_000;
  private static String bootstrap;

  private Transactions() {}

  public static void main(String[] args) throws Exception {
    Map<String, String> flags = Contract.flags(args);
    bootstrap = flags.get("bootstrap");
    String in = flags.get("topic");
    String out = in + "-out";
    int partitions = 3;
    Map<String, Object> told = new HashMap<>();
    KafkaProducer<String, String> first = producer("java-" + in, 60_000);
    first.initTransactions();
    for (int round = 0; round < 20; round++) {
      first.beginTransaction();
      for (int p = 0; p < partitions; p++) first.send(new ProducerRecord<>(in, p, "k", "v" + round));
      // An abort would drop what was not sent yet.
      first.flush();
      if (round % 2 == 0) first.commitTransaction();
      else first.abortTransaction();
    }
    told.put("committed", read(in, partitions, "read_committed", 30).size());
    told.put("uncommitted", read(in, partitions, "read_uncommitted", 60).size());
    first.beginTransaction();
    first.send(new ProducerRecord<>(in, 0, "k", "fenced")).get();
    KafkaProducer<String, String> second = producer("java-" + in, 60_000);
    second.initTransactions();
    boolean fenced = false;
    try {
      first.send(new ProducerRecord<>(in, 0, "k", "late"));
      first.commitTransaction();
    } catch (KafkaException error) {
      fenced = true;
    }
    first.close();
    told.put("fenced", fenced);
    told.put("moved", move(second, in, out, 30));
    told.put("out", read(out, 1, "read_committed", 30).size());
    second.close();
    KafkaProducer<String, String> slow = producer("java-slow-" + in, 1_000);
    slow.initTransactions();
    slow.beginTransaction();
    slow.send(new ProducerRecord<>(out, 0, "k", "timed out")).get();
    told.put("afterTimeout", read(out, 1, "read_committed", 30).size());
    slow.close(Duration.ZERO);
    StringBuilder json = new StringBuilder();
    told.forEach((name, value) -> json.append(json.isEmpty() ? "{" : ",").append('"').append(name)
        .append("\":").append(value));
    System.out.println(json + "}");
    System.exit(0);
  }

  private static KafkaProducer<String, String> producer(String id, int timeoutMs) {
    Properties config = new Properties();
    config.put(ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
    config.put(ProducerConfig.TRANSACTIONAL_ID_CONFIG, id);
    config.put(ProducerConfig.TRANSACTION_TIMEOUT_CONFIG, timeoutMs);
    return new KafkaProducer<>(config, new StringSerializer(), new StringSerializer());
  }

  private static KafkaConsumer<String, String> consumer(String isolation, String group) {
    Properties config = new Properties();
    config.put(ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
    config.put(ConsumerConfig.ISOLATION_LEVEL_CONFIG, isolation);
    config.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
    config.put(ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, false);
    if (group != null) config.put(ConsumerConfig.GROUP_ID_CONFIG, group);
    return new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer());
  }

  /** Until as many as expected are there and one more look brings nothing. */
  private static List<String> read(String topic, int partitions, String isolation, int expected) {
    List<String> values = new ArrayList<>();
    try (KafkaConsumer<String, String> consumer = consumer(isolation, null)) {
      List<TopicPartition> all = new ArrayList<>();
      for (int p = 0; p < partitions; p++) all.add(new TopicPartition(topic, p));
      consumer.assign(all);
      consumer.seekToBeginning(all);
      long deadline = System.currentTimeMillis() + READ_MS_MAX;
      while (System.currentTimeMillis() < deadline) {
        ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(300));
        if (records.isEmpty() && values.size() >= expected) break;
        for (ConsumerRecord<String, String> record : records) values.add(record.value());
      }
    }
    return values;
  }

  /** Consume, transform, produce: the first round is aborted and done again. */
  private static int move(KafkaProducer<String, String> producer, String in, String out, int count)
      throws Exception {
    int moved = 0;
    boolean aborts = true;
    try (KafkaConsumer<String, String> consumer = consumer("read_committed", "g-" + in)) {
      consumer.subscribe(List.of(in));
      long deadline = System.currentTimeMillis() + READ_MS_MAX;
      while (moved < count && System.currentTimeMillis() < deadline) {
        ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(300));
        if (records.isEmpty()) continue;
        producer.beginTransaction();
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        for (ConsumerRecord<String, String> record : records) {
          producer.send(new ProducerRecord<>(out, 0, "k", record.value()));
          offsets.put(new TopicPartition(record.topic(), record.partition()),
              new OffsetAndMetadata(record.offset() + 1));
        }
        producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
        if (!aborts) {
          producer.commitTransaction();
          moved += records.count();
          continue;
        }
        aborts = false;
        producer.abortTransaction();
        consumer.committed(consumer.assignment()).forEach((partition, offset) ->
            consumer.seek(partition, offset == null ? 0 : offset.offset()));
      }
    }
    return moved;
  }
}
