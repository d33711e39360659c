//! What clients send.

use roo_proto::connect::ConnectRequest;
use roo_proto::frame::{self, Front, LENGTH_SIZE};
use roo_proto::request::{self, RequestHeader};
use roo_server::admin::words::Word;

/// The default of `jute.maxbuffer`.
pub(crate) const MAX_PACKET: usize = 0xF_FFFF;

/// Packets one behind the other, each with a request header and the body of its operation.
pub fn client_packets(bytes: &[u8]) {
    let mut rest = bytes;
    while let Front::Packet(packet) = frame::front(rest, MAX_PACKET) {
        if let Some((header, body)) = RequestHeader::split(packet) {
            // The tighter limit is that of a server with a small jute.maxbuffer.
            for limit in [MAX_PACKET, 64] {
                if let Err(bad) = request::decode(header.op, body, limit) {
                    let _ = bad.code();
                }
            }
        }
        rest = &rest[LENGTH_SIZE + packet.len()..];
    }
}

/// The first packet of a connection, without its length.
pub fn connect_request(bytes: &[u8]) {
    if let Ok(connect) = ConnectRequest::decode(bytes) {
        assert!(
            connect
                .password
                .is_none_or(|password| password.len() < bytes.len())
        );
    }
}

/// What a connection begins with: a four-letter word, or the length of a packet.
pub fn first_bytes(bytes: &[u8]) {
    if let Some(first) = bytes.first_chunk::<4>()
        && let Some(word) = Word::recognise(*first)
    {
        assert!(!word.name().is_empty());
        for settable in [true, false] {
            let needs_more = word.needs_more(bytes.len(), settable);
            assert!(
                !needs_more || bytes.len() < 12,
                "{word:?} never gets enough"
            );
        }
        return;
    }
    match frame::front(bytes, MAX_PACKET) {
        Front::Packet(packet) => connect_request(packet),
        Front::Incomplete { needed } => assert!(needed > bytes.len()),
        Front::BadLength(length) => {
            assert!(usize::try_from(length).is_ok_and(|n| n > MAX_PACKET) || length < 0);
        }
    }
}
