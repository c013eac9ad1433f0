//! From events to Firehose records: each event becomes a line, and lines are joined up.

use base64_simd::STANDARD;
use sluice::limits::{FIREHOSE_RECORD_BYTES_MAX, FIREHOSE_RECORD_EVENTS_MAX};
use sluice::records::Record;

/// Lines are joined up to this many bytes. Firehose bills every started 5 KB of a record, which costs
/// 1 % of 256 KiB; more would only make what is refused and sent again larger.
const JOINED_BYTES_TARGET: usize = 262_144;

/// What begins a line that holds a text with newlines.
const TEXT_BEGIN: &[u8] = br#"{"sluiceText":"#;
/// What begins a line that holds bytes that are no text.
const BASE64_BEGIN: &[u8] = br#"{"sluiceBase64":"#;

/// Firehose records, and what is in each.
#[derive(Debug, Default)]
pub struct Joined {
    /// Lines, each with its newline.
    pub records: Vec<Record>,
    /// For each of `records`, the place in the batch of the first record that it has an event of.
    pub first: Vec<usize>,
    /// For each of `records`, its events.
    pub events: Vec<usize>,
    /// Of all `records`.
    pub bytes: usize,
    line: Vec<u8>,
}

/// No Firehose record can hold the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{line_bytes} bytes as a line of the archive, of {FIREHOSE_RECORD_BYTES_MAX}")]
pub struct TooLarge {
    /// Its line, newline included.
    pub line_bytes: usize,
}

impl Joined {
    /// Adds an event of the record at `place` in the batch. Places never go down.
    pub fn add(&mut self, place: usize, event: &[u8]) -> Result<(), TooLarge> {
        self.line.clear();
        append_line(event, &mut self.line);
        let line_bytes = self.line.len();
        if line_bytes > FIREHOSE_RECORD_BYTES_MAX {
            return Err(TooLarge { line_bytes });
        }
        self.bytes += line_bytes;
        match (self.records.last_mut(), self.events.last_mut()) {
            (Some(record), Some(events))
                if record.data.len() + line_bytes <= JOINED_BYTES_TARGET
                    && *events < FIREHOSE_RECORD_EVENTS_MAX =>
            {
                record.data.extend_from_slice(&self.line);
                *events += 1;
            }
            _ => {
                let data = self.line.clone();
                self.records.push(Record { partition_key: String::new(), data });
                self.first.push(place);
                self.events.push(1);
            }
        }
        Ok(())
    }
}

/// Appends the event as one line.
///
/// A line holds the event's own bytes, but where a line cannot: text with a newline becomes
/// `{"sluiceText":"…"}`, and what is not UTF-8 `{"sluiceBase64":"…"}`. An event that looks like one of
/// these is wrapped itself, so that every line has one meaning. A JSON object that ends with a
/// newline of its own, as producers for Firehose write them, has its line already.
pub fn append_line(event: &[u8], out: &mut Vec<u8>) {
    let object = event.strip_suffix(b"\n").filter(|object| object.starts_with(b"{"));
    let event = object.unwrap_or(event);
    match str::from_utf8(event) {
        Err(_) => {
            out.extend_from_slice(BASE64_BEGIN);
            out.push(b'"');
            out.extend_from_slice(STANDARD.encode_to_string(event).as_bytes());
            out.extend_from_slice(b"\"}");
        }
        Ok(text)
            if memchr::memchr(b'\n', event).is_some()
                || event.starts_with(TEXT_BEGIN)
                || event.starts_with(BASE64_BEGIN) =>
        {
            out.extend_from_slice(TEXT_BEGIN);
            // A string is JSON, and a Vec takes all of it.
            let _ = serde_json::to_writer(&mut *out, text);
            out.push(b'}');
        }
        Ok(_) => out.extend_from_slice(event),
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn line(event: &[u8]) -> Vec<u8> {
        let mut line = Vec::new();
        append_line(event, &mut line);
        line
    }

    /// Undoes [`append_line`], as a reader of the archive would.
    fn event_of(line: &[u8]) -> Vec<u8> {
        let line = line.strip_suffix(b"\n").expect("a line");
        assert!(!line.contains(&b'\n'));
        let member = |name: &str| {
            let value: Value = serde_json::from_slice(line).expect("JSON");
            value[name].as_str().expect("text").to_owned()
        };
        if line.starts_with(TEXT_BEGIN) {
            member("sluiceText").into_bytes()
        } else if line.starts_with(BASE64_BEGIN) {
            STANDARD.decode_to_vec(member("sluiceBase64")).expect("base64")
        } else {
            line.to_vec()
        }
    }

    #[test]
    fn a_line_is_the_event_itself_where_it_can_be() {
        assert_eq!(line(b"{\"a\":1}"), b"{\"a\":1}\n");
        assert_eq!(line("日本語".as_bytes()), "日本語\n".as_bytes());
        assert_eq!(line(b""), b"\n");
        assert_eq!(line(b"{\"a\":1}\n"), b"{\"a\":1}\n");
    }

    #[test]
    fn every_line_has_one_meaning() {
        let wrapped_text = line(b"one\ntwo");
        for event in [
            &b"panic\n\tat one\n"[..],
            b"\n",
            b"a line\n",
            b"{\"a\":\n1}",
            &[0xf3, 0x89, 0x9a, 0xc2, b'\n', 0xff],
            &wrapped_text[..wrapped_text.len() - 1],
            b"{\"sluiceBase64\":\"eA==\"}",
            b"{\"sluiceText\":",
        ] {
            assert_eq!(event_of(&line(event)), event, "{event:?}");
        }
    }

    #[test]
    fn small_events_share_a_record_and_none_is_split() {
        let mut joined = Joined::default();
        for place in 0..2_000 {
            joined.add(place, &[b'x'; 299]).expect("it fits");
        }
        assert_eq!(joined.events, [500; 4]);
        assert_eq!(joined.first, [0, 500, 1_000, 1_500]);
        assert_eq!(joined.bytes, 2_000 * 300);
        assert!(joined.records.iter().all(|record| record.data.len() == 150_000));

        let mut joined = Joined::default();
        for place in 0..9 {
            joined.add(place, &vec![b'x'; 100_000]).expect("it fits");
        }
        assert_eq!(joined.events, [2, 2, 2, 2, 1]);
    }

    #[test]
    fn an_event_may_fill_a_record_to_the_last_byte_and_no_further() {
        let mut joined = Joined::default();
        let largest = vec![b'x'; FIREHOSE_RECORD_BYTES_MAX - 1];
        joined.add(0, &largest).expect("it fits");
        let larger = vec![b'x'; FIREHOSE_RECORD_BYTES_MAX];
        let line_bytes = FIREHOSE_RECORD_BYTES_MAX + 1;
        assert_eq!(joined.add(1, &larger), Err(TooLarge { line_bytes }));
        joined.add(2, b"small").expect("it fits");
        assert_eq!((joined.records.len(), &joined.first[..]), (2, &[0, 2][..]));
    }
}
