//! Says in the log, now and then, that there is no leader and what may be the reason: an election
//! that finds nobody fails without an event.

use std::collections::BTreeSet;

use roo_proto::ids::{ServerId, Time};
use roo_replica::Role;

use crate::limits;
use crate::shared_state::Shared;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Watchman {
    /// Since when there has been no leader.
    since: Option<Time>,
    said: Option<Time>,
}

impl Watchman {
    /// Looks; to be called about once a second.
    pub(super) fn look(&mut self, shared: &Shared, me: Option<ServerId>) {
        let Some(me) = me else {
            return;
        };
        let (role, _) = *shared.role.lock();
        if !matches!(role, Role::Looking | Role::ReadOnly) {
            *self = Self::default();
            return;
        }
        let now = shared.clock.now();
        let since = *self.since.get_or_insert(now);
        let is_early = now.millis_since(since) < limits::LEADERLESS_MS;
        let is_said = |said: Time| now.millis_since(said) < limits::COMPLAIN_AGAIN_MS;
        if is_early || self.said.is_some_and(is_said) {
            return;
        }
        self.said = Some(now);
        let ensemble = shared.ensemble.lock().clone();
        let reached: BTreeSet<ServerId> = shared
            .peers
            .lock()
            .iter()
            .filter(|(_, sight)| sight.reachable.is_some_and(|(reachable, _)| reachable))
            .filter_map(|(peer, _)| peer)
            .chain([me])
            .collect();
        let voters: Vec<ServerId> = ensemble.voters().collect();
        let text = trouble(&voters, &reached, now.millis_since(since));
        tracing::warn!("{text}");
    }
}

fn trouble(voters: &[ServerId], reached: &BTreeSet<ServerId>, ms: u64) -> String {
    let missing: Vec<String> = voters
        .iter()
        .filter(|id| !reached.contains(id))
        .map(|id| id.0.to_string())
        .collect();
    let (all, needed) = (voters.len(), voters.len() / 2 + 1);
    let here = all - missing.len();
    let seconds = ms / 1000;
    if here < needed {
        format!(
            "no leader for {seconds} s: {here} of {all} voting servers are here, {needed} are \
             needed; start {} or see why they cannot be reached",
            missing.join(", ")
        )
    } else {
        format!(
            "no leader for {seconds} s, though {here} of {all} voting servers are here: see what \
             the others say"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_missing_servers_are_named() {
        let voters = [1, 2, 3].map(ServerId);
        let reached = |ids: &[i64]| ids.iter().copied().map(ServerId).collect();
        assert_eq!(
            trouble(&voters, &reached(&[1]), 3_100),
            "no leader for 3 s: 1 of 3 voting servers are here, 2 are needed; start 2, 3 or see \
             why they cannot be reached"
        );
        assert!(trouble(&voters, &reached(&[1, 3]), 3_100).contains("though 2 of 3"));
    }
}
