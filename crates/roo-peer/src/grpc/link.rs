//! A link on a stream: the same on both sides once the handshake is done.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::{sleep_until, timeout};
use tokio_stream::Stream;
use tonic::{Status, Streaming};

use super::dial::{self, Failed};
use super::generated as pb;
use super::generated::frame::Kind;
use super::{Shared, decode, encode};
use crate::handshake::Purpose;
use crate::parameters::FLUSH;
use crate::queue::Batch;
use crate::registry::{Link, Stopped};

/// Dials the peer of a new link, and serves it until it ends.
pub(super) async fn dial(shared: Arc<Shared>, link: Arc<Link>) {
    let stale_until = shared.stale.lock().remove(&link.peer);
    if let Some(until) = stale_until {
        tokio::select! {
            () = link.closing.cancelled() => {}
            () = shared.stop.cancelled() => {}
            () = sleep_until(until) => {}
        }
    }
    let frames = Outgoing(Arc::clone(&link));
    let dialled = tokio::select! {
        biased;
        () = link.closing.cancelled() => Err(Failed::Refused),
        () = shared.stop.cancelled() => Err(Failed::Refused),
        dialled = dial::dial(&shared, link.peer, Purpose::Follow, frames, &link.gone) => dialled,
    };
    match dialled {
        Ok(incoming) => {
            shared.registry.opened(&link);
            serve(&shared, &link, incoming).await;
        }
        Err(failed) => {
            if let Failed::Unreachable(why) = failed {
                tracing::info!("server {} cannot be followed: {why}", link.peer.0);
            }
            shared.registry.lose(&link);
            link.gone.cancel();
        }
    }
}

/// Why nothing more is received.
enum End {
    /// This server has closed the link.
    Closing,
    /// The connection is gone, or the peer has ended its half.
    Lost(String),
    /// The peer does not keep to the protocol.
    Misspoken(String),
}

/// Receives until the link ends, in whatever way.
pub(super) async fn serve(shared: &Shared, link: &Link, mut incoming: Streaming<pb::Frame>) {
    let peer = link.peer.0;
    match receive(shared, link, &mut incoming).await {
        End::Closing => drain(&mut incoming).await,
        End::Lost(why) => {
            tracing::debug!("link {} to server {peer} has ended: {why}", link.id.0);
            shared.registry.lose(link);
        }
        End::Misspoken(what) => {
            tracing::warn!(
                "link {} to server {peer} is closed: it sent {what}",
                link.id.0
            );
            shared.registry.give_up(link, what);
            drain(&mut incoming).await;
        }
    }
    shared.registry.lose(link);
    link.gone.cancel();
}

/// The peer ends its half when it has our last words.
async fn drain(incoming: &mut Streaming<pb::Frame>) {
    let all = async { while let Ok(Some(_)) = incoming.message().await {} };
    // A peer that does not listen is cut off.
    let _ = timeout(FLUSH, all).await;
}

async fn receive(shared: &Shared, link: &Link, incoming: &mut Streaming<pb::Frame>) -> End {
    loop {
        let frame = tokio::select! {
            biased;
            () = link.closing.cancelled() => return End::Closing,
            () = link.gone.cancelled() => return End::Lost("it is broken".into()),
            frame = incoming.message() => frame,
        };
        let packets = match frame {
            Ok(Some(pb::Frame { kind })) => match kind {
                Some(Kind::Packets(packets)) => packets,
                Some(Kind::Close(close)) => return End::Lost(decode::text(&close.why)),
                Some(Kind::Hello(_) | Kind::Refusal(_) | Kind::Notification(_)) => {
                    return End::Misspoken("a frame that does not belong on a link".into());
                }
                None => return End::Misspoken("a frame of an unknown kind".into()),
            },
            Ok(None) => return End::Lost("the peer has ended it".into()),
            Err(status) if status.code() == tonic::Code::OutOfRange => {
                return End::Misspoken(format!(
                    "a message that is too long ({}); raise jute.maxbuffer on this server",
                    decode::text(status.message())
                ));
            }
            Err(status) => return End::Lost(decode::text(&dial::chain(&status))),
        };
        let messages = match decode::packets(packets) {
            Ok(messages) => messages,
            Err(error) => return End::Misspoken(error.to_string()),
        };
        match shared.registry.receive(link, messages).await {
            Ok(()) => {}
            Err(Stopped::Closing) => return End::Closing,
            Err(Stopped::Gone) => return End::Lost("it is broken".into()),
        }
    }
}

/// The frames of a link's queue. HTTP/2 drops it with the connection, which is how a broken one
/// is noticed while nothing is read from it.
pub(super) struct Outgoing(pub(super) Arc<Link>);

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.0.gone.cancel();
    }
}

impl Stream for Outgoing {
    type Item = pb::Frame;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<pb::Frame>> {
        self.0.queue.poll_batch(context).map(|batch| match batch {
            Batch::Messages(messages) => Some(encode::packets(messages)),
            Batch::Close(why) => Some(encode::close(why)),
            Batch::End => None,
        })
    }
}

/// What a service answers with.
pub(super) type Answer = Pin<Box<dyn Stream<Item = Result<pb::Frame, Status>> + Send>>;
