//! What a seed stands for: the ensemble, its timing, and how often what goes wrong. Swarm testing:
//! each seed has its own mix, many leave a kind of fault out altogether.
//! Source: Groce et al., "Swarm Testing", ISSTA 2012.

use roo_proto::ensemble::MemberRole;
use roo_replica::replica::LocalSessions;

use crate::rng::Rng;

/// Rates are expected events per virtual second, times 1000; 0 leaves the fault out. Times are
/// virtual, in the unit of the name.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // The names say it; see the module for the units.
pub struct Options {
    pub seed: u64,
    pub voters: usize,
    pub observers: usize,
    pub tick_ms: u64,
    pub init_limit: u64,
    pub sync_limit: u64,
    pub finalize_wait_ms: u64,
    pub min_notification_ms: u64,
    pub max_notification_ms: u64,
    pub connect_retry_ms: u64,
    pub commit_log_count: usize,
    pub force_snapshot_sync: bool,
    pub duration_ms: u64,
    pub proposals: u64,
    pub burst: u64,
    pub delay_min_us: u64,
    pub delay_max_us: u64,
    /// Of a message that takes much longer, per mille.
    pub delay_spike: u64,
    pub resets: u64,
    pub partitions: u64,
    pub partition_max_ms: u64,
    pub crashes: u64,
    /// Of crashes: all servers at once, per mille.
    pub crash_all: u64,
    pub down_max_ms: u64,
    pub pauses: u64,
    pub pause_max_ms: u64,
    pub skews: u64,
    pub sync_min_us: u64,
    pub sync_max_us: u64,
    pub sync_stall: u64,
    pub disk_failures: u64,
    pub rot: u64,
    pub snapshots: u64,
    /// Epoch files are written beside the log rather than in one order with it.
    pub epochs_apart: bool,
    pub segment_bytes: u64,
    /// Changes of the ensemble that an operator wants.
    pub reconfigurations: u64,
    /// Servers that are not in the first ensemble, and may be made members.
    pub spares: usize,
    /// What a spare server's own first configuration says of it, if it says anything.
    pub spare_role: Option<MemberRole>,
    /// Three groups of voters, each with a vote by weight; the last voter may weigh nothing. Needs
    /// an ensemble that does not change.
    pub groups: Groups,
    /// Sessions of clients; without any, transactions are opaque and roo-zab runs alone.
    pub clients: usize,
    /// Reads go through the leader's word (`readMode=quorum`).
    pub quorum_reads: bool,
    /// Records between two snapshots (`snapCount`).
    pub snap_count: u64,
    /// Sessions that only one server knows.
    pub local_sessions: LocalSessions,
    /// How long a server looks for a leader before it serves reads without one; `None` never.
    pub read_only_after_ms: Option<u64>,
    /// What every server does wrong.
    #[cfg(feature = "rebreak")]
    pub bug: Option<roo_zab::rebreak::Bug>,
    /// Snapshots have the zxid at which they began, and the content at which they ended, as
    /// Apache's have (ZOOKEEPER-3144).
    #[cfg(feature = "rebreak")]
    pub are_snapshots_fuzzy: bool,
    /// What the leader has said is taken for an answer to reads that came after the question, too.
    #[cfg(feature = "rebreak")]
    pub answers_are_for_all: bool,
}

/// Whether a quorum is one of groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Groups {
    /// It is more than half of the voters.
    #[default]
    Off,
    /// Every voter weighs 1.
    Even,
    /// The first voter weighs 2, the last one nothing.
    Weighted,
}

