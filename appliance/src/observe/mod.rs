//! What is told of single packets: to those who follow drops or capture packets
//! over the admin socket, and to the flow log.
//!
//! ```text
//! workers -- rings --> observer (one thread) --> flow log (a thread of its own)
//!    ^                     |    \--> bounded channels --> admin socket
//!    \------ control <-----/  what workers are to tell
//! ```
//!
//! Nobody here can slow a worker down: its rings are bounded and it drops what
//! finds no room. A reader that is slow loses lines, not the others; what is lost is
//! counted, and said.

/// What can be asked for.
pub mod filter;
/// The thread.
mod observer;
/// The format of captures.
pub mod pcapng;
/// Events in words.
pub mod view;

pub use filter::{FilterQuery, Follow, Want};
pub use observer::{Observer, Setup};

use crate::line_log::LineLosses;
use sluice_tables::observe::FILTERS_MAX;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// Those who may watch at once.
pub const WATCHERS_MAX: usize = FILTERS_MAX;

/// Pieces that wait for one reader: lines, or copied packets.
const PIECES_MAX: usize = 4096;

/// Where those who watch meet the observer.
#[derive(Debug, Default)]
pub struct Hub {
    desk: Mutex<Desk>,
    bell: Condvar,
    /// What was lost on the way from the rings.
    pub losses: Losses,
    /// Watches that are not over: what they are sent may still be on its way.
    open: AtomicUsize,
}

/// Counts of what was lost behind the workers' rings.
#[derive(Debug, Default)]
pub struct Losses {
    /// Lines that a follower was too slow for.
    pub followers: AtomicU64,
    /// Packets that a capture's reader was too slow for.
    pub captures: AtomicU64,
    /// Lines of the flow log.
    pub flow_log: Arc<LineLosses>,
}

#[derive(Debug, Default)]
struct Desk {
    watchers: Vec<Watcher>,
    next_id: u64,
    /// Workers are to be told anew.
    is_changed: bool,
    /// The flow log's file is to be opened again.
    is_to_reopen: bool,
    is_stopping: bool,
}

/// One who watches, as the observer sees it.
#[derive(Debug)]
struct Watcher {
    id: u64,
    want: Want,
    /// The end comes after so many packets.
    count: Option<u64>,
    to: mpsc::Sender<Piece>,
    /// Workers have been told of it.
    has_begun: bool,
    /// It is to be told that it is over, and goes.
    is_ending: bool,
}

/// What a watcher is sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// It begins.
    Begun,
    /// It cannot begin.
    Failed(String),
    /// Lines, or blocks of a capture.
    Bytes(Vec<u8>),
}

/// One who watches. It is over when this goes.
#[derive(Debug)]
pub struct Watch {
    hub: Arc<Hub>,
    id: u64,
    /// What it is sent; `None` after the last.
    pub pieces: mpsc::Receiver<Piece>,
}

impl Hub {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to watch.
    ///
    /// # Errors
    /// In words, when too many do.
    pub fn watch(self: &Arc<Self>, want: Want, count: Option<u64>) -> Result<Watch, String> {
        let mut desk = self.desk();
        if desk.watchers.len() >= WATCHERS_MAX {
            return Err(format!(
                "{WATCHERS_MAX} follow drops or capture packets already, and no more may at once"
            ));
        }
        let id = desk.next_id;
        desk.next_id += 1;
        // One more, for what is said at the end.
        let (to, pieces) = mpsc::channel(PIECES_MAX + 1);
        desk.watchers.push(Watcher { id, want, count, to, has_begun: false, is_ending: false });
        desk.is_changed = true;
        self.bell.notify_all();
        self.open.fetch_add(1, Ordering::Relaxed);
        Ok(Watch { hub: Arc::clone(self), id, pieces })
    }

    /// Has the flow log's file opened again: it was moved.
    pub fn reopen(&self) {
        self.desk().is_to_reopen = true;
        self.bell.notify_all();
    }

    /// Workers have been told of these.
    fn begin(&self, ids: &[u64]) {
        let mut desk = self.desk();
        let begun = desk.watchers.iter_mut().filter(|of| ids.contains(&of.id));
        begun.for_each(|of| of.has_begun = true);
    }

    /// The same of all, in place of an observer.
    #[cfg(test)]
    pub fn begin_all(&self) {
        let ids: Vec<u64> = self.desk().watchers.iter().map(|of| of.id).collect();
        self.begin(&ids);
    }

    /// True while somebody has not been sent all.
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed) > 0
    }

    /// True when somebody asks for the end.
    #[cfg(test)]
    pub fn is_ending(&self) -> bool {
        self.desk().watchers.iter().any(|of| of.is_ending)
    }

    /// Those who follow drops, and those who capture packets, once workers have been told.
    pub fn watchers(&self) -> [usize; 2] {
        let desk = self.desk();
        let begun = desk.watchers.iter().filter(|of| of.has_begun);
        let captures = begun.clone().filter(|of| matches!(of.want, Want::Packets(_))).count();
        [begun.count() - captures, captures]
    }
}

impl Watch {
    /// Asks for the end: what is on its way still comes.
    pub fn end(&self) {
        let mut desk = self.hub.desk();
        desk.watchers.iter_mut().filter(|of| of.id == self.id).for_each(|of| of.is_ending = true);
        self.hub.bell.notify_all();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut desk = self.hub.desk();
        desk.watchers.retain(|of| of.id != self.id);
        desk.is_changed = true;
        self.hub.bell.notify_all();
        self.hub.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Losses {
    fn add(counter: &AtomicU64, lost: u64) {
        counter.fetch_add(lost, Ordering::Relaxed);
    }
}
