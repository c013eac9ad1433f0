//! Which records go. A record goes whole or not at all, because its bytes are not ours to change:
//! one in which any event matches brings the others along.
//!
//! Values are compared, not their spellings: JSON has many for each text (`\u001B`, `\u001b`; `\/`,
//! `/`; blanks between members). What cannot be read goes: nothing is left out by mistake.

use libdeflater::Decompressor;
use memchr::{memchr, memmem};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use sluice::gzip::{inflate, is_gzip};
use sluice::records::{Deaggregated, deaggregate};

/// A log group's name has up to 512 characters. (CloudWatch Logs API, CreateLogGroup; Nov 2026)
const LOG_GROUP_CHARS_MAX: usize = 512;
/// Ours: it travels in the event of each hop.
const CONTAINS_BYTES_MAX: usize = 4_096;
/// A log line may be JSON that holds JSON, and so on.
const NESTED_MAX: u32 = 3;

/// What a record must hold; all that is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Filter {
    /// An event of this log group, in the form of the transform `envelope`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_group: Option<String>,
    /// This text, in an event: in its text, in the value of any of its JSON strings, or in JSON within
    /// one of these. JSON is searched without the blanks between its members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
}

impl Filter {
    /// What is wrong with it.
    pub fn problem(&self) -> Option<String> {
        let is_good = |text: &Option<String>, max| {
            text.as_ref().is_none_or(|text| !text.is_empty() && text.len() <= max)
        };
        if self.log_group.is_none() && self.contains.is_none() {
            return Some("the filter has neither logGroup nor contains".to_owned());
        }
        if !is_good(&self.log_group, LOG_GROUP_CHARS_MAX) {
            return Some(format!("filter.logGroup is not 1 to {LOG_GROUP_CHARS_MAX} bytes"));
        }
        (!is_good(&self.contains, CONTAINS_BYTES_MAX))
            .then(|| format!("filter.contains is not 1 to {CONTAINS_BYTES_MAX} bytes"))
    }

    /// Whether the record goes: aggregates are taken apart and gzip is inflated. What is damaged
    /// goes.
    pub fn admits(&self, data: &[u8]) -> bool {
        match deaggregate(data) {
            Deaggregated::Aggregate(records) => records.iter().any(|r| self.matches(r.data)),
            Deaggregated::Damaged(_) => true,
            Deaggregated::Plain if is_gzip(data) => self.admits_gzip(data),
            Deaggregated::Plain => self.matches(data),
        }
    }

    fn admits_gzip(&self, data: &[u8]) -> bool {
        let mut inflated = Vec::new();
        let Ok(bytes) = inflate(&mut Decompressor::new(), data, &mut inflated) else {
            return true;
        };
        let text = &inflated[..bytes];
        // A line is an event, unless one event has several.
        text.split(|&byte| byte == b'\n').any(|line| self.matches(line)) || self.matches(text)
    }

    fn matches(&self, event: &[u8]) -> bool {
        let event = event.strip_prefix("\u{feff}".as_bytes()).unwrap_or(event);
        let in_group = self.log_group.as_ref().is_none_or(|group| is_in_group(event, group));
        let contains = |text: &String| has_text(event, text, NESTED_MAX);
        in_group && self.contains.as_ref().is_none_or(contains)
    }
}

/// Whether the event is an object whose own member `logGroup` has this value; one that is nested, or
/// in a message, has not.
fn is_in_group(event: &[u8], group: &str) -> bool {
    let is_spelled_plainly = memchr(b'\\', event).is_none();
    if is_spelled_plainly && memmem::find(event, b"\"logGroup\"").is_none() {
        return false;
    }
    let Some(json) = as_json(event) else { return false };
    let (mut depth, mut name, mut is_value) = (0, "", false);
    for token in Tokens(json) {
        match token {
            Token::String(inner) if depth == 1 && is_value => {
                if decoded(name) == "logGroup" && decoded(inner) == group {
                    return true;
                }
            }
            Token::String(inner) if depth == 1 => name = inner,
            Token::String(_) => {}
            Token::Other(b'{') => depth += 1,
            // An array at the top has no members.
            Token::Other(b'[') => depth += 2,
            Token::Other(b'}') => depth -= 1,
            Token::Other(b']') => depth -= 2,
            Token::Other(byte) => is_value = byte == b':',
        }
    }
    false
}

