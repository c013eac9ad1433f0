//! What the scaling functions share: one wake-up is observe → decide → act → report.
//!
//! The decision itself is [`sluice::scaling`]'s, a pure function. This crate reads the configuration
//! and the event, looks at the world through the ports, and makes the calls that the decision lists.

mod act;
mod config;
mod event;
mod handler;
mod observe;

pub use config::{AlarmNames, ScalingConfig};
pub use handler::{ScalingError, run};