impl Options {
    /// The options of a seed.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x5EED_0F0A_0710_0500);
        let mut options = Self::draw_all(seed, &mut rng);
        options.draw_ensembles(&mut rng);
        options.draw_sessions(&mut rng);
        options.draw_groups(&mut rng);
        options.be_reasonable();
        options
    }

    /// Timeouts that the calm network and disks cannot keep would leave no ensemble alive.
    fn be_reasonable(&mut self) {
        let (net, disk) = (self.delay_max_us, self.sync_max_us);
        let silence = (6 * net + 3 * disk).div_ceil(1000 * self.sync_limit);
        let start = (16 * net + 10 * disk).div_ceil(1000 * self.init_limit);
        self.tick_ms = self.tick_ms.max(silence).max(start);
    }

    /// Whether, and how, the ensemble changes.
    fn draw_ensembles(&mut self, rng: &mut Rng) {
        if rng.chance(600) {
            return;
        }
        self.reconfigurations = rng.pick(&[300, 1_000, 3_000]);
        self.spares = rng.pick(&[0, 1, 2]);
        let roles = [Some(MemberRole::Voter), Some(MemberRole::Observer), None];
        self.spare_role = rng.pick(&roles);
    }

    /// Without anything that makes servers or sessions other than they were at first.
    #[must_use]
    pub const fn plain(mut self) -> Self {
        self.reconfigurations = 0;
        self.spares = 0;
        self.groups = Groups::Off;
        self.local_sessions = LocalSessions::Off;
        self.read_only_after_ms = None;
        self
    }

    /// Whether epochs have a lane of their own. The files of ensembles are in one order with the
    /// log, and epochs with both.
    #[must_use]
    pub const fn are_epochs_apart(&self) -> bool {
        self.epochs_apart && self.reconfigurations == 0
    }

    /// The rate of partitions, and the longest, ms. A server without a leader for long is one that
    /// is cut off.
    #[must_use]
    pub fn partition_rate(&self) -> (u64, u64) {
        if self.read_only_after_ms.is_some() {
            (self.partitions.max(300), 2_000)
        } else {
            (self.partitions, self.partition_max_ms)
        }
    }

    /// Sessions that not everybody knows.
    fn draw_sessions(&mut self, rng: &mut Rng) {
        if rng.chance(400) {
            self.local_sessions = rng.pick(&[LocalSessions::On, LocalSessions::Upgrading]);
        }
        if rng.chance(300) {
            self.read_only_after_ms = Some(self.tick_ms * rng.pick(&[1, 3, 10]));
        }
    }

    /// How votes are counted.
    fn draw_groups(&mut self, rng: &mut Rng) {
        if self.reconfigurations == 0 && self.voters > 3 && rng.chance(400) {
            self.groups = rng.pick(&[Groups::Even, Groups::Weighted]);
        }
    }

    fn draw_all(seed: u64, rng: &mut Rng) -> Self {
        let tick_ms = rng.pick(&[20, 50, 100, 200]);
        let delay_min_us = rng.pick(&[50, 200, 1000]);
        let delay_max_us = delay_min_us * rng.pick(&[1, 3, 10, 30]);
        let sync_min_us = rng.pick(&[0, 100, 1000]);
        Self {
            seed,
            voters: rng.pick(&[3, 3, 3, 3, 5, 5, 7]),
            observers: rng.pick(&[0, 0, 0, 1, 2]),
            tick_ms,
            init_limit: rng.pick(&[5, 10]),
            sync_limit: rng.pick(&[2, 5]),
            finalize_wait_ms: rng.pick(&[0, 10, 50, 200]),
            min_notification_ms: rng.pick(&[20, 100, 200]),
            max_notification_ms: rng.pick(&[200, 1000, 2000]),
            connect_retry_ms: rng.pick(&[10, 50, 100]),
            commit_log_count: rng.pick(&[1, 4, 16, 500]),
            force_snapshot_sync: rng.chance(50),
            duration_ms: rng.pick(&[3_000, 6_000, 12_000]),
            proposals: rng.pick(&[2_000, 10_000, 40_000]),
            burst: rng.pick(&[1, 3, 10]),
            delay_min_us,
            delay_max_us,
            delay_spike: rng.pick(&[0, 0, 2, 10]),
            resets: rate(rng, &[100, 500, 2_000]),
            partitions: rate(rng, &[100, 300, 1_000]),
            partition_max_ms: rng.pick(&[50, 300, 2_000]),
            crashes: rate(rng, &[200, 600, 2_000]),
            crash_all: rng.pick(&[0, 0, 100, 300]),
            down_max_ms: rng.pick(&[10, 200, 2_000]),
            pauses: rate(rng, &[100, 500]),
            pause_max_ms: rng.pick(&[20, 300, 2_000]),
            skews: rate(rng, &[300]),
            sync_min_us,
            sync_max_us: sync_min_us * rng.pick(&[1, 5, 20]) + rng.pick(&[0, 200, 5_000]),
            sync_stall: rng.pick(&[0, 0, 5, 20]),
            disk_failures: rate(rng, &[50, 200]),
            rot: rate(rng, &[50]),
            snapshots: rate(rng, &[300, 2_000]),
            epochs_apart: rng.chance(300),
            segment_bytes: rng.pick(&[0, 300, 2_000]),
            reconfigurations: 0,
            spares: 0,
            spare_role: None,
            groups: Groups::Off,
            clients: rng.pick(&[0, 2, 3, 5]),
            quorum_reads: rng.chance(300),
            snap_count: rng.pick(&[10, 50, 100_000]),
            local_sessions: LocalSessions::Off,
            read_only_after_ms: None,
            #[cfg(feature = "rebreak")]
            bug: None,
            #[cfg(feature = "rebreak")]
            are_snapshots_fuzzy: false,
            #[cfg(feature = "rebreak")]
            answers_are_for_all: false,
        }
    }
}

/// One of the rates, or none.
fn rate(rng: &mut Rng, rates: &[u64]) -> u64 {
    if rng.chance(400) { 0 } else { rng.pick(rates) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_has_its_options_and_others_differ() {
        let text = |seed| format!("{:?}", Options::draw(seed));
        assert_eq!(text(3), text(3));
        assert_ne!(text(3), text(4));
    }
}
