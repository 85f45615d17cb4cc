import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.streams.tests.SmokeTestDriver;

/**
 * The "run" command of Kafka's StreamsSmokeTest with a load of any size: BOOTSTRAP SECONDS KEYS
 * RECORDS-PER-KEY. Creates the topics, produces, then verifies what the application made of it;
 * exit code 0 only for exactly that.
 */
public final class SmokeDriver {
  private static final int PARTITIONS = 3;

  private SmokeDriver() {}

  public static void main(String[] args) throws Exception {
    String bootstrap = args[0];
    int recordsPerKey = Integer.parseInt(args[3]);
    try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
      List<NewTopic> topics = new ArrayList<>();
      for (String name : SmokeTestDriver.topics()) {
        topics.add(new NewTopic(name, PARTITIONS, (short) 1));
      }
      admin.createTopics(topics).all().get();
    }
    System.out.println("TOPICS-CREATED");
    Map<String, Set<Integer>> inputs = SmokeTestDriver.generate(bootstrap,
        Integer.parseInt(args[2]), recordsPerKey, Duration.ofSeconds(Long.parseLong(args[1])));
    boolean hasPassed = SmokeTestDriver.verify(bootstrap, inputs, recordsPerKey, true).passed();
    Runtime.getRuntime().halt(hasPassed ? 0 : 1);
  }
}
