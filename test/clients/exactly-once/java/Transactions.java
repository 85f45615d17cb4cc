import java.time.Duration;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.serialization.StringSerializer;

/** A transactional producer that is made anew after a fatal error, and writes its history. */
final class Transactions implements AutoCloseable {
  private static final Duration GIVE_UP = Duration.ofSeconds(90);

  private final String bootstrap;
  private final String transactionalId;
  private final History history;
  private KafkaProducer<String, String> producer;

  Transactions(String bootstrap, String transactionalId, History history) {
    this.bootstrap = bootstrap;
    this.transactionalId = transactionalId;
    this.history = history;
    producer = initialised(bootstrap, transactionalId);
  }

  static KafkaProducer<String, String> producer(String bootstrap, String transactionalId) {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", bootstrap);
    properties.put("key.serializer", StringSerializer.class.getName());
    properties.put("value.serializer", StringSerializer.class.getName());
    properties.put("enable.idempotence", "true");
    properties.put("linger.ms", "1");
    properties.put("max.block.ms", "20000");
    properties.put("reconnect.backoff.max.ms", "200");
    if (transactionalId != null) {
      properties.put("transactional.id", transactionalId);
    }
    return new KafkaProducer<>(properties);
  }

  /** Repeats initTransactions over restarts of the broker. */
  static KafkaProducer<String, String> initialised(String bootstrap, String transactionalId) {
    long deadline = System.nanoTime() + GIVE_UP.toNanos();
    while (true) {
      KafkaProducer<String, String> producer = producer(bootstrap, transactionalId);
      try {
        producer.initTransactions();
        return producer;
      } catch (KafkaException failed) {
        producer.close(Duration.ZERO);
        if (System.nanoTime() > deadline) {
          throw failed;
        }
      }
    }
  }

  /** What a transaction does between begin and end. */
  interface Work {
    void run(KafkaProducer<String, String> producer, History.Write write)
        throws ExecutionException, InterruptedException;
  }

  /** Sends the next record of a write; the caller may wait for its acknowledgement. */
  static Future<?> send(KafkaProducer<String, String> producer, History.Write write,
      String topic, int partition) {
    String value = write.id + ":" + write.sent.size();
    write.sent.add(value);
    return producer.send(new ProducerRecord<>(topic, partition, write.id, value));
  }

  /** One transaction; true if it is known to be committed. */
  boolean run(String id, boolean commits, Work work) throws InterruptedException {
    History.Write write = history.begin(id);
    boolean asksToCommit = false;
    try {
      producer.beginTransaction();
      work.run(producer, write);
      if (commits) {
        producer.flush();
        asksToCommit = true;
        commit();
        write.outcome = History.Outcome.COMMITTED;
        return true;
      }
      producer.abortTransaction();
      return false;
    } catch (KafkaException | ExecutionException failed) {
      if (asksToCommit) {
        write.outcome = History.Outcome.UNKNOWN;
      }
      startAnew();
      return false;
    }
  }

  /** A commit that timed out is asked for again: that is what the client's contract says. */
  private void commit() {
    long deadline = System.nanoTime() + GIVE_UP.toNanos();
    while (true) {
      try {
        producer.commitTransaction();
        return;
      } catch (TimeoutException late) {
        if (System.nanoTime() > deadline) {
          throw late;
        }
      }
    }
  }

  /** Its initTransactions ends whatever the old producer left open. */
  private void startAnew() {
    producer.close(Duration.ZERO);
    producer = initialised(bootstrap, transactionalId);
  }

  @Override
  public void close() {
    producer.close(Duration.ofSeconds(30));
  }
}
