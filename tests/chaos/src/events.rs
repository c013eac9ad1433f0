//! What is sent: log events that know who they are, payloads of them, and poison.
//!
//! An event's message follows from its id, so that a judge can tell a whole event from a damaged one
//! and from one that nobody sent.

use std::collections::BTreeMap;

use base64_simd::STANDARD;
use fastrand::Rng;
use libdeflater::Decompressor;
use serde::Deserialize;
use serde_json::{Value, json};
use sluice_simulated::logs;

/// Bytes of a message that no record can hold: a record of 1 MiB less its partition key.
const HUGE_BYTES: usize = 1_048_576;

/// What is to become of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It belongs into the stream.
    Plain,
    /// The transform leaves it out.
    Filtered,
    /// The transform fails on it.
    Failing,
    /// No record can hold it, unless it is compressed.
    Huge,
    /// A whole payload that nobody can decode; it counts as one event.
    Poison,
}

impl Kind {
    /// Whether it can ever be in the stream.
    #[must_use]
    pub fn is_deliverable(self) -> bool {
        matches!(self, Self::Plain | Self::Huge)
    }
}

/// Marks an event that the transform leaves out.
pub const FILTERED_MARK: &[u8] = b" filter me";
/// Marks an event that the transform fails on.
pub const FAILING_MARK: &[u8] = b" fail on me";

/// The message of an event.
#[must_use]
pub fn message(id: usize, kind: Kind) -> String {
    let tail = match kind {
        Kind::Plain | Kind::Poison => "x".repeat(id.wrapping_mul(7_919) % 37),
        Kind::Filtered => return format!("{id:08}{}", String::from_utf8_lossy(FILTERED_MARK)),
        Kind::Failing => return format!("{id:08}{}", String::from_utf8_lossy(FAILING_MARK)),
        Kind::Huge => "x".repeat(HUGE_BYTES),
    };
    format!("{id:08} {tail}")
}

/// The id that a message begins with.
#[must_use]
pub fn id_of(message: &[u8]) -> Option<usize> {
    std::str::from_utf8(message.get(..8)?).ok()?.parse().ok()
}

/// Everything that was sent.
#[derive(Debug, Default)]
pub struct Sent {
    kinds: Vec<Kind>,
    /// What identifies a poison payload: its data, or its whole text when it has none.
    poison: BTreeMap<String, usize>,
}

