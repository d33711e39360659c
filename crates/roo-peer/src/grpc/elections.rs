//! Streams for notifications: each server dials every member for its own, and the newest
//! notification to each is all that counts.
//!
//! A server that is no member (a joiner) cannot be dialled, nor can a member that does not know
//! yet that it is one: their notifications go back on the stream that they have dialled.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use roo_proto::ensemble::Ensemble;
use roo_proto::ids::ServerId;
use roo_zab::Notification;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, sleep_until};
use tokio_stream::wrappers::WatchStream;
use tokio_stream::{Stream, StreamExt};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Streaming;

use super::dial::{self, Failed};
use super::generated as pb;
use super::generated::frame::Kind;
use super::{Shared, decode, encode};
use crate::complaints::Whom;
use crate::handshake::Purpose;
use crate::parameters::{BACK_OFF_MAX, BACK_OFF_MIN, NOTIFIED_BYTES, RIVALS_TIMES, RIVALS_WITHIN};
use crate::surface::{PeerEvent, Permit, RefusalReason};
use crate::weight;

type Newest = watch::Sender<Option<Notification>>;

#[derive(Default)]
pub(super) struct Elections {
    /// Whom this server dials.
    members: Mutex<BTreeMap<ServerId, Dialled>>,
    /// The streams that others have dialled; a newer one of a peer replaces the older.
    callers: Mutex<BTreeMap<ServerId, Caller>>,
    /// How often a stream that stood was replaced, since when.
    displaced: Mutex<BTreeMap<ServerId, (u32, Instant)>>,
}

struct Dialled {
    newest: Newest,
    /// Do not wait before the next attempt.
    hurry: Arc<Notify>,
    /// The stream to it is open.
    is_open: Arc<AtomicBool>,
    removed: CancellationToken,
}

struct Caller {
    newest: Newest,
    ended: CancellationToken,
}

impl Elections {
    pub(super) fn notify(&self, to: ServerId, notification: Notification) {
        if let Some(member) = self.members.lock().get(&to) {
            member.newest.send_replace(Some(notification.clone()));
            member.hurry.notify_one();
            if member.is_open.load(Ordering::SeqCst) {
                return;
            }
        }
        if let Some(caller) = self.callers.lock().get(&to) {
            caller.newest.send_replace(Some(notification));
        }
    }

    /// Once is a server that was started anew before its end was noticed; again and again is two
    /// of one id that take the place of each other.
    fn on_displaced(&self, shared: &Shared, peer: ServerId, whence: SocketAddr) {
        let now = Instant::now();
        let often = {
            let mut displaced = self.displaced.lock();
            displaced.retain(|_, (_, since)| now.duration_since(*since) < RIVALS_WITHIN);
            let (count, _) = displaced.entry(peer).or_insert((0, now));
            *count += 1;
            *count >= RIVALS_TIMES
        };
        if often {
            let id = peer.0;
            let text = format!(
                "server {id} connects from {whence} while it is connected, again and again: two \
                 servers say that they are server {id}, and each needs a myid of its own"
            );
            let whom = Whom::Rivals(peer);
            shared.complaints.say(&whom, RefusalReason::SameId, text);
        }
    }

    /// The peer is alive: it has dialled.
    fn hurry(&self, peer: ServerId) {
        if let Some(member) = self.members.lock().get(&peer) {
            member.hurry.notify_one();
        }
    }
}

/// Begins to dial the members that are new, and stops with those that are gone.
pub(super) fn dial_members(shared: &Arc<Shared>, ensemble: &Ensemble) {
    let mut members = shared.elections.members.lock();
    members.retain(|id, member| {
        let stays = ensemble.members.contains_key(id);
        if !stays {
            member.removed.cancel();
        }
        stays
    });
    for peer in ensemble.members.keys().copied() {
        if peer == shared.parameters.id || members.contains_key(&peer) {
            continue;
        }
        let (newest, seen) = watch::channel(None);
        let dialled = Dialled {
            newest,
            hurry: Arc::default(),
            is_open: Arc::default(),
            removed: shared.stop.child_token(),
        };
        let keep = keep_dialling(
            Arc::clone(shared),
            peer,
            seen,
            Arc::clone(&dialled.hurry),
            Arc::clone(&dialled.is_open),
            dialled.removed.clone(),
        );
        shared.tasks.spawn(keep);
        members.insert(peer, dialled);
    }
}

