//! Alarms of CloudWatch.

use super::ControlError;

/// `StateValue`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlarmState {
    /// Below its threshold.
    Ok,
    /// Above it.
    Alarm,
    /// Not known.
    InsufficientData,
}

/// One alarm as `DescribeAlarms` gives it.
#[derive(Debug, Clone, PartialEq)]
pub struct Alarm {
    /// `AlarmName`.
    pub name: String,
    /// `StateValue`.
    pub state: AlarmState,
    /// `Threshold`.
    pub threshold: f64,
    /// `Period`, in seconds.
    pub period_seconds: u32,
}

/// Looks at alarms and sets them.
pub trait Alarms {
    /// DescribeAlarms by name; alarms that do not exist are left out.
    fn describe_alarms(
        &self,
        names: &[String],
    ) -> impl Future<Output = Result<Vec<Alarm>, ControlError>>;

    /// DescribeAlarms and PutMetricAlarm with everything else as it was; the state stays.
    fn put_alarm_threshold(
        &self,
        alarm: &str,
        threshold: f64,
    ) -> impl Future<Output = Result<(), ControlError>>;

    /// SetAlarmState to INSUFFICIENT_DATA.
    fn rearm_alarm(&self, alarm: &str) -> impl Future<Output = Result<(), ControlError>>;
}
