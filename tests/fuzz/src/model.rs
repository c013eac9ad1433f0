//! What a payload says, by serde_json and plain code: slow, and nothing of the library's scanner.

use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

/// Deeper than this the scanner may refuse a value; CloudWatch Logs nests two deep.
const DEPTH_MAX: usize = 60;

/// The members of a JSON object in their order, doubles included.
#[derive(Debug)]
pub(crate) struct Members<'a>(pub Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Object).map(Members)
    }
}

impl<'a> Members<'a> {
    pub(crate) fn of(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.get())
    }

    /// The value of the one member that has the name.
    pub(crate) fn only(&self, name: &str) -> Option<&'a str> {
        let mut values = self.all(name);
        values.next().filter(|_| values.next().is_none())
    }
}

/// One log event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event<'a> {
    pub id: String,
    pub timestamp_ms: i64,
    pub message: String,
    pub json: &'a str,
    /// What else it says, each name once.
    pub others: Vec<(String, &'a str)>,
}

/// A payload of CloudWatch Logs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Payload<'a> {
    pub is_data: bool,
    pub owner: String,
    pub log_group: String,
    pub log_stream: String,
    pub events: Vec<Event<'a>>,
    pub odd: Vec<&'a str>,
    pub other_fields: Vec<(String, &'a str)>,
}

/// What a text is that is no payload.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoPayload {
    /// JSON of another shape.
    OtherShape,
    NotJson,
    /// JSON that two good readers may see differently.
    Unclear,
}

pub(crate) fn read(text: &str) -> Result<Payload<'_>, NoPayload> {
    if serde_json::from_str::<&RawValue>(text).is_err() {
        return Err(NoPayload::NotJson);
    }
    if depth_of(text) > DEPTH_MAX {
        return Err(NoPayload::Unclear);
    }
    let members = members_of(text.trim_ascii_start())?;
    let is_data = match text_at(&members, "messageType")?.as_deref() {
        Some("DATA_MESSAGE") => true,
        Some("CONTROL_MESSAGE") => false,
        _ => return Err(NoPayload::OtherShape),
    };
    // What a control message says beside that it is one does not matter.
    let text = |name| match text_at(&members, name) {
        Err(_) if !is_data => Ok(members.all(name).filter_map(text_of).last()),
        text => text,
    };
    let (owner, log_group, log_stream) = (text("owner")?, text("logGroup")?, text("logStream")?);
    let (mut events, mut odd) = (Vec::new(), Vec::new());
    for list in members.all("logEvents") {
        match serde_json::from_str::<Vec<&RawValue>>(list) {
            Ok(items) => {
                for item in items.into_iter().map(RawValue::get) {
                    match read_event(item)? {
                        Some(event) => events.push(event),
                        None => odd.push(item),
                    }
                }
            }
            Err(_) if !is_data => {}
            Err(_) => return Err(NoPayload::OtherShape),
        }
    }
    let has_events = members.all("logEvents").next().is_some();
    if is_data && (log_group.is_none() || log_stream.is_none() || !has_events) {
        return Err(NoPayload::OtherShape);
    }
    let other_fields = members.0.iter().filter(|(key, _)| key != "logEvents");
    Ok(Payload {
        is_data,
        owner: owner.unwrap_or_default(),
        log_group: log_group.unwrap_or_default(),
        log_stream: log_stream.unwrap_or_default(),
        events,
        odd,
        other_fields: other_fields.map(|(key, value)| (key.clone(), value.get())).collect(),
    })
}

fn members_of(json: &str) -> Result<Members<'_>, NoPayload> {
    if !json.starts_with('{') {
        return Err(NoPayload::OtherShape);
    }
    // The one thing left that serde_json minds: a key with half a surrogate pair.
    Members::of(json).ok_or(NoPayload::Unclear)
}

/// The last of the members of that name; all of them are strings.
fn text_at(members: &Members<'_>, name: &str) -> Result<Option<String>, NoPayload> {
    let texts: Option<Vec<String>> = members.all(name).map(text_of).collect();
    texts.map(|mut texts| texts.pop()).ok_or(NoPayload::OtherShape)
}

/// `None` when it is no log event.
pub(crate) fn read_event(json: &str) -> Result<Option<Event<'_>>, NoPayload> {
    if !json.starts_with('{') {
        return Ok(None);
    }
    let members = members_of(json)?;
    let names: BTreeSet<&String> = members.0.iter().map(|(name, _)| name).collect();
    let id = members.only("id").map_or(Some(String::new()), text_of);
    let timestamp_ms = members.only("timestamp").and_then(|number| number.parse().ok());
    let message = members.only("message").and_then(text_of);
    let (Some(id), Some(timestamp_ms), Some(message)) = (id, timestamp_ms, message) else {
        return Ok(None);
    };
    if names.len() < members.0.len() {
        return Ok(None);
    }
    let is_other = |name: &str| !["id", "timestamp", "message"].contains(&name);
    let others = members.0.into_iter().filter(|(name, _)| is_other(name));
    let others = others.map(|(name, value)| (name, value.get())).collect();
    Ok(Some(Event { id, timestamp_ms, message, json, others }))
}

/// The value of a JSON string; half a surrogate pair becomes U+FFFD.
pub(crate) fn text_of(json: &str) -> Option<String> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    let mut units = Vec::new();
    let mut rest = inner;
    while let Some((plain, escaped)) = rest.split_once('\\') {
        units.extend(plain.encode_utf16());
        let mut length = 1;
        units.push(match escaped.as_bytes().first()? {
            b'n' => 10,
            b't' => 9,
            b'r' => 13,
            b'b' => 8,
            b'f' => 12,
            b'u' => {
                length = 5;
                u16::from_str_radix(escaped.get(1..5)?, 16).ok()?
            }
            other => u16::from(*other),
        });
        rest = &escaped[length..];
    }
    units.extend(rest.encode_utf16());
    Some(String::from_utf16_lossy(&units))
}

fn depth_of(json: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth -= 1,
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}
