//! Configuration out of environment variables: parsed once, every bad value named.

use std::fmt::Display;
use std::str::FromStr;

/// Everything that is wrong with the environment, one problem a line.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("configuration: {}", .0.join("; "))]
pub struct ConfigError(pub Vec<String>);

/// Reads variables and remembers what was wrong with each, so that all are named at once.
pub struct EnvReader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    problems: Vec<String>,
}

impl<'a> EnvReader<'a> {
    /// A reader over `lookup`, which is `|name| std::env::var(name).ok()` outside tests.
    pub fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { lookup, problems: Vec::new() }
    }

    /// The variable's value, when it is set and not blank.
    pub fn optional(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.trim().is_empty())
    }

    /// The variable parsed; `form` says what is expected, for people.
    pub fn required<T>(&mut self, name: &str, form: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        self.required_if(name, form, |_: &T| true)
    }

    /// The variable parsed, when it also satisfies `accept`.
    pub fn required_if<T>(
        &mut self,
        name: &str,
        form: &str,
        accept: impl Fn(&T) -> bool,
    ) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        let Some(value) = self.optional(name) else {
            self.problems.push(format!("{name} is not set: expected {form}"));
            return None;
        };
        match value.parse::<T>() {
            Ok(parsed) if accept(&parsed) => Some(parsed),
            _ => {
                self.reject(name, &value, form);
                None
            }
        }
    }

    /// The variable parsed when it is set; a bad value is still a problem.
    pub fn optional_if<T>(
        &mut self,
        name: &str,
        form: &str,
        accept: impl Fn(&T) -> bool,
    ) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        self.optional(name)?;
        self.required_if(name, form, accept)
    }

    /// The variable, a URL of `what`.
    pub fn required_url(&mut self, name: &str, what: &str) -> Option<String> {
        let form = format!("{what} beginning with http:// or https://");
        self.required_if(name, &form, |url: &String| {
            url.starts_with("http://") || url.starts_with("https://")
        })
    }

    /// The variable, a URL of `what`, when it is set.
    pub fn optional_url(&mut self, name: &str, what: &str) -> Option<String> {
        self.optional(name)?;
        self.required_url(name, what)
    }

    /// Notes a value that another check refuses.
    pub fn reject(&mut self, name: &str, value: &str, form: &str) {
        self.problems.push(format!("{name} = {value:?}: expected {form}"));
    }

    /// The configuration, or every problem met on the way to it.
    pub fn finish<T>(self, config: Option<T>) -> Result<T, ConfigError> {
        match config {
            Some(config) if self.problems.is_empty() => Ok(config),
            _ => Err(ConfigError(self.problems)),
        }
    }
}
