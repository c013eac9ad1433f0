//! Quotes somebody's text in an error: enough to recognise it, never all of it.

use std::fmt;

/// Characters that are quoted before the rest is only counted.
const QUOTED_CHARS_MAX: usize = 80;

/// Quotes `text` for a person: escaped, on one line, at most 80 characters of it.
///
/// ```
/// assert_eq!(sluice::quote("a\rb").to_string(), r#""a\rb""#);
/// assert_eq!(sluice::quote(&"x".repeat(5_000)).to_string(), format!("{:?}… (5000 bytes)", "x".repeat(80)));
/// ```
pub fn quote(text: &str) -> Quoted<'_> {
    Quoted(text)
}

/// What [`quote`] gives; it is made only when it is displayed.
#[derive(Debug, Clone, Copy)]
pub struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(QUOTED_CHARS_MAX) {
            None => write!(formatter, "{:?}", self.0),
            Some((end, _)) => write!(formatter, "{:?}… ({} bytes)", &self.0[..end], self.0.len()),
        }
    }
}
