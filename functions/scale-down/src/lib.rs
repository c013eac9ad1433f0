//! Scale-down: invoked off-peak by a schedule. It halves the shards while nothing speaks against it.
//! `main.rs` wires it to Lambda and the SDK; the simulator wires it to the simulated AWS.

use fastrand::Rng;
use sluice::ports::{Clock, ControlPlane, EmitMetrics};
use sluice::scaling::decide_scale_down;
use sluice_autoscaler::{Autoscaler, ScalingConfig, ScalingError};

/// The function with what lives as long as its execution environment.
#[derive(Debug)]
pub struct ScaleDown<W, C, M>(Autoscaler<W, C, M>);

impl<W: ControlPlane, C: Clock, M: EmitMetrics> ScaleDown<W, C, M> {
    /// A function that has seen nothing yet. Two functions must not share the seed of `rng`.
    pub fn new(config: ScalingConfig, world: W, clock: C, metrics: M, rng: Rng) -> Self {
        Self(Autoscaler::new(config, world, clock, metrics, rng, decide_scale_down))
    }

    /// Handles one event, given as the JSON text that Lambda hands over.
    pub async fn handle(&self, event: &str) -> Result<(), ScalingError> {
        self.0.handle(event).await
    }
}
