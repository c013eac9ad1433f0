//! What every function's main does: start, then answer invocations until the environment ends.

use std::any::type_name;
use std::error::Error as StdError;

pub use lambda_runtime::Error;
use lambda_runtime::{Diagnostic, LambdaEvent, run, service_fn};
use serde::Serialize;
use serde_json::value::RawValue;
use sluice::config::{ConfigError, EnvReader};
use tokio::sync::Mutex;

use crate::logging::log_as_json;
use crate::{Connection, sources};

/// Starts a function, and answers its invocations with what `wire` makes of its configuration and
/// connection. A handler is given each event as JSON text, and the time at which Lambda ends the
/// invocation, in milliseconds since 1970.
///
/// # Errors
/// As [`start`] and [`answer`].
pub async fn serve<C, H, A, E>(
    read: impl FnOnce(&mut EnvReader<'_>) -> Option<C>,
    wire: impl FnOnce(C, &Connection) -> H,
) -> Result<(), Error>
where
    H: AsyncFnMut(&str, u64) -> Result<A, E>,
    A: Serialize,
    E: StdError + 'static,
{
    let (config, connection) = start(read)?;
    answer(wire(config, &connection)).await
}

/// Turns on logging, and reads the function's configuration and its connection from the environment.
///
/// # Errors
/// When a variable is missing or wrong: the log and the error name each of them.
pub fn start<C>(
    read: impl FnOnce(&mut EnvReader<'_>) -> Option<C>,
) -> Result<(C, Connection), ConfigError> {
    log_as_json();
    let lookup = |name: &str| std::env::var(name).ok();
    let mut env = EnvReader::new(&lookup);
    let (config, connection) = (read(&mut env), Connection::read(&mut env));
    env.finish(config.zip(connection)).inspect_err(|error| {
        tracing::error!(problems = error.0.join("; "), "configuration is invalid");
    })
}

/// Answers invocations until the environment ends.
///
/// # Errors
/// When Lambda's runtime API does not answer.
pub async fn answer<A, E>(handle: impl AsyncFnMut(&str, u64) -> Result<A, E>) -> Result<(), Error>
where
    A: Serialize,
    E: StdError + 'static,
{
    // Lambda brings one event at a time, and the runtime's types do not know it.
    let handle = Mutex::new(handle);
    run(service_fn(async |event: LambdaEvent<Box<RawValue>>| {
        let mut handle = handle.lock().await;
        // Boxed: the compiler does not follow a handler's future through this one as well.
        let answer = Box::pin(handle(event.payload.get(), event.context.deadline)).await;
        answer.map_err(|error| diagnostic(&error))
    }))
    .await
}

/// An invocation's error as Lambda shows it: its type, and its text with its causes.
fn diagnostic<E: StdError + 'static>(error: &E) -> Diagnostic {
    let error_type = type_name::<E>().rsplit("::").next().unwrap_or_default().to_owned();
    let error_message = with_causes(error);
    tracing::error!(error_type, error = error_message, "invocation failed");
    Diagnostic { error_type, error_message }
}

/// An error as Lambda shows it: its text and, after colons, its causes, outermost first.
pub fn with_causes(error: &dyn StdError) -> String {
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

    #[test]
    fn lambda_is_told_the_errors_own_name() {
        let told = diagnostic(&Told { text: "alone", source: None });
        assert_eq!((&*told.error_type, &*told.error_message), ("Told", "alone"));
    }
}
