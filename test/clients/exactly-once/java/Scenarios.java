import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.Supplier;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.TopicExistsException;

/** The seven scenarios; each makes topics of its own and fills the history it is given. */
final class Scenarios {
  private static final int PARTITIONS = 3;
  private static final long CONSUME_MS_MAX = 120_000;

  /** One scenario; the prefix is unique to its run. */
  interface Scenario {
    void run(String bootstrap, String prefix, History history) throws Exception;
  }

  static final Map<String, Scenario> ALL = new LinkedHashMap<>();

  static {
    ALL.put("multi-partition commit and abort", Scenarios::multiPartition);
    ALL.put("concurrent producers", Scenarios::concurrentProducers);
    ALL.put("consume, transform, produce", Scenarios::consumeTransformProduce);
    ALL.put("idempotent producer without duplicates", Scenarios::idempotent);
    ALL.put("transaction of 1,000 records", Scenarios::thousandRecords);
    ALL.put("interleaved commit and abort", Scenarios::interleaved);
    ALL.put("crash in the middle of a transaction", Scenarios::crash);
  }

  private Scenarios() {}

  private static String topic(String bootstrap, String name, History history) throws Exception {
    create(bootstrap, name);
    history.topics.add(name);
    return name;
  }

  private static void create(String bootstrap, String name) throws Exception {
    try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
      admin.createTopics(List.of(new NewTopic(name, PARTITIONS, (short) 1))).all().get();
    } catch (ExecutionException failure) {
      // A broker killed before its answer may have made it; the client asked again.
      if (!(failure.getCause() instanceof TopicExistsException)) throw failure;
    }
  }

  private static void multiPartition(String bootstrap, String prefix, History history)
      throws Exception {
    String first = topic(bootstrap, prefix + "-a", history);
    String second = topic(bootstrap, prefix + "-b", history);
    try (Readers.Follower follower = new Readers.Follower(bootstrap, history);
        Transactions transactions = new Transactions(bootstrap, prefix, history)) {
      for (int i = 0; i < 20; i++) {
        transactions.run(prefix + "/" + i, i % 3 != 2, (producer, write) -> {
          for (int k = 0; k < 12; k++) {
            Transactions.send(producer, write, k % 2 == 0 ? first : second, k % PARTITIONS);
          }
        });
      }
    }
  }

  private static void concurrentProducers(String bootstrap, String prefix, History history)
      throws Exception {
    String topic = topic(bootstrap, prefix, history);
    ExecutorService pool = Executors.newFixedThreadPool(4);
    try (Readers.Follower follower = new Readers.Follower(bootstrap, history)) {
      List<Future<?>> producers = new ArrayList<>();
      for (int p = 0; p < 4; p++) {
        String id = prefix + "-" + p;
        int number = p;
        producers.add(pool.submit(() -> {
          try (Transactions transactions = new Transactions(bootstrap, id, history)) {
            for (int i = 0; i < 8; i++) {
              transactions.run(id + "/" + i, (i + number) % 4 != 3, (producer, write) -> {
                for (int k = 0; k < 9; k++) {
                  Transactions.send(producer, write, topic, k % PARTITIONS);
                }
              });
            }
          }
          return null;
        }));
      }
      for (Future<?> producer : producers) {
        producer.get();
      }
    } finally {
      pool.shutdownNow();
    }
  }

  /** Each input is transformed exactly once, though every third transaction is aborted. */
  private static void consumeTransformProduce(String bootstrap, String prefix, History history)
      throws Exception {
    int inputs = 120;
    String source = prefix + "-in";
    String target = topic(bootstrap, prefix + "-out", history);
    create(bootstrap, source);
    try (KafkaProducer<String, String> producer = Transactions.producer(bootstrap, null)) {
      for (int i = 0; i < inputs; i++) {
        producer.send(new ProducerRecord<>(source, i % PARTITIONS, null, "input " + i));
      }
    }
    Map<String, String> group = Map.of("group.id", prefix, "max.poll.records", "10");
    Set<String> done = new HashSet<>();
    try (Readers.Follower follower = new Readers.Follower(bootstrap, history);
        KafkaConsumer<String, String> consumer = Readers.consumer(bootstrap, group);
        Transactions transactions = new Transactions(bootstrap, prefix, history)) {
      consumer.subscribe(List.of(source));
      long deadline = System.currentTimeMillis() + CONSUME_MS_MAX;
      for (int i = 0; committedInputs(consumer, source) < inputs; i++) {
        if (System.currentTimeMillis() > deadline) {
          throw new IllegalStateException("not all inputs were consumed");
        }
        ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(200));
        if (records.isEmpty()) {
          continue;
        }
        Map<TopicPartition, OffsetAndMetadata> next = new HashMap<>();
        List<String> values = new ArrayList<>();
        for (ConsumerRecord<String, String> record : records) {
          next.put(new TopicPartition(record.topic(), record.partition()),
              new OffsetAndMetadata(record.offset() + 1));
          values.add(record.value());
        }
        boolean isCommitted = transactions.run(prefix + "/" + i, i % 3 != 2, (producer, write) -> {
          for (String value : values) {
            Transactions.send(producer, write, target, write.sent.size() % PARTITIONS);
            done.add(value);
          }
          producer.sendOffsetsToTransaction(next, consumer.groupMetadata());
        });
        if (!isCommitted) {
          backToCommitted(consumer);
        }
      }
    }
    int outputs = Readers.readAll(bootstrap, history.topics).values().stream()
        .mapToInt(List::size).sum();
    if (done.size() != inputs || outputs != inputs) {
      throw new IllegalStateException(inputs + " inputs, of which " + done.size()
          + " were seen, became " + outputs + " outputs");
    }
  }

  private static long committedInputs(KafkaConsumer<String, String> consumer, String source) {
    Map<TopicPartition, OffsetAndMetadata> committed = retrying(() -> {
      Map<TopicPartition, OffsetAndMetadata> all = new HashMap<>();
      Set<TopicPartition> partitions = new HashSet<>();
      for (int p = 0; p < PARTITIONS; p++) {
        partitions.add(new TopicPartition(source, p));
      }
      all.putAll(consumer.committed(partitions));
      return all;
    });
    return committed.values().stream().filter(offset -> offset != null)
        .mapToLong(OffsetAndMetadata::offset).sum();
  }

  private static void backToCommitted(KafkaConsumer<String, String> consumer) {
    Map<TopicPartition, OffsetAndMetadata> committed =
        retrying(() -> consumer.committed(consumer.assignment()));
    for (TopicPartition partition : consumer.assignment()) {
      OffsetAndMetadata offset = committed.get(partition);
      consumer.seek(partition, offset == null ? 0 : offset.offset());
    }
  }

  private static <T> T retrying(Supplier<T> call) {
    long deadline = System.currentTimeMillis() + CONSUME_MS_MAX;
    while (true) {
      try {
        return call.get();
      } catch (KafkaException failed) {
        if (System.currentTimeMillis() > deadline) {
          throw failed;
        }
      }
    }
  }

  private static void idempotent(String bootstrap, String prefix, History history)
      throws Exception {
    String topic = topic(bootstrap, prefix, history);
    History.Write write = history.begin(prefix + "/plain");
    write.outcome = History.Outcome.PLAIN;
    try (Readers.Follower follower = new Readers.Follower(bootstrap, history);
        KafkaProducer<String, String> producer = Transactions.producer(bootstrap, null)) {
      for (int i = 0; i < 3000; i++) {
        String value = write.id + ":" + write.sent.size();
        write.sent.add(value);
        producer.send(new ProducerRecord<>(topic, i % PARTITIONS, null, value), (at, failed) -> {
          if (failed == null) {
            write.acknowledged.add(value); // callbacks come one after another, from one thread
          }
        });
        if (i % 100 == 99) {
          producer.flush();
        }
      }
    }
    if (write.acknowledged.size() != write.sent.size()) {
      throw new IllegalStateException(
          "only " + write.acknowledged.size() + " of " + write.sent.size() + " were acknowledged");
    }
  }

  private static void thousandRecords(String bootstrap, String prefix, History history)
      throws Exception {
    String topic = topic(bootstrap, prefix, history);
    try (Readers.Follower follower = new Readers.Follower(bootstrap, history);
        Transactions transactions = new Transactions(bootstrap, prefix, history)) {
      for (int i = 0; i < 3; i++) {
        transactions.run(prefix + "/" + i, i != 1, (producer, write) -> {
          for (int k = 0; k < 1000; k++) {
            Transactions.send(producer, write, topic, k % PARTITIONS);
            if (k % 250 == 249) {
              producer.flush(); // several batches a partition
            }
          }
        });
      }
    }
  }

  /** Two producers take turns in the same partitions; what one aborts surrounds what is kept. */
  private static void interleaved(String bootstrap, String prefix, History history)
      throws Exception {
    String topic = topic(bootstrap, prefix, history);
    try (Readers.Follower follower = new Readers.Follower(bootstrap, history);
        Transactions keeper = new Transactions(bootstrap, prefix + "-keeper", history);
        Transactions dropper = new Transactions(bootstrap, prefix + "-dropper", history)) {
      for (int i = 0; i < 8; i++) {
        int round = i;
        keeper.run(prefix + "/keeper/" + i, true, (keeping, kept) -> {
          for (int k = 0; k < 4; k++) {
            Transactions.send(keeping, kept, topic, k % PARTITIONS).get();
            int turn = k;
            dropper.run(prefix + "/dropper/" + round + "/" + turn, turn == 2, (other, write) -> {
              for (int p = 0; p < PARTITIONS; p++) {
                Transactions.send(other, write, topic, p).get();
              }
            });
          }
        });
      }
    }
  }

  /** A producer falls silent in a transaction; the next of its name ends it and fences it. */
  private static void crash(String bootstrap, String prefix, History history) throws Exception {
    String topic = topic(bootstrap, prefix, history);
    try (Readers.Follower follower = new Readers.Follower(bootstrap, history)) {
      for (int i = 0; i < 4; i++) {
        KafkaProducer<String, String> fallen = Transactions.initialised(bootstrap, prefix);
        try {
          History.Write left = history.begin(prefix + "/fallen/" + i);
          try {
            fallen.beginTransaction();
            for (int k = 0; k < 30; k++) {
              Transactions.send(fallen, left, topic, k % PARTITIONS);
            }
            fallen.flush();
          } catch (KafkaException failed) {
            // what it wrote stays uncommitted all the same
          }
          try (Transactions next = new Transactions(bootstrap, prefix, history)) {
            mustBeFenced(fallen, left, topic);
            next.run(prefix + "/next/" + i, true, (producer, write) -> {
              for (int k = 0; k < 9; k++) {
                Transactions.send(producer, write, topic, k % PARTITIONS);
              }
            });
          }
        } finally {
          fallen.close(Duration.ZERO);
        }
      }
    }
  }

  private static void mustBeFenced(
      KafkaProducer<String, String> fallen, History.Write left, String topic)
      throws InterruptedException {
    try {
      Transactions.send(fallen, left, topic, 0).get();
    } catch (KafkaException | ExecutionException fenced) {
      return;
    }
    throw new IllegalStateException("a producer writes on though another one took its name");
  }
}
