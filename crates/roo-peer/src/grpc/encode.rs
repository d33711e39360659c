//! Our words to protobuf. Payloads are shared, not copied.

use roo_proto::ensemble::{Ensemble, Member, MemberRole, Voting};
use roo_proto::ids::Zxid;
use roo_replica::peer_message::PeerMessage;
use roo_zab::message::PeerState;
use roo_zab::{Message, Notification, Proposal};

use super::generated as pb;
use super::generated::frame::Kind as FrameKind;
use super::generated::packet::Kind;
use crate::handshake::{Hello, Purpose};
use crate::surface::RefusalReason;

fn frame(kind: FrameKind) -> pb::Frame {
    pb::Frame { kind: Some(kind) }
}

pub(super) fn hello(hello: &Hello) -> pb::Frame {
    frame(FrameKind::Hello(bare_hello(hello)))
}

fn bare_hello(hello: &Hello) -> pb::Hello {
    let purpose = match hello.purpose {
        Purpose::Election => pb::Purpose::Election,
        Purpose::Follow => pb::Purpose::Follow,
    };
    pb::Hello {
        major: hello.major,
        minor: hello.minor,
        identity: hello.identity,
        from: hello.from.0,
        to: hello.to.0,
        purpose: purpose.into(),
        config_version: hello.config_version,
        software: hello.software.clone(),
    }
}

pub(super) fn refusal(reason: RefusalReason, ours: &Hello) -> pb::Frame {
    let reason = match reason {
        RefusalReason::WrongId => pb::Reason::WrongId,
        RefusalReason::SameId => pb::Reason::SameId,
        RefusalReason::OtherEnsemble => pb::Reason::OtherEnsemble,
        RefusalReason::NotAMember => pb::Reason::NotAMember,
        RefusalReason::TooOld => pb::Reason::TooOld,
        RefusalReason::TooNew => pb::Reason::TooNew,
        RefusalReason::NotAPeer => pb::Reason::Unspecified,
    };
    frame(FrameKind::Refusal(pb::Refusal {
        reason: reason.into(),
        hello: Some(bare_hello(ours)),
    }))
}

pub(super) fn close(why: String) -> pb::Frame {
    frame(FrameKind::Close(pb::Close { why }))
}

pub(super) fn notification(notification: &Notification) -> pb::Frame {
    let state = match notification.state {
        PeerState::Looking => pb::State::Looking,
        PeerState::Following => pb::State::Following,
        PeerState::Leading => pb::State::Leading,
        PeerState::Observing => pb::State::Observing,
    };
    frame(FrameKind::Notification(pb::Notification {
        peer_epoch: notification.vote.peer_epoch,
        zxid: notification.vote.zxid.0,
        leader: notification.vote.leader.0,
        round: notification.round,
        state: state.into(),
        ensemble: Some(ensemble(&notification.ensemble)),
    }))
}

pub(super) fn packets(messages: Vec<PeerMessage>) -> pb::Frame {
    let packets = messages
        .into_iter()
        .map(|message| pb::Packet {
            kind: Some(packet(message)),
        })
        .collect();
    frame(FrameKind::Packets(pb::Packets { packets }))
}

fn packet(message: PeerMessage) -> Kind {
    match message {
        PeerMessage::Zab(message) => zab(message),
        PeerMessage::Slice { bytes } => Kind::Slice(bytes),
        PeerMessage::SliceEnd {
            length,
            crc32,
            digest,
        } => Kind::SliceEnd(pb::SliceEnd {
            length,
            crc32,
            digest,
        }),
        PeerMessage::Request {
            session,
            cxid,
            op,
            body,
            ids,
        } => Kind::Request(pb::Request {
            session: session.0,
            cxid,
            op,
            body,
            ids: ids
                .iter()
                .map(|id| pb::Identity {
                    scheme: id.scheme.clone(),
                    id: id.id.clone(),
                })
                .collect(),
        }),
        PeerMessage::Sync => Kind::Sync(pb::Empty {}),
        PeerMessage::SyncDone => Kind::SyncDone(pb::Empty {}),
        PeerMessage::Revalidate {
            session,
            timeout_ms,
        } => Kind::Revalidate(pb::Revalidate {
            session: session.0,
            timeout_ms,
        }),
        PeerMessage::Revalidated {
            session,
            valid,
            after,
        } => Kind::Revalidated(pb::Revalidated {
            session: session.0,
            valid,
            after: after.0,
        }),
        PeerMessage::Touched { sessions } => {
            let (sessions, timeouts_ms) = sessions.into_iter().map(|(id, ms)| (id.0, ms)).unzip();
            Kind::Touched(pb::Touched {
                sessions,
                timeouts_ms,
            })
        }
        PeerMessage::ReadIndex { id } => Kind::ReadIndex(id),
        PeerMessage::ReadIndexed { id, zxid } => {
            Kind::ReadIndexed(pb::ReadIndexed { id, zxid: zxid.0 })
        }
    }
}

