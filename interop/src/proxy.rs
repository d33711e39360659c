//! A TCP relay in front of a server whose connections a test program can cut, and whose door it
//! can shut. It knows nothing of what it carries.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::servers::pause;

/// How long the server behind may take to accept.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// A relay. The test that has started it calls its methods. A program of another process connects
/// to [`Proxy::control`] and writes one byte: `c` cuts all that is connected, `b` also bars the
/// door, `o` opens it again. Once the relay has done so it closes the control connection.
pub struct Proxy {
    /// Where clients connect.
    pub address: SocketAddr,
    /// Where it is told what to do.
    pub control: SocketAddr,
    door: Arc<Door>,
}

/// How bytes pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Pace {
    #[default]
    Free,
    /// Each piece waits so long.
    Slow(Duration),
    /// They wait until the pace changes; connections stay.
    Stalled,
}

#[derive(Default)]
struct Door {
    barred: AtomicBool,
    admitted: AtomicU64,
    open: Mutex<HashMap<u64, [TcpStream; 2]>>,
    pace: Mutex<Pace>,
    changed: Condvar,
}

impl Door {
    fn cut(&self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for stream in open.drain().flat_map(|(_, streams)| streams) {
            // It may have been closed by its peer.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn admit(self: &Arc<Self>, client: TcpStream, upstream: SocketAddr) -> io::Result<()> {
        let server = TcpStream::connect_timeout(&upstream, CONNECT_LIMIT)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let streams = [client.try_clone()?, server.try_clone()?];
        let (client_in, server_out) = (client.try_clone()?, server.try_clone()?);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // Safety of order: a bar that came since the accept cuts under this lock, or is seen here.
        if self.barred.load(Ordering::SeqCst) {
            return Ok(());
        }
        let number = self.admitted.fetch_add(1, Ordering::SeqCst);
        open.insert(number, streams);
        for (from, to) in [(client_in, server_out), (server, client)] {
            let door = Arc::clone(self);
            thread::spawn(move || {
                relay(from, to, &door);
                let mut open = door.open.lock().unwrap_or_else(PoisonError::into_inner);
                open.remove(&number);
            });
        }
        Ok(())
    }

    fn set_pace(&self, pace: Pace) {
        *self.pace.lock().unwrap_or_else(PoisonError::into_inner) = pace;
        self.changed.notify_all();
    }

    /// Returns when the next piece may pass.
    fn await_turn(&self) {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        while *pace == Pace::Stalled {
            let woken = self.changed.wait(pace);
            pace = woken.unwrap_or_else(PoisonError::into_inner);
        }
        let delay = match *pace {
            Pace::Slow(delay) => delay,
            Pace::Free | Pace::Stalled => return,
        };
        drop(pace);
        pause(delay);
    }
}

fn relay(mut from: TcpStream, mut to: TcpStream, door: &Door) {
    let mut buffer = [0_u8; 16 * 1024];
    while let Ok(length) = from.read(&mut buffer) {
        let Some(bytes) = buffer.get(..length).filter(|bytes| !bytes.is_empty()) else {
            break;
        };
        door.await_turn();
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
            door: Arc::clone(&door),
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

    /// Ends all connections and refuses further ones.
    pub fn bar(&self) {
        self.door.barred.store(true, Ordering::SeqCst);
        self.door.cut();
    }

    /// Holds every piece that passes for so long.
    pub fn slow(&self, delay: Duration) {
        self.door.set_pace(Pace::Slow(delay));
    }

    /// Lets connections be, and no byte pass.
    pub fn stall(&self) {
        self.door.set_pace(Pace::Stalled);
    }

    /// Ends all trouble.
    pub fn open(&self) {
        self.door.barred.store(false, Ordering::SeqCst);
        self.door.set_pace(Pace::Free);
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
                thread::spawn(move || {
                    relay(stream.try_clone().unwrap(), stream, &Door::default());
                });
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

    #[test]
    fn a_stalled_connection_lasts_and_passes_on_what_waited() {
        let proxy = Proxy::start(echo()).unwrap();
        let mut stream = TcpStream::connect(proxy.address).unwrap();
        assert!(answers(&mut stream));
        proxy.stall();
        let wait = Duration::from_millis(50);
        stream.set_read_timeout(Some(wait)).unwrap();
        assert!(!answers(&mut stream));
        proxy.slow(wait);
        stream.set_read_timeout(None).unwrap();
        assert!(matches!(stream.read(&mut [0]), Ok(1)));
        proxy.bar();
        assert!(!answers(&mut stream));
        proxy.open();
        assert!(answers(&mut TcpStream::connect(proxy.address).unwrap()));
    }
}
