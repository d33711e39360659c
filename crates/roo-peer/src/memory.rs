//! Links between servers in one process, for tests: the same handshake, queues, budgets and events
//! as the real transport, without sockets. Connections can be cut and mended.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::sync::Arc;

use parking_lot::Mutex;
use roo_proto::ensemble::Ensemble;
use roo_proto::ids::ServerId;
use roo_replica::peer_message::PeerMessage;
use roo_zab::Notification;
use roo_zab::effect::CloseReason;
use roo_zab::message::LinkId;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::complaints::{Complaints, Whom};
use crate::handshake::{self, Local, Purpose};
use crate::parameters::{FLUSH, NOTIFIED_BYTES, Parameters};
use crate::queue::Batch;
use crate::registry::{Link, Registry};
use crate::surface::{LinkGone, PeerEvent, PeerEvents, PeerLinks, Permit};
use crate::weight;

/// Where servers meet.
pub struct MemoryNetwork {
    hub: Arc<Hub>,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

struct Hub {
    servers: Mutex<BTreeMap<ServerId, Arc<Node>>>,
    severed: Mutex<BTreeSet<(ServerId, ServerId)>>,
    /// Data links, to be cut with their servers.
    pairs: Mutex<Vec<(ServerId, ServerId, CancellationToken)>>,
    /// Raised whenever who reaches whom may have changed.
    version: watch::Sender<u64>,
}

/// One server.
struct Node {
    parameters: Parameters,
    local: Mutex<Local>,
    registry: Registry,
    complaints: Complaints,
    events: Arc<dyn PeerEvents>,
    members: Mutex<BTreeMap<ServerId, Member>>,
    stop: CancellationToken,
}

struct Member {
    newest: watch::Sender<Option<Notification>>,
    removed: CancellationToken,
    is_member: bool,
}

/// The links of one server of a [`MemoryNetwork`].
pub struct MemoryLinks {
    hub: Arc<Hub>,
    node: Arc<Node>,
    handle: tokio::runtime::Handle,
}

impl MemoryNetwork {
    /// A network without servers.
    ///
    /// # Errors
    ///
    /// The system has no thread to spare.
    pub fn new() -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("roo-peer-memory")
            .enable_time()
            .build()?;
        Ok(Self {
            hub: Arc::new(Hub {
                servers: Mutex::default(),
                severed: Mutex::default(),
                pairs: Mutex::default(),
                version: watch::channel(0).0,
            }),
            runtime: Some(runtime),
        })
    }

    /// Adds a server; one of the same id that is there is cut off.
    ///
    /// # Panics
    ///
    /// Never, as the runtime lives as long as the network.
    pub fn join(
        &self,
        parameters: Parameters,
        ensemble: &Ensemble,
        events: Arc<dyn PeerEvents>,
    ) -> MemoryLinks {
        let node = Arc::new(Node {
            local: Mutex::new(Local {
                id: parameters.id,
                software: parameters.software.clone(),
                joiners: parameters.joiners,
                identity: None,
                ensemble: ensemble.clone(),
            }),
            registry: Registry::new(Arc::clone(&events), &parameters),
            complaints: Complaints::new(Arc::clone(&events)),
            events,
            members: Mutex::default(),
            stop: CancellationToken::new(),
            parameters,
        });
        let id = node.parameters.id;
        let older = self.hub.servers.lock().insert(id, Arc::clone(&node));
        if let Some(older) = older {
            older.stop.cancel();
            self.hub.cut(|a, b| a == id || b == id);
        }
        let runtime = self.runtime.as_ref().map(Runtime::handle);
        let links = MemoryLinks {
            hub: Arc::clone(&self.hub),
            node,
            handle: runtime
                .expect("it lives until the network is dropped")
                .clone(),
        };
        links.set_ensemble(ensemble);
        links
    }

    /// Breaks every link and stream between two servers, and lets no new one come up.
    pub fn sever(&self, one: ServerId, other: ServerId) {
        let pair = (one.min(other), one.max(other));
        self.hub.severed.lock().insert(pair);
        self.hub.cut(|a, b| (a.min(b), a.max(b)) == pair);
        self.hub.changed();
    }

    /// Mends what [`MemoryNetwork::sever`] broke.
    pub fn mend(&self, one: ServerId, other: ServerId) {
        let pair = (one.min(other), one.max(other));
        self.hub.severed.lock().remove(&pair);
        self.hub.changed();
    }
}

