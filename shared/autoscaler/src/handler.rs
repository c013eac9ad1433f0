//! One invocation of a scaling function: event → observe → decide → act → report.

use std::cell::RefCell;

use fastrand::Rng;
use tracing::{info, warn};

use crate::act::act;
use crate::event::{Event, UnknownEvent};
use crate::observe::observe;
use crate::report::Report;
use crate::{AlarmNames, ScalingConfig};
use sluice::ports::{Clock, ControlError, ControlPlane, EmitMetrics};
use sluice::quote;
use sluice::scaling::{Decision, Floor, Lease, Observation, Policy, Trigger};

/// Why an invocation failed. The next one decides anew, so only time is lost.
#[derive(Debug, thiserror::Error)]
pub enum ScalingError {
    /// The function does not know the event.
    #[error(transparent)]
    UnknownEvent(#[from] UnknownEvent),
    /// The alarm watches something other than this stream.
    #[error(
        "alarm {} is not one of this stream's ({known}): remove this function from its actions",
        quote(name)
    )]
    ForeignAlarm {
        /// The alarm that invoked the function.
        name: String,
        /// The alarms that may.
        known: String,
    },
    /// A plan or an order needs a number of shards that the policy forbids.
    #[error(
        "shardCount {wanted} is not between {min} and {max}: choose another, or change \
         ShardCountMin or ShardCountMax"
    )]
    OutOfBounds {
        /// The number of shards in the event.
        wanted: u32,
        /// `SHARD_COUNT_MIN`.
        min: u32,
        /// `SHARD_COUNT_MAX`.
        max: u32,
    },
    /// An order or a plan came while another invocation was acting. Lambda retries it.
    #[error(
        "another scaling invocation is running: Lambda retries this one; the lease expires in \
         {seconds} s at the latest"
    )]
    LeaseHeld {
        /// Seconds until the other's lease expires.
        seconds: u64,
    },
    /// A call failed.
    #[error(transparent)]
    Call(#[from] ControlError),
}

/// How a function decides: [`sluice::scaling::decide_scale_up`] or
/// [`sluice::scaling::decide_scale_down`].
pub type Decide = fn(&Policy, &Observation) -> Decision;

/// A scaling function with everything that lives as long as its execution environment.
#[derive(Debug)]
pub struct Autoscaler<W, C, M> {
    config: ScalingConfig,
    world: W,
    clock: C,
    metrics: M,
    rng: RefCell<Rng>,
    decide: Decide,
}

impl<W: ControlPlane, C: Clock, M: EmitMetrics> Autoscaler<W, C, M> {
    /// A scaling function that decides by `decide`. `rng` draws the names of its leases: two
    /// functions must not share a seed.
    pub fn new(
        config: ScalingConfig,
        world: W,
        clock: C,
        metrics: M,
        rng: Rng,
        decide: Decide,
    ) -> Self {
        Self { config, world, clock, metrics, rng: RefCell::new(rng), decide }
    }

    /// Handles one event, given as the JSON text that Lambda hands over. Invoked twice, late or
    /// beside others it does no harm: it looks first and takes one legal step.
    pub async fn handle(&self, event: &str) -> Result<(), ScalingError> {
        let now_ms = self.clock.epoch_ms();
        let event = Event::parse(event, now_ms)?;
        check(&self.config, &event.trigger)?;
        let dry_run = self.config.dry_run || event.dry_run;
        let seen = observe(&self.world, &self.config, event.clone(), now_ms).await?;
        let decision = (self.decide)(&self.config.policy, &seen);
        if !self.config.reserve_concurrency && !dry_run && !decision.actions.is_empty() {
            return self.act_alone(event, &seen).await;
        }
        self.conclude(&seen, &decision, dry_run).await
    }

    /// Takes the lease, looks again, decides anew and acts. What was seen before the lease was taken
    /// may be out of date.
    async fn act_alone(&self, event: Event, seen: &Observation) -> Result<(), ScalingError> {
        let Self { config, world, clock, .. } = self;
        let now_ms = clock.epoch_ms();
        let held = seen.lease.clone().filter(|lease| lease.is_valid(now_ms));
        if let Some(other) = held {
            return yield_to(&other, &event.trigger, now_ms);
        }
        let mut rng = self.rng.borrow_mut().fork();
        let lease = Lease::draw(now_ms, config.timeout_seconds, &mut rng);
        world.add_tags(&lease.to_tags()).await?;
        clock.sleep(Lease::pause(&mut rng)).await;
        let now_ms = clock.epoch_ms();
        let trigger = event.trigger.clone();
        let seen = observe(world, config, event, now_ms).await?;
        match &seen.lease {
            Some(holder) if *holder == lease => {}
            Some(other) => return yield_to(other, &trigger, now_ms),
            None => return yield_to(&Lease { until_seconds: 0, ..lease }, &trigger, now_ms),
        }
        let decision = (self.decide)(&config.policy, &seen);
        let ended = self.conclude(&seen, &decision, false).await;
        // An expired lease may be another's by now.
        if lease.is_valid(clock.epoch_ms())
            && let Err(error) = world.add_tags(&Lease::free()).await
        {
            warn!(%error, "the lease could not be released; it expires by itself");
        }
        ended
    }

    /// Acts on a decision, unless it is a dry run, and reports it.
    async fn conclude(
        &self,
        seen: &Observation,
        decision: &Decision,
        dry_run: bool,
    ) -> Result<(), ScalingError> {
        let report = Report { config: &self.config, seen, decision, dry_run };
        report.log();
        let acted = if dry_run { Ok(()) } else { act(&self.world, decision, seen.now_ms).await };
        self.metrics.emit(&report.metrics());
        Ok(acted?)
    }
}

/// Refuses alarms of other streams and shard counts out of bounds, before anything is looked at.
fn check(config: &ScalingConfig, trigger: &Trigger) -> Result<(), ScalingError> {
    let AlarmNames { bytes, records, refused, fast } = &config.alarms;
    match trigger {
        Trigger::Alarm(name) => {
            let known = [Some(bytes), Some(records), Some(refused), fast.as_ref()];
            if known.contains(&Some(name)) {
                return Ok(());
            }
            let known: Vec<&str> = known.into_iter().flatten().map(String::as_str).collect();
            Err(ScalingError::ForeignAlarm { name: name.clone(), known: known.join(", ") })
        }
        Trigger::Floor(Floor { shards: wanted, .. }) | Trigger::Manual(wanted) => {
            let Policy { shard_count_min: min, shard_count_max: max, .. } = config.policy;
            if (min..=max).contains(wanted) {
                return Ok(());
            }
            Err(ScalingError::OutOfBounds { wanted: *wanted, min, max })
        }
        Trigger::Reconcile | Trigger::OffPeak => Ok(()),
    }
}

/// Leaves the work to the lease's holder. The next invocation looks again; an order or a plan fails, so
/// that Lambda retries it.
fn yield_to(other: &Lease, trigger: &Trigger, now_ms: u64) -> Result<(), ScalingError> {
    let seconds = other.until_seconds.saturating_sub(now_ms / 1_000);
    if matches!(trigger, Trigger::Manual(_) | Trigger::Floor(_)) {
        return Err(ScalingError::LeaseHeld { seconds });
    }
    info!(
        trigger = trigger.code(),
        seconds, "another scaling invocation is running; the next one decides anew"
    );
    Ok(())
}
