//! The end of an engine, as its threads wait for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::bytes::lock;

/// Said once; whoever pauses meanwhile wakes at once.
#[derive(Default)]
pub struct Closing {
    said: AtomicBool,
    gate: Mutex<()>,
    bell: Condvar,
}

impl Closing {
    /// Whether the engine closes.
    pub fn is_said(&self) -> bool {
        self.said.load(Ordering::SeqCst)
    }

    /// Says it; whether this call was the first.
    pub fn say(&self) -> bool {
        let gate = lock(&self.gate);
        let first = !self.said.swap(true, Ordering::SeqCst);
        drop(gate);
        self.bell.notify_all();
        first
    }

    /// Waits for `time` or until the engine closes; whether it closes.
    pub fn pause(&self, time: Duration) -> bool {
        let Some(deadline) = Instant::now().checked_add(time) else {
            return self.is_said();
        };
        let mut gate = lock(&self.gate);
        while !self.is_said() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            gate = self
                .bell
                .wait_timeout(gate, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_lasts_its_time_when_nothing_ends_it() {
        let closing = Closing::default();
        let start = Instant::now();
        assert!(!closing.pause(Duration::from_millis(20)));
        assert!(start.elapsed() >= Duration::from_millis(20));
    }

    #[test]
    fn saying_it_ends_every_pause_at_once() {
        let closing = Closing::default();
        let start = Instant::now();
        std::thread::scope(|threads| {
            let pauses = [(); 3].map(|()| threads.spawn(|| closing.pause(Duration::from_secs(60))));
            assert!(closing.say());
            assert!(pauses.into_iter().all(|pause| pause.join().unwrap()));
        });
        assert!(start.elapsed() < Duration::from_secs(30));
        assert!(!closing.say());
        assert!(closing.pause(Duration::from_secs(60)));
    }
}
