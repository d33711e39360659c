//! Many sessions at once: idle ones, and ones that watch.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::{Scene, patient};
use crate::wire::{Client, Hello, In, Out, packet};

/// Handshakes under way at once, so that they share syncs and fit into the listener's queue.
const WAVE: usize = 500;

/// The xid of watch events.
const EVENT: i32 = -1;

/// Opens so many sessions.
fn crowd(address: SocketAddr, size: usize) -> Result<Vec<Client>> {
    let hello = patient();
    let mut all = Vec::with_capacity(size);
    while all.len() < size {
        let mut wave = Vec::new();
        for _ in 0..WAVE.min(size - all.len()) {
            let mut client = Client::open(address)
                .with_context(|| format!("connection {}", all.len() + wave.len()))?;
            client.greet(&hello)?;
            wave.push(client);
        }
        for client in &mut wave {
            client.await_welcome()?;
            ensure!(
                client.session != 0,
                "no session for connection {}",
                all.len()
            );
        }
        all.append(&mut wave);
    }
    Ok(all)
}

/// Makes a node that anyone may use.
pub(super) fn create(client: &mut Client, path: &str, data: &[u8]) -> Result<()> {
    let body = Out::default().text(path).buffer(Some(data));
    let body = body.int(1).int(31).text("world").text("anyone").int(0).0;
    client.send(1, 1, &body)?;
    let replies = client.receive_until(1)?;
    ensure!(
        replies.last().and_then(|reply| code(reply)) == Some(0),
        "cannot create {path}: {replies:?}"
    );
    Ok(())
}

/// The error code of a reply.
pub(super) fn code(reply: &[u8]) -> Option<i32> {
    In(reply.get(12..)?).int().ok()
}

/// Sends the same request over every connection, then awaits every reply.
fn all_ask(crowd: &mut [Client], op: i32, body: &[u8], reply_xid: i32) -> Result<()> {
    for client in crowd.iter_mut() {
        client.send(reply_xid, op, body)?;
    }
    await_frames(crowd, reply_xid, 1)
}

/// Awaits so many packets with an xid on every connection, and no others.
fn await_frames(crowd: &mut [Client], xid: i32, count: usize) -> Result<()> {
    for (index, client) in crowd.iter_mut().enumerate() {
        for _ in 0..count {
            let frame = client
                .receive()?
                .with_context(|| format!("connection {index} was closed"))?;
            ensure!(
                In(&frame).int()? == xid,
                "connection {index} got {frame:?} instead of a packet with xid {xid}"
            );
        }
    }
    Ok(())
}

/// Sessions without requests are all still there when they ping, and leave nothing behind.
pub(super) fn idle(scene: &Scene<'_>) -> Result<String> {
    let began = Instant::now();
    let mut crowd = crowd(scene.address, scene.connections)?;
    let connected = began.elapsed();
    scene.bystander.await_rounds(200)?;
    let began = Instant::now();
    all_ask(&mut crowd, 11, &[], -2)?;
    let pinged = began.elapsed();
    drop(crowd);
    let began = Instant::now();
    scene.await_figure("srvr", "Connections:", |left| left <= 4)?;
    Ok(format!(
        "{} sessions opened in {connected:.1?}, pings answered in {pinged:.1?}, gone in {:.1?}",
        scene.connections,
        began.elapsed()
    ))
}

/// A data and a child watch of every session on one node, which then changes.
pub(super) fn one_node_watched(scene: &Scene<'_>) -> Result<String> {
    let mut writer = Client::connect(scene.address, &Hello::default())?;
    create(&mut writer, "/one", b"")?;
    let mut crowd = crowd(scene.address, scene.connections)?;
    let watch = Out::default().text("/one").flag(true).0;
    all_ask(&mut crowd, 4, &watch, 1)?;
    all_ask(&mut crowd, 8, &watch, 2)?;
    let watches = 2 * scene.connections as u64;
    scene.await_figure("mntr", "zk_watch_count", |count| count == watches)?;
    let began = Instant::now();
    let set = Out::default().text("/one").buffer(Some(b"new")).int(-1).0;
    writer.send(1, 5, &set)?;
    writer.receive_until(1)?;
    let answered = began.elapsed();
    await_frames(&mut crowd, EVENT, 1)?;
    let data_events = began.elapsed();
    let began = Instant::now();
    create(&mut writer, "/one/child", b"")?;
    await_frames(&mut crowd, EVENT, 1)?;
    let child_events = began.elapsed();
    scene.await_figure("mntr", "zk_watch_count", |count| count == 0)?;
    Ok(format!(
        "{watches} watches on one node: {} events of one setData in {data_events:.1?} \
         (itself answered in {answered:.1?}), of one create in {child_events:.1?}",
        scene.connections
    ))
}

const WATCHERS: usize = 100;
const PATHS: usize = 1_000;

/// 100 sessions watch the same 1,000 nodes, which then all change.
pub(super) fn many_nodes_watched(scene: &Scene<'_>) -> Result<String> {
    let mut writer = Client::connect(scene.address, &Hello::default())?;
    let paths: Vec<String> = (0..PATHS)
        .map(|index| format!("/watched-{index}"))
        .collect();
    for path in &paths {
        create(&mut writer, path, b"")?;
    }
    let mut crowd = crowd(scene.address, WATCHERS)?;
    let exists: Vec<u8> = paths
        .iter()
        .flat_map(|path| packet(1, 3, &Out::default().text(path).flag(true).0))
        .collect();
    let began = Instant::now();
    for client in &mut crowd {
        client.send_raw(&exists);
        await_frames(std::slice::from_mut(client), 1, PATHS)?;
    }
    let set_up = began.elapsed();
    let watches = (WATCHERS * PATHS) as u64;
    scene.await_figure("mntr", "zk_watch_count", |count| count == watches)?;
    let sets: Vec<u8> = paths
        .iter()
        .flat_map(|path| packet(1, 5, &Out::default().text(path).buffer(None).int(-1).0))
        .collect();
    let began = Instant::now();
    writer.send_raw(&sets);
    await_frames(std::slice::from_mut(&mut writer), 1, PATHS)?;
    await_frames(&mut crowd, EVENT, PATHS)?;
    let events = began.elapsed();
    scene.await_figure("mntr", "zk_watch_count", |count| count == 0)?;
    Ok(format!(
        "{watches} watches on {PATHS} nodes set in {set_up:.1?}, their events after {PATHS} \
         setData in {events:.1?}"
    ))
}
