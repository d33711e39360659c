//! What is on disk, what is on its way there, and how far the history is committed and delivered.
//!
//! Every effect that touches the log or the epochs is made here, and every event that reports one
//! done comes here first; so the order of durability is decided in one place.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use roo_proto::ensemble::Ensemble;
use roo_proto::ids::Zxid;

use crate::config::{Config, Recovered};
use crate::effect::Effect;
use crate::event::EpochKind;
use crate::history::Window;
use crate::message::{LinkId, Proposal};
use crate::rebreak::{Bug, Rebreak};

/// This server's history and its epochs.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    pub(crate) window: Window,
    /// The last record that survives a crash.
    pub(crate) durable: Zxid,
    /// The last record known to be committed, or held by the state since the start.
    pub(crate) committed: Zxid,
    /// The last record that the state holds.
    pub(crate) delivered: Zxid,
    /// Both epochs as they are on disk.
    pub(crate) accepted_epoch: u32,
    pub(crate) current_epoch: u32,
    epochs_on_their_way: BTreeSet<(EpochKind, u32)>,
    truncating: Option<Zxid>,
    installing: Option<LinkId>,
}

impl Log {
    pub(crate) fn new(recovered: &Recovered) -> Self {
        Self {
            window: Window::new(recovered.last_zxid),
            durable: recovered.last_zxid,
            committed: recovered.last_zxid,
            delivered: recovered.last_zxid,
            accepted_epoch: recovered.accepted_epoch,
            current_epoch: recovered.current_epoch,
            epochs_on_their_way: BTreeSet::new(),
            truncating: None,
            installing: None,
        }
    }

    /// The end of the history, durable or not.
    pub(crate) fn last(&self) -> Zxid {
        self.window.last()
    }

    /// Whether nothing is on its way to the disk.
    pub(crate) fn is_settled(&self, rebreak: Rebreak) -> bool {
        let appended = self.durable == self.last() || rebreak.has(Bug::Zk4712);
        let truncated = self.truncating.is_none() || rebreak.has(Bug::Zk5094);
        let installed = self.installing.is_none();
        appended && truncated && installed && self.epochs_on_their_way.is_empty()
    }

    pub(crate) fn append(&mut self, proposal: Proposal, effects: &mut Vec<Effect>) {
        assert!(
            proposal.zxid > self.last(),
            "append {} behind {}",
            proposal.zxid,
            self.last()
        );
        self.window.push(proposal.clone());
        effects.push(Effect::Append { proposal });
    }

    /// The ensemble in a record that memory holds.
    pub(crate) fn ensemble_at(&self, zxid: Zxid) -> Option<Arc<Ensemble>> {
        let before = Zxid(zxid.0.saturating_sub(1));
        let record = self.window.after(before).next()?;
        record.ensemble.clone().filter(|_| record.zxid == zxid)
    }

    pub(crate) fn on_durable(&mut self, upto: Zxid) {
        let upto = upto.min(self.last());
        self.durable = self.durable.max(upto);
    }

    /// Notes that everything up to `upto` is committed.
    pub(crate) fn commit(&mut self, upto: Zxid) {
        assert!(
            upto <= self.last(),
            "commit {upto} beyond the end {}",
            self.last()
        );
        self.committed = self.committed.max(upto);
    }

    /// Hands what is committed to the state; returns the newest ensemble in it.
    pub(crate) fn deliver(&mut self, effects: &mut Vec<Effect>) -> Option<Arc<Ensemble>> {
        let mut ensemble = None;
        for proposal in self.window.after(self.delivered) {
            if proposal.zxid > self.committed {
                break;
            }
            if proposal.ensemble.is_some() {
                ensemble.clone_from(&proposal.ensemble);
            }
            effects.push(Effect::Deliver {
                proposal: proposal.clone(),
            });
        }
        self.delivered = self.delivered.max(self.committed);
        ensemble
    }

    /// Forgets old records, but none that is undelivered or behind `pin`.
    pub(crate) fn trim(&mut self, config: &Config, pin: Option<Zxid>) {
        let keep = pin.map_or(self.delivered, |pin| pin.min(self.delivered));
        self.window
            .trim(config.commit_log_count, config.commit_log_bytes, keep);
    }

    pub(crate) fn truncate(&mut self, after: Zxid, effects: &mut Vec<Effect>) {
        assert!(self.truncating.is_none(), "a second truncation");
        self.truncating = Some(after);
        effects.push(Effect::Truncate { after });
    }

    /// The log ends at `last`. The state was reloaded if it held more.
    pub(crate) fn on_truncated(&mut self, last: Zxid) {
        self.truncating = None;
        self.window.truncate(last);
        self.durable = self.last();
        self.committed = self.committed.min(last);
        self.delivered = self.delivered.min(last);
    }

    /// A bug (`Bug::Zk5094`): what the disk did is not taken note of.
    pub(crate) fn ignore_truncation(&mut self) {
        self.truncating = None;
    }

    pub(crate) fn install(&mut self, link: LinkId, zxid: Zxid, effects: &mut Vec<Effect>) {
        assert!(self.installing.is_none(), "a second snapshot");
        self.installing = Some(link);
        effects.push(Effect::InstallSnapshot { link, zxid });
    }

    /// Log and state are the snapshot's.
    pub(crate) fn on_installed(&mut self, zxid: Zxid) {
        self.installing = None;
        self.window = Window::new(zxid);
        self.durable = zxid;
        self.committed = zxid;
        self.delivered = zxid;
    }

    /// A bug (`Bug::Zk2355`, `Bug::Zk3642`): memory is ahead of the disk.
    pub(crate) fn pretend_installed(&mut self, zxid: Zxid) {
        self.window = Window::new(zxid);
        self.durable = zxid;
        self.committed = zxid;
        self.delivered = zxid;
    }

    pub(crate) fn on_install_failed(&mut self) {
        self.installing = None;
    }

    pub(crate) fn persist(&mut self, which: EpochKind, epoch: u32, effects: &mut Vec<Effect>) {
        self.epochs_on_their_way.insert((which, epoch));
        effects.push(Effect::PersistEpoch { which, epoch });
    }

    pub(crate) fn on_epoch_durable(&mut self, which: EpochKind, epoch: u32) {
        self.epochs_on_their_way.remove(&(which, epoch));
        match which {
            EpochKind::Accepted => self.accepted_epoch = self.accepted_epoch.max(epoch),
            EpochKind::Current => self.current_epoch = self.current_epoch.max(epoch),
        }
    }

    /// What must always hold.
    pub(crate) fn check(&self) {
        assert!(
            self.delivered <= self.committed,
            "delivered beyond committed"
        );
        assert!(self.committed <= self.last(), "committed beyond the end");
        assert!(self.durable <= self.last(), "durable beyond the end");
        assert!(
            self.window.base() <= self.delivered,
            "undelivered and forgotten"
        );
    }
}
