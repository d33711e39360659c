//! A queue that is emptied in one go: whoever takes from it gets everything there is.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// See the module. What bounds it are the limits on requests in flight, and where a leader fills
/// it, its link's window.
#[derive(Debug)]
pub struct BatchQueue<T> {
    items: Mutex<Vec<T>>,
    arrived: Condvar,
}

impl<T> Default for BatchQueue<T> {
    fn default() -> Self {
        Self {
            items: Mutex::new(Vec::new()),
            arrived: Condvar::new(),
        }
    }
}

impl<T> BatchQueue<T> {
    /// Puts one in.
    pub fn push(&self, item: T) {
        self.items.lock().push(item);
        self.arrived.notify_one();
    }

    /// Puts a batch in, and leaves the vector empty.
    pub fn push_all(&self, batch: &mut Vec<T>) {
        if !batch.is_empty() {
            self.items.lock().append(batch);
            self.arrived.notify_one();
        }
    }

    /// Waits for something, at most for `timeout`, and takes everything there is.
    pub fn take(&self, timeout: Duration, batch: &mut Vec<T>) {
        let mut items = self.items.lock();
        if items.is_empty() {
            self.arrived.wait_for(&mut items, timeout);
        }
        std::mem::swap(&mut *items, batch);
    }
}
