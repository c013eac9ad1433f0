//! What could not be delivered: [`dead_letter`] keeps it in the shape it came in with its
//! [`reason`], in [`parts`] where no message can hold it; [`replay`] is what its way back takes.

pub mod dead_letter;
pub mod parts;
pub mod reason;
pub mod replay;

pub use dead_letter::{DeadLetter, Destination, Invocation, escape_for_sqs};
pub use parts::Part;
pub use reason::Reason;
pub use replay::{Answer, Replay, replayed_event};
