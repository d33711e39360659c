//! The handshake records; they travel without request or reply header.

use alloc::vec::Vec;

use crate::ids::{SessionId, Zxid};
use crate::jute::{self, Reader, Result};
use crate::{frame, jute::DecodeError};

/// Bytes of a session password.
pub const PASSWORD_SIZE: usize = 16;

/// The first packet of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectRequest<'a> {
    /// Ignored by the server.
    pub protocol_version: i32,
    /// The largest zxid the client has seen.
    pub last_zxid_seen: Zxid,
    /// Session timeout asked for, ms.
    pub timeout_ms: i32,
    /// 0 asks for a new session.
    pub session: SessionId,
    /// The session's password; ignored for a new session.
    pub password: Option<&'a [u8]>,
    /// `None` when the client does not send the byte (3.3 and older, some third-party clients).
    pub read_only: Option<bool>,
}

impl<'a> ConnectRequest<'a> {
    /// Reads the record; bytes behind it are ignored.
    ///
    /// # Errors
    /// When the packet is shorter than the record without its last byte.
    pub fn decode(bytes: &'a [u8]) -> Result<Self> {
        let mut r = Reader::new(bytes);
        let protocol_version = r.i32()?;
        let last_zxid_seen = Zxid(r.i64()?);
        let timeout_ms = r.i32()?;
        let session = SessionId(r.i64()?);
        let password = r.buffer()?;
        let read_only = match r.bool() {
            Ok(flag) => Some(flag),
            Err(DecodeError::Truncated) => None,
            Err(other) => return Err(other),
        };
        Ok(Self {
            protocol_version,
            last_zxid_seen,
            timeout_ms,
            session,
            password,
            read_only,
        })
    }
}

impl ConnectRequest<'_> {
    /// Writes the record as a frame.
    pub fn encode_frame(&self, out: &mut Vec<u8>) {
        let mark = frame::begin(out);
        jute::put_i32(out, self.protocol_version);
        jute::put_i64(out, self.last_zxid_seen.0);
        jute::put_i32(out, self.timeout_ms);
        jute::put_i64(out, self.session.0);
        jute::put_buffer(out, self.password);
        if let Some(flag) = self.read_only {
            jute::put_bool(out, flag);
        }
        frame::end(out, mark);
    }
}

/// The server's answer to a [`ConnectRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectResponse {
    /// Negotiated session timeout, ms; 0 refuses the session.
    pub timeout_ms: i32,
    /// 0 when refused.
    pub session: SessionId,
    /// All zero when refused.
    pub password: [u8; PASSWORD_SIZE],
    /// Sent only to clients that sent theirs.
    pub read_only: Option<bool>,
}

impl ConnectResponse {
    /// The answer to an expired or unknown session, or to a wrong password.
    #[must_use]
    pub const fn refused(read_only: Option<bool>) -> Self {
        Self {
            timeout_ms: 0,
            session: SessionId(0),
            password: [0; PASSWORD_SIZE],
            read_only,
        }
    }

    /// Reads the record; bytes behind it are ignored.
    ///
    /// # Errors
    /// When the packet is no such record: its version is not 0, or the password is not one of
    /// [`PASSWORD_SIZE`] bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut r = Reader::new(bytes);
        if r.i32()? != 0 {
            return Err(DecodeError::Invalid("the protocol's version"));
        }
        let timeout_ms = r.i32()?;
        let session = SessionId(r.i64()?);
        let password = r.buffer()?.ok_or(DecodeError::Null)?;
        let password = password
            .try_into()
            .map_err(|_| DecodeError::Invalid("the password's length"))?;
        Ok(Self {
            timeout_ms,
            session,
            password,
            read_only: r.bool().ok(),
        })
    }

    /// Writes the record as a frame.
    pub fn encode_frame(&self, out: &mut Vec<u8>) {
        let mark = frame::begin(out);
        jute::put_i32(out, 0);
        jute::put_i32(out, self.timeout_ms);
        jute::put_i64(out, self.session.0);
        jute::put_buffer(out, Some(&self.password));
        if let Some(flag) = self.read_only {
            jute::put_bool(out, flag);
        }
        frame::end(out, mark);
    }
}

