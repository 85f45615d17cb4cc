package suite;

/** One broker that tests start and stop. */
public interface Node {
  String bootstrap();

  boolean isRunning();

  /** Returns when clients are served; nothing happens where it runs already. */
  void start() throws Exception;

  /** An orderly stop; {@link #start} then finds everything again. */
  void stop() throws Exception;

  /** The end at once, and of everything stored. */
  void discard() throws Exception;

  String logTail() throws Exception;
}
