use super::answer::answer;
use super::stream as streaming;
use super::{QUESTION_BYTES_MAX, Question, Reply};
use crate::gateway::Gateway;
use anyhow::{Context, bail};
use rustix::fs::Mode;
use serde_json::Value;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// Clients at once; more are turned away.
const CLIENTS_MAX: usize = 16;

/// Answers that are made at once; clients beyond wait. Each takes a thread.
pub const ANSWERS_MAX: usize = 4;

/// How long a client may take for a question, or for taking an answer.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause after a client could not be accepted (out of descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The bound socket; its file goes with it.
#[derive(Debug)]
pub struct Socket {
    listener: Option<StdListener>,
    path: PathBuf,
}

impl Socket {
    /// Binds the socket, for this user alone. A file that a killed gateway
    /// left is replaced; that of a running one is not.
    ///
    /// # Errors
    /// When the path cannot be used.
    pub fn bind(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder)
                .with_context(|| format!("admin.socket: cannot make {}", folder.display()))?;
        }
        remove_stale(path)?;
        // No other moment must find the socket open to others.
        let before = rustix::process::umask(Mode::from_raw_mode(0o177));
        let bound = StdListener::bind(path);
        rustix::process::umask(before);
        let listener = bound.with_context(|| format!("admin.socket: cannot listen at {shown}"))?;
        listener.set_nonblocking(true)?;
        Ok(Socket { listener: Some(listener), path: path.to_owned() })
    }

    /// Answers clients until the runtime ends.
    ///
    /// # Errors
    /// When the runtime cannot take the socket.
    pub async fn serve(&mut self, gateway: Arc<Gateway>) -> std::io::Result<()> {
        let Some(listener) = self.listener.take() else { return Ok(()) };
        let listener = UnixListener::from_std(listener)?;
        let clients = Arc::new(Semaphore::new(CLIENTS_MAX));
        let answers = Arc::new(Semaphore::new(ANSWERS_MAX));
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let Ok(permit) = Arc::clone(&clients).try_acquire_owned() else {
                continue;
            };
            let (gateway, answers) = (Arc::clone(&gateway), Arc::clone(&answers));
            tokio::spawn(async move {
                let _permit = permit;
                // A client that fails concerns nobody else.
                let _ = serve_client(stream, gateway, &answers).await;
            });
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn remove_stale(path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("admin.socket: {shown}")),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            bail!("admin.socket: {shown} exists and is not a socket")
        }
        Ok(_) => {}
    }
    match StdStream::connect(path) {
        Ok(_) => bail!("admin.socket: another gateway listens at {shown}"),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            fs::remove_file(path).with_context(|| format!("admin.socket: cannot remove {shown}"))
        }
        Err(error) => Err(error).with_context(|| format!("admin.socket: {shown}")),
    }
}

async fn serve_client(
    stream: UnixStream,
    gateway: Arc<Gateway>,
    answers: &Semaphore,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        let Ok(read) = timeout(CLIENT_TIMEOUT, read(&mut stream, &gateway, &mut line)).await else {
            return Ok(());
        };
        let max = read?;
        if line.is_empty() {
            return Ok(());
        }
        let is_whole = line.ends_with(b"\n");
        if is_whole && let Some(follow) = streaming::asked(&line) {
            return streaming::serve(&mut stream, &gateway, follow).await;
        }
        let reply = if is_whole {
            reply_to(&line, &gateway, answers).await
        } else {
            Reply::Error(too_long(max))
        };
        let mut text = serde_json::to_vec(&reply)?;
        text.push(b'\n');
        match timeout(CLIENT_TIMEOUT, stream.get_mut().write_all(&text)).await {
            Ok(written) => written?,
            Err(_) => return Ok(()),
        }
        if !is_whole {
            return Ok(());
        }
    }
}

/// Reads a line, as long as its question may be: how long that is, is returned.
async fn read(
    stream: &mut BufReader<UnixStream>,
    gateway: &Gateway,
    line: &mut Vec<u8>,
) -> std::io::Result<usize> {
    (&mut *stream).take(QUESTION_BYTES_MAX as u64).read_until(b'\n', line).await?;
    if line.len() < QUESTION_BYTES_MAX || line.ends_with(b"\n") || !is_about_request(line) {
        return Ok(QUESTION_BYTES_MAX);
    }
    let max = request_bytes_max(gateway);
    let more = max.saturating_sub(line.len());
    stream.take(more as u64).read_until(b'\n', line).await?;
    Ok(max)
}

/// Whether a question begins as one does that says a request.
fn is_about_request(line: &[u8]) -> bool {
    line.starts_with(br#"{"show":"explain_request","#)
}

/// Longest question about a request, in bytes: it has a head that the gateway would take,
/// each character escaped.
fn request_bytes_max(gateway: &Gateway) -> usize {
    let head = gateway.l7.as_ref().map_or(0, |l7| l7.proxy_options().head.bytes);
    QUESTION_BYTES_MAX.saturating_add(head.saturating_mul(2))
}

fn too_long(max: usize) -> String {
    let of_all = format!("a question is one line of at most {max} bytes");
    match max > QUESTION_BYTES_MAX {
        true => format!("{of_all}: the request is longer than the gateway takes one"),
        false => of_all,
    }
}

async fn reply_to(line: &[u8], gateway: &Arc<Gateway>, answers: &Semaphore) -> Reply<Value> {
    let question: Question = match serde_json::from_slice(line) {
        Ok(question) => question,
        Err(error) => return Reply::Error(format!("cannot read the question: {error}")),
    };
    let _permit = answers.acquire().await;
    let gateway = Arc::clone(gateway);
    match spawn_blocking(move || answer(&gateway, question)).await {
        Ok(Ok(value)) => Reply::Ok(value),
        Ok(Err(error)) => Reply::Error(error),
        Err(_) => Reply::Error("the answer failed; see the log".to_owned()),
    }
}
