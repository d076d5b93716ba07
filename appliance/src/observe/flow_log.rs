//! The flow log, on a thread of its own: a file that takes nothing any more (a pipe that
//! nobody reads) keeps nobody waiting. Lines that find no room meanwhile are lost, and
//! counted.

/// The file.
mod file;

use super::{Hub, Losses};
use crossbeam_channel::{Receiver, Sender, bounded};
use file::LogFile;
use sluice_config::FlowLog as Config;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Lines that wait for the file: some 5 MiB, if they are long.
const LINES_MAX: usize = 8192;

/// How long the last lines may take at the end.
const FINISH_TIMEOUT: Duration = Duration::from_millis(400);

/// Where lines go. What is not written is counted in [`Hub::losses`].
pub struct FlowLog {
    hub: Arc<Hub>,
    to: Sender<Message>,
    is_to_reopen: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

enum Message {
    Line(Vec<u8>),
    /// There is something else to do.
    Wake,
}

impl FlowLog {
    /// Opens it.
    ///
    /// # Errors
    /// When the system has no thread left. What is wrong with the file is logged, and
    /// tried again.
    pub fn start(config: &Config, hub: Arc<Hub>) -> io::Result<Self> {
        let (to, lines) = bounded(LINES_MAX);
        let is_to_reopen = Arc::new(AtomicBool::new(false));
        let (config, losses) = (config.clone(), Arc::clone(&hub));
        let reopens = Arc::clone(&is_to_reopen);
        let thread = std::thread::Builder::new().name("flow log".to_owned()).spawn(move || {
            write(LogFile::open(&config), &lines, &reopens, &losses.losses);
        })?;
        Ok(FlowLog { hub, to, is_to_reopen, thread })
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
            Losses::add(&self.hub.losses.flow_log_full, 1);
        }
    }

    /// Ends it with the last line. A file that does not take it in time is left behind.
    pub fn finish(self) {
        let FlowLog { to, thread, .. } = self;
        drop(to);
        let deadline = Instant::now() + FINISH_TIMEOUT;
        while !thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        if !thread.is_finished() {
            tracing::error!("the flow log takes no lines: the last ones are lost");
        } else if thread.join().is_err() {
            tracing::error!("the flow log has panicked");
        }
    }
}

/// Writes lines until no more can come, those that there are at once.
fn write(mut file: LogFile, lines: &Receiver<Message>, is_to_reopen: &AtomicBool, losses: &Losses) {
    while let Ok(first) = lines.recv() {
        for message in std::iter::once(first).chain(lines.try_iter().take(LINES_MAX)) {
            if is_to_reopen.swap(false, Ordering::Relaxed) {
                file.flush(&losses.flow_log);
                file.reopen();
            }
            if let Message::Line(line) = message {
                file.line(&line, &losses.flow_log);
            }
        }
        file.flush(&losses.flow_log);
    }
}

#[cfg(test)]
mod tests;
