package suite;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.platform.engine.DiscoverySelector;
import org.junit.platform.engine.FilterResult;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.engine.TestSource;
import org.junit.platform.engine.discovery.DiscoverySelectors;
import org.junit.platform.engine.support.descriptor.ClassSource;
import org.junit.platform.engine.support.descriptor.MethodSource;
import org.junit.platform.launcher.LauncherDiscoveryRequest;
import org.junit.platform.launcher.PostDiscoveryFilter;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;

/**
 * Runs JUnit classes, or single methods written Class#method, and prints one JSON line a test:
 * {"class", "method", "name", "outcome": passed | failed | aborted | skipped, "reason", "ms"}.
 */
public final class SuiteRunner {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final int REASON_CHARS_MAX = 6000;

  private static final class Listener implements TestExecutionListener {
    private final PrintStream out;
    private final Map<String, Long> startedAt = new HashMap<>();

    Listener(PrintStream out) {
      this.out = out;
    }

    @Override
    public void executionStarted(TestIdentifier test) {
      startedAt.put(test.getUniqueId(), System.nanoTime());
    }

    @Override
    public void executionSkipped(TestIdentifier test, String reason) {
      print(test, "skipped", reason, 0);
    }

    @Override
    public void executionFinished(TestIdentifier test, TestExecutionResult result) {
      long ms = (System.nanoTime() - startedAt.remove(test.getUniqueId())) / 1_000_000;
      String outcome = switch (result.getStatus()) {
        case SUCCESSFUL -> "passed";
        case FAILED -> "failed";
        case ABORTED -> "aborted";
      };
      // A container is told of only where it fails: its tests are then missing.
      if (test.isTest() || outcome.equals("failed")) {
        print(test, outcome, result.getThrowable().map(Listener::text).orElse(""), ms);
      }
    }

    private void print(TestIdentifier test, String outcome, String reason, long ms) {
      TestSource source = test.getSource().orElse(null);
      ObjectNode line = JSON.createObjectNode();
      if (source instanceof MethodSource method) {
        line.put("class", shortName(method.getClassName())).put("method", method.getMethodName());
      } else {
        line.put("class", source instanceof ClassSource c ? shortName(c.getClassName()) : "");
        line.put("method", "");
      }
      line.put("name", test.getDisplayName()).put("outcome", outcome);
      out.println(line.put("reason", reason).put("ms", ms));
      out.flush();
    }

    private static String text(Throwable thrown) {
      if (thrown.getClass().getSimpleName().equals("TestAbortedException")) {
        return String.valueOf(thrown.getMessage());
      }
      StringWriter text = new StringWriter();
      thrown.printStackTrace(new PrintWriter(text));
      String full = text.toString();
      return full.substring(0, Math.min(full.length(), REASON_CHARS_MAX));
    }

    private static String shortName(String className) {
      return className.replaceFirst(".*\\.", "");
    }
  }

  public static void main(String[] args) {
    PrintStream out = System.out;
    System.setOut(System.err);
    Map<String, List<String>> methodsOf = new HashMap<>();
    for (String arg : args) {
      String[] parts = arg.split("#");
      List<String> methods = methodsOf.computeIfAbsent(parts[0], name -> new ArrayList<>());
      if (parts.length > 1) {
        methods.add(parts[1]);
      }
    }
    List<DiscoverySelector> selectors = new ArrayList<>();
    methodsOf.keySet().stream().sorted()
        .forEach(name -> selectors.add(DiscoverySelectors.selectClass(name)));
    PostDiscoveryFilter wanted = descriptor -> {
      if (!(descriptor.getSource().orElse(null) instanceof MethodSource source)) {
        return FilterResult.included("not a method");
      }
      List<String> methods = methodsOf.get(source.getClassName());
      boolean isWanted = methods == null || methods.isEmpty()
          || methods.contains(source.getMethodName());
      return FilterResult.includedIf(isWanted);
    };
    LauncherDiscoveryRequest request = LauncherDiscoveryRequestBuilder.request()
        .selectors(selectors).filters(wanted)
        .configurationParameter("junit.jupiter.extensions.autodetection.enabled", "true").build();
    LauncherFactory.create().execute(request, new Listener(out));
    out.flush();
    Runtime.getRuntime().halt(0); // threads of failed tests must not keep this JVM
  }
}
