//! Locks, elections and the like as scripts use them.

mod bad_input;
mod groups;
mod locks;
mod waiting;

use crate::support::Stage;

/// A server whose sessions end soon.
fn stage() -> Stage {
    Stage::new("minSessionTimeout=1000\n")
}
