import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListTransactionsOptions;
import org.apache.kafka.clients.admin.TransactionState;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.serialization.StringDeserializer;

/** Readers of the read_committed view: one that follows a run, and one of the whole afterwards. */
final class Readers {
  private static final long STANDSTILL_MS_MAX = 60_000;

  private Readers() {}

  static KafkaConsumer<String, String> consumer(String bootstrap, Map<String, String> more) {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", bootstrap);
    properties.put("key.deserializer", StringDeserializer.class.getName());
    properties.put("value.deserializer", StringDeserializer.class.getName());
    properties.put("isolation.level", "read_committed");
    properties.put("auto.offset.reset", "earliest");
    properties.put("enable.auto.commit", "false");
    properties.put("check.crcs", "true");
    properties.put("reconnect.backoff.max.ms", "200");
    properties.putAll(more);
    return new KafkaConsumer<>(properties);
  }

  private static List<TopicPartition> partitionsOf(
      KafkaConsumer<String, String> consumer, Collection<String> topics) {
    List<TopicPartition> partitions = new ArrayList<>();
    for (String topic : topics) {
      for (PartitionInfo info : consumer.partitionsFor(topic)) {
        partitions.add(new TopicPartition(topic, info.partition()));
      }
    }
    return partitions;
  }

  /**
   * A commit is answered when the decision is durable; its markers, and with them the last stable
   * offsets, follow. Returns when no transaction of the broker is without them.
   */
  private static void awaitMarkers(String bootstrap) {
    long deadline = System.currentTimeMillis() + STANDSTILL_MS_MAX;
    ListTransactionsOptions undecided = new ListTransactionsOptions().filterStates(List.of(
        TransactionState.ONGOING, TransactionState.PREPARE_COMMIT, TransactionState.PREPARE_ABORT));
    try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
      while (true) {
        Object open;
        try {
          open = admin.listTransactions(undecided).all().get();
          if (((Collection<?>) open).isEmpty()) {
            return;
          }
        } catch (ExecutionException failed) {
          open = failed; // the broker may be on its way back
        } catch (InterruptedException stopped) {
          Thread.currentThread().interrupt();
          throw new IllegalStateException(stopped);
        }
        if (System.currentTimeMillis() > deadline) {
          throw new IllegalStateException("transactions stay open: " + open);
        }
      }
    }
  }

  /** All that read_committed gives up to the ends that hold once every transaction has ended. */
  static Map<TopicPartition, List<History.Seen>> readAll(
      String bootstrap, Collection<String> topics) {
    awaitMarkers(bootstrap);
    Map<TopicPartition, List<History.Seen>> read = new HashMap<>();
    try (KafkaConsumer<String, String> consumer = consumer(bootstrap, Map.of())) {
      List<TopicPartition> partitions = partitionsOf(consumer, topics);
      consumer.assign(partitions);
      consumer.seekToBeginning(partitions);
      Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
      long lastProgress = System.currentTimeMillis();
      while (ends.entrySet().stream()
          .anyMatch(end -> consumer.position(end.getKey()) < end.getValue())) {
        if (System.currentTimeMillis() - lastProgress > STANDSTILL_MS_MAX) {
          throw new IllegalStateException("reading stands still before " + ends);
        }
        for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) {
          lastProgress = System.currentTimeMillis();
          add(read, record);
        }
      }
    }
    return read;
  }

  private static void add(Map<TopicPartition, List<History.Seen>> read,
      ConsumerRecord<String, String> record) {
    read.computeIfAbsent(new TopicPartition(record.topic(), record.partition()),
        partition -> new ArrayList<>()).add(new History.Seen(record.offset(), record.value()));
  }

  /** Reads along in a thread of its own until closed; then what it saw is in the history. */
  static final class Follower implements AutoCloseable {
    private final AtomicBoolean isClosed = new AtomicBoolean();
    private final Thread thread;
    private volatile Throwable failure;

    Follower(String bootstrap, History history) {
      List<String> topics = List.copyOf(history.topics);
      thread = new Thread(() -> {
        try {
          follow(bootstrap, topics, history);
        } catch (Throwable thrown) {
          failure = thrown;
        }
      }, "follower");
      thread.start();
    }

    private void follow(String bootstrap, List<String> topics, History history) {
      try (KafkaConsumer<String, String> consumer = consumer(bootstrap, Map.of())) {
        List<TopicPartition> partitions = partitionsOf(consumer, topics);
        consumer.assign(partitions);
        consumer.seekToBeginning(partitions);
        while (!isClosed.get()) {
          try {
            for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(50))) {
              add(history.live, record);
            }
          } catch (RetriableException again) {
            // the broker is on its way back
          }
        }
      }
    }

    @Override
    public void close() {
      isClosed.set(true);
      try {
        thread.join();
      } catch (InterruptedException stopped) {
        Thread.currentThread().interrupt();
      }
      if (failure != null) {
        throw new IllegalStateException("the follower failed", failure);
      }
    }
  }
}