/// Whether `text` is in the event.
fn has_text(event: &[u8], text: &str, nested_max: u32) -> bool {
    let needle = text.as_bytes();
    // What is spelled plainly, and spans nothing outside of a string, is there or it is not.
    let is_structural = |&byte: &u8| byte < b' ' || b"\"\\{}[]:,".contains(&byte);
    let is_inner = !needle.iter().any(is_structural) && needle.trim_ascii() == needle;
    if is_inner && memchr(b'\\', event).is_none() {
        return memmem::find(event, needle).is_some();
    }
    let Some(json) = as_json(event) else { return memmem::find(event, needle).is_some() };
    let mut plain = Vec::with_capacity(json.len());
    for token in Tokens(json) {
        match token {
            Token::Other(byte) => plain.push(byte),
            Token::String(inner) => {
                let value = decoded(inner);
                let is_json = nested_max > 0 && value.trim_start().starts_with(['{', '[']);
                if memmem::find(value.as_bytes(), needle).is_some()
                    || (is_json && has_text(value.as_bytes(), text, nested_max - 1))
                {
                    return true;
                }
                // A string is JSON, and a Vec takes all of it.
                let _ = serde_json::to_writer(&mut plain, &value);
            }
        }
    }
    memmem::find(&plain, needle).is_some()
}

/// The event's text, if it is a JSON object or array.
fn as_json(event: &[u8]) -> Option<&str> {
    let begin = event.trim_ascii_start().first()?;
    let text = str::from_utf8(event).ok().filter(|_| b"{[".contains(begin))?;
    serde_json::from_str::<IgnoredAny>(text).ok().map(|_| text)
}

enum Token<'a> {
    /// What is between a string's quotes.
    String(&'a str),
    /// One byte of anything else but blanks.
    Other(u8),
}

/// The tokens of valid JSON.
struct Tokens<'a>(&'a str);

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let text = self.0.trim_ascii_start();
        let Some(string) = text.strip_prefix('"') else {
            // Outside of strings, JSON is ASCII.
            let (first, rest) = text.split_at_checked(1)?;
            self.0 = rest;
            return first.bytes().next().map(Token::Other);
        };
        let mut end = 0;
        while *string.as_bytes().get(end)? != b'"' {
            end += if string.as_bytes()[end] == b'\\' { 2 } else { 1 };
        }
        self.0 = &string[end + 1..];
        Some(Token::String(&string[..end]))
    }
}

