package suite;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import kafka.server.ControllerServer;
import kafka.server.KafkaBroker;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.FeatureUpdate;
import org.apache.kafka.clients.admin.FinalizedVersionRange;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.UpdateFeaturesOptions;
import org.apache.kafka.clients.consumer.GroupProtocol;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.network.ListenerName;
import org.apache.kafka.common.test.ClusterInstance;
import org.apache.kafka.common.test.api.ClusterConfig;
import org.apache.kafka.common.test.api.Type;
import org.apache.kafka.metadata.MetadataCache;
import org.apache.kafka.server.config.AbstractKafkaConfig;
import org.apache.kafka.server.fault.FaultHandlerException;
import org.apache.kafka.test.TestUtils;
import org.opentest4j.TestAbortedException;

/**
 * The cluster of a test: one broker, whatever number it asks for, with every replication factor
 * brought down to one. What only a broker inside this JVM could answer aborts the test.
 */
public final class OneBroker implements ClusterInstance {
  private static final boolean ON_KAFKA = Boolean.getBoolean("suite.kafka");
  private static final int ID = 0;

  private final ClusterConfig config;
  private Node node;
  private String impossible;
  private boolean isStopped;

  private OneBroker(ClusterConfig config) {
    this.config = config;
  }

  public static OneBroker of(ClusterConfig config) {
    return new OneBroker(config);
  }

  /** Why the test cannot run on this cluster, once it has asked for too much. */
  public Optional<String> impossible() {
    return Optional.ofNullable(impossible);
  }

  public String logTail() throws Exception {
    return node == null ? "" : node.logTail();
  }

  private TestAbortedException abort(String asked) {
    impossible = "impossible: " + asked;
    return new TestAbortedException(impossible);
  }

  /** The properties of broker 0 of the test, fit for a single broker. */
  private Map<String, String> serverProperties() {
    Map<String, String> properties = new HashMap<>(config.serverProperties());
    properties.putAll(config.perServerOverrideProperties().getOrDefault(ID, Map.of()));
    properties.replaceAll((name, value) ->
        name.endsWith("replication.factor") || name.endsWith("min.isr") ? "1" : value);
    // Some tests set names that Kafka does not know either; it reads over them.
    properties.keySet().retainAll(AbstractKafkaConfig.CONFIG_DEF.names());
    properties.putIfAbsent("offsets.topic.replication.factor", "1");
    properties.putIfAbsent("transaction.state.log.replication.factor", "1");
    properties.putIfAbsent("transaction.state.log.min.isr", "1");
    properties.putIfAbsent("share.coordinator.state.topic.replication.factor", "1");
    properties.putIfAbsent("share.coordinator.state.topic.min.isr", "1");
    properties.putIfAbsent("offsets.topic.num.partitions", "5"); // 50 cost every fresh broker time
    properties.putIfAbsent("transaction.state.log.num.partitions", "5");
    properties.putIfAbsent("share.coordinator.state.topic.num.partitions", "5");
    return properties;
  }

  @Override
  public void start() {
    try {
      if (node == null) {
        node = ON_KAFKA ? new KafkaNode(config, serverProperties())
            : new BrokerProcess(serverProperties());
      }
      node.start();
      if (!ON_KAFKA && !config.features().isEmpty()) {
        setFeatures();
      }
    } catch (Exception cause) {
      throw new IllegalStateException(cause);
    }
  }

  /** What formatting a Kafka folder with these levels does before its first start. */
  private void setFeatures() throws Exception {
    try (Admin admin = admin()) {
      Map<String, FinalizedVersionRange> now =
          admin.describeFeatures().featureMetadata().get().finalizedFeatures();
      Map<String, FeatureUpdate> updates = new HashMap<>();
      config.features().forEach((feature, level) -> {
        FinalizedVersionRange range = now.get(feature.featureName());
        int current = range == null ? 0 : range.maxVersionLevel();
        if (current != level) {
          updates.put(feature.featureName(), new FeatureUpdate(level, level > current
              ? FeatureUpdate.UpgradeType.UPGRADE : FeatureUpdate.UpgradeType.UNSAFE_DOWNGRADE));
        }
      });
      if (!updates.isEmpty()) {
        admin.updateFeatures(updates, new UpdateFeaturesOptions()).all().get();
      }
    }
  }

  @Override
  public void stop() {
    try {
      isStopped = true;
      if (node != null) {
        node.discard();
      }
    } catch (Exception cause) {
      throw new IllegalStateException(cause);
    }
  }

