import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.utils.AppInfoParser;

/** kafka-clients: produce|verify a topic a codec, or be a group member. */
public final class ClientProgram {
  private static final int SHOWN_MISMATCHES_MAX = 5;
  private static final long IDLE_MS_MAX = 30_000;

  public static void main(String[] args) throws Exception {
    Map<String, String> flags = Contract.flags(args);
    if (args[0].equals("share")) {
      ShareMember.run(Contract.flags(args));
      return;
    }
    if (args[0].equals("member")) {
      GroupMember.run(flags);
      return;
    }
    int records = Integer.parseInt(flags.get("records"));
    List<Contract.Input> inputs = Contract.load(Path.of(flags.get("input")), records,
        "true".equals(flags.get("null-headers-as-empty")));
    boolean failed = false;
    for (String codec : flags.get("codecs").split(",")) {
      long startedNs = System.nanoTime();
      List<String> mismatches = new ArrayList<>();
      String topic = flags.get("topic") + "-" + codec;
      long count = args[0].equals("produce")
          ? produce(flags.get("bootstrap"), topic, codec, inputs, mismatches)
          : verify(flags.get("bootstrap"), topic, inputs, mismatches);
      report(args[0], codec, count, mismatches, (System.nanoTime() - startedNs) / 1_000_000);
      failed |= !mismatches.isEmpty() || count != records;
    }
    System.exit(failed ? 1 : 0);
  }

  private static long produce(String bootstrap, String topic, String codec,
      List<Contract.Input> inputs, List<String> mismatches) throws Exception {
    Properties config = new Properties();
    config.put(ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
    config.put(ProducerConfig.ACKS_CONFIG, "all");
    config.put(ProducerConfig.ENABLE_IDEMPOTENCE_CONFIG, true);
    config.put(ProducerConfig.COMPRESSION_TYPE_CONFIG, codec);
    config.put(ProducerConfig.LINGER_MS_CONFIG, 5);
    List<Future<RecordMetadata>> acks = new ArrayList<>(inputs.size());
    try (KafkaProducer<byte[], byte[]> producer =
        new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer())) {
      for (Contract.Input in : inputs) {
        acks.add(producer.send(new ProducerRecord<>(topic, in.partition(), in.timestamp(),
            in.key(), in.value(), in.headers())));
      }
      producer.flush();
    }
    long[] next = new long[Contract.byPartition(inputs).size()];
    for (int i = 0; i < acks.size(); i++) {
      int partition = inputs.get(i).partition();
      long wanted = next[partition]++;
      long got = acks.get(i).get().offset();
      if (got != wanted) {
        mismatches.add("record " + i + ": acknowledged at offset " + got + ", not " + wanted);
      }
    }
    return acks.size();
  }

  private static long verify(String bootstrap, String topic, List<Contract.Input> inputs,
      List<String> mismatches) {
    List<List<Contract.Input>> wanted = Contract.byPartition(inputs);
    Properties config = new Properties();
    config.put(ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
    config.put(ConsumerConfig.CHECK_CRCS_CONFIG, true);
    config.put(ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, false);
    config.put(ConsumerConfig.MAX_POLL_RECORDS_CONFIG, 5000);
    long count = 0;
    try (KafkaConsumer<byte[], byte[]> consumer =
        new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
      List<TopicPartition> partitions = consumer.partitionsFor(topic).stream()
          .map(info -> new TopicPartition(topic, info.partition())).toList();
      consumer.assign(partitions);
      consumer.seekToBeginning(partitions);
      Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
      long[] next = new long[partitions.size()];
      long idleSinceNs = System.nanoTime();
      while (partitions.stream().anyMatch(tp -> consumer.position(tp) < ends.get(tp))) {
        int polled = 0;
        for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(500))) {
          polled++;
          check(record, wanted.get(record.partition()), next[record.partition()]++, mismatches);
        }
        count += polled;
        if (polled > 0) {
          idleSinceNs = System.nanoTime();
        } else if (System.nanoTime() - idleSinceNs > IDLE_MS_MAX * 1_000_000) {
          mismatches.add("nothing arrived for " + IDLE_MS_MAX + " ms before the end offsets");
          break;
        }
      }
    }
    return count;
  }

  private static void check(ConsumerRecord<byte[], byte[]> got, List<Contract.Input> wanted,
      long index, List<String> mismatches) {
    String where = got.topic() + "-" + got.partition() + "@" + got.offset() + ": ";
    if (index >= wanted.size()) {
      mismatches.add(where + "more records than were produced");
      return;
    }
    Contract.Input want = wanted.get((int) index);
    if (got.offset() != index) {
      mismatches.add(where + "offset is not " + index);
    } else if (!Arrays.equals(got.key(), want.key())) {
      mismatches.add(where + "key differs");
    } else if (!Arrays.equals(got.value(), want.value())) {
      mismatches.add(where + "value differs");
    } else if (got.timestamp() != want.timestamp()) {
      mismatches.add(where + "timestamp " + got.timestamp() + " is not " + want.timestamp());
    } else if (!Contract.sameHeaders(want.headers(), got.headers().toArray())) {
      mismatches.add(where + "headers differ");
    }
  }

  private static void report(String action, String codec, long count, List<String> mismatches,
      long ms) {
    ObjectNode line = Contract.JSON.createObjectNode();
    line.put("client", "java").put("version", AppInfoParser.getVersion());
    line.put("action", action).put("codec", codec).put("records", count);
    line.put("mismatches", mismatches.size()).put("ms", ms);
    ArrayNode detail = line.putArray("detail");
    mismatches.stream().limit(SHOWN_MISMATCHES_MAX).forEach(detail::add);
    Contract.print(line);
  }
}