impl Sent {
    /// How many events.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kinds.len()
    }

    /// Whether nothing was sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// What is to become of an event; `None` when it was never sent.
    #[must_use]
    pub fn kind(&self, id: usize) -> Option<Kind> {
        self.kinds.get(id).copied()
    }

    /// A payload of so many new events; `kind` says which they are.
    pub fn payload(
        &mut self,
        events: usize,
        epoch_ms: u64,
        mut kind: impl FnMut() -> Kind,
    ) -> String {
        let mut json = format!(
            "{{\"messageType\":\"DATA_MESSAGE\",\"owner\":\"1\",\"logGroup\":\"{}\",\
             \"logStream\":\"{}\",\"subscriptionFilters\":[\"sluice\"],\"logEvents\":[",
            logs::LOG_GROUP,
            logs::LOG_STREAM,
        );
        for place in 0..events {
            let (id, kind) = (self.kinds.len(), kind());
            self.kinds.push(kind);
            let comma = if place > 0 { "," } else { "" };
            let message = message(id, kind);
            // No message needs escapes.
            json += &format!(
                "{comma}{{\"id\":\"{id}\",\"timestamp\":{epoch_ms},\"message\":\"{message}\"}}"
            );
        }
        json += "]}";
        logs::event_of_data(&logs::gzip(json.as_bytes()))
    }

    /// A payload that nobody can decode, of one of the ways in which that can be.
    pub fn poison(&mut self, rng: &mut Rng) -> String {
        let id = self.kinds.len();
        self.kinds.push(Kind::Poison);
        let name = message(id, Kind::Poison);
        let whole =
            logs::gzip(json!({ "logEvents": [{ "message": name }] }).to_string().as_bytes());
        let event = match rng.u8(..9) {
            0 => json!({ "awslogs": { "data": format!("not base64: {name}") } }).to_string(),
            1 => logs::event_of_data(name.as_bytes()),
            2 => logs::event_of_data(&whole[..whole.len() - 9]),
            3 => {
                let mut corrupt = whole;
                let middle = corrupt.len() / 2;
                corrupt[middle] ^= 0x55;
                logs::event_of_data(&corrupt)
            }
            4 => logs::event_of_data(&logs::gzip(name.as_bytes())),
            5 => logs::event(&json!({ "messageType": "DATA_MESSAGE", "other": name })),
            6 => {
                let mut payload = logs::payload(&[name], 0);
                payload["messageType"] = "NEWS".into();
                logs::event(&payload)
            }
            7 => json!({ "Records": [name] }).to_string(),
            _ => json!(name).to_string(),
        };
        self.poison.insert(data_of(&event).unwrap_or_else(|| event.clone()), id);
        event
    }

    /// The ids in the body of a dead letter; `None` for what was never sent.
    #[must_use]
    pub fn ids_in(&self, body: &str) -> Option<Vec<usize>> {
        let data = data_of(body);
        if let Some(&id) = self.poison.get(data.as_deref().unwrap_or(body)) {
            return Some(vec![id]);
        }
        let gzip = STANDARD.decode_to_vec(data?).ok()?;
        let bytes = u32::from_le_bytes(*gzip.last_chunk()?) as usize;
        let mut text = vec![0; bytes];
        Decompressor::new().gzip_decompress(&gzip, &mut text).ok()?;
        let payload: Held<'_> = serde_json::from_slice(&text).ok()?;
        payload.log_events.iter().map(|event| self.id_of_whole(event.message.as_bytes())).collect()
    }

    /// The id of a message, when it is what was sent under that id.
    #[must_use]
    pub fn id_of_whole(&self, text: &[u8]) -> Option<usize> {
        let id = id_of(text)?;
        let kind = self.kind(id).filter(|&kind| kind != Kind::Poison)?;
        (message(id, kind).as_bytes() == text).then_some(id)
    }
}

/// A payload, as far as a judge looks at it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Held<'a> {
    #[serde(borrow)]
    log_events: Vec<HeldEvent<'a>>,
}

#[derive(Deserialize)]
struct HeldEvent<'a> {
    message: &'a str,
}

fn data_of(event: &str) -> Option<String> {
    let event: Value = serde_json::from_str(event).ok()?;
    Some(event["awslogs"]["data"].as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_known_again() {
        let mut sent = Sent::default();
        let mut rng = Rng::with_seed(1);
        let mut kinds = [Kind::Plain, Kind::Filtered, Kind::Failing].into_iter().cycle();
        let event = sent.payload(5, 0, || kinds.next().expect("a cycle"));
        assert_eq!(sent.ids_in(&event), Some(vec![0, 1, 2, 3, 4]));
        for id in 5..200 {
            let event = sent.poison(&mut rng);
            assert_eq!(sent.ids_in(&event), Some(vec![id]), "{event}");
        }
        assert_eq!(sent.len(), 200);
    }

    #[test]
    fn what_was_not_sent_is_unknown() {
        let mut sent = Sent::default();
        let _ = sent.payload(1, 0, || Kind::Plain);
        assert_eq!(sent.id_of_whole(message(0, Kind::Plain).as_bytes()), Some(0));
        assert_eq!(sent.id_of_whole(b"00000000 damaged"), None);
        assert_eq!(sent.id_of_whole(message(1, Kind::Plain).as_bytes()), None);
        assert_eq!(sent.ids_in("{}"), None);
    }
}
