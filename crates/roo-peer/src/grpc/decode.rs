//! Protobuf to our words. Total: whatever a peer sends is either understood or an error that says
//! what was wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use roo_proto::acl::Id;
use roo_proto::ensemble::{ClientAddress, Ensemble, Member, MemberRole, PeerAddress, Voting};
use roo_proto::ids::{ServerId, SessionId, Zxid};
use roo_replica::peer_message::PeerMessage;
use roo_zab::message::{PeerState, Vote};
use roo_zab::{Message, Notification, Proposal};

use super::generated as pb;
use super::generated::packet::Kind;
use crate::handshake::{Hello, MAJOR, Purpose};
use crate::surface::RefusalReason;

/// What a peer sent that does not belong there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Misspoken(pub(super) String);

type Result<T> = std::result::Result<T, Misspoken>;

fn wrong<T>(what: impl Into<String>) -> Result<T> {
    Err(Misspoken(what.into()))
}

/// Characters of a text for people that are kept.
const MAX_TEXT: usize = 200;

/// A text for people, fit for one line of a log.
pub(super) fn text(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(MAX_TEXT)
        .collect()
}

pub(super) fn hello(hello: &pb::Hello) -> Result<Hello> {
    let purpose = match hello.purpose() {
        pb::Purpose::Election => Purpose::Election,
        pb::Purpose::Follow => Purpose::Follow,
        // Of another version one only needs to know that.
        pb::Purpose::Unspecified if hello.major != MAJOR => Purpose::Election,
        pb::Purpose::Unspecified => {
            return wrong(format!("purpose {} of a Hello", hello.purpose));
        }
    };
    Ok(Hello {
        major: hello.major,
        minor: hello.minor,
        identity: hello.identity,
        from: ServerId(hello.from),
        to: ServerId(hello.to),
        purpose,
        config_version: hello.config_version,
        software: text(&hello.software),
    })
}

pub(super) fn refusal(refusal: &pb::Refusal) -> RefusalReason {
    match refusal.reason() {
        pb::Reason::WrongId => RefusalReason::WrongId,
        pb::Reason::SameId => RefusalReason::SameId,
        pb::Reason::OtherEnsemble => RefusalReason::OtherEnsemble,
        pb::Reason::NotAMember => RefusalReason::NotAMember,
        // Old and new are the caller's view; here it is the other way round.
        pb::Reason::TooOld => RefusalReason::TooNew,
        pb::Reason::TooNew => RefusalReason::TooOld,
        pb::Reason::Unspecified => RefusalReason::NotAPeer,
    }
}

pub(super) fn notification(notification: pb::Notification) -> Result<Notification> {
    let state = match notification.state() {
        pb::State::Looking => PeerState::Looking,
        pb::State::Following => PeerState::Following,
        pb::State::Leading => PeerState::Leading,
        pb::State::Observing => PeerState::Observing,
        pb::State::Unspecified => {
            return wrong(format!("state {} of a notification", notification.state));
        }
    };
    Ok(Notification {
        vote: Vote {
            peer_epoch: notification.peer_epoch,
            zxid: Zxid(notification.zxid),
            leader: ServerId(notification.leader),
        },
        round: notification.round,
        state,
        ensemble: Arc::new(required_ensemble(notification.ensemble)?),
    })
}

pub(super) fn packets(packets: pb::Packets) -> Result<Vec<PeerMessage>> {
    packets.packets.into_iter().map(packet).collect()
}

fn packet(packet: pb::Packet) -> Result<PeerMessage> {
    let Some(kind) = packet.kind else {
        return wrong("a packet of an unknown kind: the peer's software is newer");
    };
    let zab = match kind {
        Kind::FollowerInfo(it) => Message::FollowerInfo {
            accepted_epoch: it.accepted_epoch,
            config_version: it.config_version,
            observer: it.observer,
        },
        Kind::LeaderInfo(epoch) => Message::LeaderInfo { epoch },
        Kind::AckEpoch(it) => Message::AckEpoch {
            current_epoch: it.current_epoch,
            last_zxid: Zxid(it.last_zxid),
        },
        Kind::Diff(upto) => Message::Diff { upto: Zxid(upto) },
        Kind::Trunc(to) => Message::Trunc { to: Zxid(to) },
        Kind::Snap(zxid) => Message::Snap { zxid: Zxid(zxid) },
        Kind::Proposal(it) => Message::Proposal(proposal(it)?),
        Kind::Ack(zxid) => Message::Ack { zxid: Zxid(zxid) },
        Kind::Commit(zxid) => Message::Commit { zxid: Zxid(zxid) },
        Kind::CommitAndActivate(it) => Message::CommitAndActivate {
            zxid: Zxid(it.zxid),
            leader: ServerId(it.leader),
        },
        Kind::Inform(it) => Message::Inform(proposal(it)?),
        Kind::InformAndActivate(it) => {
            let Some(inner) = it.proposal else {
                return wrong("an InformAndActivate without proposal");
            };
            Message::InformAndActivate {
                proposal: proposal(inner)?,
                leader: ServerId(it.leader),
            }
        }
        Kind::NewLeader(it) => Message::NewLeader {
            epoch: it.epoch,
            ensemble: Arc::new(required_ensemble(it.ensemble)?),
        },
        Kind::UpToDate(_) => Message::UpToDate,
        Kind::Ping(it) => Message::Ping {
            round: it.round,
            zxid: Zxid(it.zxid),
        },
        Kind::Pong(round) => Message::Pong { round },
        other => return replica(other),
    };
    Ok(PeerMessage::Zab(zab))
}

