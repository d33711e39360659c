//! Clients that ask for more than they fetch.

use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::Scene;
use super::crowds::{code, create};
use crate::wire::{Client, Frame, Hello, In, Out, packet};

/// Clients that do not read; each may leave 16 MiB in the server.
const DEAF: usize = 16;
/// Requests of each, for a node of a million bytes.
const ASKED: i32 = 300;
const BIG: usize = 1_000_000;

/// The next packet, which must be the successful reply to `xid`.
fn expect_reply(client: &mut Client, xid: i32) -> Result<Frame> {
    let reply = client
        .receive()?
        .with_context(|| format!("the connection was closed before reply {xid}"))?;
    ensure!(
        In(&reply).int()? == xid && code(&reply) == Some(0),
        "instead of reply {xid}: {:?}",
        reply.get(..16)
    );
    Ok(reply)
}

/// What clients ask for and do not fetch is made only when they do.
pub(super) fn never_reading(scene: &Scene<'_>) -> Result<String> {
    let mut writer = Client::connect(scene.address, &Hello::default())?;
    create(&mut writer, "/big", &vec![7; BIG])?;
    let get = Out::default().text("/big").flag(false).0;
    let requests: Vec<u8> = (1..=ASKED).flat_map(|xid| packet(xid, 4, &get)).collect();
    let mut deaf = Vec::new();
    for _ in 0..DEAF {
        let mut client = Client::connect(scene.address, &Hello::default())?;
        client.send_raw(&requests);
        deaf.push(client);
    }
    scene.bystander.await_rounds(300)?;
    // One of them has a change of heart, and gets everything in order.
    let began = Instant::now();
    if let Some(mut client) = deaf.pop() {
        for xid in 1..=ASKED {
            let reply = expect_reply(&mut client, xid)?;
            ensure!(reply.len() > BIG, "a reply of {} bytes", reply.len());
        }
    }
    Ok(format!(
        "{DEAF} clients asked for {} MB each, one read them in {:.1?}",
        BIG * ASKED.unsigned_abs() as usize / 1_000_000,
        began.elapsed()
    ))
}

const PIPELINED: i32 = 100_000;

/// One session sends everything before it reads anything: every third request is a write.
pub(super) fn pipelined(scene: &Scene<'_>) -> Result<String> {
    let mut client = Client::connect(scene.address, &Hello::default())?;
    create(&mut client, "/pipelined", b"")?;
    let exists = Out::default().text("/pipelined").flag(false).0;
    let mut requests = Vec::new();
    for xid in 1..=PIPELINED {
        let data = xid.to_be_bytes();
        let (op, body) = match xid % 3 {
            0 => {
                let set = Out::default().text("/pipelined").buffer(Some(&data));
                (5, set.int(-1).0)
            }
            _ => (3, exists.clone()),
        };
        requests.extend(packet(xid, op, &body));
    }
    let began = Instant::now();
    client.send_raw(&requests);
    ensure!(!client.closed, "the server does not take all requests");
    let sent = began.elapsed();
    let mut version = 0;
    for xid in 1..=PIPELINED {
        let reply = expect_reply(&mut client, xid)?;
        // Every request sees all the writes before it and none behind.
        version += i32::from(xid % 3 == 0);
        let seen = In(reply.get(16 + 32..).unwrap_or_default()).int()?;
        ensure!(
            seen == version,
            "request {xid} sees version {seen}, not {version}"
        );
    }
    Ok(format!(
        "{PIPELINED} requests sent in {sent:.1?}, answered in {:.1?}",
        began.elapsed()
    ))
}
