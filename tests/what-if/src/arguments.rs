//! The command line.

use anyhow::{Context, bail};

use crate::generate::Shape;

/// What `--help` prints.
pub const HELP: &str = "\
What Sluice would cost and how late it would be on your traffic, beside the alternatives.

  what-if TRACE.csv [--peak-mbps 64]
  what-if --generate live-event --days 7
  what-if --from-cloudwatch STREAM --days 14

Traffic, one of
  TRACE.csv                 rows of seconds,value; # begins a comment; even steps of 1 s to 1 h;
                            `# start: 2026-11-21T00:00:00Z` says when it begins (UTC)
  --generate SHAPE          made up: diurnal, flash-crowd, live-event, step, noise
  --from-cloudwatch STREAM  IncomingBytes, IncomingRecords and throttles of a stream of yours, read
                            with GetMetricData; wants AWS_REGION and credentials in the environment

How it is read
  --peak-mbps N             scale the highest step to N MB/s (10^6 bytes); without it, values of a
                            file are bytes a second (64 for made-up traffic)
  --days N                  the first N days of a file; days to generate or to read (7; 14)
  --seed N                  everything that chance decides (1); the same seed gives the same bytes
  --event-bytes N           bytes of one log event (300)
  --payload-bytes N         bytes that CloudWatch Logs sends at once, uncompressed (100000)
  --readers N               consumers that on-demand bills for reading (1)

What is played
  --policies A,B            only these; all are: sluice, sluice-queue, sluice-off-peak, plain-2019,
                            kinesis-auto-scaling, scaling-utils, application-auto-scaling,
                            substation, fixed-at-peak, on-demand, on-demand-advantage, optimum
  --set NAME=VALUE          a parameter of Sluice, as in --set look-back-minutes=30; repeatable
  --sweep NAME=FROM..UNTIL  Sluice with nine values of a parameter in place of the policies; the
                            frontier of cost and lag is marked

What comes out
  --json                    JSON instead of the table
  --html FILE               a report with plots, in one file
  --decisions POLICY        every reshard of one policy, with its reason
  --quiet                   no progress on standard error

Examples
  what-if traffic.csv --peak-mbps 64 --html report.html
  what-if --generate flash-crowd --days 3 --sweep target-utilization=0.5..0.9
  what-if traffic.csv --policies sluice,on-demand --decisions sluice
";

/// Where the traffic comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A CSV file.
    File(String),
    /// Made up.
    Generate(Shape),
    /// A stream's metrics.
    CloudWatch(String),
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

impl Sweep {
    /// Values of a sweep.
    const STEPS: u32 = 9;

    /// The values.
    #[must_use]
    pub fn values(&self) -> Vec<f64> {
        let step = (self.until - self.from) / f64::from(Self::STEPS - 1);
        // Without the dust of binary fractions.
        let value = |place: u32| ((self.from + step * f64::from(place)) * 1e6).round() / 1e6;
        (0..Self::STEPS).map(value).collect()
    }
}

/// What a run is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Arguments {
    /// Where the traffic comes from.
    pub source: Source,
    /// MB/s of the highest step.
    pub peak_mbps: Option<f64>,
    /// Days.
    pub days: Option<f64>,
    /// Everything that chance decides.
    pub seed: u64,
    /// Bytes of one log event.
    pub event_bytes: f64,
    /// Bytes of one payload.
    pub payload_bytes: f64,
    /// Consumers.
    pub readers: f64,
    /// Which policies; empty for all.
    pub policies: Vec<String>,
    /// Sluice's parameters.
    pub set: Vec<(String, f64)>,
    /// A sweep in place of the policies.
    pub sweep: Option<Sweep>,
    /// JSON instead of the table.
    pub json: bool,
    /// Where the report goes.
    pub html: Option<String>,
    /// Whose reshards are listed.
    pub decisions: Option<String>,
    /// No progress.
    pub quiet: bool,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// The help text.
    Help,
    /// A run.
    Run(Box<Arguments>),
}

