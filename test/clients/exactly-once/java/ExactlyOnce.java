import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Runs scenarios in one JVM. One JSON request a line on stdin, one JSON answer a line:
 * {"action": "run", "bootstrap", "scenario", "prefix"} does one and checks it;
 * {"action": "check", "bootstrap", "prefix"} reads it again and checks; {"action": "list"}.
 * An answer has "findings", empty when all is well, and counts of its writes by outcome.
 */
public final class ExactlyOnce {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final Map<String, History> HISTORIES = new HashMap<>();

  private ExactlyOnce() {}

  public static void main(String[] args) throws Exception {
    PrintStream answers = System.out;
    System.setOut(System.err);
    BufferedReader requests =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line; (line = requests.readLine()) != null; ) {
      answers.println(answer(JSON.readTree(line)));
      answers.flush();
    }
    Runtime.getRuntime().halt(0);
  }

  private static ObjectNode answer(JsonNode request) {
    ObjectNode answer = JSON.createObjectNode();
    if (request.get("action").asText().equals("list")) {
      Scenarios.ALL.keySet().forEach(answer.putArray("scenarios")::add);
      return answer;
    }
    String bootstrap = request.get("bootstrap").asText();
    String prefix = request.get("prefix").asText();
    History history = HISTORIES.computeIfAbsent(prefix, name -> new History());
    List<String> findings = new ArrayList<>();
    long start = System.nanoTime();
    try {
      if (request.get("action").asText().equals("run")) {
        Scenarios.ALL.get(request.get("scenario").asText()).run(bootstrap, prefix, history);
      }
      findings.addAll(history.check(Readers.readAll(bootstrap, history.topics)));
    } catch (Exception failed) {
      StringWriter text = new StringWriter();
      failed.printStackTrace(new PrintWriter(text));
      findings.add(text.toString());
    }
    findings.forEach(answer.putArray("findings")::add);
    history.writes().forEach(write -> answer.put(write.outcome.name().toLowerCase(),
        answer.path(write.outcome.name().toLowerCase()).asInt() + 1));
    return answer.put("ms", (System.nanoTime() - start) / 1_000_000);
  }
}
