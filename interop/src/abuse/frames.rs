//! Packets that do not end, lie about their length, or come a byte at a time.

use std::time::Instant;

use anyhow::{Result, ensure};

use super::crowds::code;
use super::{Scene, patient};
use crate::wire::{Client, Hello, Out, packet};

/// Connections of each kind.
const EACH: usize = 500;

/// A create of a node that anyone may use.
fn create_packet(xid: i32, path: &str) -> Vec<u8> {
    let body = Out::default().text(path).buffer(Some(b"data")).int(1);
    let body = body.int(31).text("world").text("anyone").int(0).0;
    packet(xid, 1, &body)
}

fn sessions(scene: &Scene<'_>) -> Result<Vec<Client>> {
    (0..EACH)
        .map(|_| Client::connect(scene.address, &patient()))
        .collect()
}

/// The server closes a connection without a further reply.
fn await_end(client: &mut Client, what: &str) -> Result<()> {
    let reply = client.receive()?;
    ensure!(reply.is_none(), "{what}: got {reply:?}");
    Ok(())
}

/// Half a handshake ends with its time; half a request may be completed at any time.
pub(super) fn halves(scene: &Scene<'_>) -> Result<String> {
    let greeting = Out::default().buffer(Some(&Hello::default().body())).0;
    let (half_greeting, _) = greeting.split_at(greeting.len() / 2);
    let mut strangers = Vec::new();
    for said in [half_greeting, &[]] {
        for _ in 0..EACH {
            let mut stranger = Client::open(scene.address)?;
            stranger.send_raw(said);
            strangers.push(stranger);
        }
    }
    let mut guests = sessions(scene)?;
    let requests: Vec<Vec<u8>> = (0..EACH)
        .map(|index| create_packet(7, &format!("/half-{index}")))
        .collect();
    for (guest, request) in guests.iter_mut().zip(&requests) {
        guest.send_raw(request.get(..request.len() / 2).unwrap_or_default());
    }
    let mut leavers = sessions(scene)?;
    for (leaver, request) in leavers.iter_mut().zip(&requests) {
        leaver.send_raw(request.get(..request.len() / 2).unwrap_or_default());
    }
    drop(leavers);
    scene.bystander.await_rounds(100)?;
    let began = Instant::now();
    for stranger in &mut strangers {
        await_end(stranger, "half a handshake")?;
    }
    let ended = began.elapsed();
    for (guest, request) in guests.iter_mut().zip(&requests) {
        guest.send_raw(request.get(request.len() / 2..).unwrap_or_default());
    }
    for guest in &mut guests {
        let replies = guest.receive_until(7)?;
        ensure!(
            replies.last().and_then(|reply| code(reply)) == Some(0),
            "a request in two halves: {replies:?}"
        );
    }
    Ok(format!(
        "{} half handshakes closed after {ended:.1?}, {EACH} half requests completed",
        2 * EACH
    ))
}

/// Lengths of 2 GB, and negative ones, in front of packets and inside them.
pub(super) fn huge_lengths(scene: &Scene<'_>) -> Result<String> {
    for length in [i32::MAX, i32::MIN, -1, 1_048_576] {
        let mut lie = length.to_be_bytes().to_vec();
        lie.extend([0; 1024]);
        for _ in 0..EACH {
            let mut stranger = Client::open(scene.address)?;
            stranger.send_raw(&lie);
            await_end(&mut stranger, "a handshake of a false length")?;
        }
        for mut guest in sessions(scene)? {
            guest.send_raw(&lie);
            await_end(&mut guest, "a request of a false length")?;
        }
    }
    let huge = Out::default().int(i32::MAX).raw(&[0; 64]).0;
    let inside: &[(i32, Vec<u8>)] = &[
        (1, Out::default().text("/a").raw(&huge).0),
        (4, huge.clone()),
        (14, Out::default().int(1).flag(false).int(-1).raw(&huge).0),
        (101, Out::default().long(0).raw(&huge).0),
        (105, Out::default().long(0).int(0).raw(&huge).0),
    ];
    for (op, body) in inside {
        for mut guest in sessions(scene)? {
            guest.send(9, *op, body)?;
            let replies = guest.receive_until(9)?;
            let refused = replies.last().and_then(|reply| code(reply));
            ensure!(
                guest.closed || refused.is_some_and(|code| code < 0),
                "a length inside of operation {op}: {replies:?}"
            );
        }
    }
    // The longest packet there may be, promised and not sent.
    let mut promises = sessions(scene)?;
    let mut promise = 1_048_575_i32.to_be_bytes().to_vec();
    promise.extend([0; 4096]);
    for guest in &mut promises {
        guest.send_raw(&promise);
    }
    scene.bystander.await_rounds(100)?;
    Ok(format!(
        "{} connections with false lengths, {EACH} with the longest",
        8 * EACH + inside.len() * EACH
    ))
}

/// Handshake, create and getData, all of them one byte at a time.
pub(super) fn byte_by_byte(scene: &Scene<'_>) -> Result<String> {
    let mut clients = Vec::new();
    let mut scripts = Vec::new();
    for index in 0..EACH {
        clients.push(Client::open(scene.address)?);
        let mut script = Out::default().buffer(Some(&Hello::default().body())).0;
        let path = format!("/byte-{index:03}");
        script.extend(create_packet(1, &path));
        script.extend(packet(2, 4, &Out::default().text(&path).flag(false).0));
        scripts.push(script);
    }
    let length = scripts.iter().map(Vec::len).max().unwrap_or(0);
    for at in 0..length {
        for (client, script) in clients.iter_mut().zip(&scripts) {
            client.send_raw(script.get(at..=at).unwrap_or_default());
        }
    }
    for client in &mut clients {
        client.await_welcome()?;
        ensure!(client.session != 0, "no session for single bytes");
        for xid in [1, 2] {
            let replies = client.receive_until(xid)?;
            let last = replies.last().and_then(|reply| code(reply));
            ensure!(last == Some(0), "single bytes: {replies:?}");
        }
    }
    Ok(format!("{EACH} connections, {} bytes", length * EACH))
}
