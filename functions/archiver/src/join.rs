//! From events to Firehose records: each event becomes a line, and lines are joined up.

use base64_simd::STANDARD;
use sluice::limits::{FIREHOSE_RECORD_BYTES_MAX, FIREHOSE_RECORD_EVENTS_MAX};
use sluice::records::Record;

/// Lines are joined up to this many bytes. Firehose bills every started 5 KB of a record, which costs
/// 1 % of 256 KiB; more would only make what is refused and sent again larger.
const JOINED_BYTES_TARGET: usize = 262_144;

/// What begins a line that holds a wrapped text.
const TEXT_BEGIN: &[u8] = br#"{"sluiceText":"#;
/// What begins a line that holds bytes that are no text.
const BASE64_BEGIN: &[u8] = br#"{"sluiceBase64":"#;

/// Not a line's end, but at the beginning of a file readers drop it.
const BYTE_ORDER_MARK: char = '\u{feff}';
/// What some reader takes for a line's end: Hadoop and Python CR, Python and Java the separators,
/// JavaScript the last two. (Unicode, UAX 14, hard breaks; Python's str.splitlines; Nov 2026)
const LINE_ENDS: [char; 10] =
    ['\n', '\u{b}', '\u{c}', '\r', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}', '\u{2029}'];

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

/// Appends the event as one line, whoever reads it.
///
/// A line holds the event's own bytes where it can. What is not UTF-8 becomes
/// `{"sluiceBase64":"…"}`. Text becomes `{"sluiceText":"…"}` when it holds a character that some
/// reader takes for a line's end, when it is blank, which readers skip, or when it begins with a byte
/// order mark. An event that looks like one of these is wrapped itself, so that every line has one
/// meaning. A JSON object that ends with a newline of its own, as producers for Firehose write them,
/// has its line already.
pub fn append_line(event: &[u8], out: &mut Vec<u8>) {
    let event = without_newline(event);
    match str::from_utf8(event) {
        Err(_) => {
            out.extend_from_slice(BASE64_BEGIN);
            out.push(b'"');
            out.extend_from_slice(STANDARD.encode_to_string(event).as_bytes());
            out.extend_from_slice(b"\"}");
        }
        Ok(text) if is_wrapped(text) => {
            out.extend_from_slice(TEXT_BEGIN);
            append_string(text, out);
            out.push(b'}');
        }
        Ok(_) => out.extend_from_slice(event),
    }
    out.push(b'\n');
}

/// A JSON object without the newline behind it. A line of gzip has lost its LF, and may have its CR.
fn without_newline(event: &[u8]) -> &[u8] {
    let object = event.strip_suffix(b"\n").unwrap_or(event);
    let object = object.strip_suffix(b"\r").unwrap_or(object);
    if object.starts_with(b"{") && object.ends_with(b"}") { object } else { event }
}

fn is_wrapped(text: &str) -> bool {
    let event = text.as_bytes();
    // Nearly every event is ASCII, and these are all the ends that ASCII has.
    let ends_line = |byte: &u8| matches!(byte, 0x0a..=0x0d | 0x1c..=0x1e);
    event.iter().any(ends_line)
        || (!event.is_ascii() && (text.contains(LINE_ENDS) || text.starts_with(BYTE_ORDER_MARK)))
        || event.trim_ascii().is_empty()
        || event.starts_with(TEXT_BEGIN)
        || event.starts_with(BASE64_BEGIN)
}