  @Override
  public boolean started() {
    return node != null;
  }

  @Override
  public boolean stopped() {
    return isStopped;
  }

  @Override
  public void shutdownBroker(int brokerId) {
    onlyBroker(brokerId);
    try {
      node.stop();
    } catch (Exception cause) {
      throw new IllegalStateException(cause);
    }
  }

  @Override
  public void startBroker(int brokerId) {
    onlyBroker(brokerId);
    start();
  }

  private void onlyBroker(int brokerId) {
    if (brokerId != ID) {
      throw abort("broker " + brokerId + " of several");
    }
  }

  @Override
  public Type type() {
    return Type.KRAFT;
  }

  @Override
  public ClusterConfig config() {
    return config;
  }

  @Override
  public Map<Integer, KafkaBroker> brokers() {
    Object broker = Proxy.newProxyInstance(KafkaBroker.class.getClassLoader(),
        new Class<?>[] {KafkaBroker.class}, (proxy, method, args) -> ask(proxy, method, args));
    return new OnlyBroker((KafkaBroker) broker);
  }

  /** Tells a missing broker by its number, where a plain map would give null. */
  private final class OnlyBroker extends HashMap<Integer, KafkaBroker> {
    private static final long serialVersionUID = 1;

    OnlyBroker(KafkaBroker broker) {
      put(ID, broker);
    }

    @Override
    public KafkaBroker get(Object brokerId) {
      onlyBroker((Integer) brokerId);
      return super.get(brokerId);
    }
  }

  private Object ask(Object proxy, Method method, Object[] args) throws Exception {
    switch (method.getName()) {
      case "startup" -> startBroker(ID);
      case "shutdown" -> shutdownBroker(ID);
      case "awaitShutdown" -> { }
      case "metadataCache" -> {
        return metadataCache();
      }
      case "isShutdown" -> {
        return !node.isRunning();
      }
      case "boundPort" -> {
        return Integer.valueOf(bootstrapServers().replaceFirst(".*:", ""));
      }
      case "clusterId" -> {
        return clusterId();
      }
      case "toString" -> {
        return "broker " + ID;
      }
      case "hashCode" -> {
        return ID;
      }
      case "equals" -> {
        return proxy == args[0];
      }
      default -> throw abort("KafkaBroker." + method.getName() + " in this JVM");
    }
    return null;
  }

  /** Tests wait until it knows the broker, and ask nothing else of it. */
  private MetadataCache metadataCache() {
    return (MetadataCache) Proxy.newProxyInstance(MetadataCache.class.getClassLoader(),
        new Class<?>[] {MetadataCache.class}, (proxy, method, args) -> {
          if (!method.getName().equals("getAliveBrokerNodes")) {
            throw abort("MetadataCache." + method.getName() + " in this JVM");
          }
          return List.of(new org.apache.kafka.common.Node(ID, "127.0.0.1", brokerBoundPorts().get(0)));
        });
  }

  @Override
  public Set<Integer> brokerIds() {
    return Set.of(ID);
  }

  @Override
  public Map<Integer, KafkaBroker> aliveBrokers() {
    return node.isRunning() ? brokers() : Map.of();
  }

  @Override
  public Map<Integer, ControllerServer> controllers() {
    throw abort("ControllerServer in this JVM");
  }

  @Override
  public Set<Integer> controllerIds() {
    throw abort("controllers of their own");
  }

  @Override
  public String bootstrapControllers() {
    throw abort("a controller listener");
  }

  @Override
  public ListenerName controllerListenerName() {
    throw abort("a controller listener");
  }

  @Override
  public ListenerName clientListener() {
    return config.brokerListenerName();
  }

  @Override
  public List<Integer> brokerBoundPorts() {
    return List.of(Integer.valueOf(bootstrapServers().replaceFirst(".*:", "")));
  }

  @Override
  public String bootstrapServers() {
    return node.bootstrap();
  }

  @Override
  public String clusterId() {
    try (Admin admin = admin()) {
      return admin.describeCluster().clusterId().get();
    } catch (InterruptedException | ExecutionException cause) {
      throw new IllegalStateException(cause);
    }
  }

