//! What Sluice would cost and how late it would be on a team's own traffic, beside the
//! alternatives.
//!
//! Traffic ([`reading`], [`generate`]) flows as a fluid through one stream ([`world`]) while a rule
//! ([`policies`]) scales it; what no processor takes waits as Lambda's queue lets it wait
//! ([`waiting`]). [`optimum`] is the limit: the cheapest legal moves for someone who knows the
//! future. Sluice is played by its own functions, not by a copy: `account`
//! is what they see of this world.

mod account;
pub mod arguments;
pub mod clock;
#[cfg(feature = "aws")]
pub mod cloudwatch;
pub mod command;
pub mod cost;
pub mod generate;
pub mod html;
pub mod metrics;
pub mod optimum;
pub mod policies;
pub mod reading;
pub mod result;
pub mod run;
pub mod template;
pub mod trace;
pub mod waiting;
pub mod world;
