//! What triggers the replayer: `{}` from the schedule, `{"max": 100, "dryRun": true}` from a person,
//! and the same with a hop from itself.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Trigger {
    /// Dead letters to take at the most; all there are when it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
    /// Looks and reports, and moves nothing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// How often the replayer has invoked itself in a row.
    pub hop: u32,
}

/// The event is not a trigger.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the event is not {{\"max\": 1 or more, \"dryRun\": true or false}}, both optional: {0}")]
pub struct UnknownEvent(String);

impl Trigger {
    /// Parses the event, given as the JSON text that Lambda hands over.
    pub fn parse(event: &str) -> Result<Self, UnknownEvent> {
        let trigger: Self =
            serde_json::from_str(event).map_err(|error| UnknownEvent(error.to_string()))?;
        if trigger.max == Some(0) {
            return Err(UnknownEvent("max is 0".to_owned()));
        }
        Ok(trigger)
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
    fn a_schedule_a_person_and_the_replayer_itself_trigger_it() {
        assert_eq!(Trigger::parse("{}"), Ok(Trigger::default()));
        let asked = Trigger { max: Some(100), dry_run: true, hop: 0 };
        assert_eq!(Trigger::parse(r#"{"max": 100, "dryRun": true}"#), Ok(asked));
        let next = Trigger { max: Some(100), ..Trigger::default() }.next(1, 30);
        assert_eq!(next, Trigger { max: Some(70), dry_run: false, hop: 1 });
        let text = next.to_text();
        assert_eq!(text, r#"{"max":70,"hop":1}"#);
        assert_eq!(Trigger::parse(&text), Ok(next));
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
            let refused = Trigger::parse(event).expect_err(event).to_string();
            assert!(refused.contains(named), "{event}: {refused}");
            assert!(refused.contains("dryRun"), "{refused}");
        }
    }
}
