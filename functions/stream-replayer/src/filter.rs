//! Which records go. A record goes whole or not at all, because its bytes are not ours to change:
//! one in which any event matches brings the others along.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use memchr::memmem;
use serde::{Deserialize, Serialize};
use sluice::limits::PAYLOAD_INFLATED_BYTES_MAX;

/// A log group's name has up to 512 characters. (CloudWatch Logs API, CreateLogGroup; Nov 2026)
const LOG_GROUP_CHARS_MAX: usize = 512;
/// Ours: it travels in the event of each hop.
const CONTAINS_BYTES_MAX: usize = 4_096;

/// What a record must hold; all that is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Filter {
    /// An event of this log group, in the form of the transform `envelope`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_group: Option<String>,
    /// This text, in an event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
}

impl Filter {
    /// What is wrong with it.
    #[must_use]
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

    /// Whether the record goes. Aggregates hold their events as they are, so that one search finds
    /// what is in any of them; gzip is inflated. What cannot be inflated goes: nothing is left out
    /// by mistake.
    #[must_use]
    pub fn admits(&self, data: &[u8]) -> bool {
        if !data.starts_with(&[0x1f, 0x8b]) {
            return self.finds(data);
        }
        let mut inflated = Vec::new();
        let limit = PAYLOAD_INFLATED_BYTES_MAX as u64 + 1;
        match MultiGzDecoder::new(data).take(limit).read_to_end(&mut inflated) {
            Ok(bytes) if bytes <= PAYLOAD_INFLATED_BYTES_MAX => self.finds(&inflated),
            _ => true,
        }
    }

    fn finds(&self, text: &[u8]) -> bool {
        let has = |needle: &str| memmem::find(text, needle.as_bytes()).is_some();
        let quoted = |needle: &str| serde_json::to_string(needle).unwrap_or_default();
        // In a message these quotes would be escaped: only the member itself looks so.
        let log_group = self.log_group.as_deref();
        let in_group =
            log_group.is_none_or(|group| has(&format!("\"logGroup\":{}", quoted(group))));
        // In an envelope, the text is escaped as JSON has it.
        let contains = self.contains.as_deref();
        in_group
            && contains.is_none_or(|text| {
                let quoted = quoted(text);
                has(text) || has(&quoted[1..quoted.len() - 1])
            })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn filter(log_group: Option<&str>, contains: Option<&str>) -> Filter {
        Filter { log_group: log_group.map(str::to_owned), contains: contains.map(str::to_owned) }
    }

    const ENVELOPE: &[u8] =
        br#"{"owner":"1","logGroup":"/app/web","logStream":"s","id":"1","timestamp":1,"message":"a \"bad\" day \"logGroup\":\"/x\""}"#;

    #[test]
    fn a_record_goes_when_it_holds_all_that_is_asked_for() {
        for (log_group, contains, goes) in [
            (Some("/app/web"), None, true),
            (Some("/app/we"), None, false),
            (Some("/x"), None, false),
            (None, Some("bad"), true),
            (None, Some("a \"bad\" day"), true),
            (None, Some("good"), false),
            (Some("/app/web"), Some("good"), false),
            (Some("/app/web"), Some("day"), true),
        ] {
            let filter = filter(log_group, contains);
            assert_eq!(filter.admits(ENVELOPE), goes, "{filter:?}");
            let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
            gzip.write_all(ENVELOPE).expect("memory");
            assert_eq!(filter.admits(&gzip.finish().expect("memory")), goes, "{filter:?} gzip");
            let aggregate = [b"\xf3\x89\x9a\xc2\x0a\x01", ENVELOPE, b"0123456789abcdef"].concat();
            assert_eq!(filter.admits(&aggregate), goes, "{filter:?} in an aggregate");
        }
    }

    #[test]
    fn what_looks_like_gzip_and_is_not_goes() {
        assert!(filter(None, Some("x")).admits(b"\x1f\x8bnothing"));
    }
}
