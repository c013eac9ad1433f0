//! Scale-up: invoked by alarms, a schedule every minute, plans and orders. It grows the stream and
//! keeps concurrency, thresholds and alarms in line with the open shards.
//! `main.rs` wires it to Lambda and the SDK; the simulator wires it to the simulated AWS.

use fastrand::Rng;
use sluice::ports::{Clock, ControlPlane, EmitMetrics};
use sluice::scaling::decide_scale_up;
use sluice_autoscaler::{Autoscaler, ScalingConfig, ScalingError};

/// The function with what lives as long as its execution environment.
#[derive(Debug)]
pub struct ScaleUp<W, C, M>(Autoscaler<W, C, M>);

impl<W: ControlPlane, C: Clock, M: EmitMetrics> ScaleUp<W, C, M> {
    /// A function that has seen nothing yet. Two functions must not share the seed of `rng`.
    pub fn new(config: ScalingConfig, world: W, clock: C, metrics: M, rng: Rng) -> Self {
        Self(Autoscaler::new(config, world, clock, metrics, rng, decide_scale_up))
    }

    /// Handles one event, given as the JSON text that Lambda hands over.
    pub async fn handle(&self, event: &str) -> Result<(), ScalingError> {
        self.0.handle(event).await
    }
}
