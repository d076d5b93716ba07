use super::LineLogOptions;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use sluice_config::FlowLogTarget;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a file that failed is left alone.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Who may read a file that is made: its group too, for those who collect logs.
const MODE: u32 = 0o640;

/// The file. What it does not take is counted; that it fails is logged once, until it
/// works again. One that is full becomes `PATH.1`, in place of the last one.
pub struct LogFile {
    name: &'static str,
    to: FlowLogTarget,
    bytes_max: u64,
    out: Option<Out>,
    failed: Option<Instant>,
    /// Lines since the last flush.
    unwritten: u64,
}

struct Out {
    writer: BufWriter<Box<dyn Write + Send>>,
    /// Bytes that a file has; `None`: it is no file, and never full.
    bytes: Option<u64>,
}

impl LogFile {
    /// Opens it.
    pub fn open(options: &LineLogOptions) -> Self {
        let LineLogOptions { name, to, bytes_max } = options.clone();
        let mut log = LogFile { name, to, bytes_max, out: None, failed: None, unwritten: 0 };
        log.reopen();
        log
    }

    /// Opens the file again, by its name.
    pub fn reopen(&mut self) {
        self.out = None;
        match open(&self.to) {
            Ok(out) => {
                if self.failed.take().is_some() {
                    tracing::info!(path = %self.path(), "the {} is written again", self.name);
                }
                self.out = Some(out);
            }
            Err(error) => self.fail(&error),
        }
    }

    /// Writes a line.
    pub fn line(&mut self, line: &[u8], lost: &AtomicU64) {
        let len = line.len() as u64;
        let bytes_max = self.bytes_max;
        let is_full = |bytes: u64| bytes > 0 && bytes + len > bytes_max;
        if self.out.is_none() && self.failed.is_none_or(|at| at.elapsed() >= RETRY_AFTER) {
            self.reopen();
        }
        if self.out.as_ref().and_then(|out| out.bytes).is_some_and(is_full) {
            self.flush(lost);
            self.begin_anew();
        }
        let Some(out) = &mut self.out else { return count(lost, 1) };
        self.unwritten += 1;
        out.bytes = out.bytes.map(|bytes| bytes + len);
        if let Err(error) = out.writer.write_all(line) {
            self.give_up(&error, lost);
        }
    }

    /// Hands the lines to the kernel.
    pub fn flush(&mut self, lost: &AtomicU64) {
        let Some(out) = &mut self.out else { return };
        match out.writer.flush() {
            Ok(()) => self.unwritten = 0,
            Err(error) => self.give_up(&error, lost),
        }
    }

    /// Puts a full file aside. Where that cannot be, nothing more is written.
    fn begin_anew(&mut self) {
        if self.out.take().is_none() {
            return;
        }
        let FlowLogTarget::File(path) = &self.to else { return };
        match fs::rename(path, last(path)) {
            Ok(()) => self.reopen(),
            Err(error) => self.fail(&error),
        }
    }

    fn give_up(&mut self, error: &io::Error, lost: &AtomicU64) {
        count(lost, std::mem::take(&mut self.unwritten));
        // What it holds would be written once more when it goes.
        if let Some(out) = self.out.take() {
            drop(out.writer.into_parts());
        }
        self.fail(error);
    }

    fn fail(&mut self, error: &io::Error) {
        if self.failed.replace(Instant::now()).is_none() {
            let (name, path) = (self.name, self.path());
            tracing::error!(%path, %error, "the {name} cannot be written; its lines are lost");
        }
    }

    fn path(&self) -> String {
        match &self.to {
            FlowLogTarget::Stdout => "stdout".to_owned(),
            FlowLogTarget::File(path) => path.display().to_string(),
        }
    }
}

fn count(lost: &AtomicU64, lines: u64) {
    lost.fetch_add(lines, Ordering::Relaxed);
}

/// Where a full file goes.
fn last(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

/// Opens without waiting: a pipe that nobody reads is an error. Writing waits for its
/// reader all the same.
fn open(to: &FlowLogTarget) -> io::Result<Out> {
    let FlowLogTarget::File(path) = to else {
        return Ok(Out { writer: BufWriter::new(Box::new(io::stdout())), bytes: None });
    };
    let flags = OFlags::NONBLOCK.bits() as i32;
    let mut options = File::options();
    let file = options.create(true).append(true).mode(MODE).custom_flags(flags).open(path)?;
    fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
    let metadata = file.metadata()?;
    let bytes = metadata.is_file().then_some(metadata.len());
    Ok(Out { writer: BufWriter::new(Box::new(file)), bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn log_of(path: PathBuf, bytes_max: u64) -> LogFile {
        let to = FlowLogTarget::File(path);
        LogFile::open(&LineLogOptions { name: "test log", to, bytes_max })
    }

    fn log(path: PathBuf) -> LogFile {
        log_of(path, u64::MAX)
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
        assert_eq!(fs::read_to_string(&path).unwrap(), "3\n");
        assert_eq!(lost.load(Ordering::Relaxed), 0);
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o027, 0, "{mode:o}: for its owner, and its group to read");
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

    #[test]
    fn a_full_file_is_put_aside_and_the_newest_lines_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("flows"), folder.path().join("flows.1"));
        fs::write(&path, "0\n").unwrap();
        let lost = AtomicU64::new(0);
        let mut log = log_of(path.clone(), 6);
        for line in 1..=7 {
            log.line(format!("{line}\n").as_bytes(), &lost);
        }
        log.flush(&lost);
        assert_eq!(fs::read_to_string(&old).unwrap(), "3\n4\n5\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "6\n7\n");
        // A line that is longer than a file may be has one for itself.
        log.line(b"8, and more\n", &lost);
        log.line(b"9\n", &lost);
        log.flush(&lost);
        assert_eq!(fs::read_to_string(&old).unwrap(), "8, and more\n");
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), lost.into_inner()), ("9\n", 0));
    }

    #[test]
    fn a_file_that_cannot_be_put_aside_grows_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flows");
        fs::create_dir(folder.path().join("flows.1")).unwrap();
        let lost = AtomicU64::new(0);
        let mut log = log_of(path.clone(), 4);
        for line in 1..=4 {
            log.line(format!("{line}\n").as_bytes(), &lost);
        }
        log.flush(&lost);
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n2\n");
        assert_eq!(lost.into_inner(), 2);
    }
}
