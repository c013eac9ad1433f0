//! The service's own scaling, in both of its price lists.
//!
//! Source: Kinesis Data Streams FAQ and pricing (Nov 2026). Standard takes twice the highest peak
//! of the last 30 days and refuses what more than doubles within 15 minutes; a new stream takes
//! 4 MB/s. Advantage keeps as much throughput warm as one asks for and bills 25 MB/s in and out at
//! the least, for the account and region: here, this stream bears all of it.
//!
//! Both have Sluice's processors before them, with as much concurrency as the stream takes.

use std::collections::VecDeque;

use sluice::limits::{
    ADVANTAGE_BYTES_PER_SECOND_MIN, ADVANTAGE_GB_IN_DOLLARS, ADVANTAGE_GB_OUT_DOLLARS,
    BILLED_GB_BYTES, ON_DEMAND_ADAPT_SECONDS, ON_DEMAND_BYTES_PER_SECOND_MIN,
    ON_DEMAND_GB_IN_DOLLARS, ON_DEMAND_GB_OUT_DOLLARS, ON_DEMAND_HEADROOM, ON_DEMAND_HOUR_DOLLARS,
    ON_DEMAND_PEAK_DAYS,
};

use crate::what_if::clock::SECONDS_PER_DAY;
use crate::what_if::world::{Rule, TICK_SECONDS, World};

/// Where the rules are documented.
pub const SOURCE: &str = "Kinesis Data Streams FAQ and pricing";

/// On-demand Standard.
#[derive(Default)]
pub struct Standard {
    /// Highest rates taken, with their second: falling, so that the first is the peak.
    peaks: VecDeque<(u64, f64)>,
    /// What is too young to count.
    young: VecDeque<(u64, f64)>,
}

impl Rule for Standard {
    fn begin(&mut self, world: &mut World<'_>) {
        world.set_on_demand(ON_DEMAND_BYTES_PER_SECOND_MIN as f64);
    }

    fn wake(&mut self, world: &mut World<'_>) {
        let now = world.second();
        let taken = world.metrics.taken_in_last_tick();
        self.young.push_back((now, taken));
        while let Some(&(second, rate)) = self.young.front()
            && second + ON_DEMAND_ADAPT_SECONDS <= now
        {
            self.young.pop_front();
            while self.peaks.back().is_some_and(|&(_, lower)| lower <= rate) {
                self.peaks.pop_back();
            }
            self.peaks.push_back((second, rate));
        }
        while self
            .peaks
            .front()
            .is_some_and(|&(second, _)| second + ON_DEMAND_PEAK_DAYS * SECONDS_PER_DAY < now)
        {
            self.peaks.pop_front();
        }
        let peak = self.peaks.front().map_or(0.0, |&(_, rate)| rate);
        let capacity = (peak * ON_DEMAND_HEADROOM).max(ON_DEMAND_BYTES_PER_SECOND_MIN as f64);
        world.set_on_demand(capacity);
        bill(world, |arrived, readers| {
            ON_DEMAND_HOUR_DOLLARS * TICK_SECONDS as f64 / 3_600.0
                + arrived * (ON_DEMAND_GB_IN_DOLLARS + readers * ON_DEMAND_GB_OUT_DOLLARS)
        });
    }
}

/// On-demand Advantage with the peak kept warm.
#[derive(Default)]
pub struct Advantage {
    /// Mean bytes a second.
    mean: f64,
}

impl Rule for Advantage {
    fn begin(&mut self, world: &mut World<'_>) {
        self.mean = world.trace.mean();
        // Twice, as with Standard: the peak is what is asked for, not what is the limit.
        world.set_on_demand(world.trace.peak().max(1.0) * ON_DEMAND_HEADROOM);
    }

    fn wake(&mut self, world: &mut World<'_>) {
        // The minimum is a month's and not a second's, so the mean of the traffic meets it.
        let mean = self.mean;
        let billed = |readers: f64, minimum: f64| (mean * readers).max(minimum) / mean.max(1e-9);
        bill(world, |arrived, readers| {
            let minimum = ADVANTAGE_BYTES_PER_SECOND_MIN;
            arrived * billed(1.0, minimum) * ADVANTAGE_GB_IN_DOLLARS
                + arrived * billed(readers, minimum) * ADVANTAGE_GB_OUT_DOLLARS
        });
    }
}

/// Bills the ten seconds that begin now, by GB that arrive and number of readers.
fn bill(world: &mut World<'_>, dollars: impl FnOnce(f64, f64) -> f64) {
    let arrived = world.arriving_in_tick() / BILLED_GB_BYTES;
    let dollars = dollars(arrived, world.settings.readers);
    world.bill_on_demand(dollars);
}
