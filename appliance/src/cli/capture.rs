//! `sluice capture`: packets into a pcapng file, with what became of each.

use super::CaptureArgs;
use super::show::socket_path;
use crate::admin::client;
use crate::observe::Follow;
use crate::observe::pcapng::{Blocks, Seen};
use anyhow::Context;
use std::fs::File;
use std::io::{self, BufRead, ErrorKind, Write};
use std::net::Shutdown;
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
            Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
            written => written.context("cannot write the capture")?,
        }
    }
    let Seen { packets, lost } = blocks.seen();
    eprintln!("{packets} packets captured, {lost} lost");
    Ok(ExitCode::SUCCESS)
}

fn open(path: &Path) -> anyhow::Result<Box<dyn Write>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdout()));
    }
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Box::new(file))
}
