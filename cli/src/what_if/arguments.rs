//! The command line.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{ArgGroup, Args};

use crate::what_if::generate::Shape;
use sluice::limits::SHARDS_MAX;

use crate::what_if::policies::sluice::{BadParameter, Parameters};
use crate::what_if::reading::{Decimal, Unit};
use crate::what_if::run::POLICIES;

const EXAMPLES: &str = "\
What a trace may be:
  - CSV of the CloudWatch console (a metric's graph, \"Download as .csv\") or of Logs Insights
  - what `aws cloudwatch get-metric-statistics` or `get-metric-data` prints, as JSON or text
  - your own table: a column of times and one of values, in any order, with or without a header
  Times are seconds, or dates and times as AWS and RFC 3339 write them; without a zone they are UTC.
  Columns are separated by commas, semicolons, tabs or bars. What was assumed is said on standard error.

Examples:
  sluice what-if traffic.csv --peak-mbps 64 --html report.html
  sluice what-if console.csv --unit bytes-per-period --column IncomingBytes
  sluice what-if --generate flash-crowd --days 3 --sweep TargetUtilization=50..90
  sluice what-if traffic.csv --set LookBackMinutes=30 --set FastAlarm=true
  sluice what-if traffic.csv --policies sluice,on-demand --decisions sluice
  sluice what-if --from-cloudwatch my-stream --days 14";

const TRAFFIC: &str = "Traffic, one of";
const READING: &str = "How to read it";
const POLICY: &str = "What to play";
const OUTPUT: &str = "Output";

/// What Sluice would cost and how late it would be on your traffic, beside the alternatives.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(
    name = "what-if",
    arg_required_else_help = true,
    after_help = EXAMPLES,
    group = ArgGroup::new("traffic").required(true),
)]
pub struct Arguments {
    /// A file of times and values, in even steps of 1 s to 1 h: see below.
    #[arg(value_name = "TRACE.csv", group = "traffic", help_heading = TRAFFIC)]
    pub trace: Option<PathBuf>,
    /// Made-up traffic.
    #[arg(long, value_name = "SHAPE", value_enum, group = "traffic", help_heading = TRAFFIC)]
    pub generate: Option<Shape>,
    /// The metrics of a stream of yours, read with GetMetricData. Needs AWS_REGION and credentials in
    /// the environment.
    #[arg(long, value_name = "STREAM", group = "traffic", help_heading = TRAFFIC)]
    pub from_cloudwatch: Option<String>,

    /// What the values are. Without it, the names in the file tell; a column called `value`, or
    /// nothing, holds bytes a second. Events and records count as --event-bytes each.
    #[arg(long, value_name = "UNIT", value_enum, conflicts_with_all = ["generate", "from_cloudwatch"], help_heading = READING)]
    pub unit: Option<Unit>,
    /// The column to read, by its name or its number from 1, if there are several.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["generate", "from_cloudwatch"], help_heading = READING)]
    pub column: Option<String>,
    /// What the decimal sign of the file's numbers is, if it cannot be told.
    #[arg(long, value_name = "SIGN", value_enum, conflicts_with_all = ["generate", "from_cloudwatch"], help_heading = READING)]
    pub decimal: Option<Decimal>,
    /// Scale the highest step to N MB/s (10^6 bytes); made-up traffic has 64.
    #[arg(long, value_name = "N", value_parser = number(1e-6..=1e4), help_heading = READING)]
    pub peak_mbps: Option<f64>,
    /// The first N days of a file; days to generate (7) or to read (14).
    #[arg(long, value_name = "N", value_parser = number(1e-3..=400.0), help_heading = READING)]
    pub days: Option<f64>,
    /// Seed of everything that is random; the same seed gives the same result.
    #[arg(long, value_name = "N", default_value = "1", help_heading = READING)]
    pub seed: u64,
    /// Size of a log event in bytes.
    #[arg(long, value_name = "N", default_value = "300", value_parser = number(1.0..=1e6), help_heading = READING)]
    pub event_bytes: f64,
    /// Uncompressed bytes that CloudWatch Logs sends at once.
    #[arg(long, value_name = "N", default_value = "100000", value_parser = number(1e2..=1e7), help_heading = READING)]
    pub payload_bytes: f64,
    /// Consumers, whose reading on-demand bills.
    #[arg(long, value_name = "N", default_value = "1", value_parser = number(0.0..=100.0), help_heading = READING)]
    pub readers: f64,

