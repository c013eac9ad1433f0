//! Traffic over time: scaled to a peak, cut to some days.

use crate::what_if::clock::SECONDS_PER_DAY;

/// The longest step between two rows: an hour.
pub const STEP_SECONDS_MAX: u64 = 3_600;
/// The longest traffic: more would take minutes, and says nothing new.
pub const DAYS_MAX: u64 = 400;

/// Traffic in uniform steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// What it is called in reports.
    pub name: String,
    /// Seconds of one step.
    pub step_seconds: u64,
    /// Seconds after midnight (UTC) of the first step: schedules go by the time of day.
    pub begins_at_second: u64,
    /// Bytes a second, a step each.
    pub bytes_per_second: Vec<f64>,
    /// Refused records that the stream's own metrics showed, where traffic was read from AWS.
    pub refused_records: Option<f64>,
    /// Bytes of one record, where traffic was read from AWS.
    pub record_bytes: Option<f64>,
}

/// Why traffic cannot be used. Always names the line, where there is one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    /// A line is wrong.
    #[error("{place} {line}: {problem}")]
    Line {
        /// What it is: a line of text, or a data point of JSON.
        place: &'static str,
        /// Counted from 1, comments included.
        line: u64,
        /// What is wrong, and what is expected.
        problem: String,
    },
    /// The traffic as a whole is wrong.
    #[error("{0}")]
    Whole(String),
}

impl TraceError {
    /// The same error in what is not a line.
    pub(crate) fn placed(mut self, name: &'static str) -> Self {
        if let Self::Line { place, .. } = &mut self {
            *place = name;
        }
        self
    }
}

pub(crate) fn at(line: u64, problem: impl Into<String>) -> TraceError {
    TraceError::Line { place: "line", line, problem: problem.into() }
}

pub(crate) fn whole(problem: impl Into<String>) -> TraceError {
    TraceError::Whole(problem.into())
}

impl Trace {
    /// How long it is.
    #[must_use]
    pub fn seconds(&self) -> u64 {
        self.bytes_per_second.len() as u64 * self.step_seconds
    }

    /// The same shape with its highest step at `peak` bytes a second.
    pub fn scaled_to_peak(mut self, peak: f64) -> Result<Self, TraceError> {
        let highest = self.peak();
        if highest <= 0.0 {
            return Err(whole(format!(
                "{} is zero throughout: it has no peak to scale",
                self.name
            )));
        }
        // Dividing first: a tiny highest value must not make an infinite factor.
        self.bytes_per_second.iter_mut().for_each(|value| *value = *value / highest * peak);
        Ok(self)
    }

    /// Its first days.
    #[must_use]
    pub fn first_days(mut self, days: f64) -> Self {
        let steps = (days * SECONDS_PER_DAY as f64 / self.step_seconds as f64).ceil() as usize;
        self.bytes_per_second.truncate(steps.max(1));
        self
    }

    /// Refuses what would take too long to play.
    pub fn check_length(&self) -> Result<(), TraceError> {
        let days = self.seconds() / SECONDS_PER_DAY;
        if days > DAYS_MAX {
            let problem = format!("{} has {days} days; give --days, {DAYS_MAX} at most", self.name);
            return Err(whole(problem));
        }
        Ok(())
    }

    /// Its highest step, bytes a second.
    #[must_use]
    pub fn peak(&self) -> f64 {
        self.bytes_per_second.iter().copied().fold(0.0, f64::max)
    }

    /// Its mean, bytes a second.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.bytes_per_second.iter().sum::<f64>() / self.bytes_per_second.len() as f64
    }

    /// Its median, bytes a second.
    #[must_use]
    pub fn median(&self) -> f64 {
        let mut sorted = self.bytes_per_second.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }

    /// All of it, in bytes.
    #[must_use]
    pub fn bytes(&self) -> f64 {
        self.bytes_per_second.iter().sum::<f64>() * self.step_seconds as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(values: &[f64]) -> Trace {
        Trace {
            name: "test".to_owned(),
            step_seconds: 10,
            begins_at_second: 0,
            bytes_per_second: values.to_vec(),
            refused_records: None,
            record_bytes: None,
        }
    }

    #[test]
    fn the_peak_is_scaled_and_nothing_has_none() {
        let scaled = trace(&[1.0, 4.0, 0.0]).scaled_to_peak(64e6).expect("a peak");
        assert_eq!(scaled.bytes_per_second, [16e6, 64e6, 0.0]);
        assert_eq!(trace(&[5e-324; 2]).scaled_to_peak(2.0).map(|trace| trace.peak()), Ok(2.0));
        assert!(trace(&[0.0; 2]).scaled_to_peak(1.0).is_err());
    }

    #[test]
    fn too_many_days_are_refused() {
        let long = trace(&vec![1.0; 10_000_000]);
        let error = long.check_length().expect_err("1,157 days").to_string();
        assert_eq!(error, "test has 1157 days; give --days, 400 at most");
        assert_eq!(long.first_days(2.0).check_length(), Ok(()));
    }
}
