//! What scale-up and scale-down share: one invocation is event → observe → decide → act → report.
//!
//! The decision itself is [`sluice::scaling`]'s, a pure function. This crate reads the configuration
//! and the event, looks at the world through the ports, and makes the calls that the decision lists.

mod act;
mod config;
mod event;
mod handler;
mod observe;
mod report;

pub use config::{AlarmNames, ScalingConfig};
pub use handler::{Autoscaler, Decide, ScalingError};