impl Arguments {
    /// Reads the words after the program's name.
    pub fn parse(words: &[String]) -> anyhow::Result<Command> {
        if words.is_empty() || words.iter().any(|word| word == "--help" || word == "-h") {
            return Ok(Command::Help);
        }
        let mut sources = Vec::new();
        let mut arguments = Self {
            source: Source::File(String::new()),
            peak_mbps: None,
            days: None,
            seed: 1,
            event_bytes: 300.0,
            payload_bytes: 100_000.0,
            readers: 1.0,
            policies: Vec::new(),
            set: Vec::new(),
            sweep: None,
            json: false,
            html: None,
            decisions: None,
            quiet: false,
        };
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            let mut value = || rest.next().with_context(|| format!("{word} wants a value"));
            match word.as_str() {
                "--generate" => {
                    let name = value()?;
                    let known = Shape::ALL.map(|(known, _)| known).join(", ");
                    let shape = Shape::named(name);
                    let unknown = || format!("there is no traffic {name}; there are {known}");
                    sources.push(Source::Generate(shape.with_context(unknown)?));
                }
                "--from-cloudwatch" => sources.push(Source::CloudWatch(value()?.clone())),
                "--peak-mbps" => arguments.peak_mbps = Some(number(word, value()?, 1e-6..=1e4)?),
                "--days" => arguments.days = Some(number(word, value()?, 1e-3..=400.0)?),
                "--seed" => arguments.seed = value()?.parse().context("--seed wants a number")?,
                "--event-bytes" => arguments.event_bytes = number(word, value()?, 1.0..=1e6)?,
                "--payload-bytes" => arguments.payload_bytes = number(word, value()?, 1e2..=1e7)?,
                "--readers" => arguments.readers = number(word, value()?, 0.0..=100.0)?,
                "--policies" => {
                    arguments.policies =
                        value()?.split(',').map(|name| name.trim().to_owned()).collect();
                }
                "--set" => {
                    let text = value()?;
                    let (name, set) = text.split_once('=').context("--set wants NAME=VALUE")?;
                    arguments.set.push((name.to_owned(), number(name, set, f64::MIN..=f64::MAX)?));
                }
                "--sweep" => arguments.sweep = Some(parse_sweep(value()?)?),
                "--json" => arguments.json = true,
                "--html" => arguments.html = Some(value()?.clone()),
                "--decisions" => arguments.decisions = Some(value()?.clone()),
                "--quiet" => arguments.quiet = true,
                option if option.starts_with('-') => bail!("there is no {option}; see --help"),
                path => sources.push(Source::File(path.to_owned())),
            }
        }
        match <[Source; 1]>::try_from(sources) {
            Ok([source]) => arguments.source = source,
            Err(sources) => bail!(
                "{} traffics given, one is wanted: a file, --generate or --from-cloudwatch",
                sources.len()
            ),
        }
        Ok(Command::Run(Box::new(arguments)))
    }
}

fn number(name: &str, text: &str, range: std::ops::RangeInclusive<f64>) -> anyhow::Result<f64> {
    let parsed = text.parse::<f64>().ok().filter(|number| range.contains(number));
    parsed.with_context(|| {
        format!("{name} is {text:?}, no number from {} to {}", range.start(), range.end())
    })
}

fn parse_sweep(text: &str) -> anyhow::Result<Sweep> {
    let parts =
        text.split_once('=').and_then(|(name, range)| Some((name, range.split_once("..")?)));
    let (name, (from, until)) =
        parts.with_context(|| format!("--sweep wants NAME=FROM..UNTIL, not {text:?}"))?;
    let bound = |text| number(name, text, f64::MIN..=f64::MAX);
    let (from, until) = (bound(from)?, bound(until)?);
    if from >= until {
        bail!("--sweep wants a range that rises, not {text:?}");
    }
    Ok(Sweep { name: name.to_owned(), from, until })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> anyhow::Result<Command> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Arguments::parse(&words)
    }

    #[test]
    fn the_examples_in_the_help_are_understood() {
        let examples = HELP.lines().filter_map(|line| line.strip_prefix("  what-if "));
        assert!(examples.clone().count() >= 6);
        for example in examples {
            let example = example.replace(['[', ']'], "");
            assert!(matches!(parse(&example), Ok(Command::Run(_))), "{example}");
        }
        assert_eq!(parse("").ok(), Some(Command::Help));
        assert_eq!(parse("x.csv --help").ok(), Some(Command::Help));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (line, says) in [
            ("--peak-mbps 64", "0 traffics given"),
            ("a.csv b.csv", "2 traffics given"),
            ("a.csv --generate step", "2 traffics given"),
            ("--generate storm", "there is no traffic storm; there are diurnal"),
            ("a.csv --peak-mbps many", "--peak-mbps is \"many\", no number"),
            ("a.csv --peak-mbps NaN", "--peak-mbps is \"NaN\", no number"),
            ("a.csv --peak-mbps -1", "--peak-mbps is \"-1\", no number"),
            ("a.csv --peak-mbps", "--peak-mbps wants a value"),
            ("a.csv --days 0", "--days is \"0\", no number from 0.001 to 400"),
            ("a.csv --wat", "there is no --wat"),
            ("a.csv --sweep x=0.9..0.5", "--sweep wants a range that rises"),
            ("a.csv --sweep x", "--sweep wants NAME=FROM..UNTIL"),
        ] {
            let error = parse(line).expect_err(line).to_string();
            assert!(error.starts_with(says), "{line}: {error}");
        }
    }

    #[test]
    fn a_sweep_has_both_of_its_ends() {
        let sweep = Sweep { name: String::new(), from: 0.5, until: 0.9 };
        assert_eq!(sweep.values(), [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9]);
    }
}
