// A Lambda function that reads the stream through an event source mapping.
//
// Turn on ReportBatchItemFailures: a batch that fails is then repeated from the record that failed, and not from its beginning.

import { events } from "./events.mjs";

/** Replace this by what you do with an event. The default transform sends JSON objects. */
async function process(event) {
  const { logGroup, timestamp, message } = JSON.parse(event);
  console.log(logGroup, timestamp, message);
}

export async function handler(batch) {
  for (const { kinesis } of batch.Records) {
    try {
      for (const event of events(Buffer.from(kinesis.data, "base64"))) await process(event);
    } catch (error) {
      console.error(`${kinesis.sequenceNumber}: ${error}`);
      return { batchItemFailures: [{ itemIdentifier: kinesis.sequenceNumber }] };
    }
  }
  return { batchItemFailures: [] };
}
