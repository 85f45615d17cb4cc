//! Threads that take work from a queue.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};

use crate::bytes::lock;

struct State<T> {
    waiting: VecDeque<T>,
    closing: bool,
}

/// A queue shared by one side that puts and several threads that take. Its bound is kept by the
/// submission counters of the engine, which admit work before it gets here.
pub struct WorkQueue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
}

impl<T> Default for WorkQueue<T> {
    fn default() -> Self {
        let state = State {
            waiting: VecDeque::new(),
            closing: false,
        };
        WorkQueue {
            state: Mutex::new(state),
            filled: Condvar::new(),
        }
    }
}

impl<T> WorkQueue<T> {
    /// Adds work and wakes one thread.
    pub fn put(&self, work: T) {
        lock(&self.state).waiting.push_back(work);
        self.filled.notify_one();
    }

    /// The next piece of work; None once closed and empty.
    pub fn take(&self) -> Option<T> {
        let mut state = lock(&self.state);
        loop {
            if let Some(work) = state.waiting.pop_front() {
                return Some(work);
            }
            if state.closing {
                return None;
            }
            state = self
                .filled
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Threads end when the queue is empty.
    pub fn close(&self) {
        lock(&self.state).closing = true;
        self.filled.notify_all();
    }

    /// Takes what waits without running it.
    pub fn drain(&self) -> Vec<T> {
        lock(&self.state).waiting.drain(..).collect()
    }

    /// Pieces of work that wait.
    pub fn depth(&self) -> usize {
        lock(&self.state).waiting.len()
    }
}
