package org.apache.kafka.common.test.junit;

import java.util.List;
import org.apache.kafka.common.security.auth.SecurityProtocol;
import org.apache.kafka.common.test.api.ClusterConfig;
import org.apache.kafka.common.test.api.Type;
import org.apache.kafka.server.common.MetadataVersion;
import org.junit.jupiter.api.extension.AfterTestExecutionCallback;
import org.junit.jupiter.api.extension.BeforeEachCallback;
import org.junit.jupiter.api.extension.Extension;
import org.junit.jupiter.api.extension.ExtensionContext;
import org.junit.jupiter.api.extension.TestExecutionExceptionHandler;
import org.junit.jupiter.api.extension.TestTemplateInvocationContext;
import org.opentest4j.TestAbortedException;
import suite.Exclusions;
import suite.OneBroker;

/**
 * Stands in for the class of the same name: the tests' cluster is one broker, a process of its
 * own and fresh for each test. What such a cluster cannot be aborts the test with the reason.
 */
public final class RaftClusterInvocationContext implements TestTemplateInvocationContext {
  private final String baseDisplayName;
  private final ClusterConfig config;
  private final boolean isCombined;

  public RaftClusterInvocationContext(
      String baseDisplayName, ClusterConfig config, boolean isCombined) {
    this.baseDisplayName = baseDisplayName;
    this.config = config;
    this.isCombined = isCombined;
  }

  @Override
  public String getDisplayName(int invocationIndex) {
    String features = config.features().isEmpty() ? "" : " " + config.features();
    return baseDisplayName + " [" + invocationIndex + "]" + features;
  }

  @Override
  public List<Extension> getAdditionalExtensions() {
    OneBroker broker = OneBroker.of(config);
    return List.of(
        (BeforeEachCallback) context -> {
          abortWhereImpossible(context);
          if (config.isAutoStart()) {
            broker.start();
          }
        },
        (AfterTestExecutionCallback) context -> {
          if (context.getExecutionException().isPresent()) {
            System.err.println(context.getDisplayName() + " failed, the broker's log ends:\n"
                + broker.logTail());
          }
          broker.stop();
        },
        (TestExecutionExceptionHandler) (context, thrown) -> {
          // Conditions that are waited for wrap an abort into a failure of their own.
          throw broker.impossible().<Throwable>map(TestAbortedException::new).orElse(thrown);
        },
        new ClusterInstanceParameterResolver(broker));
  }

  private void abortWhereImpossible(ExtensionContext context) {
    Class<?> testClass = context.getRequiredTestClass();
    String excluded = Exclusions.reasonFor(testClass, context.getRequiredTestMethod().getName());
    if (isCombined && config.clusterTypes().contains(Type.KRAFT)) {
      throw new TestAbortedException("duplicate: differs only in where the controller runs");
    } else if (excluded != null) {
      throw new TestAbortedException("excluded: " + excluded);
    } else if (config.brokerSecurityProtocol() != SecurityProtocol.PLAINTEXT) {
      throw new TestAbortedException("impossible: " + config.brokerSecurityProtocol());
    } else if (config.metadataVersion().isLessThan(MetadataVersion.IBP_4_3_IV0)) {
      throw new TestAbortedException(
          "impossible: metadata.version " + config.metadataVersion() + " (in-process formatting)");
    }
  }
}