/// Dials a member again and again, as long as it is one.
async fn keep_dialling(
    shared: Arc<Shared>,
    peer: ServerId,
    newest: watch::Receiver<Option<Notification>>,
    hurry: Arc<Notify>,
    is_open: Arc<AtomicBool>,
    removed: CancellationToken,
) {
    let mut pause = BACK_OFF_MIN;
    let mut was_reachable = None;
    loop {
        let began = Instant::now();
        let ended = removed.child_token();
        let frames = Until::new(notifications(newest.clone()), ended.clone());
        let dialled = tokio::select! {
            biased;
            () = removed.cancelled() => return,
            dialled = dial::dial(&shared, peer, Purpose::Election, frames, &ended) => dialled,
        };
        match dialled {
            Ok(incoming) => {
                shared.events.deliver(PeerEvent::Reachable { peer });
                was_reachable = Some(true);
                is_open.store(true, Ordering::SeqCst);
                let stood = Instant::now();
                receive(&shared, peer, incoming, &ended).await;
                is_open.store(false, Ordering::SeqCst);
                // One that ends at once is no reason to hurry: somebody else takes its place.
                if stood.elapsed() > BACK_OFF_MAX {
                    pause = BACK_OFF_MIN;
                }
                ended.cancel();
            }
            Err(Failed::Unreachable(why)) => {
                if was_reachable != Some(false) {
                    tracing::info!("server {} cannot be reached: {why}", peer.0);
                }
            }
            Err(Failed::Refused) => {}
        }
        if removed.is_cancelled() {
            return;
        }
        if was_reachable != Some(false) {
            shared.events.deliver(PeerEvent::Unreachable { peer });
            was_reachable = Some(false);
        }
        pause = wait(began, pause, &hurry, &removed).await;
    }
}

/// Waits before the next attempt; the pause after that one.
async fn wait(
    began: Instant,
    pause: Duration,
    hurry: &Notify,
    removed: &CancellationToken,
) -> Duration {
    tokio::select! {
        () = removed.cancelled() => pause,
        () = sleep_until(began + pause) => (2 * pause).min(BACK_OFF_MAX),
        () = hurry.notified() => {
            sleep_until(began + BACK_OFF_MIN).await;
            BACK_OFF_MIN
        }
    }
}

fn notifications(
    newest: watch::Receiver<Option<Notification>>,
) -> impl Stream<Item = pb::Frame> + Send + 'static {
    WatchStream::new(newest).filter_map(|newest| newest.as_ref().map(encode::notification))
}

/// Serves a stream that a peer has dialled: reads its notifications; the answer is what goes back.
pub(super) fn accept(
    shared: &Arc<Shared>,
    (peer, whence): (ServerId, SocketAddr),
    hello: pb::Frame,
    incoming: Streaming<pb::Frame>,
    ended: &CancellationToken,
) -> impl Stream<Item = pb::Frame> + Send + 'static + use<> {
    let (newest, seen) = watch::channel(None);
    let caller = Caller {
        newest,
        ended: ended.clone(),
    };
    if let Some(older) = shared.elections.callers.lock().insert(peer, caller) {
        if !older.ended.is_cancelled() {
            shared.elections.on_displaced(shared, peer, whence);
        }
        older.ended.cancel();
    }
    shared.elections.hurry(peer);
    shared.tasks.spawn({
        let (shared, ended) = (Arc::clone(shared), ended.clone());
        async move {
            receive(&shared, peer, incoming, &ended).await;
            ended.cancel();
            let mut callers = shared.elections.callers.lock();
            if callers
                .get(&peer)
                .is_some_and(|caller| caller.ended.is_cancelled())
            {
                callers.remove(&peer);
            }
        }
    });
    let back = tokio_stream::once(hello).chain(notifications(seen));
    Until::new(back, ended.clone())
}

/// Reports notifications until the stream ends.
async fn receive(
    shared: &Shared,
    from: ServerId,
    mut incoming: Streaming<pb::Frame>,
    ended: &CancellationToken,
) {
    let room = Arc::new(Semaphore::new(NOTIFIED_BYTES));
    loop {
        let frame = tokio::select! {
            biased;
            () = ended.cancelled() => return,
            () = shared.stop.cancelled() => return,
            frame = incoming.message() => frame,
        };
        let kind = match frame {
            Ok(Some(frame)) => frame.kind,
            Ok(None) => return,
            Err(status) => {
                let why = decode::text(&dial::chain(&status));
                tracing::debug!("the election stream with server {} broke: {why}", from.0);
                return;
            }
        };
        let notification = match kind {
            Some(Kind::Notification(notification)) => decode::notification(notification),
            _ => Err(decode::Misspoken(
                "a frame that does not belong there".into(),
            )),
        };
        let notification = match notification {
            Ok(notification) => notification,
            Err(what) => {
                tracing::warn!(
                    "an election stream is closed: server {} sent {what}",
                    from.0
                );
                return;
            }
        };
        let bytes = weight::of_notification(&notification).min(NOTIFIED_BYTES);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let permit = tokio::select! {
            () = ended.cancelled() => return,
            permit = Arc::clone(&room).acquire_many_owned(bytes) => permit,
        };
        if let Ok(permit) = permit {
            shared.events.deliver(PeerEvent::Notified {
                from,
                notification,
                permit: Permit::new(permit),
            });
        }
    }
}

/// A stream that ends when told to, or when HTTP/2 drops it tells of it.
struct Until<S> {
    inner: Pin<Box<S>>,
    token: CancellationToken,
    end: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<S> Until<S> {
    fn new(inner: S, token: CancellationToken) -> Self {
        Self {
            inner: Box::pin(inner),
            end: Box::pin(token.clone().cancelled_owned()),
            token,
        }
    }
}

impl<S> Drop for Until<S> {
    fn drop(&mut self) {
        self.token.cancel();
    }
}

impl<S: Stream> Stream for Until<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        if self.end.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        self.inner.as_mut().poll_next(context)
    }
}