/// What is not Zab's.
fn replica(kind: Kind) -> Result<PeerMessage> {
    Ok(match kind {
        Kind::Slice(bytes) => PeerMessage::Slice { bytes },
        Kind::SliceEnd(it) => PeerMessage::SliceEnd {
            length: it.length,
            crc32: it.crc32,
            digest: it.digest,
        },
        Kind::Request(it) => PeerMessage::Request {
            session: SessionId(it.session),
            cxid: it.cxid,
            op: it.op,
            body: it.body,
            ids: it
                .ids
                .into_iter()
                .map(|id| Id {
                    scheme: id.scheme,
                    id: id.id,
                })
                .collect(),
        },
        Kind::Sync(_) => PeerMessage::Sync,
        Kind::SyncDone(_) => PeerMessage::SyncDone,
        Kind::Revalidate(it) => PeerMessage::Revalidate {
            session: SessionId(it.session),
            timeout_ms: it.timeout_ms,
        },
        Kind::Revalidated(it) => PeerMessage::Revalidated {
            session: SessionId(it.session),
            valid: it.valid,
            after: Zxid(it.after),
        },
        Kind::Touched(it) => {
            let (sessions, timeouts) = (it.sessions, it.timeouts_ms);
            if sessions.len() != timeouts.len() {
                return wrong(format!(
                    "{} sessions with {} timeouts",
                    sessions.len(),
                    timeouts.len()
                ));
            }
            let sessions = sessions.into_iter().map(SessionId).zip(timeouts).collect();
            PeerMessage::Touched { sessions }
        }
        Kind::ReadIndex(id) => PeerMessage::ReadIndex { id },
        Kind::ReadIndexed(it) => PeerMessage::ReadIndexed {
            id: it.id,
            zxid: Zxid(it.zxid),
        },
        other => return wrong(format!("{other:?} is Zab's")),
    })
}

fn proposal(proposal: pb::Proposal) -> Result<Proposal> {
    Ok(Proposal {
        zxid: Zxid(proposal.zxid),
        txn: proposal.txn,
        ensemble: proposal.ensemble.map(ensemble).transpose()?.map(Arc::new),
    })
}

fn required_ensemble(it: Option<pb::Ensemble>) -> Result<Ensemble> {
    match it {
        Some(it) => ensemble(it),
        None => wrong("no ensemble where one must be"),
    }
}

fn ensemble(it: pb::Ensemble) -> Result<Ensemble> {
    let mut members = BTreeMap::new();
    for member_ in it.members {
        let id = ServerId(member_.id);
        if members.insert(id, member(member_)?).is_some() {
            return wrong(format!("an ensemble with two servers {}", id.0));
        }
    }
    let voting = if it.hierarchical {
        let groups = it.groups.into_iter().map(|group| {
            let members: BTreeSet<_> = group.members.into_iter().map(ServerId).collect();
            (group.id, members)
        });
        let weights = it
            .weights
            .into_iter()
            .map(|weight| (ServerId(weight.id), weight.weight));
        Voting::Hierarchical {
            groups: groups.collect(),
            weights: weights.collect(),
        }
    } else {
        Voting::Majority
    };
    Ok(Ensemble {
        version: it.version,
        members,
        voting,
    })
}

fn member(member: pb::Member) -> Result<Member> {
    if member.addresses.is_empty() {
        return wrong(format!("server {} without an address", member.id));
    }
    let role = if member.observer {
        MemberRole::Observer
    } else {
        MemberRole::Voter
    };
    let addresses = member.addresses.into_iter().map(|address| {
        Ok(PeerAddress {
            host: address.host,
            peer_port: port(address.peer_port)?,
            election_port: address.election_port.map(port).transpose()?,
        })
    });
    let client = member.client.map(|client| {
        Ok(ClientAddress {
            host: client.host,
            port: port(client.port)?,
        })
    });
    Ok(Member {
        addresses: addresses.collect::<Result<_>>()?,
        role,
        client: client.transpose()?,
    })
}

fn port(port: u32) -> Result<u16> {
    u16::try_from(port).or_else(|_| wrong(format!("port {port}")))
}
