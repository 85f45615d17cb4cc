import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.time.Duration;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeSet;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** One member of a group, classic or of the consumer protocol: tells its assignment, what it read and what it committed. */
final class GroupMember {
  /** Before the name of an assignor of the broker's: the consumer protocol (KIP-848). */
  private static final String REMOTE = "consumer-";

  private GroupMember() {}

  static void run(Map<String, String> flags) {
    Properties config = new Properties();
    config.put(ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, flags.get("bootstrap"));
    config.put(ConsumerConfig.GROUP_ID_CONFIG, flags.get("group"));
    config.put(ConsumerConfig.CLIENT_ID_CONFIG, flags.get("id"));
    String assignor = flags.get("assignor");
    if (assignor.startsWith(REMOTE)) {
      config.put(ConsumerConfig.GROUP_PROTOCOL_CONFIG, "consumer");
      config.put(ConsumerConfig.GROUP_REMOTE_ASSIGNOR_CONFIG, assignor.substring(REMOTE.length()));
    } else {
      config.put(ConsumerConfig.GROUP_PROTOCOL_CONFIG, "classic");
      config.put(ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG, flags.get("session-timeout-ms"));
      config.put(ConsumerConfig.HEARTBEAT_INTERVAL_MS_CONFIG, 500);
      config.put(ConsumerConfig.PARTITION_ASSIGNMENT_STRATEGY_CONFIG,
          List.of("range".equals(assignor) ? RangeAssignor.class
              : CooperativeStickyAssignor.class));
    }
    if (flags.containsKey("instance")) {
      config.put(ConsumerConfig.GROUP_INSTANCE_ID_CONFIG, flags.get("instance"));
    }
    config.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
    config.put(ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, false);
    AtomicBoolean stopping = stopOnEndOfInput();
    try (KafkaConsumer<byte[], byte[]> consumer =
        new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
      if (flags.containsKey("regex")) {
        consumer.subscribe(new SubscriptionPattern(flags.get("regex")), new Listener(consumer));
      } else {
        consumer.subscribe(List.of(flags.get("topic")), new Listener(consumer));
      }
      while (!stopping.get()) {
        ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(100));
        for (TopicPartition tp : records.partitions()) {
          List<ConsumerRecord<byte[], byte[]>> list = records.records(tp);
          Contract.print(Contract.JSON.createObjectNode().put("event", "consumed")
              .put("partition", tp.partition()).put("first", list.get(0).offset())
              .put("last", list.get(list.size() - 1).offset()));
        }
        if (!records.isEmpty()) {
          commit(consumer, records);
        }
      }
    }
    Contract.print(Contract.JSON.createObjectNode().put("event", "closed"));
    System.exit(0);
  }

  private static void commit(KafkaConsumer<byte[], byte[]> consumer,
      ConsumerRecords<byte[], byte[]> records) {
    Map<TopicPartition, OffsetAndMetadata> offsets = records.nextOffsets();
    try {
      consumer.commitSync(offsets);
    } catch (RebalanceInProgressException | CommitFailedException | RetriableException error) {
      ObjectNode line = Contract.JSON.createObjectNode().put("event", "commit-failed");
      Contract.print(line.put("error", error.toString()));
      return;
    }
    ObjectNode line = Contract.JSON.createObjectNode().put("event", "committed");
    ObjectNode map = line.putObject("offsets");
    offsets.forEach((tp, offset) -> map.put(String.valueOf(tp.partition()), offset.offset()));
    Contract.print(line);
  }

  private static AtomicBoolean stopOnEndOfInput() {
    AtomicBoolean stopping = new AtomicBoolean();
    Thread watcher = new Thread(() -> {
      try {
        while (System.in.read() >= 0) {
          // Only the end of input matters.
        }
      } catch (IOException error) {
        System.err.println(error);
      }
      stopping.set(true);
    });
    watcher.setDaemon(true);
    watcher.start();
    return stopping;
  }

  private record Listener(KafkaConsumer<?, ?> consumer) implements ConsumerRebalanceListener {
    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> added) {
      tell(consumer.assignment());
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> removed) {
      TreeSet<TopicPartition> left = new TreeSet<>(
          java.util.Comparator.comparingInt(TopicPartition::partition));
      left.addAll(consumer.assignment());
      left.removeAll(removed);
      tell(left);
    }

    @Override
    public void onPartitionsLost(Collection<TopicPartition> lost) {
      onPartitionsRevoked(lost);
    }

    private static void tell(Collection<TopicPartition> partitions) {
      ObjectNode line = Contract.JSON.createObjectNode().put("event", "assignment");
      ArrayNode list = line.putArray("partitions");
      partitions.stream().mapToInt(TopicPartition::partition).sorted().forEach(list::add);
      Contract.print(line);
    }
  }
}