/// The password of a session: 16 bytes of `java.util.Random` seeded by its id, so that every
/// server of an ensemble, Apache's included, can check it. Java: `ZooKeeperServer.generatePasswd`.
#[must_use]
pub fn session_password(session: SessionId) -> [u8; PASSWORD_SIZE] {
    const MULTIPLIER: u64 = 0x5_DEEC_E66D;
    const MASK: u64 = (1 << 48) - 1;
    let mut state = ((session.0 ^ 0xB341_5C00).cast_unsigned() ^ MULTIPLIER) & MASK;
    let mut password = [0; PASSWORD_SIZE];
    for word in password.chunks_exact_mut(4) {
        state = state.wrapping_mul(MULTIPLIER).wrapping_add(0xB) & MASK;
        #[allow(clippy::cast_possible_truncation)] // The upper 32 of 48 bits.
        let random = (state >> 16) as u32;
        word.copy_from_slice(&random.to_le_bytes());
    }
    password
}

/// The first session id of a server that starts at `now_ms` on the monotonic clock. Java:
/// `SessionTrackerImpl.initializeNextSessionId`.
#[must_use]
pub fn initial_session_id(server_id: i64, now_ms: u64) -> SessionId {
    let id = (((now_ms << 24) >> 8) | (server_id.cast_unsigned() << 56)).cast_signed();
    SessionId(if id == i64::MIN { id + 1 } else { id })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_apaches() {
        let expected = [
            0x05, 0x4c, 0xc7, 0x4a, 0x37, 0x32, 0x7d, 0xb2, 0x15, 0xe7, 0x02, 0xe2, 0x0c, 0x73,
            0xf0, 0x05,
        ];
        assert_eq!(session_password(SessionId(0x0100_0000_0000_0001)), expected);
    }

    #[test]
    fn session_ids_carry_the_server_and_the_clock() {
        let id = initial_session_id(1, 0x0123_4567_89AB).0;
        assert_eq!(id, 0x0123_4567_89AB_0000 | 0x0100_0000_0000_0000);
        assert_eq!(initial_session_id(0x80, 0).0, i64::MIN + 1);
    }

    #[test]
    fn each_side_reads_what_the_other_writes() {
        for read_only in [None, Some(false), Some(true)] {
            let request = ConnectRequest {
                protocol_version: 0,
                last_zxid_seen: Zxid(7),
                timeout_ms: 30_000,
                session: SessionId(5),
                password: Some(&[3; PASSWORD_SIZE]),
                read_only,
            };
            let mut out = Vec::new();
            request.encode_frame(&mut out);
            assert_eq!(ConnectRequest::decode(&out[4..]), Ok(request));
            let response = ConnectResponse {
                timeout_ms: 30_000,
                session: SessionId(5),
                password: [3; PASSWORD_SIZE],
                read_only,
            };
            let mut out = Vec::new();
            response.encode_frame(&mut out);
            assert_eq!(ConnectResponse::decode(&out[4..]), Ok(response));
        }
        assert!(ConnectResponse::decode(b"HTTP/1.1 400 Bad Request\r\n\r\n").is_err());
    }

    #[test]
    fn the_read_only_byte_is_optional() {
        let mut bytes = Vec::new();
        jute::put_i32(&mut bytes, 0);
        jute::put_i64(&mut bytes, 7);
        jute::put_i32(&mut bytes, 30_000);
        jute::put_i64(&mut bytes, 0);
        jute::put_buffer(&mut bytes, Some(&[0; 16]));
        assert_eq!(bytes.len(), 44);
        assert_eq!(ConnectRequest::decode(&bytes).unwrap().read_only, None);
        bytes.push(1);
        assert_eq!(
            ConnectRequest::decode(&bytes).unwrap().read_only,
            Some(true)
        );
        assert!(ConnectRequest::decode(&bytes[..40]).is_err());
    }
}
