package suite;

import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.common.network.ListenerName;
import org.apache.kafka.common.test.KafkaClusterTestKit;
import org.apache.kafka.common.test.TestKitNodes;
import org.apache.kafka.common.test.api.ClusterConfig;
import org.apache.kafka.metadata.bootstrap.BootstrapMetadata;
import org.apache.kafka.server.common.Feature;

/** Apache Kafka in this JVM, also as a single broker: shows which tests a single broker passes. */
public final class KafkaNode implements Node {
  private final KafkaClusterTestKit kit;
  private boolean isStarted;

  public KafkaNode(ClusterConfig config, Map<String, String> serverProperties) throws Exception {
    Map<String, Short> levels = new TreeMap<>();
    for (Feature feature : Feature.PRODUCTION_FEATURES) {
      levels.put(feature.featureName(), feature.defaultLevel(config.metadataVersion()));
    }
    config.features().forEach((feature, level) -> levels.put(feature.featureName(), level));
    TestKitNodes nodes = new TestKitNodes.Builder()
        .setBootstrapMetadata(
            BootstrapMetadata.fromVersions(config.metadataVersion(), levels, "suite"))
        .setNumBrokerNodes(1)
        .setNumControllerNodes(1)
        .setBrokerListenerName(ListenerName.normalised("EXTERNAL"))
        .build();
    KafkaClusterTestKit.Builder builder = new KafkaClusterTestKit.Builder(nodes);
    serverProperties.forEach(builder::setConfigProp);
    kit = builder.build();
    kit.format();
  }

  @Override
  public String bootstrap() {
    return kit.bootstrapServers();
  }

  @Override
  public boolean isRunning() {
    return kit.brokers().values().stream().noneMatch(broker -> broker.isShutdown());
  }

  @Override
  public void start() throws Exception {
    if (isStarted) {
      kit.brokers().values().forEach(broker -> broker.startup());
    } else {
      isStarted = true;
      kit.startup();
    }
    kit.waitForReadyBrokers();
  }

  @Override
  public void stop() {
    kit.brokers().values().forEach(broker -> broker.shutdown());
  }

  @Override
  public void discard() throws Exception {
    kit.close();
  }

  @Override
  public String logTail() {
    return "";
  }
}
