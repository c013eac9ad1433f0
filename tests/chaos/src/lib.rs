//! Nothing lost: the real processor and the real replayer carry events through the simulated AWS,
//! in virtual time, while it breaks by a plan that a seed draws. Then the faults end, the world comes
//! to rest, and [`judge`] looks for every event. `main.rs` is the command, `tests/` asks for the
//! exact place of an event at each hand-over.

pub mod events;
pub mod judge;
pub mod plan;
pub mod ports;
pub mod progress;
pub mod tally;
pub mod world;

pub use judge::Verdict;
pub use plan::{Family, Plan};
pub use ports::Mutation;
pub use tally::{Table, Tally};
pub use world::{Death, Options, Outcome, Role, run};
