//! Named places at which a test build can be made to fail, hang or die.
//!
//! Without the feature `on`, [`hit!`] is the constant `Ok(())`: the shipped binary holds
//! neither the places' names nor a way to switch them on, and a test proves it.
//!
//! With it, `ETLRS_FAILPOINT=NAME:ACTION[:NTH[+]]` (several by `;`) chooses what happens at
//! the nth time that a place is reached, with `+` also at every later time:
//!
//! - `kill`: SIGKILL of this process, at once;
//! - `fail`: an I/O error; `enospc`: "no space left on device"; `rofs`: "read-only file system";
//! - `hang`: nothing goes on at this place until somebody kills the process;
//! - `stop`: the process stops at this place, as by SIGSTOP, until it gets a SIGCONT.
//!
//! `ETLRS_FAILPOINT_TRACE=FILE` appends the name of every place that is reached, a line each:
//! from such a trace a sweep is generated.

#[cfg(feature = "on")]
mod active;

#[cfg(feature = "on")]
pub use active::at;

/// Passes a named place: `hit!("file.write")?`. An [`io::Error`](std::io::Error) only in a test build.
#[cfg(feature = "on")]
#[macro_export]
macro_rules! hit {
    ($name:literal) => {
        $crate::at($name)
    };
}

/// Passes a named place: `hit!("file.write")?`. An [`io::Error`](std::io::Error) only in a test build.
#[cfg(not(feature = "on"))]
#[macro_export]
macro_rules! hit {
    ($name:literal) => {
        ::core::result::Result::<(), ::std::io::Error>::Ok(())
    };
}
