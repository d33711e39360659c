//! What was sent and is not answered yet, in the order in which the answers come.

use bytes::{Bytes, BytesMut};

use super::watches::Unwatching;
use super::{Call, CallId, NewWatch, OnLoss, Secret, WatcherId};

/// Frames below share an allocation while they are on their way out.
const ROOM_FRAME_MAX: usize = 4096;

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
        watch: Option<Box<NewWatch>>,
        unwatch: Option<Box<(Unwatching, String)>>,
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
    /// Makes it a sent one, and gives the frame that is sent: a copy with its number, out of `room`
    /// if it is small.
    pub(super) fn send(self, xid: i32, room: &mut BytesMut) -> (Sent, Bytes) {
        let mut frame = if self.frame.len() < ROOM_FRAME_MAX {
            room.extend_from_slice(&self.frame);
            room.split()
        } else {
            BytesMut::from(&*self.frame)
        };
        if let Some(slot) = frame.get_mut(4..8) {
            slot.copy_from_slice(&xid.to_be_bytes());
        }
        let sent = Sent {
            xid,
            what: SentWhat::Call {
                id: self.id,
                repeat: (self.on_loss == OnLoss::Repeat).then_some(self.frame),
                watch: self.watch,
                unwatch: self.unwatch,
                is_wanted: true,
                is_patient: self.is_patient,
            },
        };
        (sent, frame.freeze())
    }
}
