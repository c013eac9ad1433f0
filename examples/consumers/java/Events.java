import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.zip.GZIPInputStream;

/**
 * Takes the log events out of a record that Sluice wrote, in any of its formats. No dependencies.
 *
 * <p>Alone, it prints the events of the records that it reads, one base64 text per line:
 *
 * <pre>aws kinesis get-records --shard-iterator "$ITERATOR" --query 'Records[].[Data]' --output text | java Events.java</pre>
 */
public final class Events {
    /** KPL: magic, protobuf, MD5 of the protobuf. */
    private static final byte[] AGGREGATE = {(byte) 0xf3, (byte) 0x89, (byte) 0x9a, (byte) 0xc2};
    /** One event per line. */
    private static final byte[] GZIP = {0x1f, (byte) 0x8b};
    private static final int MD5_BYTES = 16;

    private Events() {}

    /** The events in a record's data. A damaged record is one event, as it came. */
    public static List<byte[]> of(byte[] data) {
        try {
            if (startsWith(data, AGGREGATE)) {
                return deaggregate(data);
            }
            if (startsWith(data, GZIP)) {
                return lines(new GZIPInputStream(new ByteArrayInputStream(data)).readAllBytes());
            }
        } catch (IOException damage) {
            System.err.println("damaged record: " + damage.getMessage());
        }
        return List.of(data);
    }

    private static boolean startsWith(byte[] data, byte[] magic) {
        return data.length >= magic.length && Arrays.equals(data, 0, magic.length, magic, 0, magic.length);
    }

    private static List<byte[]> deaggregate(byte[] data) throws IOException {
        if (data.length < AGGREGATE.length + MD5_BYTES) {
            throw new IOException("truncated aggregate");
        }
        byte[] message = Arrays.copyOfRange(data, AGGREGATE.length, data.length - MD5_BYTES);
        if (!Arrays.equals(md5(message), Arrays.copyOfRange(data, data.length - MD5_BYTES, data.length))) {
            throw new IOException("wrong MD5");
        }
        List<byte[]> events = new ArrayList<>();
        for (byte[] record : fields(message, 3)) {
            List<byte[]> contents = fields(record, 3);
            if (contents.isEmpty()) {
                throw new IOException("an event without data");
            }
            events.add(contents.get(contents.size() - 1));
        }
        if (events.isEmpty()) {
            throw new IOException("an aggregate without events");
        }
        return events;
    }

    private static byte[] md5(byte[] message) {
        try {
            return MessageDigest.getInstance("MD5").digest(message);
        } catch (NoSuchAlgorithmException impossible) {
            throw new IllegalStateException(impossible);
        }
    }

    /** The fields of a protobuf message that have this number and hold bytes. */
    private static List<byte[]> fields(byte[] message, int number) throws IOException {
        List<byte[]> found = new ArrayList<>();
        ByteArrayInputStream in = new ByteArrayInputStream(message);
        while (in.available() > 0) {
            long tag = varint(in);
            long value = varint(in);
            if (tag % 8 == 0) {
                continue; // a number
            }
            if (tag % 8 != 2 || value < 0 || value > in.available()) {
                throw new IOException("unexpected protobuf");
            }
            byte[] bytes = in.readNBytes((int) value);
            if (tag / 8 == number) {
                found.add(bytes);
            }
        }
        return found;
    }

    private static long varint(ByteArrayInputStream in) throws IOException {
        long value = 0;
        for (int shift = 0; shift < 64; shift += 7) {
            int next = in.read();
            if (next < 0) {
                break;
            }
            value |= (long) (next & 0x7f) << shift;
            if (next < 0x80) {
                return value;
            }
        }
        throw new IOException("truncated protobuf");
    }

    private static List<byte[]> lines(byte[] text) {
        List<byte[]> found = new ArrayList<>();
        int start = 0;
        for (int at = 0; at < text.length; at++) {
            if (text[at] == '\n') {
                found.add(Arrays.copyOfRange(text, start, at));
                start = at + 1;
            }
        }
        if (start < text.length || found.isEmpty()) {
            found.add(Arrays.copyOfRange(text, start, text.length));
        }
        return found;
    }

    public static void main(String[] arguments) throws IOException {
        BufferedReader records = new BufferedReader(new InputStreamReader(System.in));
        for (String line = records.readLine(); line != null; line = records.readLine()) {
            for (byte[] event : of(Base64.getDecoder().decode(line.strip()))) {
                System.out.write(event);
                System.out.write('\n');
            }
        }
        System.out.flush();
    }
}
