import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.ControlRecordType;
import org.apache.kafka.common.record.internal.EndTransactionMarker;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.SimpleRecord;

/**
 * Reads lines of "converter class, tab, version, tab, message as JSON" and prints each message's
 * bytes in hex, as Kafka's own classes write them; then the four batches of batches() by name.
 */
public class JavaOracle {
  public static void main(String[] args) throws Exception {
    ObjectMapper mapper = new ObjectMapper();
    BufferedReader in =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      String[] parts = line.split("\t", 3);
      short version = Short.parseShort(parts[1]);
      try {
        Message message =
            (Message)
                Class.forName(parts[0])
                    .getMethod("read", JsonNode.class, short.class)
                    .invoke(null, mapper.readTree(parts[2]), version);
        System.out.println(hex(message, version));
      } catch (Exception error) {
        throw new RuntimeException(line, error);
      }
    }
    batches();
  }

  static String hex(Message message, short version) {
    ObjectSerializationCache cache = new ObjectSerializationCache();
    ByteBuffer buffer = ByteBuffer.allocate(message.size(cache, version));
    message.write(new ByteBufferAccessor(buffer), cache, version);
    buffer.flip();
    return hex(buffer);
  }

  static String hex(ByteBuffer buffer) {
    byte[] bytes = new byte[buffer.remaining()];
    buffer.duplicate().get(bytes);
    return HexFormat.of().formatHex(bytes);
  }

  static void batches() {
    SimpleRecord[] records = {
      new SimpleRecord(1_700_000_000_000L, "key".getBytes(), "value".getBytes()),
      new SimpleRecord(1_700_000_000_005L, null, "".getBytes()),
      new SimpleRecord(
          1_699_999_999_999L,
          "".getBytes(),
          null,
          new Header[] {
            new RecordHeader("trace", "größe".getBytes(StandardCharsets.UTF_8)),
            new RecordHeader("", (byte[]) null)
          }),
    };
    MemoryRecords plain =
        MemoryRecords.withRecords((byte) 2, 0L, Compression.NONE, TimestampType.CREATE_TIME, records);
    System.out.println("plain\t" + hex(plain.buffer()));
    MemoryRecords transactional =
        MemoryRecords.withTransactionalRecords(
            (byte) 2, 5_000_000_000L, Compression.NONE, 9_000_000_001L, (short) 12, 77, 4, records);
    System.out.println("transactional\t" + hex(transactional.buffer()));
    for (ControlRecordType type : new ControlRecordType[] {ControlRecordType.COMMIT, ControlRecordType.ABORT}) {
      MemoryRecords marker =
          MemoryRecords.withEndTransactionMarker(
              0L, 1_700_000_000_000L, 4, 9_000_000_001L, (short) 12, new EndTransactionMarker(type, 3));
      System.out.println(type.name().toLowerCase() + "\t" + hex(marker.buffer()));
    }
  }
}
