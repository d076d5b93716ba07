//! `sluice capture`: packets into a pcapng file, with what became of each.

use super::CaptureArgs;
use super::show::socket_path;
use super::units::counted;
use crate::admin::client;
use crate::observe::Follow;
use crate::observe::pcapng::{Blocks, Seen};
use anyhow::Context;
use std::fs::File;
use std::io::{self, BufRead, ErrorKind, Write};
use std::net::Shutdown;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often an interrupt is looked for.
const STEP: Duration = Duration::from_millis(200);

/// Captures until a limit is reached, or this is interrupted.
///
/// # Errors
/// When there is no answer, or the file cannot be written.
pub fn run(args: &CaptureArgs) -> anyhow::Result<ExitCode> {
    let socket = match socket_path(args.target.socket.as_deref(), args.target.config.as_deref()) {
        Ok(socket) => socket,
        Err(code) => return Ok(code),
    };
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let follow = Follow::Packets {
        filter: args.filter.query(),
        drops_only: args.drops_only,
        snap_len: args.snaplen,
        count: args.count,
        seconds: args.seconds,
    };
    let mut from = client::follow(&socket, &follow)?;
    // After the gateway has agreed: a refusal leaves an old file as it is.
    let mut to = open(&args.write)?;
    from.get_ref().set_read_timeout(Some(STEP))?;
    let mut blocks = Blocks::default();
    let mut is_ending = false;
    loop {
        if !is_ending && stop.load(Ordering::Relaxed) {
            // The gateway says how many were lost, and hangs up.
            from.get_ref().shutdown(Shutdown::Write)?;
            is_ending = true;
        }
        let piece = match from.fill_buf() {
            Ok([]) => break,
            Ok(piece) => piece,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                continue;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).context("the gateway is gone"),
        };
        let len = piece.len();
        // Whole blocks only: the file can be read whenever this ends.
        let whole = blocks.take(piece);
        from.consume(len);
        match to.write_all(&whole).and_then(|()| to.flush()) {
            // Who reads has had enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
            written => written.context("cannot write the capture")?,
        }
    }
    let Seen { packets, lost } = blocks.seen();
    let packets = counted(packets, "packet");
    let Some(lost) = lost else {
        eprintln!("{packets} captured, but the gateway did not say how many are lost");
        return Ok(ExitCode::FAILURE);
    };
    eprintln!("{packets} captured, {lost} lost");
    Ok(ExitCode::SUCCESS)
}

fn open(path: &Path) -> anyhow::Result<Box<dyn Write>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdout()));
    }
    // It has what others say to each other: it is for nobody else.
    let mut options = File::options();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    Ok(Box::new(file.with_context(|| format!("cannot write {}", path.display()))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_capture_is_for_who_asked_for_it_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pcapng");
        open(&path).unwrap().write_all(b"x").unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}
