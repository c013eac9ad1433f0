//! What every function begins with, and how it shows an error.

use std::error::Error;

use crate::logging::log_as_json;
use crate::{Connection, sources};
use sluice::config::{ConfigError, EnvReader};

/// Turns logging on and reads the function's configuration, with `read`, and its connection out of
/// the environment. Every bad value is named in the log and in the error.
pub fn start<C>(
    read: impl FnOnce(&mut EnvReader<'_>) -> Option<C>,
) -> Result<(C, Connection), ConfigError> {
    log_as_json();
    let lookup = |name: &str| std::env::var(name).ok();
    let mut env = EnvReader::new(&lookup);
    let (config, connection) = (read(&mut env), Connection::read(&mut env));
    env.finish(config.zip(connection)).inspect_err(|error| {
        tracing::error!(problems = ?error.0, "the function cannot start");
    })
}

/// An error as Lambda shows it: its text and, after colons, its causes, outermost first.
pub fn with_causes(error: &dyn Error) -> String {
    let causes = sources(error);
    if causes.is_empty() { error.to_string() } else { format!("{error}: {causes}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Told {
        text: &'static str,
        source: Option<Box<Self>>,
    }

    #[test]
    fn causes_follow_the_error_outermost_first() {
        let inner = Told { text: "no route", source: None };
        let middle = Told { text: "not sent", source: Some(Box::new(inner)) };
        let outer = Told { text: "the run fails", source: Some(Box::new(middle)) };
        assert_eq!(with_causes(&outer), "the run fails: not sent: no route");
        assert_eq!(with_causes(&Told { text: "alone", source: None }), "alone");
    }
}
