//! Promises to the operator: what alarms, dashboards and runbook say is what the functions print and
//! what CloudWatch would do with it, in virtual time.

mod alarms;
mod cost;
mod dashboards;
mod lag;
mod loss;
mod queue_loss;
mod runbook;
mod world;
