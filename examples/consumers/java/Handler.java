import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.List;
import java.util.Map;

/**
 * A Lambda function that reads the stream through an event source mapping (handler: {@code Handler::handle}).
 *
 * <p>Turn on ReportBatchItemFailures: a batch that fails is then repeated from the record that failed, and not from its
 * beginning.
 */
public class Handler {
    /** Replace this by what you do with an event. The default transform sends JSON objects. */
    protected void process(byte[] event) throws Exception {
        System.out.println(new String(event, StandardCharsets.UTF_8));
    }

    @SuppressWarnings("unchecked")
    public Map<String, Object> handle(Map<String, Object> batch) {
        for (Map<String, Object> record : (List<Map<String, Object>>) batch.get("Records")) {
            Map<String, Object> kinesis = (Map<String, Object>) record.get("kinesis");
            try {
                for (byte[] event : Events.of(Base64.getDecoder().decode((String) kinesis.get("data")))) {
                    process(event);
                }
            } catch (Exception error) {
                System.err.println(kinesis.get("sequenceNumber") + ": " + error);
                return Map.of("batchItemFailures", List.of(Map.of("itemIdentifier", kinesis.get("sequenceNumber"))));
            }
        }
        return Map.of("batchItemFailures", List.of());
    }
}
