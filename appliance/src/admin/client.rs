use super::{Question, Reply};
use crate::observe::Follow;
use anyhow::{Context, anyhow, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long the gateway may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Asks a running gateway.
///
/// # Errors
/// When nobody listens at the socket, or there is no answer.
pub fn ask(socket: &Path, question: &Question) -> anyhow::Result<Value> {
    ask_within(ANSWER_TIMEOUT, socket, question)
}

/// Asks a running gateway for what goes on and on; it follows what this returns has
/// been read up to.
///
/// # Errors
/// When nobody listens at the socket, or the gateway refuses.
pub fn follow(socket: &Path, follow: &Follow) -> anyhow::Result<BufReader<UnixStream>> {
    let (_, stream) = ask_for::<Value>(ANSWER_TIMEOUT, socket, follow)?;
    stream.get_ref().set_read_timeout(None)?;
    Ok(stream)
}

fn ask_within(limit: Duration, socket: &Path, question: &Question) -> anyhow::Result<Value> {
    Ok(ask_for(limit, socket, question)?.0)
}

/// Asks, and returns the answer and what comes after it.
fn ask_for<T: DeserializeOwned>(
    limit: Duration,
    socket: &Path,
    question: &impl Serialize,
) -> anyhow::Result<(T, BufReader<UnixStream>)> {
    let shown = socket.display();
    let mut stream = UnixStream::connect(socket).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => anyhow!(
            "no gateway listens at {shown}: is `sluice run` running, with this admin.socket? \
             (--socket or --config says where)"
        ),
        ErrorKind::PermissionDenied => {
            anyhow!("no permission for {shown}: run this as the user of the gateway (root)")
        }
        _ => anyhow!("cannot connect to {shown}: {error}"),
    })?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    let failed = |error: io::Error| match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            anyhow!(
                "no answer from {shown} within {} s: the gateway hangs, or is stopped",
                limit.as_secs()
            )
        }
        _ => anyhow!("no answer from {shown}: {error}"),
    };
    let mut line = serde_json::to_string(question)?;
    line.push('\n');
    match stream.write_all(line.as_bytes()) {
        // Who does not take all of it has said why.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        written => written.map_err(failed)?,
    }
    let mut answer = String::new();
    let mut stream = BufReader::new(stream);
    stream.read_line(&mut answer).map_err(failed)?;
    match serde_json::from_str(&answer) {
        Ok(Reply::Ok(value)) => Ok((value, stream)),
        Ok(Reply::Error(error)) => bail!("{error}"),
        Err(_) if answer.is_empty() => bail!("the gateway at {shown} hung up"),
        Err(error) => bail!("{shown} answered something else than a gateway does: {error}"),
    }
}

/// Reads an answer as what it should be.
///
/// # Errors
/// When it is something else: the gateway is of another version.
pub fn read<T: DeserializeOwned>(answer: &Value) -> anyhow::Result<T> {
    T::deserialize(answer).context("the gateway is of another version than this program")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_gateway_that_is_stopped_is_told_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sock");
        // The kernel takes connections for a process that does not run.
        let _listener = UnixListener::bind(&path).unwrap();
        let answer = ask_within(Duration::from_secs(1), &path, &Question::Status);
        let error = answer.unwrap_err().to_string();
        assert!(error.contains("within 1 s: the gateway hangs, or is stopped"), "{error}");
    }
}
