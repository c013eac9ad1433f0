//! What an operator sees of Sluice, read out of the templates themselves: alarms that the simulated
//! CloudWatch evaluates, and dashboards.

pub mod alarm;
pub mod dashboard;
pub mod template;

pub use alarm::{TemplateAlarm, alarms};
pub use dashboard::{Kind, Shown, Widget, dashboards};
pub use template::{Stack, Template};
