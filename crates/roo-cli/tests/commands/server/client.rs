//! As much of a client as the tests need.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use roo_proto::acl::{Acl, encode_list};
use roo_proto::{frame, jute, op_code};

/// The answer to a four-letter word.
pub(crate) fn ask_word(address: SocketAddr, word: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(word.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// A session.
pub(crate) struct Client {
    stream: TcpStream,
}

/// What a server says to a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) xid: i32,
    pub(crate) code: i32,
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut client = Self { stream };
        let mut hello = Vec::new();
        jute::put_i32(&mut hello, 0);
        jute::put_i64(&mut hello, 0);
        jute::put_i32(&mut hello, 30_000);
        jute::put_i64(&mut hello, 0);
        jute::put_buffer(&mut hello, Some(&[0; 16]));
        jute::put_bool(&mut hello, false);
        client.write(&hello)?;
        client.read()?;
        Ok(client)
    }

    fn write(&mut self, packet: &[u8]) -> io::Result<()> {
        let mut framed = Vec::new();
        let mark = frame::begin(&mut framed);
        framed.extend_from_slice(packet);
        frame::end(&mut framed, mark);
        self.stream.write_all(&framed)
    }

    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let mut packet = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
        self.stream.read_exact(&mut packet)?;
        Ok(packet)
    }

    /// Asks for a node without waiting for the answer.
    pub(crate) fn ask_create(&mut self, xid: i32, path: &str, data: &[u8]) -> io::Result<()> {
        let mut packet = Vec::new();
        jute::put_i32(&mut packet, xid);
        jute::put_i32(&mut packet, op_code::CREATE);
        jute::put_string(&mut packet, path);
        jute::put_buffer(&mut packet, Some(data));
        encode_list(&mut packet, &[Acl::open()]);
        jute::put_i32(&mut packet, 0);
        self.write(&packet)
    }

    /// The next reply; an error when the connection has ended.
    pub(crate) fn reply(&mut self) -> io::Result<Reply> {
        let packet = self.read()?;
        let int = |at: usize| i32::from_be_bytes(packet[at..at + 4].try_into().unwrap());
        Ok(Reply {
            xid: int(0),
            code: int(12),
            body: packet[16..].to_vec(),
        })
    }

    /// The data of a node; `None` when there is none of this path.
    pub(crate) fn data(&mut self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let mut packet = Vec::new();
        jute::put_i32(&mut packet, 1);
        jute::put_i32(&mut packet, op_code::GET_DATA);
        jute::put_string(&mut packet, path);
        jute::put_bool(&mut packet, false);
        self.write(&packet)?;
        let reply = self.reply()?;
        let data = jute::Reader::new(&reply.body).buffer();
        Ok((reply.code == 0).then(|| data.unwrap().unwrap_or_default().to_vec()))
    }
}
