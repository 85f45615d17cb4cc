package suite;

import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/** One chronik as a process of its own, configured by names of Kafka's server.properties. */
public final class BrokerProcess implements Node {
  private static final long READY_MS_MAX = 60_000;
  private static final long STOP_MS_MAX = 30_000;
  private static final int LOG_SHOWN_CHARS = 3000;

  public final int port;
  private final int adminPort;
  private final Path root;
  private final List<String> command;
  private Process process;

  /** The command comes from the system property suite.broker, words separated by newlines. */
  public BrokerProcess(Map<String, String> serverProperties) throws IOException {
    int[] ports = freePorts(2);
    port = ports[0];
    adminPort = ports[1];
    root = Files.createTempDirectory("chronik-suite-");
    Map<String, String> properties = new TreeMap<>(serverProperties);
    properties.put("node.id", "0");
    // A reporter of the test's that takes client metrics: chronik's own takes them instead.
    if (properties.getOrDefault("metric.reporters", "").endsWith("$TelemetryExporter")) {
      properties.put("telemetry.enabled", "true");
    }
    StringBuilder text = new StringBuilder();
    properties.forEach((name, value) -> text.append(name).append('=').append(value).append('\n'));
    Path config = Files.writeString(root.resolve("server.properties"), text);
    command = new ArrayList<>(List.of(System.getProperty("suite.broker").split("\n")));
    command.addAll(List.of("--config", config.toString(), "--bind", bootstrap()));
    command.addAll(List.of("--data-dir", root.resolve("data").toString()));
    command.addAll(List.of("--advertised-addr", bootstrap()));
    command.addAll(List.of("--admin-bind", "127.0.0.1:" + adminPort));
  }

  @Override
  public String bootstrap() {
    return "127.0.0.1:" + port;
  }

  @Override
  public boolean isRunning() {
    return process != null && process.isAlive();
  }

  @Override
  public void start() throws IOException, InterruptedException {
    if (isRunning()) {
      return;
    }
    ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
    builder.redirectOutput(ProcessBuilder.Redirect.appendTo(root.resolve("log").toFile()));
    process = builder.start();
    process.getOutputStream().close();
    long deadline = System.currentTimeMillis() + READY_MS_MAX;
    while (!isReady()) {
      if (!process.isAlive()) {
        throw new IllegalStateException("the broker ended at its start:\n" + logTail());
      }
      if (System.currentTimeMillis() > deadline) {
        throw new IllegalStateException("the broker is not ready:\n" + logTail());
      }
      TimeUnit.MILLISECONDS.sleep(20);
    }
  }

  /** SIGTERM, and until the process is gone. */
  @Override
  public void stop() throws IOException, InterruptedException {
    if (process == null) {
      return;
    }
    process.destroy();
    if (!process.waitFor(STOP_MS_MAX, TimeUnit.MILLISECONDS)) {
      throw new IllegalStateException("the broker does not stop:\n" + logTail());
    }
  }

  /** SIGKILL, and everything on the disk removed. */
  @Override
  public void discard() throws IOException, InterruptedException {
    if (process != null) {
      process.destroyForcibly().waitFor();
    }
    try (Stream<Path> files = Files.walk(root)) {
      for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
        Files.deleteIfExists(file);
      }
    }
  }

  @Override
  public String logTail() throws IOException {
    Path log = root.resolve("log");
    if (!Files.exists(log)) {
      return "";
    }
    String text = Files.readString(log);
    return text.substring(Math.max(0, text.length() - LOG_SHOWN_CHARS));
  }

  /** A socket, because an HTTP client leaves threads that the tests would report as leaks. */
  private boolean isReady() {
    try (Socket socket = new Socket()) {
      socket.connect(new InetSocketAddress(InetAddress.getLoopbackAddress(), adminPort), 1000);
      socket.setSoTimeout(2000);
      String request = "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
      socket.getOutputStream().write(request.getBytes(StandardCharsets.US_ASCII));
      InputStream in = socket.getInputStream();
      return new String(in.readNBytes(12), StandardCharsets.US_ASCII).endsWith(" 200");
    } catch (IOException notYet) {
      return false;
    }
  }

  private static int[] freePorts(int count) throws IOException {
    ServerSocket[] sockets = new ServerSocket[count];
    int[] ports = new int[count];
    for (int i = 0; i < count; i++) {
      sockets[i] = new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
      ports[i] = sockets[i].getLocalPort();
    }
    for (ServerSocket socket : sockets) {
      socket.close();
    }
    return ports;
  }
}
