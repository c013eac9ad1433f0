//! One message, whatever it says and however it is escaped; and text in a line of metrics.

use serde_json::Value;
use sluice::logs::Decoder;
use sluice::telemetry::emf::{EmfLine, Unit};

use super::{Target, data_of};
use crate::model::text_of;

pub(super) const TARGET: Target = Target {
    name: "text",
    check,
    seeds,
    words: &[
        "\\u00e9",
        "\\ud83d\\ude00",
        "\\ud83d",
        "\\ude00",
        "\\u0000",
        "\\u0022",
        "\\u005C",
        "\\ufffd",
        "\\n",
        "\\\\",
        "\\/",
        "\n",
        "\u{2028}",
        "😀",
        "01234567",
        "01234567890123456789012345678901",
    ],
};

fn check(input: &[u8]) {
    let raw = escaped(&String::from_utf8_lossy(input));
    let json = format!(
        r#"{{"messageType":"DATA_MESSAGE","logGroup":{raw},"logStream":"s",
        "logEvents":[{{"timestamp":1,"message":{raw}}}]}}"#
    );
    let mut decoder = Decoder::new();
    let data = data_of(json.as_bytes());
    let payload = decoder.decode_data(&data).expect("a payload");
    let message = payload.log_events[0].message;
    let expected = text_of(&raw).expect("a JSON string");
    if let Ok(theirs) = serde_json::from_str::<String>(&raw) {
        assert_eq!(theirs, expected, "the model is wrong");
    }
    assert_eq!(message.raw(), raw);
    assert_eq!(message.value(), expected);
    assert_eq!(payload.log_group.value(), expected);

    let mut out = b"before".to_vec();
    message.append_value_to(&mut out);
    assert_eq!(out.strip_prefix(b"before"), Some(expected.as_bytes()));
    let mut out = b"before".to_vec();
    message.append_json_to(&mut out);
    let again = out.strip_prefix(b"before").and_then(|json| std::str::from_utf8(json).ok());
    let again = again.expect("text after what was there");
    assert!(again.len() <= raw.len(), "a message grew");
    assert!(!again.bytes().any(|byte| byte < b' '), "a control character");
    assert!(serde_json::from_str::<&serde_json::value::RawValue>(again).is_ok(), "{again}");
    assert_eq!(text_of(again), Some(expected.clone()));

    check_emf(&expected);
}

fn check_emf(text: &str) {
    let mut line = EmfLine::new(1, &[("Stream", text)]);
    line.metric("Count", Unit::Count, 1).values("Lag", Unit::Milliseconds, &[1, 2]);
    line.property("Detail", text);
    let line = line.to_line();
    assert!(!line.contains('\n'));
    let read: Value = serde_json::from_str(&line).expect("a line is JSON");
    assert_eq!((read["Stream"].as_str(), read["Detail"].as_str()), (Some(text), Some(text)));
    assert_eq!(read["_aws"]["CloudWatchMetrics"][0]["Dimensions"][0][0], "Stream");
}

/// The text as the inside of a JSON string: escapes that are valid stay, all else is escaped.
fn escaped(text: &str) -> String {
    let mut json = String::from("\"");
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let hex = |four: &str| four.bytes().all(|byte| byte.is_ascii_hexdigit());
        let mut used = character.len_utf8();
        match character {
            '\\' => match rest.as_bytes().get(1) {
                Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => used = 2,
                Some(b'u') if rest.get(2..6).is_some_and(hex) => used = 6,
                _ => json.push('\\'),
            },
            '"' => json.push('\\'),
            '\0'..' ' => {
                json.push_str(&format!("\\u{:04x}", u32::from(character)));
                rest = &rest[used..];
                continue;
            }
            _ => {}
        }
        json.push_str(&rest[..used]);
        rest = &rest[used..];
    }
    json.push('"');
    json
}

fn seeds() -> Vec<Vec<u8>> {
    [
        "",
        "a plain message that is longer than one vector register is wide, to the end",
        r#"{\"level\":\"info\",\"message\":\"JSON \\\"in\\\" JSON\",\"path\":\"C:\\\\x\"}"#,
        r"\u00e9\u00e9\ud83d\ude00\ud83dx\ude00\u0041\u0000\u0022\u005c\ufffd",
        "é😀\u{2028}\u{7f}\n\t",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
