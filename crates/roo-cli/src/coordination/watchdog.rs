//! A process of our own beside the program: it stops the program when we are killed and cannot.
//! It learns of that by the end of its input, which the system closes with us.

use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};

use super::program::Target;
use crate::connect::{self, Failure};

/// The hidden command that it is.
pub(super) const NAME: &str = "stop-when-orphaned";

/// Tells it that there is nothing more to do.
const DISMISSED: &str = "dismissed";

/// Our end of it.
#[derive(Debug)]
pub(super) struct Watchdog {
    child: Child,
    orders: Option<ChildStdin>,
}

impl Watchdog {
    /// Starts it.
    pub(super) fn start() -> Result<Self, Failure> {
        let failed = |error| Failure::failed(format!("cannot start the watchdog: {error}"));
        // The file of an update may stand where ours was: this is the one that runs.
        let own = std::fs::metadata("/proc/self/exe").map(|_| "/proc/self/exe".into());
        let own = own.or_else(|_| std::env::current_exe()).map_err(failed)?;
        let mut command = Command::new(own);
        command
            .arg(NAME)
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        // What is sent to our group is not for it.
        let mut child = command.process_group(0).spawn().map_err(failed)?;
        let orders = child.stdin.take();
        Ok(Self { child, orders })
    }

    /// Says whom to stop, and how.
    pub(super) fn watch(&mut self, target: Target, signal: Signal, grace: Duration) {
        let (kind, pid) = match target {
            Target::Group(pid) => ("group", pid),
            Target::Single(pid) => ("single", pid),
        };
        let (pid, signal) = (pid.as_raw_nonzero(), signal.as_raw());
        let grace_ms = grace.as_millis();
        if let Some(orders) = &mut self.orders {
            // If it has been killed, so be it.
            let _ = writeln!(orders, "{kind} {pid} {signal} {grace_ms}");
        }
    }

    /// The program has ended.
    pub(super) fn dismiss(&mut self) {
        if let Some(mut orders) = self.orders.take() {
            let _ = writeln!(orders, "{DISMISSED}");
            drop(orders);
            let _ = self.child.wait();
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // Without a word of dismissal it stops what is left.
        drop(self.orders.take());
    }
}

/// Is the watchdog.
pub(super) fn run() -> ExitCode {
    let mut text = String::new();
    // Whatever came is what there is to go by.
    let _ = std::io::stdin().read_to_string(&mut text);
    let mut lines = text.lines();
    let order = lines.next().and_then(parse);
    let is_dismissed = lines.next() == Some(DISMISSED);
    let Some((target, signal, grace)) = order.filter(|_| !is_dismissed) else {
        return ExitCode::SUCCESS;
    };
    connect::run(async move {
        target.stop(signal, grace).await;
        Ok(ExitCode::SUCCESS)
    })
}

fn parse(line: &str) -> Option<(Target, Signal, Duration)> {
    let mut words = line.split(' ');
    let kind = words.next()?;
    let pid = Pid::from_raw(words.next()?.parse().ok()?)?;
    let signal = Signal::from_named_raw(words.next()?.parse().ok()?)?;
    let grace = Duration::from_millis(words.next()?.parse().ok()?);
    let target = match kind {
        "group" => Target::Group(pid),
        "single" => Target::Single(pid),
        _ => return None,
    };
    Some((target, signal, grace))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_understood() {
        let pid = Pid::from_raw(17).unwrap();
        let order = (Target::Group(pid), Signal::TERM, Duration::from_secs(5));
        assert_eq!(parse("group 17 15 5000"), Some(order));
        for wrong in ["", "group", "group 0 15 1", "all 17 15 1", "group 17 x 1"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
