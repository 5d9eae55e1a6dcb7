//! Batches on PostgreSQL.

mod concurrently;
mod doubt;
mod round;
mod session;
mod together;
mod units;
mod watch;

pub(super) use round::round;
pub(super) use session::Sessions;
pub(super) use together::together;
pub(super) use units::by_units;
