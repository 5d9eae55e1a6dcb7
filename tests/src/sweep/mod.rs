//! The crash sweep: every place at which a run can be struck x every way to strike it.
//!
//! Reading order: [`world`] (what is deployed and what is asked of the tool), [`place`] (where
//! a run can be struck, told by a trace of that very run, so that any plan gives its own
//! matrix), [`fault`] (how it is struck), [`round`] (one strike, the operator's path after it
//! as `status` gives it, and what must hold in the end), [`tally`] (the table).

pub mod chance;
pub mod fault;
pub mod place;
pub mod round;
pub mod tally;
pub mod world;

pub use chance::Chance;
pub use fault::Fault;
pub use round::{End, Round};
pub use tally::Tally;
pub use world::{Ask, Case, World};