impl Drop for MemoryNetwork {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Hub {
    fn changed(&self) {
        self.version.send_modify(|version| *version += 1);
    }

    fn cut(&self, between: impl Fn(ServerId, ServerId) -> bool) {
        self.pairs.lock().retain(|(a, b, cut)| {
            if between(*a, *b) {
                cut.cancel();
            }
            !cut.is_cancelled()
        });
    }

    /// The server `to`, if `node` reaches it and both want to talk.
    fn meet(&self, node: &Node, to: ServerId, purpose: Purpose) -> Option<Arc<Node>> {
        let own = node.parameters.id;
        if self.severed.lock().contains(&(own.min(to), own.max(to))) || node.stop.is_cancelled() {
            return None;
        }
        let theirs = self.servers.lock().get(&to).map(Arc::clone)?;
        let (caller, callee) = (node.local.lock().clone(), theirs.local.lock().clone());
        let (hello, answer) = (caller.hello(to, purpose), callee.hello(own, purpose));
        let verdict = callee
            .admit(&hello)
            .and_then(|()| caller.accept_answer(to, &answer));
        if let Err(reason) = verdict {
            let text = handshake::refused_caller(reason, &callee, &hello, "memory");
            theirs.complaints.say(&Whom::Server(own), reason, text);
            let text = handshake::refused_callee(reason, &caller, to, &answer, "memory");
            node.complaints.say(&Whom::Server(to), reason, text);
            return None;
        }
        Some(theirs)
    }
}

/// Keeps a stream for notifications from `node` to `peer`.
async fn keep_notifying(
    hub: Arc<Hub>,
    node: Arc<Node>,
    peer: ServerId,
    mut newest: watch::Receiver<Option<Notification>>,
    removed: CancellationToken,
    is_member: bool,
) {
    let tell = |event| {
        if is_member {
            node.events.deliver(event);
        }
    };
    let mut version = hub.version.subscribe();
    let mut stream: Option<(Arc<Node>, Arc<Semaphore>)> = None;
    let mut told = None;
    loop {
        let met = hub.meet(&node, peer, Purpose::Election);
        let is_same = match (&met, &stream) {
            (Some(met), Some((old, _))) => Arc::ptr_eq(met, old),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if !is_same || told.is_none() {
            if told != Some(false) && (stream.is_some() || met.is_none()) {
                tell(PeerEvent::Unreachable { peer });
                told = Some(false);
            }
            if met.is_some() {
                tell(PeerEvent::Reachable { peer });
                told = Some(true);
                newest.mark_changed();
            }
            stream = met.map(|met| (met, Arc::new(Semaphore::new(NOTIFIED_BYTES))));
        }
        tokio::select! {
            () = removed.cancelled() => return,
            _ = version.changed() => {}
            () = pass_on(node.parameters.id, stream.as_ref(), &mut newest) => {}
        }
    }
}

async fn pass_on(
    from: ServerId,
    stream: Option<&(Arc<Node>, Arc<Semaphore>)>,
    newest: &mut watch::Receiver<Option<Notification>>,
) {
    let Some((theirs, room)) = stream else {
        return std::future::pending().await;
    };
    if newest.changed().await.is_err() {
        return std::future::pending().await;
    }
    let notification = newest.borrow_and_update().clone();
    let Some(notification) = notification else {
        return;
    };
    let bytes = weight::of_notification(&notification).min(NOTIFIED_BYTES);
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    if let Ok(permit) = Arc::clone(room).acquire_many_owned(bytes).await {
        theirs.events.deliver(PeerEvent::Notified {
            from,
            notification,
            permit: Permit::new(permit),
        });
    }
}

/// One end of a link with whom to tell of it.
#[derive(Clone)]
struct Side {
    node: Arc<Node>,
    link: Arc<Link>,
}

impl Side {
    fn lose(&self) {
        self.node.registry.lose(&self.link);
        self.link.gone.cancel();
    }
}

/// Connects a dialled link and carries its messages until it ends.
async fn carry(hub: Arc<Hub>, node: Arc<Node>, link: Arc<Link>) {
    let is_member = node.local.lock().ensemble.members.contains_key(&link.peer);
    let theirs = is_member
        .then(|| hub.meet(&node, link.peer, Purpose::Follow))
        .flatten();
    let Some(theirs) = theirs else {
        node.registry.lose(&link);
        return;
    };
    let (from, to) = (node.parameters.id, link.peer);
    let accepted = theirs.registry.accept(from, &theirs.parameters);
    node.registry.opened(&link);
    let cut = CancellationToken::new();
    hub.pairs.lock().push((from, to, cut.clone()));
    let ours = Side { node, link };
    let theirs = Side {
        node: theirs,
        link: accepted,
    };
    tokio::join!(
        pump(ours.clone(), theirs.clone(), cut.clone()),
        pump(theirs, ours, cut.clone())
    );
    cut.cancel();
    hub.cut(|_, _| false);
}

/// Moves messages in one direction; its end is that of both.
async fn pump(from: Side, to: Side, cut: CancellationToken) {
    let flushed_in_vain = async {
        from.link.closing.cancelled().await;
        sleep(FLUSH).await;
    };
    let moving = async {
        while let Batch::Messages(batch) =
            poll_fn(|context| from.link.queue.poll_batch(context)).await
        {
            if to.node.registry.receive(&to.link, batch).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = moving => {}
        () = cut.cancelled() => {}
        () = from.link.gone.cancelled() => {}
        () = flushed_in_vain => {}
    }
    to.lose();
    from.lose();
}

impl MemoryLinks {
    fn begin_notifying(&self, peer: ServerId, is_member: bool) -> Member {
        let (newest, seen) = watch::channel(None);
        let removed = self.node.stop.child_token();
        self.handle.spawn(keep_notifying(
            Arc::clone(&self.hub),
            Arc::clone(&self.node),
            peer,
            seen,
            removed.clone(),
            is_member,
        ));
        Member {
            newest,
            removed,
            is_member,
        }
    }
}

impl PeerLinks for MemoryLinks {
    fn set_ensemble(&self, ensemble: &Ensemble) {
        self.node.local.lock().ensemble = ensemble.clone();
        let mut members = self.node.members.lock();
        members.retain(|id, member| {
            let stays = member.is_member && ensemble.members.contains_key(id);
            if !stays {
                member.removed.cancel();
            }
            stays
        });
        for peer in ensemble.members.keys().copied() {
            if peer == self.node.parameters.id || members.contains_key(&peer) {
                continue;
            }
            let member = self.begin_notifying(peer, true);
            members.insert(peer, member);
        }
        drop(members);
        self.hub.changed();
    }

    fn set_identity(&self, identity: u64) {
        self.node.local.lock().identity = Some(identity);
    }

    fn notify(&self, to: ServerId, notification: Notification) {
        // Who is no member has dialled, or is not met.
        let mut members = self.node.members.lock();
        let member = members
            .entry(to)
            .or_insert_with(|| self.begin_notifying(to, false));
        member.newest.send_replace(Some(notification));
    }

    fn open(&self, id: LinkId, to: ServerId) {
        let link = self.node.registry.dial(id, to, &self.node.parameters);
        self.handle
            .spawn(carry(Arc::clone(&self.hub), Arc::clone(&self.node), link));
    }

    fn send(&self, link: LinkId, message: PeerMessage) {
        self.node.registry.send(link, message);
    }

    fn send_bulk(&self, link: LinkId, message: PeerMessage) -> Result<(), LinkGone> {
        self.node.registry.send_bulk(link, message)
    }

    fn wait_for_room(&self, link: LinkId) -> Result<(), LinkGone> {
        self.node.registry.wait_for_room(link)
    }

    fn close(&self, link: LinkId, why: CloseReason) {
        self.node.registry.close(link, &format!("{why:?}"));
    }

    fn shutdown(&self) {
        if self.node.stop.is_cancelled() {
            return;
        }
        self.node.stop.cancel();
        self.node.registry.close_all("the server shuts down");
        let id = self.node.parameters.id;
        let mut servers = self.hub.servers.lock();
        if servers
            .get(&id)
            .is_some_and(|node| Arc::ptr_eq(node, &self.node))
        {
            servers.remove(&id);
        }
        drop(servers);
        self.hub.changed();
    }
}

impl Drop for MemoryLinks {
    fn drop(&mut self) {
        self.shutdown();
    }
}
