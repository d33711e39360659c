//! From a peer's id to a stream to it. Names are resolved anew each time, since addresses move.

use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use roo_proto::ensemble::PeerAddress;
use roo_proto::ids::ServerId;
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tokio_stream::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::{Code, Status, Streaming};

use super::generated as pb;
use super::generated::frame::Kind;
use super::generated::peer_client::PeerClient;
use super::preface::{Foreign, Listened};
use super::{HTTP_FRAME_BYTES, Shared, decode, encode};
use crate::complaints::Whom;
use crate::handshake::{self, Purpose};
use crate::parameters::{FLUSH, PeerTls, WINDOW_BYTES};
use crate::surface::RefusalReason;

type BoxError = Box<dyn Error + Send + Sync>;

/// Why there is no stream.
pub(super) enum Failed {
    /// The peer cannot be reached now.
    Unreachable(String),
    /// It was reached and one of the two does not want. Said already.
    Refused,
}

/// Dials a peer and shakes hands. `frames` follow our Hello; what follows the peer's Hello comes
/// back. Once `ended` is cancelled, the connection has a moment to end by itself.
pub(super) async fn dial(
    shared: &Arc<Shared>,
    to: ServerId,
    purpose: Purpose,
    frames: impl Stream<Item = pb::Frame> + Send + 'static,
    ended: &CancellationToken,
) -> Result<Streaming<pb::Frame>, Failed> {
    let (hello, addresses) = {
        let local = shared.local.lock();
        let member = local.ensemble.members.get(&to);
        let addresses = member.map(|member| member.addresses.clone());
        (local.hello(to, purpose), addresses)
    };
    let Some(addresses) = addresses else {
        let why = format!("server {} is not in the ensemble", to.0);
        return Err(Failed::Unreachable(why));
    };
    let (stream, whither) = connect(shared, &addresses)
        .await
        .map_err(Failed::Unreachable)?;
    let frames = tokio_stream::once(encode::hello(&hello)).chain(frames);
    let foreign = Foreign::default();
    let stream = Listened::new(stream, foreign.clone());
    let talk = talk(shared, stream, &whither, frames, ended);
    let answer = match timeout(shared.parameters.handshake_timeout, talk).await {
        Ok(Ok(answer)) => examine(shared, to, &whither, answer),
        Ok(Err(error)) => Err(explain(shared, to, &whither, error.as_ref(), &foreign)),
        Err(_) => Err(Failed::Unreachable(format!("{whither} does not answer"))),
    };
    if answer.is_err() {
        ended.cancel();
    }
    answer
}

/// The first of all the peer's addresses that accepts, with its name for people.
async fn connect(
    shared: &Arc<Shared>,
    addresses: &[PeerAddress],
) -> Result<(TcpStream, String), String> {
    let mut attempts = JoinSet::new();
    for address in addresses {
        let (host, port) = (address.host.clone(), address.peer_port);
        let limit = shared.parameters.connect_timeout;
        attempts.spawn(async move {
            let name = format!("{host}:{port}");
            let connected = async {
                let stream = TcpStream::connect((host, port)).await?;
                stream.set_nodelay(true)?;
                io::Result::Ok(stream)
            };
            match timeout(limit, connected).await {
                Ok(Ok(stream)) => Ok((stream, name)),
                Ok(Err(error)) => Err(format!("{name}: {error}")),
                Err(_) => Err(format!("{name}: no answer in {} ms", limit.as_millis())),
            }
        });
    }
    let mut errors = Vec::new();
    while let Some(attempt) = attempts.join_next().await {
        match attempt {
            Ok(Ok((stream, name))) => return Ok((stream, name)),
            Ok(Err(error)) => errors.push(error),
            Err(error) => errors.push(error.to_string()),
        }
    }
    Err(errors.join("; "))
}

/// Opens the stream, and reads the peer's first frame.
async fn talk(
    shared: &Arc<Shared>,
    stream: Listened<TcpStream>,
    whither: &str,
    frames: impl Stream<Item = pb::Frame> + Send + 'static,
    ended: &CancellationToken,
) -> Result<(pb::Frame, Streaming<pb::Frame>), BoxError> {
    let channel = channel(shared, stream, shared.tls.as_ref(), ended).await?;
    // The authority is only a label; the host as configured may not be a legal one.
    let port = whither.rsplit(':').next().unwrap_or_default();
    let origin = http::Uri::try_from(format!("http://peer:{port}"))?;
    let mut client = PeerClient::with_origin(channel, origin)
        .max_decoding_message_size(shared.max_frame_bytes())
        .max_encoding_message_size(usize::MAX);
    let mut incoming = client.link(frames).await?.into_inner();
    match incoming.message().await? {
        Some(first) => Ok((first, incoming)),
        None => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
    }
}

