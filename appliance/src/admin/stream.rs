use super::Reply;
use crate::gateway::Gateway;
use crate::observe::{Follow, Piece, Watch};
use serde_json::Value;
use std::future::pending;
use std::io::{self, ErrorKind};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

/// How long it may take until it begins.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a client may take nothing: one that is stopped gives its seat up.
const TAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// What is asked for, if a line asks to follow something.
pub(super) fn asked(line: &[u8]) -> Option<Result<Follow, String>> {
    let value: Value = serde_json::from_slice(line).ok()?;
    value.get("follow")?;
    let follow = serde_json::from_value(value);
    Some(follow.map_err(|error| format!("cannot read the question: {error}")))
}

/// Sends what is followed until the client goes, or shuts its side down, or a limit
/// is reached. A client that does not read keeps nobody waiting but itself: what
/// finds no room meanwhile is lost to it, and after a while it is given up.
pub(super) async fn serve(
    stream: &mut BufReader<UnixStream>,
    gateway: &Gateway,
    follow: Result<Follow, String>,
) -> io::Result<()> {
    let begun = match follow {
        Ok(follow) => begin(gateway, &follow).await.map(|watch| (watch, follow)),
        Err(error) => Err(error),
    };
    let (watch, follow) = match begun {
        Ok(begun) => begun,
        Err(error) => return say(stream, &Reply::Error(error)).await,
    };
    say(stream, &Reply::Ok(Value::Null)).await?;
    let seconds = match follow {
        Follow::Packets { seconds, .. } => seconds,
        Follow::Drops { .. } => None,
    };
    send(stream, watch, seconds.map(Duration::from_secs), TAKE_TIMEOUT).await
}

/// Sends what is watched, for so long. A client that takes nothing for `patience` is
/// given up.
async fn send(
    stream: &mut BufReader<UnixStream>,
    mut watch: Watch,
    time: Option<Duration>,
    patience: Duration,
) -> io::Result<()> {
    let over = async {
        match time {
            Some(time) => sleep(time).await,
            None => pending().await,
        }
    };
    tokio::pin!(over);
    let mut is_ending = false;
    loop {
        let mut ignored = [0; 64];
        let bytes = tokio::select! {
            piece = watch.pieces.recv() => match piece {
                Some(Piece::Bytes(bytes)) => bytes,
                Some(Piece::Begun | Piece::Failed(_)) => continue,
                None => break,
            },
            read = stream.read(&mut ignored), if !is_ending => {
                if read? == 0 {
                    is_ending = true;
                    watch.end();
                }
                continue;
            }
            () = &mut over, if !is_ending => {
                is_ending = true;
                watch.end();
                continue;
            }
        };
        let taken = timeout(patience, stream.get_mut().write_all(&bytes));
        tokio::pin!(taken);
        let taken = tokio::select! {
            taken = &mut taken => taken,
            // The end comes in time for a client that does not read, too.
            () = &mut over, if !is_ending => {
                is_ending = true;
                watch.end();
                taken.await
            }
        };
        taken.map_err(|_| io::Error::from(ErrorKind::TimedOut))??;
    }
    stream.get_mut().shutdown().await
}

/// Begins to watch, once the workers have been asked.
async fn begin(gateway: &Gateway, follow: &Follow) -> Result<Watch, String> {
    let count = match follow {
        Follow::Packets { count, .. } => *count,
        Follow::Drops { .. } => None,
    };
    let mut watch = gateway.hub.watch(follow.want()?, count)?;
    match timeout(BEGIN_TIMEOUT, watch.pieces.recv()).await {
        Ok(Some(Piece::Begun)) => Ok(watch),
        Ok(Some(Piece::Failed(error))) => Err(error),
        Ok(_) => Err("the gateway stops".to_owned()),
        Err(_) => Err(format!(
            "the workers have not been asked within {} s: the gateway is too busy, or its control \
             hangs (sluice status)",
            BEGIN_TIMEOUT.as_secs()
        )),
    }
}

async fn say(stream: &mut BufReader<UnixStream>, reply: &Reply<Value>) -> io::Result<()> {
    let mut text = serde_json::to_vec(reply)?;
    text.push(b'\n');
    stream.get_mut().write_all(&text).await
}

#[cfg(test)]
mod tests;
