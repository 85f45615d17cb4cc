import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;

/** What every client program shares: flags, the input file, and one JSON line a result. */
final class Contract {
  static final ObjectMapper JSON = new ObjectMapper();

  record Input(byte[] key, byte[] value, List<Header> headers, long timestamp, int partition) {}

  private Contract() {}

  /** "--name value" pairs after the verb. */
  static Map<String, String> flags(String[] args) {
    Map<String, String> flags = new HashMap<>();
    for (int i = 1; i < args.length; i += 2) {
      if (!args[i].startsWith("--") || i + 1 == args.length) {
        throw new IllegalArgumentException("bad argument " + args[i]);
      }
      flags.put(args[i].substring(2), args[i + 1]);
    }
    return flags;
  }

  static List<Input> load(Path file, int records, boolean nullHeadersAsEmpty) throws IOException {
    List<Input> inputs = new ArrayList<>(records);
    try (BufferedReader reader = Files.newBufferedReader(file, StandardCharsets.UTF_8)) {
      for (String line; inputs.size() < records && (line = reader.readLine()) != null; ) {
        JsonNode node = JSON.readTree(line);
        List<Header> headers = new ArrayList<>();
        for (JsonNode header : node.get("headers")) {
          byte[] value = bytes(header.get(1));
          if (value == null && nullHeadersAsEmpty) {
            value = new byte[0];
          }
          headers.add(new RecordHeader(header.get(0).asText(), value));
        }
        inputs.add(new Input(bytes(node.get("key")), bytes(node.get("value")), headers,
            node.get("timestamp").asLong(), node.get("partition").asInt()));
      }
    }
    if (inputs.size() != records) {
      throw new IllegalArgumentException(file + " holds only " + inputs.size() + " records");
    }
    return inputs;
  }

  static List<List<Input>> byPartition(List<Input> inputs) {
    List<List<Input>> partitions = new ArrayList<>();
    for (Input input : inputs) {
      while (partitions.size() <= input.partition()) {
        partitions.add(new ArrayList<>());
      }
      partitions.get(input.partition()).add(input);
    }
    return partitions;
  }

  static boolean sameHeaders(List<Header> wanted, Header[] got) {
    if (wanted.size() != got.length) {
      return false;
    }
    for (int i = 0; i < got.length; i++) {
      if (!wanted.get(i).key().equals(got[i].key())
          || !Arrays.equals(wanted.get(i).value(), got[i].value())) {
        return false;
      }
    }
    return true;
  }

  static void print(ObjectNode line) {
    System.out.println(line);
    System.out.flush();
  }

  private static byte[] bytes(JsonNode node) throws IOException {
    return node.isNull() ? null : node.binaryValue();
  }
}
