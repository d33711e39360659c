//! The end of the process, where going on would serve wrong data or nobody.

/// Ends the process when a thread that must not fail panics: a server without it would seem to
/// live and answer nothing.
pub(crate) struct PoisonGuard(pub(crate) &'static str);

impl Drop for PoisonGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            fatal(&format!("the {} thread has failed", self.0));
        }
    }
}

/// Says why, and ends the process.
pub(crate) fn fatal(what: &str) -> ! {
    tracing::error!("{what}");
    std::process::exit(1)
}
