use crate::admin::server::{ANSWERS_MAX, Socket};
use crate::gateway::Gateway;
use crate::metrics::{health_checks, http, of_services};
use anyhow::Context;
use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

/// Threads for scrapes and readiness. Those for the admin socket are apart, so that questions
/// that take long never keep a scrape waiting.
const SCRAPES_MAX: usize = 4;

/// How often numbers of Services are looked at: several times while one rests
/// ([`sluice_control::compile::QUARANTINE_MIN`]).
const NOTICE_INTERVAL: Duration = Duration::from_secs(60);

/// How often workers are told the time of day.
const CLOCK_INTERVAL: Duration = Duration::from_secs(1);

/// How often it is looked whether all is sent at the end.
const STOP_STEP: Duration = Duration::from_millis(5);

/// How long answers under way may take at the end.
const STOP_TIMEOUT: Duration = Duration::from_millis(300);

/// The thread that serves metrics, health checks and the admin socket.
#[derive(Debug)]
pub struct Servers {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Servers {
    /// Starts it. `health_checks` are the addresses where it is asked about
    /// Services.
    ///
    /// # Errors
    /// When the system has no thread or descriptor left.
    pub fn start(
        listener: TcpListener,
        socket: Socket,
        health_checks: Vec<IpAddr>,
        gateway: Arc<Gateway>,
    ) -> anyhow::Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(ANSWERS_MAX + SCRAPES_MAX)
            .thread_name("answers")
            .build()
            .context("cannot start the servers")?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("servers".to_owned()).spawn(move || {
            runtime.block_on(serve(listener, socket, health_checks, gateway, stopped));
            runtime.shutdown_timeout(STOP_TIMEOUT);
        })?;
        Ok(Servers { stop, thread })
    }

    /// Stops it.
    pub fn stop(self) {
        let _ = self.stop.send(());
        if self.thread.join().is_err() {
            tracing::error!("the servers have panicked");
        }
    }
}

async fn serve(
    listener: TcpListener,
    mut socket: Socket,
    health_checks: Vec<IpAddr>,
    gateway: Arc<Gateway>,
    stopped: oneshot::Receiver<()>,
) {
    let metrics = http::serve(listener, Arc::clone(&gateway));
    tokio::spawn(async move { report("metrics", metrics.await) });
    tokio::spawn(health_checks::serve(health_checks, Arc::clone(&gateway)));
    let noticed = Arc::clone(&gateway);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(NOTICE_INTERVAL).await;
            of_services::notice(&noticed);
        }
    });
    if let Some(l7) = gateway.l7.clone() {
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(CLOCK_INTERVAL).await;
                l7.follow_clock();
            }
        });
    }
    let hub = Arc::clone(&gateway.hub);
    tokio::spawn(async move { report("admin", socket.serve(gateway).await) });
    // Also ends when the other end is dropped.
    let _ = stopped.await;
    // Those who watch are sent what is said at the end.
    let all_sent = async {
        while hub.is_open() {
            tokio::time::sleep(STOP_STEP).await;
        }
    };
    let _ = tokio::time::timeout(STOP_TIMEOUT, all_sent).await;
}

/// A server ends only by an error, or with the runtime.
fn report(server: &str, ended: std::io::Result<()>) {
    if let Err(error) = ended {
        tracing::error!(server, %error, "a server has ended");
    }
}

#[cfg(test)]
mod tests;
