//! A log of one line each, on a thread of its own: a file that takes nothing any more (a pipe that
//! nobody reads) keeps nobody waiting. Lines that find no room meanwhile are lost, and
//! counted.

/// The file.
mod file;

use crossbeam_channel::{Receiver, Sender, bounded};
use file::LogFile;
use sluice_config::FlowLogTarget;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Lines that wait for the file: some 5 MiB, if they are long.
const LINES_MAX: usize = 8192;

/// How long the last lines may take at the end.
const FINISH_TIMEOUT: Duration = Duration::from_millis(400);

/// Where lines go, and how large a file becomes.
#[derive(Clone, Debug)]
pub struct LineLogOptions {
    /// What it is called in messages, and its thread.
    pub name: &'static str,
    /// Where lines go.
    pub to: FlowLogTarget,
    /// Most bytes of the file.
    pub bytes_max: u64,
}

/// Lines that were lost.
#[derive(Debug, Default)]
pub struct LineLosses {
    /// The file did not take them.
    pub failed: AtomicU64,
    /// The file was too slow for them.
    pub full: AtomicU64,
}

/// Where lines go. What is not written is counted.
pub struct LineLog {
    name: &'static str,
    losses: Arc<LineLosses>,
    to: Sender<Message>,
    is_to_reopen: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// The way for lines, from any thread.
#[derive(Clone)]
pub struct LineSender {
    losses: Arc<LineLosses>,
    to: Sender<Message>,
}

impl LineSender {
    /// Writes a line, sooner or later.
    pub fn line(&self, line: Vec<u8>) {
        if self.to.try_send(Message::Line(line)).is_err() {
            self.losses.full.fetch_add(1, Ordering::Relaxed);
        }
    }
}

enum Message {
    Line(Vec<u8>),
    /// There is something else to do.
    Wake,
}

impl LineLog {
    /// Opens it.
    ///
    /// # Errors
    /// When the system has no thread left. What is wrong with the file is logged, and
    /// tried again.
    pub fn start(options: &LineLogOptions, losses: Arc<LineLosses>) -> io::Result<Self> {
        let (to, lines) = bounded(LINES_MAX);
        let is_to_reopen = Arc::new(AtomicBool::new(false));
        let (options, lost) = (options.clone(), Arc::clone(&losses));
        let (name, reopens) = (options.name, Arc::clone(&is_to_reopen));
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            write(LogFile::open(&options), &lines, &reopens, &lost.failed);
        })?;
        Ok(LineLog { name, losses, to, is_to_reopen, thread })
    }

    /// The way for lines. The log ends only when all of these are gone.
    pub fn sender(&self) -> LineSender {
        LineSender { losses: Arc::clone(&self.losses), to: self.to.clone() }
    }

    /// Has the file opened again, by its name.
    pub fn reopen(&self) {
        self.is_to_reopen.store(true, Ordering::Relaxed);
        // Where there is no room, lines wake it up.
        let _ = self.to.try_send(Message::Wake);
    }

    /// Writes a line, sooner or later.
    pub fn line(&self, line: Vec<u8>) {
        if self.to.try_send(Message::Line(line)).is_err() {
            self.losses.full.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Ends it with the last line. A file that does not take it in time is left behind.
    pub fn finish(self) {
        let LineLog { name, to, thread, .. } = self;
        drop(to);
        let deadline = Instant::now() + FINISH_TIMEOUT;
        while !thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        if !thread.is_finished() {
            tracing::error!("the {name} takes no lines: the last ones are lost");
        } else if thread.join().is_err() {
            tracing::error!("the {name} has panicked");
        }
    }
}

/// Writes lines until no more can come, those that there are at once.
fn write(
    mut file: LogFile,
    lines: &Receiver<Message>,
    is_to_reopen: &AtomicBool,
    lost: &AtomicU64,
) {
    while let Ok(first) = lines.recv() {
        for message in std::iter::once(first).chain(lines.try_iter().take(LINES_MAX)) {
            if is_to_reopen.swap(false, Ordering::Relaxed) {
                file.flush(lost);
                file.reopen();
            }
            if let Message::Line(line) = message {
                file.line(&line, lost);
            }
        }
        file.flush(lost);
    }
}

#[cfg(test)]
mod tests;