/// A JSON string. serde_json escapes the control characters of ASCII, and no others.
fn append_string(text: &str, out: &mut Vec<u8>) {
    let mut json = serde_json::to_string(text).expect("text is JSON");
    for c in LINE_ENDS.into_iter().chain([BYTE_ORDER_MARK]).filter(|c| !c.is_ascii()) {
        if json.contains(c) {
            json = json.replace(c, &format!("\\u{:04x}", u32::from(c)));
        }
    }
    out.extend_from_slice(json.as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn line(event: &[u8]) -> Vec<u8> {
        let mut line = Vec::new();
        append_line(event, &mut line);
        line
    }

    /// Lines as Python's `str.splitlines` counts them, of all readers the one that knows most ends.
    fn lines_seen(text: &str) -> usize {
        let text = text.replace("\r\n", "\n");
        let ends = "\n\r\u{b}\u{c}\u{1c}\u{1d}\u{1e}\u{85}\u{2028}\u{2029}";
        let count = text.chars().filter(|&c| ends.contains(c)).count();
        count + usize::from(text.chars().next_back().is_some_and(|c| !ends.contains(c)))
    }

    /// Undoes [`append_line`], as a reader of the archive would.
    fn event_of(line: &[u8]) -> Vec<u8> {
        let text = str::from_utf8(line).expect("every line is text");
        assert_eq!(lines_seen(text), 1, "{text:?}");
        let line = line.strip_suffix(b"\n").expect("a line");
        assert!(!line.is_empty() && !text.starts_with('\u{feff}'));
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
        assert_eq!(line("{\"a\":\"\u{7f}\u{1f}\u{0}\u{200b}\"}".as_bytes()).last(), Some(&b'\n'));
        for end in ["", "\n", "\r\n", "\r"] {
            assert_eq!(line(format!("{{\"a\":1}}{end}").as_bytes()), b"{\"a\":1}\n", "{end:?}");
        }
        // Not an object, so its newline is its own.
        assert_eq!(line(b"{broken\n"), b"{\"sluiceText\":\"{broken\\n\"}\n");
    }

    #[test]
    fn what_some_reader_takes_for_a_lines_end_is_escaped() {
        assert_eq!(line(b"10%\r50%\r100% done"), b"{\"sluiceText\":\"10%\\r50%\\r100% done\"}\n");
        for c in LINE_ENDS {
            for event in [format!("a{c}b"), format!("é{c}"), format!("{{\"a\":\"{c}\"}}")] {
                let line = line(event.as_bytes());
                assert!(line.starts_with(TEXT_BEGIN), "{event:?}");
                assert!(!str::from_utf8(&line[..line.len() - 1]).expect("text").contains(c));
                assert_eq!(event_of(&line), event.as_bytes());
            }
        }
        assert_eq!(line("a\u{2028}".as_bytes()), b"{\"sluiceText\":\"a\\u2028\"}\n");
        assert_eq!(line("\u{feff}a".as_bytes()), b"{\"sluiceText\":\"\\ufeffa\"}\n");
        assert_eq!(line(b""), b"{\"sluiceText\":\"\"}\n");
        assert_eq!(line(b" "), b"{\"sluiceText\":\" \"}\n");
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
            b"",
            b" \t",
            b"\0",
            b"\r",
            b"{\"a\":1}\n\n",
            "\u{feff}{\"a\":1}".as_bytes(),
        ] {
            assert_eq!(event_of(&line(event)), event, "{event:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..Default::default() })]

        #[test]
        fn any_event_is_one_line_and_read_back(
            bytes in proptest::collection::vec(any::<u8>(), 0..40),
            text in "[{}\"a\\\\\u{0}-\u{20}\u{7f}-\u{a0}\u{2027}-\u{202a}\u{feff}]{0,20}",
        ) {
            for event in [bytes.as_slice(), text.as_bytes()] {
                prop_assert_eq!(event_of(&line(event)), without_newline(event));
            }
        }

        #[test]
        fn an_archive_has_a_line_for_each_event(
            events in proptest::collection::vec("[{}a\u{0}-\u{20}\u{80}-\u{a0}\u{2027}-\u{202a}\u{feff}]{0,8}", 1..20),
        ) {
            let mut joined = Joined::default();
            for (place, event) in events.iter().enumerate() {
                joined.add(place, event.as_bytes()).expect("it fits");
            }
            let archive: Vec<u8> =
                joined.records.iter().flat_map(|record| record.data.clone()).collect();
            prop_assert_eq!(lines_seen(str::from_utf8(&archive).expect("text")), events.len());
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
