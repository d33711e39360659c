//! What a server sees of the links to its peers: [`PeerLinks`] takes orders, [`PeerEvents`]
//! reports. Both are the same for every transport.

use roo_proto::ensemble::Ensemble;
use roo_proto::ids::ServerId;
use roo_replica::peer_message::PeerMessage;
use roo_zab::Notification;
use roo_zab::effect::CloseReason;
use roo_zab::message::LinkId;
use tokio::sync::OwnedSemaphorePermit;

/// The links to the other servers. Nothing blocks but [`PeerLinks::send_bulk`] and
/// [`PeerLinks::shutdown`]. Java: `QuorumCnxManager` and the sockets of `Learner`,
/// `LearnerHandler`.
pub trait PeerLinks: Send + Sync {
    /// Whom this server knows. It keeps a stream for notifications to each of them, and accepts
    /// (joiners aside) nobody else. Streams and links that exist are not examined again.
    fn set_ensemble(&self, ensemble: &Ensemble);

    /// Which ensemble this server belongs to, once it knows. Two servers that both know refuse
    /// each other if it differs. Streams and links that exist are not examined again.
    fn set_identity(&self, identity: u64);

    /// Sends an election message. Only the newest one to a peer counts; it is sent again whenever
    /// a new stream to the peer opens. One to a server that is no member goes back on the stream
    /// which that server has dialled, or nowhere.
    fn notify(&self, to: ServerId, notification: Notification);

    /// Dials a peer for a link, once. [`PeerEvent::LinkOpened`] or [`PeerEvent::LinkClosed`]
    /// follows; what is sent before waits in the queue.
    ///
    /// # Panics
    ///
    /// If the id is odd or in use: dialled links have even ids that the caller never uses again.
    fn open(&self, link: LinkId, to: ServerId);

    /// Sends a message behind all that were sent before. Without effect on a link that is gone.
    /// A link whose queue would exceed `Parameters::send_queue_bytes` by it is given up, and so is
    /// one that is given a message larger than `Parameters::max_message_bytes`.
    fn send(&self, link: LinkId, message: PeerMessage);

    /// As [`PeerLinks::send`], but first waits until the queue has room: for slices and history.
    /// Never to be called by a transport's thread.
    ///
    /// # Errors
    ///
    /// The link is gone, also while waiting.
    fn send_bulk(&self, link: LinkId, message: PeerMessage) -> Result<(), LinkGone>;

    /// Waits until the queue has room for bulk: for whoever feeds a link through somebody else.
    /// Never to be called by a transport's thread.
    ///
    /// # Errors
    ///
    /// The link is gone, also while waiting.
    fn wait_for_room(&self, link: LinkId) -> Result<(), LinkGone>;

    /// Closes a link. What was sent before still goes out if the peer takes it within a second.
    /// No [`PeerEvent::LinkClosed`] follows; events that were on their way may still come.
    fn close(&self, link: LinkId, why: CloseReason);

    /// Closes everything and waits, for up to about two seconds, until the threads have ended.
    /// Not to be called by a transport's thread.
    fn shutdown(&self);
}

/// Where a transport reports.
pub trait PeerEvents: Send + Sync {
    /// Something happened. Called by the transport's threads, in order for one link; must not
    /// block, nor call [`PeerLinks::send_bulk`] or [`PeerLinks::shutdown`].
    fn deliver(&self, event: PeerEvent);
}

/// See [`PeerEvents`].
#[derive(Debug)]
pub enum PeerEvent {
    /// The stream for notifications to a peer stands.
    Reachable {
        /// Which.
        peer: ServerId,
    },
    /// It has broken, or the first attempt failed. Comes once; the attempts go on.
    Unreachable {
        /// Which.
        peer: ServerId,
    },
    /// An election message.
    Notified {
        /// Who sent it.
        from: ServerId,
        /// What it says.
        notification: Notification,
        /// Its room in the receive budget of its stream.
        permit: Permit,
    },
    /// A learner has dialled this server.
    LinkAccepted {
        /// The link, new; its id is odd.
        link: LinkId,
        /// The learner.
        peer: ServerId,
    },
    /// [`PeerLinks::open`] succeeded.
    LinkOpened {
        /// Which.
        link: LinkId,
    },
    /// A link is gone, or could not be opened. The last event of the link.
    LinkClosed {
        /// Which.
        link: LinkId,
    },
    /// A message.
    Received {
        /// On which link.
        link: LinkId,
        /// What.
        message: PeerMessage,
        /// Its room in the receive budget of the link.
        permit: Permit,
    },
    /// A server does not want to talk to this one, or this one to it. For one peer and reason it
    /// comes once a minute at most, like the line in the log.
    Refused {
        /// Who is concerned, if it said so.
        peer: Option<ServerId>,
        /// Why.
        reason: RefusalReason,
        /// One line for people: what is wrong and what to do.
        text: String,
    },
}

/// Room in a receive budget: the peer may send as much again when this is dropped, so keep it
/// until the message is processed.
#[derive(Debug)]
pub struct Permit(#[allow(dead_code, reason = "it works by being dropped")] OwnedSemaphorePermit);

impl Permit {
    pub(crate) fn new(room: OwnedSemaphorePermit) -> Self {
        Self(room)
    }
}

/// A link was closed or broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the link is gone")]
pub struct LinkGone;

/// Why two servers do not talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefusalReason {
    /// The server at the address has another id.
    WrongId,
    /// Both have one id.
    SameId,
    /// They belong to different ensembles.
    OtherEnsemble,
    /// The caller is not in the ensemble in force, and joiners are not admitted.
    NotAMember,
    /// The other one's protocol is too old.
    TooOld,
    /// The other one's protocol is too new.
    TooNew,
    /// It does not speak the protocol of peers at all.
    NotAPeer,
}
