//! A connection that somebody has made to this server's peer port.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{sleep, timeout};
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tonic::codegen::Service;
use tonic::{Request, Response, Status, Streaming};

use super::dial::{chain, speaks_otherwise};
use super::generated as pb;
use super::generated::frame::Kind;
use super::generated::peer_server::{Peer, PeerServer};
use super::link::{Answer, Outgoing};
use super::{HTTP_FRAME_BYTES, Shared, decode, elections, encode, link};
use crate::complaints::Whom;
use crate::handshake::{self, Purpose};
use crate::parameters::{FLUSH, PeerTls, WINDOW_BYTES};
use crate::surface::RefusalReason;

/// Serves the one stream of a connection. `stranger` is held until the peer has said who it is.
pub(super) async fn serve(
    shared: Arc<Shared>,
    stream: TcpStream,
    from: SocketAddr,
    tls: Option<PeerTls>,
    stranger: OwnedSemaphorePermit,
    _connection: OwnedSemaphorePermit,
) {
    if let Some(tls) = tls {
        match tls {}
    }
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!("a connection from {from} broke: {error}");
        return;
    }
    let acceptor = Acceptor {
        shared: Arc::clone(&shared),
        from,
        greeted: CancellationToken::new(),
        ended: CancellationToken::new(),
    };
    let (greeted, ended) = (acceptor.greeted.clone(), acceptor.ended.clone());
    let service = PeerServer::new(acceptor)
        .max_decoding_message_size(shared.max_frame_bytes())
        .max_encoding_message_size(usize::MAX);
    let parameters = &shared.parameters;
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_frame_size(HTTP_FRAME_BYTES)
        .max_concurrent_streams(1)
        .keep_alive_interval(parameters.keep_alive_interval)
        .keep_alive_timeout(parameters.keep_alive_timeout)
        .serve_connection(
            TokioIo::new(stream),
            service_fn(move |request| service.clone().call(request)),
        );
    let mut connection = Box::pin(connection);
    let mut stranger = Some(stranger);
    loop {
        tokio::select! {
            done = &mut connection => {
                if let Err(error) = done
                    && stranger.is_some()
                {
                    explain(&shared, from, &error);
                }
                return;
            }
            () = greeted.cancelled(), if stranger.is_some() => drop(stranger.take()),
            () = sleep(parameters.handshake_timeout), if stranger.is_some() => {
                let text = format!("{from} has connected and says nothing: it is dropped");
                shared.complaints.say(&host(from), RefusalReason::NotAPeer, text);
                return;
            }
            () = ended.cancelled() => break,
            () = shared.stop.cancelled() => break,
        }
    }
    connection.as_mut().graceful_shutdown();
    // What does not end by itself is cut off.
    let _ = timeout(FLUSH, connection).await;
}

fn host(from: SocketAddr) -> Whom {
    Whom::Host(from.ip().to_string())
}

/// Who only looks whether the port is open is no news; who speaks something else is.
fn explain(shared: &Shared, from: SocketAddr, error: &hyper::Error) {
    let causes = decode::text(&chain(error));
    if !speaks_otherwise(error) {
        tracing::debug!("a connection from {from} broke: {causes}");
        return;
    }
    let text = format!(
        "{from} does not speak as a RooKeeper server ({causes}): is it a client, or a server with \
         another transport, that has the wrong port?"
    );
    shared
        .complaints
        .say(&host(from), RefusalReason::NotAPeer, text);
}

/// The service on one connection.
struct Acceptor {
    shared: Arc<Shared>,
    from: SocketAddr,
    greeted: CancellationToken,
    ended: CancellationToken,
}

#[tonic::async_trait]
impl Peer for Acceptor {
    type LinkStream = Answer;

    async fn link(
        &self,
        request: Request<Streaming<pb::Frame>>,
    ) -> Result<Response<Answer>, Status> {
        let mut incoming = request.into_inner();
        let hello = match incoming.message().await? {
            Some(pb::Frame {
                kind: Some(Kind::Hello(hello)),
            }) => decode::hello(&hello).map_err(|error| error.to_string()),
            _ => Err("no Hello".to_owned()),
        };
        let hello = match hello {
            Ok(hello) => hello,
            Err(what) => {
                let text = format!("{} does not begin as a server does: {what}", self.from);
                let whom = host(self.from);
                self.shared
                    .complaints
                    .say(&whom, RefusalReason::NotAPeer, text);
                self.ended.cancel();
                return Err(Status::invalid_argument("the first frame must be a Hello"));
            }
        };
        Ok(Response::new(self.begin(&hello, incoming)))
    }
}

impl Acceptor {
    /// Examines the caller; its stream is served, or the answer is a refusal.
    fn begin(&self, theirs: &handshake::Hello, incoming: Streaming<pb::Frame>) -> Answer {
        let shared = &self.shared;
        let local = shared.local.lock().clone();
        let peer = theirs.from;
        let ours = local.hello(peer, theirs.purpose);
        if let Err(reason) = local.admit(theirs) {
            let whence = self.from.to_string();
            let text = handshake::refused_caller(reason, &local, theirs, &whence);
            shared.complaints.say(&Whom::Caller(peer), reason, text);
            self.ended.cancel();
            return Box::pin(tokio_stream::once(Ok(encode::refusal(reason, &ours))));
        }
        self.greeted.cancel();
        shared.complaints.forget(&Whom::Caller(peer));
        tracing::debug!(
            "server {} at {} ({}, config {:x}) has connected: {:?}",
            peer.0,
            self.from,
            theirs.software,
            theirs.config_version,
            theirs.purpose
        );
        let hello = encode::hello(&ours);
        match theirs.purpose {
            Purpose::Election => {
                let back =
                    elections::accept(shared, (peer, self.from), hello, incoming, &self.ended);
                Box::pin(back.map(Ok))
            }
            Purpose::Follow => {
                let link = shared.registry.accept(peer, &shared.parameters);
                let frames = tokio_stream::once(hello).chain(Outgoing(Arc::clone(&link)));
                let (shared, ended) = (Arc::clone(shared), self.ended.clone());
                self.shared.tasks.spawn(async move {
                    link::serve(&shared, &link, incoming).await;
                    ended.cancel();
                });
                Box::pin(frames.map(Ok))
            }
        }
    }
}
