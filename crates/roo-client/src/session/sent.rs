//! What was sent and is not answered yet, in the order in which the answers come.

use bytes::Bytes;

use super::watches::Unwatching;
use super::{Call, CallId, NewWatch, OnLoss, WatcherId};

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
    SetWatches { told: Vec<WatcherId> },
    /// Nobody waits for the answer.
    Forgotten,
    Close,
}

/// An identity to prove on each connection.
#[derive(Debug)]
pub(super) struct Auth {
    pub(super) scheme: String,
    pub(super) data: Vec<u8>,
    pub(super) call: Option<CallId>,
}

impl Auth {
    pub(super) fn new(scheme: &str, data: &[u8], call: Option<CallId>) -> Self {
        Self {
            scheme: scheme.to_owned(),
            data: data.to_vec(),
            call,
        }
    }
}

impl Call {
    /// Gives the frame its number and makes it a sent one.
    pub(super) fn send(self, xid: i32) -> (Sent, Bytes) {
        let mut frame = self.frame;
        // A repeated call keeps its number: it is still unique, and still in order.
        let xid = match frame.get_mut(4..8) {
            Some(slot) if slot == [0; 4] => {
                slot.copy_from_slice(&xid.to_be_bytes());
                xid
            }
            Some(slot) => slot.try_into().map_or(xid, i32::from_be_bytes),
            None => xid,
        };
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
