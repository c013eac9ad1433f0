//! Scale-down: woken off-peak by a schedule; halves the shards while nothing speaks against it.
//! `main.rs` wires it to Lambda and the SDK; the simulator wires it to the simulated AWS.

use sluice::ports::{Clock, ControlPlane, EmitMetrics};
use sluice::scaling::decide_scale_down;
use sluice_autoscaler::ScalingConfig;
use sluice_autoscaler::{ScalingError, run};

/// What lives as long as an execution environment.
#[derive(Debug)]
pub struct ScaleDown<W, C, M> {
    config: ScalingConfig,
    world: W,
    clock: C,
    metrics: M,
}

impl<W: ControlPlane, C: Clock, M: EmitMetrics> ScaleDown<W, C, M> {
    /// A function that has seen nothing yet.
    pub fn new(config: ScalingConfig, world: W, clock: C, metrics: M) -> Self {
        Self { config, world, clock, metrics }
    }

    /// Handles one wake-up, given as the JSON text that Lambda hands over. Woken twice, late or
    /// together with others it does no harm: it looks first and moves one legal step.
    pub async fn handle(&self, event: &str) -> Result<(), ScalingError> {
        let Self { config, world, clock, metrics } = self;
        run(config, world, clock, metrics, event, decide_scale_down).await
    }
}
