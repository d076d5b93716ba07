use super::Losses;
use sluice_config::{FlowLog as Config, FlowLogTarget};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

/// How long a file that failed is left alone.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Where lines go. What a file does not take is counted; that it fails is logged
/// once, until it works again.
pub struct FlowLog {
    to: FlowLogTarget,
    out: Option<BufWriter<Box<dyn Write + Send>>>,
    failed: Option<Instant>,
    /// Lines since the last flush.
    unwritten: u64,
}

impl FlowLog {
    /// Opens it.
    pub fn open(config: &Config) -> Self {
        let mut log = FlowLog { to: config.to.clone(), out: None, failed: None, unwritten: 0 };
        log.reopen();
        log
    }

    /// Opens the file again, by its name.
    pub fn reopen(&mut self) {
        self.out = None;
        match open(&self.to) {
            Ok(out) => {
                if self.failed.take().is_some() {
                    tracing::info!(path = %self.path(), "the flow log is written again");
                }
                self.out = Some(BufWriter::new(out));
            }
            Err(error) => self.fail(&error),
        }
    }

    /// Writes a line.
    pub fn line(&mut self, line: &[u8], lost: &AtomicU64) {
        if self.out.is_none() && self.failed.is_none_or(|at| at.elapsed() >= RETRY_AFTER) {
            self.reopen();
        }
        let Some(out) = &mut self.out else { return Losses::add(lost, 1) };
        self.unwritten += 1;
        if let Err(error) = out.write_all(line) {
            self.give_up(&error, lost);
        }
    }

    /// Hands the lines to the kernel.
    pub fn flush(&mut self, lost: &AtomicU64) {
        let Some(out) = &mut self.out else { return };
        match out.flush() {
            Ok(()) => self.unwritten = 0,
            Err(error) => self.give_up(&error, lost),
        }
    }

    fn give_up(&mut self, error: &io::Error, lost: &AtomicU64) {
        Losses::add(lost, std::mem::take(&mut self.unwritten));
        // What it holds would be written once more when it goes.
        if let Some(out) = self.out.take() {
            drop(out.into_parts());
        }
        self.fail(error);
    }

    fn fail(&mut self, error: &io::Error) {
        if self.failed.replace(Instant::now()).is_none() {
            let path = self.path();
            tracing::error!(%path, %error, "the flow log cannot be written; its lines are lost");
        }
    }

    fn path(&self) -> String {
        match &self.to {
            FlowLogTarget::Stdout => "stdout".to_owned(),
            FlowLogTarget::File(path) => path.display().to_string(),
        }
    }
}

fn open(to: &FlowLogTarget) -> io::Result<Box<dyn Write + Send>> {
    Ok(match to {
        FlowLogTarget::Stdout => Box::new(io::stdout()),
        FlowLogTarget::File(path) => {
            Box::new(File::options().create(true).append(true).open(path)?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::sync::atomic::Ordering;

    fn log(path: std::path::PathBuf) -> FlowLog {
        FlowLog::open(&Config { to: FlowLogTarget::File(path), sample: 1, per_second: 1 })
    }

    #[test]
    fn a_file_that_was_moved_goes_on_under_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("flows"), folder.path().join("flows.1"));
        let lost = AtomicU64::new(0);
        let mut log = log(path.clone());
        log.line(b"1\n", &lost);
        log.flush(&lost);
        fs::rename(&path, &old).unwrap();
        log.line(b"2\n", &lost);
        log.flush(&lost);
        log.reopen();
        log.line(b"3\n", &lost);
        log.flush(&lost);
        assert_eq!(fs::read_to_string(old).unwrap(), "1\n2\n");
        assert_eq!(fs::read_to_string(path).unwrap(), "3\n");
        assert_eq!(lost.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn lines_that_are_not_taken_are_counted_and_a_file_that_comes_back_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("later/flows");
        let lost = AtomicU64::new(0);
        let mut log = log(path.clone());
        log.line(b"1\n", &lost);
        log.line(b"2\n", &lost);
        assert_eq!(lost.load(Ordering::Relaxed), 2);
        fs::create_dir(folder.path().join("later")).unwrap();
        log.reopen();
        log.line(b"3\n", &lost);
        log.flush(&lost);
        assert_eq!(fs::read_to_string(path).unwrap(), "3\n");
    }

    #[test]
    fn a_full_disk_loses_what_it_did_not_take() {
        let lost = AtomicU64::new(0);
        let mut log = log("/dev/full".into());
        log.line(b"1\n", &lost);
        log.line(b"2\n", &lost);
        log.flush(&lost);
        assert_eq!(lost.load(Ordering::Relaxed), 2);
        log.line(b"3\n", &lost);
        assert_eq!(lost.load(Ordering::Relaxed), 3, "it is left alone for a while");
    }
}
