//! All policies on one traffic.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::what_if::optimum;
use crate::what_if::policies::application_auto_scaling::{self, ApplicationAutoScaling};
use crate::what_if::policies::fixed::{self, Fixed};
use crate::what_if::policies::kinesis_auto_scaling::{self, KinesisAutoScaling};
use crate::what_if::policies::on_demand::{self, Advantage, Standard};
use crate::what_if::policies::plain::{self, Plain};
use crate::what_if::policies::scaling_utils::{self, ScalingUtils};
use crate::what_if::policies::sluice::{self as sluice_policy, Parameters, Sluice};
use crate::what_if::policies::substation::{self, Substation};
use crate::what_if::result::Outcome;
use crate::what_if::trace::Trace;
use crate::what_if::waiting::Path;
use crate::what_if::world::{Rule, Settings, World};

/// Every policy, in the table's order.
pub const POLICIES: [&str; 12] = [
    "sluice",
    "sluice-queue",
    "sluice-off-peak",
    "plain-2019",
    "kinesis-auto-scaling",
    "scaling-utils",
    "application-auto-scaling",
    "substation",
    "fixed-at-peak",
    "on-demand",
    "on-demand-advantage",
    optimum::NAME,
];

/// How full the shards are that every policy begins with.
const INITIAL_UTILIZATION: f64 = 0.7;

/// A policy of nobody's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no policy {name}; there are {}", POLICIES.join(", "))]
pub struct UnknownPolicy {
    /// What was asked for.
    pub name: String,
}

/// A traffic and what is the same for all policies.
pub struct Job<'a> {
    /// The traffic.
    pub trace: &'a Trace,
    /// What is the same for every rule.
    pub settings: &'a Settings,
    /// Sluice's parameters.
    pub parameters: &'a Parameters,
}

impl Job<'_> {
    /// Plays the policies called `names` on every core; tells each that is done. The outcomes are
    /// in the order of the names.
    pub fn play_all(
        &self,
        names: &[String],
        done: impl Fn(usize, &str) + Sync,
    ) -> Result<Vec<Outcome>, UnknownPolicy> {
        if let Some(name) = names.iter().find(|name| !POLICIES.contains(&name.as_str())) {
            return Err(UnknownPolicy { name: name.clone() });
        }
        Ok(each(names, |name| self.play(name), |count, name| done(count, name)))
    }

    /// Plays one policy.
    #[must_use]
    pub fn play(&self, name: &str) -> Outcome {
        let parameters = self.parameters;
        let mut settings = self.settings.clone();
        let mut path = Path::LambdaRetries;
        let mut shards = self.shards_for(self.trace.bytes_per_second[0] / INITIAL_UTILIZATION);
        let sluice =
            |parameters: Parameters| -> Box<dyn Rule> { Box::new(Sluice::new(parameters)) };
        let (mut rule, source): (Box<dyn Rule>, &str) = match name {
            "sluice-queue" => {
                path = Path::Queue;
                (sluice(parameters.clone()), sluice_policy::SOURCE)
            }
            "sluice-off-peak" => {
                let off_peak_hours = sluice_policy::NIGHT_HOURS;
                (sluice(Parameters { off_peak_hours, ..parameters.clone() }), sluice_policy::SOURCE)
            }
            "plain-2019" => {
                let rule = Plain {
                    // In its favour: the default carries half of all minutes.
                    shard_count_default: self.shards_for(self.trace.median() / INITIAL_UTILIZATION),
                    off_peak_hours: sluice_policy::NIGHT_HOURS,
                };
                (Box::new(rule), plain::SOURCE)
            }
            "kinesis-auto-scaling" => (Box::new(KinesisAutoScaling), kinesis_auto_scaling::SOURCE),
            "scaling-utils" => (Box::new(ScalingUtils::default()), scaling_utils::SOURCE),
            "application-auto-scaling" => {
                (Box::new(ApplicationAutoScaling), application_auto_scaling::SOURCE)
            }
            "substation" => (Box::new(Substation), substation::SOURCE),
            "fixed-at-peak" => {
                shards = self.shards_for(self.trace.peak());
                (Box::new(Fixed), fixed::SOURCE)
            }
            "on-demand" => (Box::new(Standard::default()), on_demand::SOURCE),
            "on-demand-advantage" => (Box::new(Advantage::default()), on_demand::SOURCE),
            optimum::NAME => {
                let rule = optimum::Clairvoyant::new(self.trace, &settings);
                shards = rule.initial();
                // Its calls are counted by the day: see there.
                settings.limits.reshard_calls_max *= 2;
                (Box::new(rule), optimum::SOURCE)
            }
            _ => (sluice(parameters.clone()), sluice_policy::SOURCE),
        };
        let world = World::new(self.trace, &settings, path, shards);
        Outcome { source: source.to_owned(), ..world.play(name, rule.as_mut()) }
    }

    fn shards_for(&self, bytes_per_second: f64) -> u32 {
        let shard = self.settings.shard_takes_bytes_per_second();
        let shards = (bytes_per_second / shard - 1e-9).ceil() as u32;
        shards.clamp(1, self.settings.shards_max)
    }
}

/// `work` on each item, on every core; the results are in the items' order.
pub fn each<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&T) -> R + Sync,
    done: impl Fn(usize, &T) + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let finished = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, R)>> = Mutex::new(Vec::new());
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(items.len().max(1));
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some((place, item)) = {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    items.get(place).map(|item| (place, item))
                } {
                    let result = work(item);
                    results.lock().expect("no panic under the lock").push((place, result));
                    done(finished.fetch_add(1, Ordering::Relaxed) + 1, item);
                }
            });
        }
    });
    let mut results = results.into_inner().expect("no panic under the lock");
    results.sort_by_key(|&(place, _)| place);
    results.into_iter().map(|(_, result)| result).collect()
}
