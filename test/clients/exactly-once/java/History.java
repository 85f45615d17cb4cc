import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.common.TopicPartition;

/**
 * What producers did in a run, and the check of what read_committed gives against it. A record's
 * value is {@code WRITE:K}: the K-th record of the write it belongs to.
 */
final class History {
  enum Outcome {
    /** The client was told so: every record is there, once. */
    COMMITTED,
    /** Aborted, or given up before a commit was asked for: no record is there. */
    ABORTED,
    /** A commit was asked for and nothing came back: all records are there, or none. */
    UNKNOWN,
    /** No transaction: each record is there at most once, or exactly once if acknowledged. */
    PLAIN
  }

  /** One transaction, or one plain send of several records. */
  static final class Write {
    final String id;
    final List<String> sent = new ArrayList<>();
    final Set<String> acknowledged = new HashSet<>();
    Outcome outcome = Outcome.ABORTED;

    Write(String id) {
      this.id = id;
    }
  }

  private static final int FINDINGS_MAX = 20;

  private final Map<String, Write> writes = new HashMap<>();
  final Set<String> topics = new LinkedHashSet<>();
  /** What readers saw while the run was on; nothing of it may be gone or different later. */
  final Map<TopicPartition, List<Seen>> live = new HashMap<>();

  /** One record as a reader saw it. */
  record Seen(long offset, String value) {}

  synchronized Write begin(String id) {
    Write write = new Write(id);
    if (writes.put(id, write) != null) {
      throw new IllegalStateException("two writes are named " + id);
    }
    return write;
  }

  synchronized Collection<Write> writes() {
    return new ArrayList<>(writes.values());
  }

  /** Everything wrong with what read_committed gives, at most some findings of it. */
  List<String> check(Map<TopicPartition, List<Seen>> read) {
    List<String> findings = new ArrayList<>();
    Map<String, Integer> times = new HashMap<>();
    read.forEach((partition, records) -> {
      long previous = -1;
      for (Seen seen : records) {
        if (seen.offset() <= previous) {
          findings.add(partition + ": offset " + seen.offset() + " after " + previous);
        }
        previous = seen.offset();
        times.merge(seen.value(), 1, Integer::sum);
      }
    });
    for (Write write : writes()) {
      check(write, times, findings);
      write.sent.forEach(times::remove);
    }
    times.keySet().forEach(value -> findings.add(value + " was never written"));
    live.forEach((partition, seen) -> {
      Set<Seen> later = new HashSet<>(read.getOrDefault(partition, List.of()));
      for (Seen each : seen) {
        if (!later.contains(each)) {
          findings.add(partition + ": a reader saw " + each + ", which is not there");
        }
      }
    });
    return findings.subList(0, Math.min(findings.size(), FINDINGS_MAX));
  }

  private static void check(Write write, Map<String, Integer> times, List<String> findings) {
    int present = 0;
    for (String value : write.sent) {
      int count = times.getOrDefault(value, 0);
      present += count > 0 ? 1 : 0;
      if (count > 1) {
        findings.add(value + " is there " + count + " times");
      }
      if (count == 0 && write.outcome == Outcome.PLAIN && write.acknowledged.contains(value)) {
        findings.add(value + " was acknowledged and is lost");
      }
    }
    boolean isWrong = switch (write.outcome) {
      case COMMITTED -> present != write.sent.size();
      case ABORTED -> present > 0;
      case UNKNOWN -> present > 0 && present != write.sent.size();
      case PLAIN -> false;
    };
    if (isWrong) {
      findings.add(write.id + " (" + write.outcome + "): " + present + " of "
          + write.sent.size() + " records are there");
    }
  }
}
