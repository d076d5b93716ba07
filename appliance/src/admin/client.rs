use super::{Question, Reply};
use anyhow::{Context, bail};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long the gateway may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// Asks a running gateway.
///
/// # Errors
/// When nobody listens at the socket, or there is no answer.
pub fn ask(socket: &Path, question: &Question) -> anyhow::Result<Value> {
    let shown = socket.display();
    let mut stream = UnixStream::connect(socket).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => anyhow::anyhow!(
            "no gateway listens at {shown}: is `sluice run` running, with this admin.socket? \
             (--socket or --config says where)"
        ),
        ErrorKind::PermissionDenied => {
            anyhow::anyhow!("no permission for {shown}: run this as the user of the gateway (root)")
        }
        _ => anyhow::anyhow!("cannot connect to {shown}: {error}"),
    })?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    let mut line = serde_json::to_string(question)?;
    line.push('\n');
    stream.write_all(line.as_bytes()).with_context(|| format!("cannot ask {shown}"))?;
    let mut answer = String::new();
    BufReader::new(stream)
        .read_line(&mut answer)
        .with_context(|| format!("no answer from {shown}"))?;
    match serde_json::from_str(&answer) {
        Ok(Reply::Ok(value)) => Ok(value),
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
