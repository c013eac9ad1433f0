//! What wakes the replayer: `{}` from the schedule, `{"max": 100, "dryRun": true}` from a person,
//! and the same with a hop from itself.

use serde::{Deserialize, Serialize};

/// A wake-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Wake {
    /// Dead letters to take at the most; all there are when it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
    /// Looks and reports, and moves nothing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// How often the replayer has invoked itself in a row.
    pub hop: u32,
}

/// The event wakes nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the event is not {{\"max\": 1 or more, \"dryRun\": true or false}}, both optional: {0}")]
pub struct UnknownWake(String);

impl Wake {
    /// Parses the event, given as the JSON text that Lambda hands over.
    pub fn parse(event: &str) -> Result<Self, UnknownWake> {
        let wake: Self =
            serde_json::from_str(event).map_err(|error| UnknownWake(error.to_string()))?;
        if wake.max == Some(0) {
            return Err(UnknownWake("max is 0".to_owned()));
        }
        Ok(wake)
    }

    /// The event of the next hop, after so many dead letters.
    pub fn next(self, hop: u32, taken: u64) -> Self {
        Self { max: self.max.map(|max| max.saturating_sub(taken)), hop, ..self }
    }

    /// The event as JSON.
    pub fn to_text(self) -> String {
        serde_json::to_string(&self).expect("numbers and flags are JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_a_person_and_the_replayer_itself_wake_it() {
        assert_eq!(Wake::parse("{}"), Ok(Wake::default()));
        let asked = Wake { max: Some(100), dry_run: true, hop: 0 };
        assert_eq!(Wake::parse(r#"{"max": 100, "dryRun": true}"#), Ok(asked));
        let next = Wake { max: Some(100), ..Wake::default() }.next(1, 30);
        assert_eq!(next, Wake { max: Some(70), dry_run: false, hop: 1 });
        let text = next.to_text();
        assert_eq!(text, r#"{"max":70,"hop":1}"#);
        assert_eq!(Wake::parse(&text), Ok(next));
    }

    #[test]
    fn anything_else_is_refused_by_name() {
        for (event, named) in [
            ("[]x", "trailing"),
            ("null", "null"),
            (r#"{"max": 0}"#, "max is 0"),
            (r#"{"max": -1}"#, "-1"),
            (r#"{"max": "all"}"#, "all"),
            (r#"{"dryrun": true}"#, "dryrun"),
        ] {
            let refused = Wake::parse(event).expect_err(event).to_string();
            assert!(refused.contains(named), "{event}: {refused}");
            assert!(refused.contains("dryRun"), "{refused}");
        }
    }
}
