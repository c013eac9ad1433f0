//! The library behind Sluice's Lambda functions.
//!
//! The data path, in the order an event takes it: [`logs`] (decode, transform) →
//! [`records`] (pack, pace, put) → [`delivery`] (what could not be put is handed over) →
//! [`telemetry`] (metrics and logs). [`ports`] are the verbs that reach outside; `aws` holds
//! their SDK adapters; [`limits`] every quota and price; [`time`] reads times.

#[cfg(feature = "aws")]
pub mod aws;
pub mod config;
pub mod delivery;
pub mod limits;
pub mod logs;
pub mod ports;
mod quote;
pub mod records;
pub mod scaling;
pub mod system;
pub mod telemetry;
pub mod time;

pub use quote::{Quoted, quote};
