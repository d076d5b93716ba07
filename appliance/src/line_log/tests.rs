use super::*;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use sluice_config::FlowLogTarget;
use std::fs::File;
use std::path::{Path, PathBuf};

fn pipe(folder: &Path) -> PathBuf {
    let path = folder.join("pipe");
    mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    path
}

fn start(path: PathBuf) -> (Arc<LineLosses>, LineLog) {
    let losses: Arc<LineLosses> = Arc::default();
    let to = FlowLogTarget::File(path);
    let options = LineLogOptions { name: "test log", to, bytes_max: u64::MAX };
    let log = LineLog::start(&options, Arc::clone(&losses)).unwrap();
    (losses, log)
}

#[test]
fn a_pipe_that_nobody_has_open_keeps_nobody_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let (losses, log) = start(pipe(folder.path()));
    log.line(b"1\n".to_vec());
    log.line(b"2\n".to_vec());
    log.finish();
    assert_eq!(losses.failed.load(Ordering::Relaxed), 2);
}

#[test]
fn a_pipe_that_nobody_reads_keeps_nobody_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let path = pipe(folder.path());
    let reader = File::options().read(true).write(true).open(&path).unwrap();
    let (losses, log) = start(path);
    // A pipe holds 64 KiB, and who writes 8 KiB.
    for _ in 0..LINES_MAX + 500 {
        log.line(vec![b'x'; 1024]);
    }
    assert!(losses.full.load(Ordering::Relaxed) >= 400);
    log.finish();
    drop(reader);
}

#[test]
fn all_that_is_taken_is_written_before_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flows");
    let (losses, log) = start(path.clone());
    (0..1000).for_each(|line| log.line(format!("{line}\n").into_bytes()));
    log.reopen();
    log.line(b"last\n".to_vec());
    log.finish();
    let text = std::fs::read_to_string(path).unwrap();
    assert_eq!((text.lines().count(), text.ends_with("999\nlast\n")), (1001, true));
    assert_eq!([&losses.failed, &losses.full].map(|of| of.load(Ordering::Relaxed)), [0; 2]);
}