/// The value of a valid JSON string. Half a surrogate pair becomes U+FFFD.
fn decoded(inner: &str) -> String {
    let mut value = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(backslash) = rest.find('\\') {
        value.push_str(&rest[..backslash]);
        rest = &rest[backslash..];
        let mut units = Vec::new();
        while let Some(escape) = rest.strip_prefix("\\u") {
            let (hex, after) = escape.split_at_checked(4).unwrap_or((escape, ""));
            units.push(u16::from_str_radix(hex, 16).unwrap_or(0xfffd));
            rest = after;
        }
        if units.is_empty() {
            value.push(match rest.as_bytes().get(1) {
                Some(b'n') => '\n',
                Some(b't') => '\t',
                Some(b'r') => '\r',
                Some(b'b') => '\u{8}',
                Some(b'f') => '\u{c}',
                Some(&other) => char::from(other),
                None => break,
            });
            rest = &rest[2..];
        }
        let character = |unit: Result<char, _>| unit.unwrap_or(char::REPLACEMENT_CHARACTER);
        value.extend(char::decode_utf16(units).map(character));
    }
    value.push_str(rest);
    value
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sluice::gzip::compress as gzip;
    use sluice::logs::Batch;
    use sluice::records::{Packer, RecordFormat};

    use super::*;

    fn filter(log_group: Option<&str>, contains: Option<&str>) -> Filter {
        Filter { log_group: log_group.map(str::to_owned), contains: contains.map(str::to_owned) }
    }

    /// The event alone, and among others in each format.
    fn records(event: &str) -> Vec<Vec<u8>> {
        let events = ["{\"message\":\"before\"}", event, "after"];
        let packed = |format| {
            let packing =
                Packer::new(format, 900_000).pack(&Batch::of(&events), || "key".to_owned());
            assert_eq!(packing.records.len(), 1);
            packing.records[0].record.data.to_vec()
        };
        vec![
            event.as_bytes().to_vec(),
            packed(RecordFormat::Kpl),
            packed(RecordFormat::Gzip),
            gzip(event.as_bytes()),
        ]
    }

    fn assert_admits(filter: &Filter, event: &str, goes: bool) {
        for (place, record) in records(event).iter().enumerate() {
            assert_eq!(filter.admits(record), goes, "{filter:?} on {event} in form {place}");
        }
    }

    const ENVELOPE: &str = r#"{"owner":"1","logGroup":"/app/web","logStream":"s","id":"1","timestamp":1,"message":"a \"bad\" day \"logGroup\":\"/x\""}"#;

    #[test]
    fn a_record_goes_when_an_event_holds_all_that_is_asked_for() {
        for (log_group, contains, goes) in [
            (Some("/app/web"), None, true),
            (Some("/app/we"), None, false),
            (Some("/x"), None, false),
            (None, Some("bad"), true),
            (None, Some("a \"bad\" day"), true),
            (None, Some("good"), false),
            (Some("/app/web"), Some("good"), false),
            (Some("/app/web"), Some("day"), true),
            // Another event's.
            (Some("/app/web"), Some("before"), false),
        ] {
            assert_admits(&filter(log_group, contains), ENVELOPE, goes);
        }
    }

    #[test]
    fn a_text_is_found_however_json_spells_it() {
        let red = filter(None, Some("\u{1b}[31mERROR"));
        for message in [
            r"\u001B[31mERROR\u001B[0m",
            r"\u001b[31mERROR\u001b[0m",
            r"\u001b\u005B31m\u0045RR\u004fR",
        ] {
            let event = ENVELOPE.replace("a ", message);
            assert_admits(&red, &event, true);
        }
        for (text, messages) in [
            ("a \"b\"", &[r#"a \"b\""#, r"a \u0022b\u0022"][..]),
            ("/path", &["/path", r"\/path", r"\u002fpath", r"\u002Fpath"]),
            ("a\\b", &[r"a\\b", r"a\u005cb"]),
            ("tab\there", &[r"tab\there", r"tab\u0009here"]),
            ("🦀 é", &["🦀 é", r"\ud83e\udd80 \u00e9", r"\uD83E\uDD80 é"]),
            ("two\nlines", &[r"two\nlines", r"two\u000alines"]),
        ] {
            for message in messages {
                let event = format!(r#"{{"logGroup":"/a","message":"x {message} y"}}"#);
                assert_admits(&filter(None, Some(text)), &event, true);
                assert_admits(&filter(None, Some(&format!("{text}!"))), &event, false);
                let nested = format!(r#"{{"a":[{{"b":{{"c":"{message}"}}}}]}}"#);
                assert_admits(&filter(None, Some(text)), &nested, true);
            }
        }
    }

    #[test]
    fn a_log_group_is_found_however_json_spells_it_and_only_where_it_is_one() {
        let in_app = filter(Some("/app"), None);
        for event in [
            r#"{"logGroup":"/app"}"#,
            r#" { "x" : [ { } ] , "logGroup" : "/app" , "message" : "" } "#,
            "{\"logGroup\"\t:\r\"/app\"}",
            r#"{"logGroup":"\/app"}"#,
            r#"{"logGroup":"\u002Fapp"}"#,
            r#"{"log\u0047roup":"/\u0061pp"}"#,
            r#"{"message":"{\"logGroup\":\"/x\"}","logGroup":"/app"}"#,
            "\u{feff}{\"logGroup\":\"/app\"}",
        ] {
            assert_admits(&in_app, event, true);
        }
        for event in [
            r#"{"logGroup":"/app2"}"#,
            r#"{"logGroup":["/app"]}"#,
            r#"{"logGroup":{"x":"/app"}}"#,
            r#"{"x":"logGroup","y":"/app"}"#,
            r#"{"x":{"logGroup":"/app"}}"#,
            r#"[{"logGroup":"/app"}]"#,
            r#"["logGroup","/app"]"#,
            r#"{"message":"\"logGroup\":\"/app\""}"#,
            r#"{"message":"{\"logGroup\":\"/app\"}","logGroup":"/x"}"#,
            r#""logGroup":"/app""#,
            "/app",
        ] {
            assert_admits(&in_app, event, false);
        }
    }

    #[test]
    fn json_within_a_message_is_searched_too() {
        let error = filter(None, Some(r#""level":"ERROR""#));
        for event in [
            r#"{"level":"ERROR"}"#,
            r#"{ "level" : "ERROR" }"#,
            r#"{"message":"{\"level\":\"ERROR\"}"}"#,
            r#"{"message":"{ \"level\": \"ERROR\" }"}"#,
            r#"{"message":"{\u0022level\u0022:\u0022ERROR\u0022}"}"#,
            r#"{"message":"{\"level\":\"\\u0045RROR\"}"}"#,
            r#"{"message":"{\"log\":\"{\\\"level\\\":\\\"ERROR\\\"}\"}"}"#,
            r#"2026-11-21 "level":"ERROR""#,
        ] {
            assert_admits(&error, event, true);
        }
        assert_admits(&error, r#"{"message":"{\"level\":\"WARN\"}"}"#, false);
        assert_admits(&filter(None, Some(r#""status":500"#)), r#"{"status": 500}"#, true);
    }

    #[test]
    fn text_that_is_not_json_is_searched_as_it_is() {
        for event in [r"[INFO] a \u0041 b", r#"{ not: "json", \u0041"#, r#"{"cut":"off \u0041"#] {
            assert_admits(&filter(None, Some(r"\u0041")), event, true);
            assert_admits(&filter(None, Some("A ")), event, false);
        }
        let binary = [b"\xff\xfe needle \\ \x80".as_slice(), b"{\"a\":\"\\ \xff needle\"}"];
        for event in binary {
            assert!(filter(None, Some("needle")).admits(event));
            assert!(!filter(None, Some("nail")).admits(event));
        }
    }

    #[test]
    fn an_event_over_several_lines_is_one() {
        let pretty =
            gzip(b"{\n  \"logGroup\": \"/app\",\n  \"logEvents\": [{\"message\": \"a\"}]\n}");
        assert!(filter(Some("/app"), Some("a")).admits(&pretty));
        assert!(!filter(Some("/ap"), Some("a")).admits(&pretty));
    }

    #[test]
    fn what_cannot_be_read_goes() {
        let nothing = filter(Some("/x"), Some("x"));
        let whole = gzip(b"a longer text that does not hold it");
        let mut aggregate = records(ENVELOPE).swap_remove(1);
        *aggregate.last_mut().expect("an MD5") ^= 1;
        for record in [b"\x1f\x8bnothing".as_slice(), &whole[..20], &aggregate] {
            assert!(nothing.admits(record), "{record:?}");
        }
        // Zeros behind gzip are padding, anything else is damage: as processor and archiver say.
        assert!(!nothing.admits(&[&whole[..], &[0; 512]].concat()));
        assert!(nothing.admits(&[&whole[..], b"more"].concat()));
    }

    #[test]
    fn no_depth_is_too_deep() {
        let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
        let deep = format!(r#"{{"x":{open}"\u0041"{close},"logGroup":"/app"}}"#);
        assert_admits(&filter(Some("/app"), Some("A")), &deep, true);
        assert_admits(&filter(Some("/app"), Some("B")), &deep, false);
    }

    /// One of the spellings that JSON has for a character.
    fn spelled(c: char, how: u8) -> String {
        let units = |upper: bool| {
            c.encode_utf16(&mut [0; 2])
                .iter()
                .map(|unit| if upper { format!("\\u{unit:04X}") } else { format!("\\u{unit:04x}") })
                .collect::<String>()
        };
        let short = match c {
            '\n' => Some("\\n"),
            '\r' => Some("\\r"),
            '\t' => Some("\\t"),
            '"' => Some("\\\""),
            '\\' => Some("\\\\"),
            '/' => Some("\\/"),
            _ => None,
        };
        match how % 4 {
            0 => units(true),
            1 => units(false),
            2 if short.is_some() => short.unwrap_or_default().to_owned(),
            _ if c < ' ' || "\"\\".contains(c) => units(true),
            _ => c.to_string(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..Default::default() })]

        #[test]
        fn any_spelling_of_a_value_gives_the_same_answer(
            value in "[ab/\"\\\\\n\u{1b}é🦀{}: ]{0,12}",
            needle in "[ab/\"\\\\\n\u{1b}é🦀{}: ]{1,2}",
            hows in proptest::collection::vec(any::<u8>(), 12),
            blanks in proptest::collection::vec("[ \t]{0,2}", 4),
        ) {
            let spelled: String = value.chars().zip(&hows).map(|(c, &how)| spelled(c, how)).collect();
            let [a, b, c, d] = &blanks[..] else { unreachable!() };
            let event = format!(r#"{{{a}"logGroup"{b}:{c}"{spelled}"{d}}}"#);
            let plain = serde_json::to_string(&serde_json::json!({ "logGroup": value })).expect("JSON");
            let contains = filter(None, Some(&needle));
            prop_assert_eq!(contains.admits(event.as_bytes()), contains.admits(plain.as_bytes()));
            if value.contains(&needle) {
                prop_assert!(contains.admits(event.as_bytes()));
            }
            prop_assert_eq!(filter(Some(&value), None).admits(event.as_bytes()), true);
            let other = format!("{value}x");
            prop_assert!(!filter(Some(&other), None).admits(event.as_bytes()));
        }

        #[test]
        fn no_event_makes_it_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..60),
            text in "[{}\\[\\]:,\"\\\\u0d8é ]{0,40}",
        ) {
            let filter = filter(Some("/a"), Some("\"a\\"));
            for event in [bytes.as_slice(), text.as_bytes()] {
                let _ = filter.admits(event);
            }
        }
    }
}