    /// The share of their time that Lambda keeps processors busy while its queue is long. AWS
    /// documents that it reads a long queue more slowly, not how slowly: 0.75 is a guess.
    #[arg(long, value_name = "N", default_value = "0.75", value_parser = number(0.05..=1.0), help_heading = READING)]
    pub queue_fill: f64,
    /// The chance that Lambda deletes a payload each time it finds no processor. AWS documents that
    /// it may, not how often.
    #[arg(long, value_name = "N", default_value = "0", value_parser = number(0.0..=1.0), help_heading = READING)]
    pub queue_deletes: f64,

    /// Only these policies.
    #[arg(long, value_name = "A,B", value_delimiter = ',', value_parser = POLICIES, help_heading = POLICY)]
    pub policies: Vec<String>,
    /// A parameter of the stacks, with the same name and unit as there; repeatable.
    #[arg(long, value_name = "NAME=VALUE", help_heading = POLICY)]
    pub set: Vec<Setting>,
    /// Sluice with nine values of a parameter instead of the policies; marks the frontier of cost
    /// and lag.
    #[arg(long, value_name = "NAME=FROM..UNTIL", conflicts_with = "policies", help_heading = POLICY)]
    pub sweep: Option<Sweep>,

    /// JSON instead of the table.
    #[arg(long, help_heading = OUTPUT)]
    pub json: bool,
    /// A report with plots, in one file.
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    pub html: Option<PathBuf>,
    /// Every reshard of one policy, with its reason.
    #[arg(long, value_name = "POLICY", help_heading = OUTPUT)]
    pub decisions: Option<String>,
    /// No progress on standard error.
    #[arg(long, help_heading = OUTPUT)]
    pub quiet: bool,
}

/// A number within `range`.
fn number(
    range: RangeInclusive<f64>,
) -> impl Fn(&str) -> Result<f64, String> + Clone + Send + Sync + 'static {
    move |text| {
        let parsed = text.parse::<f64>().ok().filter(|number| range.contains(number));
        parsed.ok_or_else(|| format!("write a number from {} to {}", range.start(), range.end()))
    }
}

/// A parameter's value, written as for the stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The parameter.
    pub name: &'static str,
    /// Its value.
    pub value: String,
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
        Ok(Self { name: checked(name, value)?, value: value.to_owned() })
    }
}

/// Values of one parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct Sweep {
    /// The parameter.
    pub name: &'static str,
    /// The first value.
    pub from: f64,
    /// The last one.
    pub until: f64,
}

impl FromStr for Sweep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = "write NAME=FROM..UNTIL, as in TargetUtilization=50..90";
        let (name, range) = text.split_once('=').ok_or(form)?;
        let name = Parameters::known_name(name).map_err(|error| error.to_string())?;
        let (from, until) = range.split_once("..").ok_or(form)?;
        checked(name, from)?;
        checked(name, until)?;
        let number =
            |text: &str| text.parse::<f64>().map_err(|_| format!("{name} is not a number"));
        let (from, until) = (number(from)?, number(until)?);
        if from >= until {
            return Err(format!("{from} is not below {until}: write the lower value first"));
        }
        Ok(Self { name, from, until })
    }
}

/// The parameter's name in the template, if it may have this value.
fn checked(name: &str, value: &str) -> Result<&'static str, String> {
    let check = || {
        let name = Parameters::known_name(name)?;
        Parameters::of_template(SHARDS_MAX as u32).set(name, value)?;
        Ok(name)
    };
    check().map_err(|error: BadParameter| error.to_string())
}

impl Sweep {
    /// Values of a sweep.
    const STEPS: u32 = 9;

