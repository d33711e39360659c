//! A TCP relay in front of a server whose connections a test program can cut, and whose door it
//! can shut. It knows nothing of what it carries.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// A relay. A program connects to [`Proxy::control`] and writes one byte: `c` cuts all that is
/// connected, `b` also bars the door, `o` opens it again. Once the relay has done so it closes
/// the control connection.
pub struct Proxy {
    /// Where clients connect.
    pub address: SocketAddr,
    /// Where it is told what to do.
    pub control: SocketAddr,
}

#[derive(Default)]
struct Door {
    barred: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Door {
    fn cut(&self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for stream in open.drain(..) {
            // It may have been closed by its peer.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn admit(&self, client: TcpStream, upstream: SocketAddr) -> io::Result<()> {
        let server = TcpStream::connect(upstream)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // Safety of order: a bar that came since the accept cuts under this lock, or is seen here.
        if self.barred.load(Ordering::SeqCst) {
            return Ok(());
        }
        open.push(client.try_clone()?);
        open.push(server.try_clone()?);
        let (client_in, server_out) = (client.try_clone()?, server.try_clone()?);
        thread::spawn(move || relay(client_in, server_out));
        thread::spawn(move || relay(server, client));
        Ok(())
    }
}

fn relay(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0_u8; 16 * 1024];
    while let Ok(length) = from.read(&mut buffer) {
        let Some(bytes) = buffer.get(..length).filter(|bytes| !bytes.is_empty()) else {
            break;
        };
        if to.write_all(bytes).is_err() {
            break;
        }
    }
    // Either may be closed already.
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

fn obey(mut control: TcpStream, door: &Door) -> io::Result<()> {
    let mut order = [0_u8; 1];
    control.read_exact(&mut order)?;
    match order {
        [b'c'] => door.cut(),
        [b'b'] => {
            door.barred.store(true, Ordering::SeqCst);
            door.cut();
        }
        [b'o'] => door.barred.store(false, Ordering::SeqCst),
        _ => {}
    }
    Ok(())
}

impl Proxy {
    /// Starts a relay to a server. It lasts as long as this process.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn start(upstream: SocketAddr) -> io::Result<Self> {
        let door = Arc::new(Door::default());
        let clients = TcpListener::bind("127.0.0.1:0")?;
        let controls = TcpListener::bind("127.0.0.1:0")?;
        let proxy = Self {
            address: clients.local_addr()?,
            control: controls.local_addr()?,
        };
        let gate = Arc::clone(&door);
        thread::spawn(move || {
            for client in clients.incoming().flatten() {
                if !gate.barred.load(Ordering::SeqCst) {
                    // A server that refuses is seen by the client as a closed connection.
                    let _ = gate.admit(client, upstream);
                }
            }
        });
        thread::spawn(move || {
            for control in controls.incoming().flatten() {
                // A control connection without an order does nothing.
                let _ = obey(control, &door);
            }
        });
        Ok(proxy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || relay(stream.try_clone().unwrap(), stream));
            }
        });
        address
    }

    fn order(proxy: &Proxy, order: &[u8]) {
        let mut control = TcpStream::connect(proxy.control).unwrap();
        control.write_all(order).unwrap();
        assert_eq!(control.read(&mut [0]).unwrap(), 0);
    }

    fn answers(stream: &mut TcpStream) -> bool {
        let mut byte = [0];
        stream.write_all(b"x").is_ok() && matches!(stream.read(&mut byte), Ok(1))
    }

    #[test]
    fn a_cut_ends_connections_and_a_bar_refuses_new_ones() {
        let proxy = Proxy::start(echo()).unwrap();
        let mut first = TcpStream::connect(proxy.address).unwrap();
        assert!(answers(&mut first));
        order(&proxy, b"c");
        assert!(!answers(&mut first));
        let mut second = TcpStream::connect(proxy.address).unwrap();
        assert!(answers(&mut second));
        order(&proxy, b"b");
        assert!(!answers(&mut second));
        let mut third = TcpStream::connect(proxy.address).unwrap();
        assert!(!answers(&mut third));
        order(&proxy, b"o");
        let mut fourth = TcpStream::connect(proxy.address).unwrap();
        assert!(answers(&mut fourth));
    }
}
