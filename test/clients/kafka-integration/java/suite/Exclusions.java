package suite;

import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/** Tests that are not run, each with its reason: {pattern: reason}, where `*` is any text. */
public final class Exclusions {
  private static final Map<String, String> REASONS = read();

  private Exclusions() {}

  /** Null when the test runs: one that is named neither by "Class" nor as "Class#method". */
  public static String reasonFor(Class<?> testClass, String method) {
    String className = shortName(testClass);
    String ofClass = REASONS.get(className);
    return ofClass != null ? ofClass : reasonFor(className + "#" + method);
  }

  /** Null when no pattern names it. */
  public static String reasonFor(String name) {
    return REASONS.entrySet().stream()
        .filter(each -> Arrays.stream(each.getKey().split("\\*", -1)).map(Pattern::quote)
            .collect(Collectors.collectingAndThen(Collectors.joining(".*"), name::matches)))
        .map(Map.Entry::getValue).findFirst().orElse(null);
  }

  public static String shortName(Class<?> testClass) {
    return testClass.getName().replaceFirst(".*\\.", "");
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