    /// The values: whole ones between whole ends, each once.
    #[must_use]
    pub fn values(&self) -> Vec<f64> {
        let step = (self.until - self.from) / f64::from(Self::STEPS - 1);
        let is_whole = self.from.fract() == 0.0 && self.until.fract() == 0.0;
        // Without the dust of binary fractions.
        let parts = if is_whole { 1.0 } else { 1e6 };
        let value = |place: u32| ((self.from + step * f64::from(place)) * parts).round() / parts;
        let mut values: Vec<f64> = (0..Self::STEPS).map(value).collect();
        values.dedup();
        values
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::program::Program;

    fn parse(line: &str) -> Result<Program, clap::Error> {
        Program::try_parse_from(["sluice"].into_iter().chain(line.split_whitespace()))
    }

    #[test]
    fn the_command_line_is_sound_and_its_examples_are_understood() {
        Program::command().debug_assert();
        let examples: Vec<&str> =
            EXAMPLES.lines().skip_while(|line| *line != "Examples:").skip(1).collect();
        assert_eq!(examples.len(), 6);
        for example in examples {
            let example = example.trim_start().strip_prefix("sluice ").expect("of this program");
            assert!(parse(example).is_ok(), "{example}: {:?}", parse(example));
        }
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (line, says) in [
            ("what-if --peak-mbps 64", "the following required arguments were not provided"),
            ("what-if a.csv b.csv", "unexpected argument 'b.csv'"),
            ("what-if a.csv --generate step", "cannot be used with"),
            (
                "what-if --generate storm",
                "[possible values: diurnal, flash-crowd, live-event, step, noise]",
            ),
            (
                "what-if a.csv --peak-mbps many",
                "invalid value 'many' for '--peak-mbps <N>': write a number from",
            ),
            ("what-if a.csv --peak-mbps NaN", "invalid value 'NaN'"),
            ("what-if a.csv --peak-mbps=-1", "invalid value '-1'"),
            ("what-if a.csv --peak-mbps", "a value is required for '--peak-mbps <N>'"),
            (
                "what-if a.csv --days 0",
                "invalid value '0' for '--days <N>': write a number from 0.001 to 400",
            ),
            ("what-if a.csv --wat", "unexpected argument '--wat'"),
            ("what-if a.csv --policies sluice,slice", "invalid value 'slice'"),
            (
                "what-if a.csv --set foo=1",
                "there is no parameter \"foo\"; there are ShardCountDefault",
            ),
            ("what-if a.csv --set drain-seconds", "write NAME=VALUE"),
            (
                "what-if a.csv --set drain-seconds=inf",
                "DrainSeconds is \"inf\": write a plain number",
            ),
            ("what-if a.csv --set DrainSeconds=0", "DrainSeconds is \"0\": it may be 1 to 21600"),
            ("what-if a.csv --set FastAlarm=1", "FastAlarm is \"1\": write true or false"),
            (
                "what-if a.csv --set off-peak-from=1",
                "off-peak-from is now the stack's OffPeakSchedule",
            ),
            (
                "what-if a.csv --set target-utilization=0.8",
                "TargetUtilization is \"0.8\": it is in percent, as in the stack; write 80",
            ),
            (
                "what-if a.csv --set TargetUtilization=1",
                "it is in percent, as in the stack; write 100",
            ),
            ("what-if a.csv --set utilisation-down-max=0.65", "write 65"),
            ("what-if a.csv --sweep target-utilization=0.5..0.9", "write 50"),
            ("what-if a.csv --sweep target-utilization=90..50", "write the lower value first"),
            ("what-if a.csv --sweep FastAlarm=true..false", "FastAlarm is not a number"),
            ("what-if a.csv --sweep foo=1..2", "there is no parameter \"foo\""),
            ("what-if a.csv --sweep x", "write NAME=FROM..UNTIL"),
            ("what-if a.csv --unit bits", "possible values: bytes-per-second"),
            ("what-if --generate step --unit bytes-per-second", "cannot be used with"),
        ] {
            let error = parse(line).expect_err(line).to_string();
            assert!(error.contains(says), "{line}: {error}");
        }
    }

    #[test]
    fn a_sweep_has_both_of_its_ends() {
        let sweep = Sweep { name: "TargetUtilization", from: 50.5, until: 90.5 };
        assert_eq!(sweep.values(), [50.5, 55.5, 60.5, 65.5, 70.5, 75.5, 80.5, 85.5, 90.5]);
        let sweep = Sweep { name: "ShardCountMin", from: 1.0, until: 4.0 };
        assert_eq!(sweep.values(), [1.0, 2.0, 3.0, 4.0]);
    }
}
