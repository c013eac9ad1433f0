// Takes the log events out of a record that Sluice wrote, in any of its formats. No dependencies.
//
// Alone, it prints the events of the records that it reads, one base64 text per line:
//
//   aws kinesis get-records --shard-iterator "$ITERATOR" --query 'Records[].[Data]' --output text | node events.mjs

import { createHash } from "node:crypto";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import { gunzipSync } from "node:zlib";

const AGGREGATE = Buffer.from("f3899ac2", "hex"); // KPL: magic, protobuf, MD5 of the protobuf
const GZIP = Buffer.from("1f8b", "hex"); // one event per line
const MD5_BYTES = 16;

/** The events in a record's data (a Buffer), as Buffers. A damaged record is one event, as it came. */
export function events(data) {
  try {
    if (startsWith(data, AGGREGATE)) {
      return deaggregate(data.subarray(AGGREGATE.length, -MD5_BYTES), data.subarray(-MD5_BYTES));
    }
    if (startsWith(data, GZIP)) return lines(gunzipSync(data));
  } catch (damage) {
    console.error(`damaged record: ${damage.message}`);
  }
  return [data];
}

const startsWith = (data, magic) => data.subarray(0, magic.length).equals(magic);

function deaggregate(message, digest) {
  if (!createHash("md5").update(message).digest().equals(digest)) throw new Error("wrong MD5");
  const records = [...fields(message)].filter(([field]) => field === 3).map(([, record]) => new Map(fields(record)).get(3));
  if (records.length === 0 || !records.every(Buffer.isBuffer)) throw new Error("an aggregate without events");
  return records;
}

/** Number and value of each field of a protobuf message. */
function* fields(message) {
  let at = 0;
  const varint = () => {
    for (let value = 0, factor = 1; at < message.length; factor *= 128) {
      const byte = message[at++];
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
    }
    throw new Error("truncated protobuf");
  };
  while (at < message.length) {
    const tag = varint();
    const value = varint();
    if (tag % 8 === 0) {
      yield [Math.floor(tag / 8), value];
    } else if (tag % 8 === 2 && at + value <= message.length) {
      yield [Math.floor(tag / 8), message.subarray(at, (at += value))];
    } else {
      throw new Error("unexpected protobuf");
    }
  }
}

function lines(text) {
  const found = [];
  let start = 0;
  for (let end; (end = text.indexOf("\n", start)) >= 0; start = end + 1) found.push(text.subarray(start, end));
  if (start < text.length || found.length === 0) found.push(text.subarray(start));
  return found;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  for await (const line of createInterface({ input: process.stdin })) {
    for (const event of events(Buffer.from(line, "base64"))) {
      process.stdout.write(Buffer.concat([event, Buffer.from("\n")]));
    }
  }
}
