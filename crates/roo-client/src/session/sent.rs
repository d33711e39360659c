//! What was sent and is not answered yet, in the order in which the answers come.

use bytes::Bytes;

use super::watches::Unwatching;
use super::{Call, CallId, NewWatch, OnLoss, Secret, WatcherId};

/// A request that was sent.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) xid: i32,
    pub(super) what: SentWhat,
}

#[derive(Debug)]
pub(super) enum SentWhat {
    Call {
        id: CallId,
        /// Kept to make it again.
        repeat: Option<Bytes>,
        watch: Option<NewWatch>,
        unwatch: Option<(Unwatching, String)>,
        /// Somebody still waits.
        is_wanted: bool,
        is_patient: bool,
    },
    /// Watches registered again; who is told of the gap.
    SetWatches {
        told: Vec<WatcherId>,
    },
    /// Nobody waits for the answer.
    Forgotten,
    Close,
}

/// An identity to prove on each connection.
#[derive(Debug)]
pub(super) struct Auth {
    pub(super) scheme: String,
    pub(super) data: Secret,
    pub(super) call: Option<CallId>,
}

impl Auth {
    pub(super) fn new(scheme: &str, data: Secret, call: Option<CallId>) -> Self {
        Self {
            scheme: scheme.to_owned(),
            data,
            call,
        }
    }
}

impl Call {
    /// Its number; 0 before it was sent.
    pub(super) fn xid(&self) -> i32 {
        let xid = self.frame.get(4..8).and_then(|xid| xid.try_into().ok());
        xid.map_or(0, i32::from_be_bytes)
    }

    /// Gives the frame its number and makes it a sent one.
    pub(super) fn send(self, xid: i32) -> (Sent, Bytes) {
        let mut frame = self.frame;
        if let Some(slot) = frame.get_mut(4..8) {
            slot.copy_from_slice(&xid.to_be_bytes());
        }
        let frame = Bytes::from(frame);
        let sent = Sent {
            xid,
            what: SentWhat::Call {
                id: self.id,
                repeat: (self.on_loss == OnLoss::Repeat).then(|| frame.clone()),
                watch: self.watch,
                unwatch: self.unwatch,
                is_wanted: true,
                is_patient: self.is_patient,
            },
        };
        (sent, frame)
    }
}