/// An HTTP/2 connection for one stream. Its task ends with the stream, or soon after `ended`.
async fn channel(
    shared: &Arc<Shared>,
    stream: Listened<TcpStream>,
    tls: Option<&PeerTls>,
    ended: &CancellationToken,
) -> Result<Channel, BoxError> {
    if let Some(tls) = tls {
        match *tls {}
    }
    let tasks = Tasks::default();
    let parameters = &shared.parameters;
    let (sender, connection) = http2::Builder::new(tasks.clone())
        .timer(TokioTimer::new())
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_frame_size(HTTP_FRAME_BYTES)
        .keep_alive_interval(parameters.keep_alive_interval)
        .keep_alive_timeout(parameters.keep_alive_timeout)
        .keep_alive_while_idle(true)
        .handshake::<_, Body>(TokioIo::new(stream))
        .await?;
    let ended = ended.clone();
    tasks.execute(async {
        let _ = connection.await;
    });
    shared.tasks.spawn(async move {
        ended.cancelled().await;
        tasks.tracker.close();
        if timeout(FLUSH, tasks.tracker.wait()).await.is_err() {
            tasks.abort();
        }
    });
    Ok(Channel(sender))
}

/// The tasks that hyper makes for a connection. One of them owns the socket, for as long as the
/// stream lives: ending it is the only way to end a connection that the peer does not read.
#[derive(Clone, Default)]
struct Tasks {
    tracker: TaskTracker,
    handles: Arc<Mutex<Vec<AbortHandle>>>,
}

impl Tasks {
    fn abort(&self) {
        for handle in self.handles.lock().drain(..) {
            handle.abort();
        }
    }
}

impl<F> Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, task: F) {
        let handle = self.tracker.spawn(task).abort_handle();
        self.handles.lock().push(handle);
    }
}

/// What tonic calls instead of a transport of its own.
struct Channel(http2::SendRequest<Body>);

impl Service<http::Request<Body>> for Channel {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// Both sides check: this is ours of the peer's answer.
fn examine(
    shared: &Arc<Shared>,
    to: ServerId,
    whither: &str,
    (first, incoming): (pb::Frame, Streaming<pb::Frame>),
) -> Result<Streaming<pb::Frame>, Failed> {
    let (answer, refusal) = match first.kind {
        Some(Kind::Hello(hello)) => (Some(hello), None),
        Some(Kind::Refusal(refusal)) => {
            let reason = decode::refusal(&refusal);
            (refusal.hello, Some(reason))
        }
        _ => (None, None),
    };
    let whom = Whom::Server(to);
    let Some(Ok(answer)) = answer.as_ref().map(decode::hello) else {
        let text = format!("server {} at {whither} does not begin with a Hello", to.0);
        shared.complaints.say(&whom, RefusalReason::NotAPeer, text);
        return Err(Failed::Refused);
    };
    let local = shared.local.lock().clone();
    let verdict = match refusal {
        Some(reason) => Err(reason),
        None => local.accept_answer(to, &answer),
    };
    if let Err(reason) = verdict {
        let text = handshake::refused_callee(reason, &local, to, &answer, whither);
        shared.complaints.say(&whom, reason, text);
        return Err(Failed::Refused);
    }
    shared.complaints.forget(&whom);
    Ok(incoming)
}

/// A broken connection is no news; something else than a peer at its address is.
fn explain(
    shared: &Arc<Shared>,
    to: ServerId,
    whither: &str,
    error: &(dyn Error + Send + Sync + 'static),
    foreign: &Foreign,
) -> Failed {
    if !foreign.is_sure() && !speaks_otherwise(error) {
        return Failed::Unreachable(format!("{whither}: {}", decode::text(&chain(error))));
    }
    let text = format!(
        "what listens at {whither} is no RooKeeper server with gRPC between servers ({}): check \
         the port in the server.{} line, and that all servers have the same transport",
        decode::text(&chain(error)),
        to.0
    );
    let whom = Whom::Server(to);
    shared.complaints.say(&whom, RefusalReason::NotAPeer, text);
    Failed::Refused
}

/// Whether this is the error of one who heard something that is not our protocol.
pub(super) fn speaks_otherwise(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    if let Some(status) = error.downcast_ref::<Status>()
        && matches!(status.code(), Code::Unimplemented | Code::InvalidArgument)
    {
        return true;
    }
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(http2) = error.downcast_ref::<h2::Error>() {
            // Not GOAWAY without error and the like, as of a server that shuts down.
            return matches!(
                http2.reason(),
                Some(
                    h2::Reason::PROTOCOL_ERROR
                        | h2::Reason::FRAME_SIZE_ERROR
                        | h2::Reason::COMPRESSION_ERROR
                        | h2::Reason::HTTP_1_1_REQUIRED
                )
            );
        }
        next = error.source();
    }
    false
}

/// An error with its causes, in one line.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        line = format!("{line}: {error}");
        next = error.source();
    }
    line
}
