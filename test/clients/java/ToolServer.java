import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs the main classes of Kafka's command-line tools one after another in one JVM, because
 * starting a JVM costs more than most tools. One JSON request a line on stdin: {"main":
 * class, "args": [...], "stdin": file|null, "stdout": file|null}; one JSON answer a line:
 * {"exit": code, "stdout": text, "stderr": text}.
 */
public final class ToolServer {
  private static final PrintStream ANSWERS = System.out;

  /** Unwinds a tool that called Exit.exit, so that it ends the tool and not this JVM. */
  private static final class Unwind extends Error {
    private static final long serialVersionUID = 1;

    Unwind() {
      super(null, null, false, false);
    }
  }

  /** The first call of Exit.exit or Exit.halt: in a real process nothing runs after it. */
  private static final class FirstExit {
    private Integer code;
    private int stderrBytes;

    synchronized void take(int wanted, String message, ByteArrayOutputStream stderr) {
      if (code != null) {
        return;
      }
      code = wanted;
      if (message != null) {
        stderr.writeBytes((message + "\n").getBytes(StandardCharsets.UTF_8));
      }
      stderrBytes = stderr.size();
    }
  }

  public static void main(String[] args) throws Exception {
    BufferedReader requests =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line; (line = requests.readLine()) != null; ) {
      ANSWERS.println(run(Contract.JSON.readTree(line)));
      ANSWERS.flush();
    }
    Runtime.getRuntime().halt(0);
  }

  private static ObjectNode run(JsonNode request) throws Exception {
    List<String> toolArgs = new ArrayList<>();
    request.get("args").forEach(arg -> toolArgs.add(arg.asText()));
    List<Runnable> hooks = new ArrayList<>();
    FirstExit exit = new FirstExit();
    ByteArrayOutputStream stdout = new ByteArrayOutputStream();
    ByteArrayOutputStream stderr = new ByteArrayOutputStream();
    Exit.Procedure unwind = (code, message) -> {
      exit.take(code, message, stderr);
      throw new Unwind();
    };
    Exit.setExitProcedure(unwind);
    Exit.setHaltProcedure(unwind);
    Exit.setShutdownHookAdder((name, hook) -> hooks.add(hook));
    InputStream savedIn = System.in;
    PrintStream savedErr = System.err;
    JsonNode outFile = request.get("stdout");
    try (InputStream in = input(request.get("stdin"));
        PrintStream out = outFile == null || outFile.isNull()
            ? new PrintStream(stdout, true, StandardCharsets.UTF_8)
            : new PrintStream(Files.newOutputStream(Path.of(outFile.asText())), false,
                StandardCharsets.UTF_8);
        PrintStream err = new PrintStream(stderr, true, StandardCharsets.UTF_8)) {
      System.setIn(in);
      System.setOut(out);
      System.setErr(err);
      call(request.get("main").asText(), toolArgs.toArray(String[]::new), exit, stderr);
      hooks.forEach(Runnable::run);
      out.flush();
      ObjectNode answer = Contract.JSON.createObjectNode().put("exit", exit.code);
      answer.put("stdout", stdout.toString(StandardCharsets.UTF_8));
      return answer.put("stderr",
          new String(stderr.toByteArray(), 0, exit.stderrBytes, StandardCharsets.UTF_8));
    } finally {
      System.setIn(savedIn);
      System.setOut(ANSWERS);
      System.setErr(savedErr);
    }
  }

  private static void call(String mainClass, String[] args, FirstExit exit,
      ByteArrayOutputStream stderr) throws Exception {
    try {
      Class.forName(mainClass).getMethod("main", String[].class).invoke(null, (Object) args);
      exit.take(0, null, stderr);
    } catch (InvocationTargetException thrown) {
      if (!(thrown.getCause() instanceof Unwind)) {
        thrown.getCause().printStackTrace(System.err);
        exit.take(1, null, stderr);
      }
    }
  }

  private static InputStream input(JsonNode file) throws Exception {
    return file == null || file.isNull() ? new ByteArrayInputStream(new byte[0])
        : Files.newInputStream(Path.of(file.asText()));
  }
}