fn zab(message: Message) -> Kind {
    match message {
        Message::FollowerInfo {
            accepted_epoch,
            config_version,
            observer,
        } => Kind::FollowerInfo(pb::FollowerInfo {
            accepted_epoch,
            config_version,
            observer,
        }),
        Message::LeaderInfo { epoch } => Kind::LeaderInfo(epoch),
        Message::AckEpoch {
            current_epoch,
            last_zxid,
        } => Kind::AckEpoch(pb::AckEpoch {
            current_epoch,
            last_zxid: last_zxid.0,
        }),
        Message::Diff { upto: Zxid(upto) } => Kind::Diff(upto),
        Message::Trunc { to: Zxid(to) } => Kind::Trunc(to),
        Message::Snap { zxid: Zxid(zxid) } => Kind::Snap(zxid),
        Message::Proposal(it) => Kind::Proposal(proposal(it)),
        Message::Ack { zxid: Zxid(zxid) } => Kind::Ack(zxid),
        Message::Commit { zxid: Zxid(zxid) } => Kind::Commit(zxid),
        Message::CommitAndActivate { zxid, leader } => {
            Kind::CommitAndActivate(pb::CommitAndActivate {
                zxid: zxid.0,
                leader: leader.0,
            })
        }
        Message::Inform(it) => Kind::Inform(proposal(it)),
        Message::InformAndActivate {
            proposal: it,
            leader,
        } => Kind::InformAndActivate(pb::InformAndActivate {
            proposal: Some(proposal(it)),
            leader: leader.0,
        }),
        Message::NewLeader {
            epoch,
            ensemble: it,
        } => Kind::NewLeader(pb::NewLeader {
            epoch,
            ensemble: Some(ensemble(&it)),
        }),
        Message::UpToDate => Kind::UpToDate(pb::Empty {}),
        Message::Ping { round, zxid } => Kind::Ping(pb::Ping {
            round,
            zxid: zxid.0,
        }),
        Message::Pong { round } => Kind::Pong(round),
    }
}

fn proposal(proposal: Proposal) -> pb::Proposal {
    pb::Proposal {
        zxid: proposal.zxid.0,
        txn: proposal.txn,
        ensemble: proposal.ensemble.as_deref().map(ensemble),
    }
}

fn ensemble(ensemble: &Ensemble) -> pb::Ensemble {
    let (hierarchical, groups, weights) = match &ensemble.voting {
        Voting::Majority => (false, Vec::new(), Vec::new()),
        Voting::Hierarchical { groups, weights } => (
            true,
            groups
                .iter()
                .map(|(id, members)| pb::Group {
                    id: *id,
                    members: members.iter().map(|member| member.0).collect(),
                })
                .collect(),
            weights
                .iter()
                .map(|(id, weight)| pb::Weight {
                    id: id.0,
                    weight: *weight,
                })
                .collect(),
        ),
    };
    pb::Ensemble {
        version: ensemble.version,
        members: ensemble
            .members
            .iter()
            .map(|(id, it)| member(id.0, it))
            .collect(),
        hierarchical,
        groups,
        weights,
    }
}

fn member(id: i64, member: &Member) -> pb::Member {
    pb::Member {
        id,
        observer: member.role == MemberRole::Observer,
        addresses: member
            .addresses
            .iter()
            .map(|address| pb::Address {
                host: address.host.clone(),
                peer_port: address.peer_port.into(),
                election_port: address.election_port.map(u32::from),
            })
            .collect(),
        client: member.client.as_ref().map(|client| pb::ClientAddress {
            host: client.host.clone(),
            port: client.port.into(),
        }),
    }
}
