//! Scaling decisions: pure functions of what was seen and what is wanted.
//!
//! [`observation`] is what was seen, [`policy`] what is wanted; [`decide`] makes of both a
//! [`Decision`] that explains itself and lists the calls to make, in order. Nothing here knows a
//! clock, an environment or AWS: the functions, the tests and the what-if tool run the same code.

mod assemble;
pub mod capacity;
pub mod cost;
pub mod decide;
mod decision;
mod demand;
pub mod evenness;
mod followers;
mod goal;
pub mod lease;
pub mod ledger;
pub mod observation;
pub mod policy;
pub mod shard_metrics;
pub mod state;
mod step;

pub use capacity::Rate;
pub use decide::{decide_scale_down, decide_scale_up};
pub use decision::{Action, Blocked, Decision};
pub use lease::Lease;
pub use ledger::Ledger;
pub use observation::{AlarmSeen, Floor, FunctionSeen, Load, Observation, ShardLoad, Trigger};
pub use policy::Policy;
pub use shard_metrics::{ShardLevelMetrics, ShardMetricsAction, ShardMetricsSeen};

pub use crate::ports::{AlarmState, Shard, StreamStatus};
