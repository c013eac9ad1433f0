//! The templates of `infra/`, which are the one place that has the parameters' names, units, ranges
//! and defaults.

use std::ops::RangeInclusive;

const AUTOSCALING: &str = include_str!("../../../infra/autoscaling.yaml");
const LOG_PROCESSING: &str = include_str!("../../../infra/log-processing.yaml");

/// A parameter of a template.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    name: &'static str,
    lines: &'static str,
}

/// The parameter `name` of the autoscaling or else the log-processing template.
///
/// # Panics
/// When there is no such parameter, which a test would show.
#[must_use]
pub fn parameter(name: &'static str) -> Parameter {
    let find = |text: &'static str| {
        let (_, parameters) = text.split_once("\nParameters:\n")?;
        let (_, lines) = parameters.split_once(&format!("\n  {name}:\n"))?;
        Some(Parameter { name, lines })
    };
    find(AUTOSCALING)
        .or_else(|| find(LOG_PROCESSING))
        .unwrap_or_else(|| panic!("no parameter {name}"))
}

impl Parameter {
    fn property(&self, name: &str) -> Option<&'static str> {
        let lines = self.lines.lines().take_while(|line| line.starts_with("    "));
        lines.filter_map(|line| line.trim().strip_prefix(name)?.strip_prefix(": ")).next()
    }

    /// Its default.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn default(&self) -> &'static str {
        let default =
            self.property("Default").unwrap_or_else(|| panic!("{}: no default", self.name));
        default.trim_matches('"')
    }

    /// Its range, if it is a number.
    #[must_use]
    pub fn range(&self) -> Option<RangeInclusive<f64>> {
        let number = |name: &str| self.property(name)?.parse::<f64>().ok();
        Some(number("MinValue")?..=number("MaxValue")?)
    }
}

/// The hours of the day, from and until, in which a schedule such as `cron(0/10 1-4 * * ? *)` runs
/// every ten minutes; an empty one never does.
pub fn schedule_hours(schedule: &str) -> Option<(u64, u64)> {
    if schedule.is_empty() {
        return Some((0, 0));
    }
    let fields = schedule.strip_prefix("cron(")?.strip_suffix(')')?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let ["0/10" | "*/10", hours, "*", "*", "?", "*"] = fields[..] else { return None };
    if hours == "*" {
        return Some((0, 24));
    }
    let (from, last) = hours.split_once('-').unwrap_or((hours, hours));
    let hour = |text: &str| text.parse::<u64>().ok().filter(|&hour| hour < 24);
    let (from, until) = (hour(from)?, hour(last)? + 1);
    (from < until).then_some((from, until))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_both_templates_are_found() {
        assert_eq!(parameter("ReshardCallsMax").default(), "10");
        assert_eq!(parameter("ReshardCallsMax").range(), Some(1.0..=100.0));
        assert_eq!(parameter("TimeZone").default(), "UTC");
        assert_eq!(parameter("TimeZone").range(), None);
        assert_eq!(parameter("RecordBytesTarget").default(), "24900");
    }

    #[test]
    fn a_schedule_runs_in_its_hours_or_is_refused() {
        assert_eq!(schedule_hours(parameter("OffPeakSchedule").default()), Some((0, 24)));
        assert_eq!(schedule_hours("cron(0/10 1-4 * * ? *)"), Some((1, 5)));
        assert_eq!(schedule_hours("cron(0/10 3 * * ? *)"), Some((3, 4)));
        assert_eq!(schedule_hours(""), Some((0, 0)));
        for other in [
            "1-5",
            "cron(0/10 22-4 * * ? *)",
            "cron(0/10 24 * * ? *)",
            "cron(0/5 1-4 * * ? *)",
            "cron(0/10 1-4 ? * MON *)",
            "rate(10 minutes)",
        ] {
            assert_eq!(schedule_hours(other), None, "{other}");
        }
    }
}
