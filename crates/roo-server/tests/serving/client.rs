//! A client that says exactly what a test wants, and a server for it.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use roo_proto::jute;
use roo_proto::op_code;
use roo_server::config::ServerConfig;
use roo_server::node::{Node, StartError};

/// Nothing that a test waits for takes so long.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A server on a free port that answers every four-letter word.
pub(crate) fn start(
    dir: &Path,
    change: impl FnOnce(&mut ServerConfig),
) -> Result<(Node, SocketAddr), StartError> {
    let mut config = ServerConfig {
        client_address: Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)),
        data_dir: dir.to_path_buf(),
        data_log_dir: dir.to_path_buf(),
        io_threads: 1,
        pre_alloc_size: 0,
        four_letter_words: vec!["*".into()],
        ..ServerConfig::default()
    };
    change(&mut config);
    let node = Node::start(config)?;
    let address = node.address().unwrap();
    Ok((node, address))
}

/// What a server answers to a four-letter word.
pub(crate) fn word(address: SocketAddr, word: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(word.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// A value of `mntr`, by its name without `zk_`.
pub(crate) fn metric(address: SocketAddr, name: &str) -> f64 {
    let answer = word(address, "mntr");
    let prefix = format!("zk_{name}\t");
    let line = answer.lines().find_map(|line| line.strip_prefix(&prefix));
    line.unwrap_or_else(|| panic!("mntr does not show {name}"))
        .parse()
        .unwrap()
}

/// Asks for a metric until it fits.
pub(crate) fn wait_for(address: SocketAddr, name: &str, fits: impl Fn(f64) -> bool) {
    let until = Instant::now() + DEADLINE;
    loop {
        let value = metric(address, name);
        if fits(value) {
            return;
        }
        assert!(Instant::now() < until, "{name} stays at {value}");
    }
}

/// A connection.
pub(crate) struct Client(TcpStream);

impl Client {
    /// One that has not said anything.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Self(stream)
    }

    fn send(&mut self, packet: &[u8]) {
        let length = u32::try_from(packet.len()).unwrap();
        let frame = [&length.to_be_bytes(), packet].concat();
        self.0.write_all(&frame).unwrap();
    }

    /// Sends a handshake.
    pub(crate) fn ask_for_session(&mut self) {
        let mut packet = Vec::new();
        jute::put_i32(&mut packet, 0);
        jute::put_i64(&mut packet, 0);
        jute::put_i32(&mut packet, 30_000);
        jute::put_i64(&mut packet, 0);
        jute::put_buffer(&mut packet, Some(&[0; 16]));
        jute::put_bool(&mut packet, false);
        self.send(&packet);
    }

    /// Asks for a node without data that anybody may do anything with.
    pub(crate) fn ask_for_create(&mut self, xid: i32, path: &str) {
        let mut packet = Vec::new();
        jute::put_i32(&mut packet, xid);
        jute::put_i32(&mut packet, op_code::CREATE);
        jute::put_string(&mut packet, path);
        jute::put_buffer(&mut packet, Some(b"data"));
        jute::put_count(&mut packet, 1);
        jute::put_i32(&mut packet, 31);
        jute::put_string(&mut packet, "world");
        jute::put_string(&mut packet, "anyone");
        jute::put_i32(&mut packet, 0);
        self.send(&packet);
    }

    /// Proves to be somebody, by the scheme digest.
    pub(crate) fn ask_for_auth(&mut self, proof: &[u8]) {
        let mut packet = Vec::new();
        jute::put_i32(&mut packet, -4);
        jute::put_i32(&mut packet, op_code::AUTH);
        jute::put_i32(&mut packet, 0);
        jute::put_string(&mut packet, "digest");
        jute::put_buffer(&mut packet, Some(proof));
        self.send(&packet);
    }

    /// Asks whether a node exists, with a watch if `watch`.
    pub(crate) fn ask_for_exists(&mut self, xid: i32, path: &str, watch: bool) {
        let mut packet = Vec::new();
        jute::put_i32(&mut packet, xid);
        jute::put_i32(&mut packet, op_code::EXISTS);
        jute::put_string(&mut packet, path);
        jute::put_bool(&mut packet, watch);
        self.send(&packet);
    }

    /// Asks for something without a body.
    pub(crate) fn ask(&mut self, xid: i32, op: i32) {
        let mut packet = Vec::new();
        jute::put_i32(&mut packet, xid);
        jute::put_i32(&mut packet, op);
        self.send(&packet);
    }

    /// Asks the server to catch up with its leader.
    pub(crate) fn ask_for_sync(&mut self, xid: i32, path: &str) {
        let mut packet = Vec::new();
        jute::put_i32(&mut packet, xid);
        jute::put_i32(&mut packet, op_code::SYNC);
        jute::put_string(&mut packet, path);
        self.send(&packet);
    }

    /// Asks for a node to be deleted, whatever its version.
    pub(crate) fn ask_for_delete(&mut self, xid: i32, path: &str) {
        let mut packet = Vec::new();
        jute::put_i32(&mut packet, xid);
        jute::put_i32(&mut packet, op_code::DELETE);
        jute::put_string(&mut packet, path);
        jute::put_i32(&mut packet, -1);
        self.send(&packet);
    }

    /// The next packet; `None` when the server has closed the connection.
    pub(crate) fn receive(&mut self) -> Option<Vec<u8>> {
        let mut length = [0; 4];
        match self.0.read_exact(&mut length) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return None,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
            Err(error) => panic!("no answer: {error}"),
        }
        let mut packet = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut packet).unwrap();
        Some(packet)
    }

    /// The xid and the error code of the next reply.
    pub(crate) fn reply(&mut self) -> (i32, i32) {
        let packet = self.receive().expect("a reply");
        let number = |at: usize| i32::from_be_bytes(packet[at..at + 4].try_into().unwrap());
        (number(0), number(12))
    }

    /// Whether nothing waits to be received.
    pub(crate) fn is_silent(&self) -> bool {
        self.0.set_nonblocking(true).unwrap();
        let peeked = self.0.peek(&mut [0]);
        self.0.set_nonblocking(false).unwrap();
        peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// Sends no more.
    pub(crate) fn hang_up(&self) {
        self.0.shutdown(Shutdown::Write).unwrap();
    }
}
