//! A session that asks one thing after the other and waits for each answer. Watch events are not
//! for it, and a connection that ends is an error: whoever wants to go on opens another.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};

use crate::wire::{Client, Hello, In, Out};

/// Operations.
pub mod op {
    #![allow(missing_docs)]
    pub const CREATE: i32 = 1;
    pub const EXISTS: i32 = 3;
    pub const GET_DATA: i32 = 4;
    pub const SET_DATA: i32 = 5;
    pub const GET_CHILDREN: i32 = 8;
    pub const SYNC: i32 = 9;
    pub const RECONFIG: i32 = 16;
    pub const AUTH: i32 = 100;
}

const XID_AUTH: i32 = -4;
const EVERYTHING: i32 = 31;

/// See the module.
#[derive(Debug)]
pub struct Session {
    client: Client,
    xid: i32,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The server's last zxid, or the write's own.
    pub zxid: i64,
    /// 0, or the number of a refusal.
    pub error: i32,
    /// What follows the header.
    pub body: Vec<u8>,
}

/// What a reconfig asks for; what is `None` is null on the wire.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change<'a> {
    /// Servers to add or to change.
    pub joining: Option<&'a str>,
    /// Numbers of servers to remove.
    pub leaving: Option<&'a str>,
    /// All servers, instead of both.
    pub members: Option<&'a str>,
    /// The version that is to be changed; any when it is `None`.
    pub version: Option<i64>,
}

impl Session {
    /// Opens a session.
    ///
    /// # Errors
    /// When the server cannot be reached or does not give one.
    pub fn open(address: SocketAddr) -> Result<Self> {
        let client = Client::connect(address, &Hello::default())?;
        ensure!(client.session != 0, "{address} gives no session");
        Ok(Self { client, xid: 0 })
    }

    /// Takes the session up again at this server.
    ///
    /// # Errors
    /// When the server cannot be reached or does not know it.
    pub fn resume(&mut self, address: SocketAddr) -> Result<()> {
        let client = Client::connect(address, &self.client.resumption())?;
        ensure!(client.session != 0, "{address} does not take the session");
        self.client = client;
        Ok(())
    }

    /// Asks and waits.
    ///
    /// # Errors
    /// When the connection ends first.
    pub fn ask(&mut self, op: i32, body: &[u8]) -> Result<Reply> {
        let xid = match op {
            op::AUTH => XID_AUTH,
            _ => {
                self.xid += 1;
                self.xid
            }
        };
        self.send(xid, op, body)?;
        self.receive(xid)
    }

    /// Sends a request, whose answer is asked for later.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn send(&mut self, xid: i32, op: i32, body: &[u8]) -> Result<()> {
        self.client.send(xid, op, body)
    }

    /// The answer to a request that was sent.
    ///
    /// # Errors
    /// When the connection ends first.
    pub fn receive(&mut self, xid: i32) -> Result<Reply> {
        let frames = self.client.receive_until(xid)?;
        let frame = frames.last().context("the connection has ended")?;
        let mut r = In(frame);
        ensure!(r.int()? == xid, "the connection has ended");
        Ok(Reply {
            zxid: r.long()?,
            error: r.int()?,
            body: r.0.to_vec(),
        })
    }

    /// Creates a node that anybody may change.
    ///
    /// # Errors
    /// When the connection ends, or the server refuses.
    pub fn create(&mut self, path: &str, data: &[u8]) -> Result<i64> {
        let reply = self.try_create(path, data)?;
        ensure!(reply.error == 0, "create {path}: {}", reply.error);
        Ok(reply.zxid)
    }

    /// The same, and a refusal is an answer.
    ///
    /// # Errors
    /// When the connection ends first.
    pub fn try_create(&mut self, path: &str, data: &[u8]) -> Result<Reply> {
        let body = Out::default()
            .text(path)
            .buffer(Some(data))
            .int(1)
            .int(EVERYTHING)
            .text("world")
            .text("anyone")
            .int(0);
        self.ask(op::CREATE, &body.0)
    }

    /// Sets a node's data; the zxid.
    ///
    /// # Errors
    /// As [`Session::create`].
    pub fn set(&mut self, path: &str, data: &[u8]) -> Result<i64> {
        let body = Out::default().text(path).buffer(Some(data)).int(-1);
        let reply = self.ask(op::SET_DATA, &body.0)?;
        ensure!(reply.error == 0, "set {path}: {}", reply.error);
        Ok(reply.zxid)
    }

    /// A node's data.
    ///
    /// # Errors
    /// As [`Session::create`].
    pub fn get(&mut self, path: &str) -> Result<Vec<u8>> {
        let reply = self.ask(op::GET_DATA, &Out::default().text(path).flag(false).0)?;
        ensure!(reply.error == 0, "get {path}: {}", reply.error);
        Ok(In(&reply.body).buffer()?.unwrap_or_default().to_vec())
    }

    /// The names of a node's children.
    ///
    /// # Errors
    /// As [`Session::create`].
    pub fn children(&mut self, path: &str) -> Result<Vec<String>> {
        let reply = self.ask(op::GET_CHILDREN, &Out::default().text(path).flag(false).0)?;
        ensure!(reply.error == 0, "children of {path}: {}", reply.error);
        let mut r = In(&reply.body);
        (0..r.int()?).map(|_| r.text()).collect()
    }

    /// Waits until the server has all that the leader has committed.
    ///
    /// # Errors
    /// As [`Session::create`].
    pub fn sync(&mut self) -> Result<()> {
        let reply = self.ask(op::SYNC, &Out::default().text("/").0)?;
        ensure!(reply.error == 0, "sync: {}", reply.error);
        Ok(())
    }

    /// Says who it is.
    ///
    /// # Errors
    /// As [`Session::create`].
    pub fn auth(&mut self, scheme: &str, credentials: &str) -> Result<()> {
        let body = Out::default().int(0).text(scheme).text(credentials);
        let reply = self.ask(op::AUTH, &body.0)?;
        ensure!(reply.error == 0, "auth {scheme}: {}", reply.error);
        Ok(())
    }

    /// Asks for another ensemble.
    ///
    /// # Errors
    /// When the connection ends first.
    pub fn reconfig(&mut self, change: &Change<'_>) -> Result<Reply> {
        self.ask(op::RECONFIG, &change.body())
    }
}

impl Change<'_> {
    /// The request.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        Out::default()
            .buffer(self.joining.map(str::as_bytes))
            .buffer(self.leaving.map(str::as_bytes))
            .buffer(self.members.map(str::as_bytes))
            .long(self.version.unwrap_or(-1))
            .0
    }
}
