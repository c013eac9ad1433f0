//! Traffic over time: scaled to a peak, cut to some days.

use crate::clock::SECONDS_PER_DAY;

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

    fn parse(text: &str) -> Result<Trace, TraceError> {
        parse_trace("test", text.as_bytes())
    }

    fn refused(text: &str) -> String {
        parse(text).expect_err("bad input").to_string()
    }

    #[test]
    fn rows_comments_and_headers_in_either_order_are_read() {
        let plain = parse("0,1\n60,2.5\n120,0\n").expect("a trace");
        assert_eq!((plain.step_seconds, plain.bytes_per_second), (60, vec![1.0, 2.5, 0.0]));
        let text = "\u{feff}# a comment, with a comma\r\n\r\n# start: 1998-06-10T13:30:00Z\r\n\
                    value , seconds\r\n 7,300\r\n8 , 600\r\n#late\r\n9,900\r\n";
        let named = parse(text).expect("a trace");
        assert_eq!((named.step_seconds, named.bytes_per_second), (300, vec![7.0, 8.0, 9.0]));
        assert_eq!(named.begins_at_second, 13 * 3_600 + 30 * 60 + 300);
    }

    #[test]
    fn nothing_and_a_single_row_are_refused() {
        assert_eq!(refused(""), "no rows; expected seconds,value");
        assert_eq!(refused("# only\nseconds,value\n"), "no rows; expected seconds,value");
        assert_eq!(refused("0,1\n"), "one row; two are needed to know the step");
    }

    #[test]
    fn what_is_no_traffic_is_refused_with_its_line() {
        for (text, says) in [
            ("seconds,value\n0,1\n60,NaN\n", "line 3: the value NaN is not a finite"),
            ("0,1\n60,-0.5\n", "line 2: the value -0.5 is not a finite"),
            ("0,1\n60,inf\n", "line 2: the value inf is not a finite"),
            ("0,1\n60,1e999\n", "line 2: the value 1e999 is not a finite"),
            ("0,1\n60,many\n", "line 2: \"many\" is no number"),
            ("0,1\n60,\n", "line 2: \"\" is no number"),
            ("time,value\n0,1\n", "line 1: \"time\" is no whole number"),
            ("0,1\nseconds,value\n", "line 2: \"seconds\" is no whole number"),
            ("0.5,1\n", "line 1: \"0.5\" is no whole number"),
            ("0,1\n60\n", "line 2: \"60\" does not have the two columns"),
            ("0,1\n60,2,3\n", "line 2: \"60,2,3\" does not have the two columns"),
            ("0;1\n60;2\n", "line 1: \"0;1\" does not have the two columns"),
        ] {
            let error = refused(text);
            assert!(error.starts_with(says), "{text:?}: {error}");
        }
        let error = parse_trace("test", &b"0,1\n60,\xff\n"[..]).expect_err("no text").to_string();
        assert!(error.starts_with("line 2: "), "{error}");
    }

    #[test]
    fn gaps_repeats_and_irregular_steps_are_refused_with_their_line() {
        for (text, says) in [
            ("0,1\n60,1\n180,1\n", "line 3: second 180 where the step of 60 s asks for 120"),
            ("0,1\n60,1\n60,1\n", "line 3: second 60 where"),
            ("0,1\n0,1\n", "line 2: second 0 does not come after 0"),
            ("60,1\n0,1\n", "line 2: second 0 does not come after 60"),
            ("0,1\n7200,1\n", "line 2: a step of 7200 s"),
        ] {
            let error = refused(text);
            assert!(error.starts_with(says), "{text:?}: {error}");
        }
    }

    #[test]
    fn the_peak_is_scaled_and_nothing_has_none() {
        let trace = parse("0,1\n1,4\n2,0\n").expect("a trace");
        let scaled = trace.scaled_to_peak(64e6).expect("a peak");
        assert_eq!(scaled.bytes_per_second, [16e6, 64e6, 0.0]);
        assert_eq!(
            parse("0,5e-324\n1,5e-324\n").expect("a trace").scaled_to_peak(2.0).map(|t| t.peak()),
            Ok(2.0)
        );
        let nothing = parse("0,0\n1,0\n").expect("a trace").scaled_to_peak(1.0);
        assert!(nothing.is_err());
    }

    #[test]
    fn ten_million_rows_are_read_and_too_many_days_refused() {
        use std::fmt::Write;
        let mut text = String::new();
        for second in 0..10_000_000_u64 {
            writeln!(text, "{},{}", second * 10, second % 7).expect("memory");
        }
        let trace = parse(&text).expect("a trace");
        assert_eq!(trace.bytes_per_second.len(), 10_000_000);
        let error = trace.check_length().expect_err("1,157 days").to_string();
        assert_eq!(error, "test has 1157 days; give --days, 400 at most");
        assert_eq!(trace.first_days(2.0).check_length(), Ok(()));
    }
}
