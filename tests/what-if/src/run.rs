//! All policies on one traffic.

use sluice::limits::SHARD_BYTES_PER_SECOND;

use crate::optimum;
use crate::policies::sluice::{Parameters, Sluice};
use crate::policies::{fixed, on_demand};
use crate::result::Outcome;
use crate::template::Template;
use crate::trace::Trace;
use crate::waiting::Path;
use crate::world::{Rule, Settings, World};

/// What a run needs.
pub struct Job<'a> {
    /// The traffic.
    pub trace: &'a Trace,
    /// What is the same for every rule.
    pub settings: &'a Settings,
}

impl Job<'_> {
    fn initial(&self) -> u32 {
        let first = self.trace.bytes_per_second[0] / SHARD_BYTES_PER_SECOND as f64;
        ((first / 0.7).ceil() as u32).clamp(1, self.settings.shards_max)
    }

    /// Plays the policy called `name`.
    pub fn play(&self, name: &str) -> Option<Outcome> {
        let parameters = Parameters::of_template(&Template::default(), self.settings.shards_max);
        let peak = (self.trace.peak() / SHARD_BYTES_PER_SECOND as f64).ceil() as u32;
        let (mut rule, shards, source): (Box<dyn Rule>, u32, &str) = match name {
            "sluice" => {
                (Box::new(Sluice::new(parameters)), self.initial(), crate::policies::sluice::SOURCE)
            }
            "fixed-at-peak" => (Box::new(fixed::Fixed), peak.max(1), fixed::SOURCE),
            "on-demand" => (Box::new(on_demand::Standard::default()), 1, on_demand::SOURCE),
            "on-demand-advantage" => {
                (Box::new(on_demand::Advantage::default()), 1, on_demand::SOURCE)
            }
            optimum::NAME => {
                let rule = optimum::Clairvoyant::new(self.trace, self.settings);
                let shards = rule.initial();
                (Box::new(rule), shards, optimum::SOURCE)
            }
            _ => return None,
        };
        // The optimum's calls are counted by the day: see there.
        let mut settings = self.settings.clone();
        if name == optimum::NAME {
            settings.limits.reshard_calls_max *= 2;
        }
        let world = World::new(self.trace, &settings, Path::LambdaRetries, shards);
        let mut outcome = world.play(name, rule.as_mut());
        outcome.source = source.to_owned();
        Some(outcome)
    }
}
