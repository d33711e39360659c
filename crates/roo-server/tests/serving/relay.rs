//! A way between two servers that a test can stop and cut.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

#[derive(Default)]
struct State {
    is_held: bool,
    is_cut: bool,
    streams: Vec<TcpStream>,
}

/// Ways that stand still and go on together.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<State>, Condvar)>);

impl Gate {
    /// What comes from now on waits.
    pub(crate) fn hold(&self) {
        self.0.0.lock().unwrap().is_held = true;
    }

    /// What waits goes on.
    pub(crate) fn release(&self) {
        self.0.0.lock().unwrap().is_held = false;
        self.0.1.notify_all();
    }

    /// Nothing goes any more, and both ends learn of it.
    pub(crate) fn cut(&self) {
        let mut state = self.0.0.lock().unwrap();
        state.is_cut = true;
        for stream in state.streams.drain(..) {
            // The other end may have been faster.
            let _ = stream.shutdown(Shutdown::Both);
        }
        drop(state);
        self.0.1.notify_all();
    }

    /// A port behind which `target` is.
    pub(crate) fn before(&self, target: SocketAddr) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let gate = self.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                // A server that has not started yet is dialled again.
                let (Ok(near), Ok(far)) = (stream, TcpStream::connect(target)) else {
                    continue;
                };
                if !gate.adopt(&near, &far) {
                    return;
                }
            }
        });
        address
    }

    fn adopt(&self, near: &TcpStream, far: &TcpStream) -> bool {
        let mut state = self.0.0.lock().unwrap();
        if state.is_cut {
            return false;
        }
        for (from, to) in [(near, far), (far, near)] {
            state.streams.push(from.try_clone().unwrap());
            let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            let gate = self.clone();
            thread::spawn(move || gate.pump(from, to));
        }
        true
    }

    fn pump(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            let mut state = self.0.0.lock().unwrap();
            while state.is_held && !state.is_cut {
                state = self.0.1.wait(state).unwrap();
            }
            if state.is_cut || to.write_all(&buffer[..n]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    }
}
