//! What a test build does at a place.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::sync::{Mutex, OnceLock, PoisonError};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, raise};
use nix::unistd::Pid;

struct Order {
    name: String,
    action: Action,
    nth: u32,
    later_too: bool,
}

#[derive(Clone, Copy)]
enum Action {
    Kill,
    Hang,
    Stop,
    Error(Errno),
}

/// Counts that the place was reached and does what the environment orders for it.
///
/// # Errors
/// The error that was ordered.
///
/// # Panics
/// On an order that can't be read: a test with a typing mistake must not pass.
pub fn at(name: &str) -> io::Result<()> {
    static ORDERS: OnceLock<Vec<Order>> = OnceLock::new();
    static REACHED: Mutex<Option<HashMap<String, u32>>> = Mutex::new(None);
    trace(name);
    let orders = ORDERS.get_or_init(|| {
        let text = std::env::var("ETLRS_FAILPOINT").unwrap_or_default();
        text.split(';')
            .filter(|one| !one.is_empty())
            .map(order)
            .collect()
    });
    let count = {
        let mut reached = REACHED.lock().unwrap_or_else(PoisonError::into_inner);
        let count = reached
            .get_or_insert_default()
            .entry(name.to_owned())
            .or_default();
        *count += 1;
        *count
    };
    for order in orders.iter().filter(|order| order.name == name) {
        if count == order.nth || (order.later_too && count > order.nth) {
            act(name, order.action)?;
        }
    }
    Ok(())
}

fn order(text: &str) -> Order {
    let parts: Vec<&str> = text.split(':').collect();
    let (name, action, nth) = match parts.as_slice() {
        [name, action] => (name, action, "1"),
        [name, action, nth] => (name, action, *nth),
        _ => panic!("ETLRS_FAILPOINT: {text:?} is not NAME:ACTION[:NTH]"),
    };
    let action = match *action {
        "kill" => Action::Kill,
        "hang" => Action::Hang,
        "stop" => Action::Stop,
        "fail" => Action::Error(Errno::EIO),
        "enospc" => Action::Error(Errno::ENOSPC),
        "rofs" => Action::Error(Errno::EROFS),
        other => panic!("ETLRS_FAILPOINT: {other:?} is no action"),
    };
    Order {
        name: (*name).to_owned(),
        action,
        nth: nth
            .trim_end_matches('+')
            .parse()
            .unwrap_or_else(|_| panic!("ETLRS_FAILPOINT: {nth:?} is no number")),
        later_too: nth.ends_with('+'),
    }
}

fn act(name: &str, action: Action) -> io::Result<()> {
    match action {
        Action::Kill => {
            let _ = kill(Pid::this(), Signal::SIGKILL);
            forever()
        }
        Action::Hang => forever(),
        // To this thread, which so goes no further before it is stopped with all others.
        Action::Stop => Ok(raise(Signal::SIGSTOP)?),
        Action::Error(errno) => {
            let cause = io::Error::from_raw_os_error(errno as i32);
            Err(io::Error::new(
                cause.kind(),
                format!("{cause} (ordered at {name})"),
            ))
        }
    }
}

fn forever() -> ! {
    loop {
        std::thread::park();
    }
}

fn trace(name: &str) {
    let Some(file) = std::env::var_os("ETLRS_FAILPOINT_TRACE") else {
        return;
    };
    if let Ok(mut file) = OpenOptions::new().create(true).append(true).open(file) {
        let _ = file.write_all(format!("{name}\n").as_bytes());
    }
}
