//! How much room a message takes: never less than its protobuf encoding, and cheap to compute.

use roo_proto::ensemble::{Ensemble, Voting};
use roo_replica::peer_message::PeerMessage;
use roo_zab::{Message, Notification, Proposal};

/// Numbers, tags and lengths of a packet, and its record in our queues.
const BASE: usize = 64;

/// Bytes of a message.
pub(crate) fn of(message: &PeerMessage) -> usize {
    BASE + match message {
        PeerMessage::Zab(message) => of_zab(message),
        PeerMessage::Slice { bytes } => bytes.len(),
        PeerMessage::Request { body, ids, .. } => {
            let ids: usize = ids
                .iter()
                .map(|id| 16 + id.scheme.len() + id.id.len())
                .sum();
            body.len() + ids
        }
        PeerMessage::Touched { sessions } => sessions.len() * 20,
        PeerMessage::SliceEnd { .. }
        | PeerMessage::Sync
        | PeerMessage::SyncDone
        | PeerMessage::Revalidate { .. }
        | PeerMessage::Revalidated { .. }
        | PeerMessage::ReadIndex { .. }
        | PeerMessage::ReadIndexed { .. } => 0,
    }
}

/// Bytes of a notification.
pub(crate) fn of_notification(notification: &Notification) -> usize {
    BASE + of_ensemble(&notification.ensemble)
}

fn of_zab(message: &Message) -> usize {
    match message {
        Message::Proposal(proposal)
        | Message::Inform(proposal)
        | Message::InformAndActivate { proposal, .. } => of_proposal(proposal),
        Message::NewLeader { ensemble, .. } => of_ensemble(ensemble),
        Message::FollowerInfo { .. }
        | Message::LeaderInfo { .. }
        | Message::AckEpoch { .. }
        | Message::Diff { .. }
        | Message::Trunc { .. }
        | Message::Snap { .. }
        | Message::Ack { .. }
        | Message::Commit { .. }
        | Message::CommitAndActivate { .. }
        | Message::UpToDate
        | Message::Ping { .. }
        | Message::Pong { .. } => 0,
    }
}

fn of_proposal(proposal: &Proposal) -> usize {
    proposal.txn.len() + proposal.ensemble.as_deref().map_or(0, of_ensemble)
}

fn of_ensemble(ensemble: &Ensemble) -> usize {
    let mut bytes = 48;
    for member in ensemble.members.values() {
        bytes += 48;
        for address in &member.addresses {
            bytes += 32 + address.host.len();
        }
        bytes += member
            .client
            .as_ref()
            .map_or(0, |client| 24 + client.host.len());
    }
    if let Voting::Hierarchical { groups, weights } = &ensemble.voting {
        bytes += weights.len() * 32;
        bytes += groups
            .values()
            .map(|members| 32 + members.len() * 11)
            .sum::<usize>();
    }
    bytes
}
