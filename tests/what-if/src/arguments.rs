//! The command line.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{ArgGroup, Parser};

use crate::generate::Shape;
use crate::policies::sluice::Parameters;
use crate::run::POLICIES;

const EXAMPLES: &str = "\
Examples:
  what-if traffic.csv --peak-mbps 64 --html report.html
  what-if --generate flash-crowd --days 3 --sweep target-utilization=0.5..0.9
  what-if traffic.csv --policies sluice,on-demand --decisions sluice
  what-if --from-cloudwatch my-stream --days 14";

const TRAFFIC: &str = "Traffic, one of";
const READING: &str = "How it is read";
const POLICY: &str = "What is played";
const OUTPUT: &str = "What comes out";

/// What Sluice would cost and how late it would be on your traffic, beside the alternatives.
#[derive(Debug, Clone, PartialEq, Parser)]
#[command(
    name = "what-if",
    arg_required_else_help = true,
    after_help = EXAMPLES,
    group = ArgGroup::new("traffic").required(true),
)]
pub struct Arguments {
    /// Rows of seconds,value; # begins a comment; even steps of 1 s to 1 h; `# start:
    /// 2026-11-21T00:00:00Z` says when it begins (UTC).
    #[arg(value_name = "TRACE.csv", group = "traffic", help_heading = TRAFFIC)]
    pub trace: Option<PathBuf>,
    /// Traffic that is made up.
    #[arg(long, value_name = "SHAPE", value_enum, group = "traffic", help_heading = TRAFFIC)]
    pub generate: Option<Shape>,
    /// IncomingBytes, IncomingRecords and throttles of a stream of yours, read with GetMetricData;
    /// wants AWS_REGION and credentials in the environment.
    #[arg(long, value_name = "STREAM", group = "traffic", help_heading = TRAFFIC)]
    pub from_cloudwatch: Option<String>,

    /// Scale the highest step to N MB/s (10^6 bytes). Without it, values of a file are bytes a
    /// second; made-up traffic has 64.
    #[arg(long, value_name = "N", value_parser = number(1e-6..=1e4), help_heading = READING)]
    pub peak_mbps: Option<f64>,
    /// The first N days of a file; days to generate (7) or to read (14).
    #[arg(long, value_name = "N", value_parser = number(1e-3..=400.0), help_heading = READING)]
    pub days: Option<f64>,
    /// Everything that chance decides; the same seed gives the same bytes.
    #[arg(long, value_name = "N", default_value = "1", help_heading = READING)]
    pub seed: u64,
    /// Bytes of one log event.
    #[arg(long, value_name = "N", default_value = "300", value_parser = number(1.0..=1e6), help_heading = READING)]
    pub event_bytes: f64,
    /// Bytes that CloudWatch Logs sends at once, uncompressed.
    #[arg(long, value_name = "N", default_value = "100000", value_parser = number(1e2..=1e7), help_heading = READING)]
    pub payload_bytes: f64,
    /// Consumers that on-demand bills for reading.
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
    /// A parameter of Sluice, as in --set look-back-minutes=30; repeatable.
    #[arg(long, value_name = "NAME=VALUE", help_heading = POLICY)]
    pub set: Vec<Setting>,
    /// Sluice with nine values of a parameter in place of the policies; the frontier of cost and
    /// lag is marked.
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
        parsed.ok_or_else(|| format!("no number from {} to {}", range.start(), range.end()))
    }
}

/// A parameter's value.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// The parameter.
    pub name: String,
    /// Its value.
    pub value: f64,
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("NAME=VALUE is wanted")?;
        Ok(Self { name: parameter(name)?, value: finite(value)? })
    }
}

/// Values of one parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct Sweep {
    /// The parameter.
    pub name: String,
    /// The first value.
    pub from: f64,
    /// The last one.
    pub until: f64,
}

impl FromStr for Sweep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, range) = text.split_once('=').ok_or("NAME=FROM..UNTIL is wanted")?;
        let (from, until) = range.split_once("..").ok_or("NAME=FROM..UNTIL is wanted")?;
        let (from, until) = (finite(from)?, finite(until)?);
        if from >= until {
            return Err("a range that rises is wanted".to_owned());
        }
        Ok(Self { name: parameter(name)?, from, until })
    }
}

fn parameter(name: &str) -> Result<String, String> {
    Parameters::known_name(name).map(str::to_owned).map_err(|unknown| unknown.to_string())
}

fn finite(text: &str) -> Result<f64, String> {
    let parsed = text.parse().ok().filter(|number: &f64| number.is_finite());
    parsed.ok_or_else(|| format!("{text:?} is no number"))
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
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_command_line_is_sound_and_its_examples_are_understood() {
        Arguments::command().debug_assert();
        let examples: Vec<&str> = EXAMPLES.lines().skip(1).collect();
        assert_eq!(examples.len(), 4);
        for example in examples {
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
                "invalid value 'many' for '--peak-mbps <N>': no number from",
            ),
            ("what-if a.csv --peak-mbps NaN", "invalid value 'NaN'"),
            ("what-if a.csv --peak-mbps=-1", "invalid value '-1'"),
            ("what-if a.csv --peak-mbps", "a value is required for '--peak-mbps <N>'"),
            (
                "what-if a.csv --days 0",
                "invalid value '0' for '--days <N>': no number from 0.001 to 400",
            ),
            ("what-if a.csv --wat", "unexpected argument '--wat'"),
            ("what-if a.csv --policies sluice,slice", "invalid value 'slice'"),
            (
                "what-if a.csv --set foo=1",
                "there is no parameter foo; there are target-utilization",
            ),
            ("what-if a.csv --set drain-seconds", "NAME=VALUE is wanted"),
            ("what-if a.csv --set drain-seconds=inf", "\"inf\" is no number"),
            ("what-if a.csv --sweep target-utilization=0.9..0.5", "a range that rises is wanted"),
            ("what-if a.csv --sweep foo=1..2", "there is no parameter foo"),
            ("what-if a.csv --sweep x", "NAME=FROM..UNTIL is wanted"),
        ] {
            let error = parse(line).expect_err(line).to_string();
            assert!(error.contains(says), "{line}: {error}");
        }
    }

    #[test]
    fn a_sweep_has_both_of_its_ends() {
        let sweep = Sweep { name: String::new(), from: 0.5, until: 0.9 };
        assert_eq!(sweep.values(), [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9]);
        let sweep = Sweep { name: String::new(), from: 1.0, until: 4.0 };
        assert_eq!(sweep.values(), [1.0, 2.0, 3.0, 4.0]);
    }
}
