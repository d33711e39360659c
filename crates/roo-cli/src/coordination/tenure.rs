//! Until when it is certain that the session lives. The client alone cannot tell: it takes a
//! session for expired when the servers surely have, which is later than they may have.

use std::time::Duration;

use roo_client::Client;
use tokio::time::{Instant, sleep_until, timeout_at};

/// Returns when the session, for all that is known, may be over in `reserve`. A server that answers
/// had heard of us after the question was sent, and keeps the session for its timeout from then.
pub(super) async fn runs_out(client: &Client, path: &str, reserve: Duration) {
    let timeout = client.session_timeout();
    let mut certain_from = Instant::now();
    loop {
        let until = certain_from + timeout.saturating_sub(reserve);
        let asked = Instant::now();
        match timeout_at(until, client.exists(path)).await {
            Ok(Ok(_)) => certain_from = asked,
            Ok(Err(error)) if error.session_lost() => return,
            Ok(Err(_)) => {}
            Err(_) => return,
        }
        let until = certain_from + timeout.saturating_sub(reserve);
        if until <= Instant::now() {
            return;
        }
        sleep_until(until.min(asked + timeout / 6)).await;
    }
}