  @Override
  public Set<GroupProtocol> supportedGroupProtocols() {
    try (Admin admin = admin()) {
      FinalizedVersionRange level =
          admin.describeFeatures().featureMetadata().get().finalizedFeatures().get("group.version");
      return level != null && level.maxVersionLevel() > 0
          ? Set.of(GroupProtocol.CLASSIC, GroupProtocol.CONSUMER) : Set.of(GroupProtocol.CLASSIC);
    } catch (InterruptedException | ExecutionException cause) {
      throw new IllegalStateException(cause);
    }
  }

  @Override
  public Optional<FaultHandlerException> firstFatalException() {
    return Optional.empty();
  }

  @Override
  public Optional<FaultHandlerException> firstNonFatalException() {
    return Optional.empty();
  }

  @Override
  public void waitForReadyBrokers() {
    // start() returned when the broker served
  }

  @Override
  public void createTopic(String topic, int partitions, short replicas, Map<String, String> configs)
      throws InterruptedException {
    create(new NewTopic(topic, partitions, (short) 1).configs(configs));
    waitTopicCreation(topic, partitions);
  }

  @Override
  public void createTopicWithAssignment(String topic, Map<Integer, List<Integer>> assignment)
      throws InterruptedException {
    create(new NewTopic(topic, here(assignment.keySet())));
    waitTopicCreation(topic, assignment.size());
  }

  private static Map<Integer, List<Integer>> here(Set<Integer> partitions) {
    Map<Integer, List<Integer>> placed = new HashMap<>();
    partitions.forEach(partition -> placed.put(partition, List.of(ID)));
    return placed;
  }

  private void create(NewTopic topic) throws InterruptedException {
    try (Admin admin = admin()) {
      admin.createTopics(List.of(topic)).all().get();
    } catch (ExecutionException failed) {
      if (!(failed.getCause() instanceof TopicExistsException)) {
        throw new IllegalStateException(failed.getCause());
      }
    }
  }

  private int partitionsOf(Admin admin, String topic) throws InterruptedException {
    try {
      return admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions()
          .size();
    } catch (ExecutionException failed) {
      if (failed.getCause() instanceof UnknownTopicOrPartitionException) {
        return 0;
      }
      throw new IllegalStateException(failed.getCause());
    }
  }

  private void waitForPartitions(String topic, int partitions) throws InterruptedException {
    try (Admin admin = admin()) {
      TestUtils.waitForCondition(() -> partitionsOf(admin, topic) == partitions, 60_000L,
          topic + " never had " + partitions + " partitions");
    }
  }

  @Override
  public void waitTopicCreation(String topic, int partitions) throws InterruptedException {
    waitForPartitions(topic, partitions);
  }

  @Override
  public void waitTopicDeletion(String topic) throws InterruptedException {
    waitForPartitions(topic, 0);
  }

  @Override
  public void ensureConsistentMetadata() {
    // one broker knows what it answered
  }

  @Override
  public void ensureConsistentMetadata(
      Collection<KafkaBroker> brokers, Collection<ControllerServer> controllers) {
    ensureConsistentMetadata();
  }

  @Override
  public Admin admin(Map<String, Object> configs, boolean usingBootstrapControllers) {
    if (usingBootstrapControllers) {
      throw abort("a controller listener");
    }
    Admin admin = ClusterInstance.super.admin(configs, false);
    if (config.numBrokers() == 1) {
      return admin;
    }
    return (Admin) Proxy.newProxyInstance(Admin.class.getClassLoader(), new Class<?>[] {Admin.class},
        (proxy, method, args) -> {
          try {
            return method.invoke(admin, fitArguments(method, args));
          } catch (InvocationTargetException thrown) {
            throw thrown.getCause();
          }
        });
  }

  private Object[] fitArguments(Method method, Object[] args) {
    if (!method.getName().equals("createTopics")) {
      return args;
    }
    List<NewTopic> fit = new ArrayList<>();
    for (Object each : (Collection<?>) args[0]) {
      NewTopic topic = (NewTopic) each;
      Map<Integer, List<Integer>> placed = topic.replicasAssignments();
      boolean isMany = placed != null
          || topic.replicationFactor() > 1 && topic.replicationFactor() <= config.numBrokers();
      NewTopic one = placed != null ? new NewTopic(topic.name(), here(placed.keySet()))
          : new NewTopic(topic.name(), Optional.of(topic.numPartitions()), Optional.of((short) 1));
      if (topic.configs() != null) {
        one.configs(topic.configs());
      }
      fit.add(isMany ? one : topic);
    }
    Object[] changed = args.clone();
    changed[0] = fit;
    return changed;
  }
}
