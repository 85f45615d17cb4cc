package suite;

import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;

/** Tests that are not run, each with its reason: {"Class#method", "Class#beginning*" or "Class": reason}. */
public final class Exclusions {
  private static final Map<String, String> REASONS = read();

  private Exclusions() {}

  /** Null when the test runs. The class is named without its package. */
  public static String reasonFor(Class<?> testClass, String method) {
    String className = testClass.getName().replaceFirst(".*\\.", "");
    String ofClass = REASONS.get(className);
    if (ofClass != null) {
      return ofClass;
    }
    String name = className + "#" + method;
    return REASONS.entrySet().stream()
        .filter(each -> each.getKey().endsWith("*")
            ? name.startsWith(each.getKey().substring(0, each.getKey().length() - 1))
            : name.equals(each.getKey()))
        .map(Map.Entry::getValue).findFirst().orElse(null);
  }

  private static Map<String, String> read() {
    String path = System.getProperty("suite.exclusions");
    if (path == null) {
      return Map.of();
    }
    try {
      return new ObjectMapper().readValue(Files.readString(Path.of(path)), new TypeReference<>() {});
    } catch (IOException cause) {
      throw new UncheckedIOException(cause);
    }
  }
}
