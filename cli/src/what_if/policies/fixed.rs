//! Provisioned for the peak and never changed.
//!
//! Source: what a team does without a scaler; nothing ever waits.

use crate::what_if::world::{Rule, World};

/// Where the rule is documented.
pub const SOURCE: &str = "as many shards as the highest step needs, known beforehand";

/// Never scales.
pub struct Fixed;

impl Rule for Fixed {
    fn begin(&mut self, _: &mut World<'_>) {}

    fn wake(&mut self, _: &mut World<'_>) {}
}
