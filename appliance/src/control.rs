use crossbeam_channel::{Sender, bounded};
use sluice_control::source::kubernetes::SourceHealth;
use sluice_control::status::StatusMetrics;
use sluice_control::{
    Control, HealthChecks, Heartbeat, NodeNames, PodNames, Request, RuleNames, ServiceNames,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use thiserror::Error;

/// How long control may take to take a question and to answer it: workers may
/// take 5 seconds for a dump.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(8);

/// Control whose loop has not turned for this long hangs.
pub const STUCK_AFTER: Duration = Duration::from_secs(10);

/// Questions that wait until they are taken.
pub const REQUESTS_MAX: usize = 64;

/// The way to ask control, from any thread.
#[derive(Clone, Debug)]
pub struct ControlHandle {
    /// Where requests go.
    pub requests: Sender<Request>,
    /// The names of Services.
    pub names: ServiceNames,
    /// The names of pods.
    pub pods: PodNames,
    /// The names of nodes.
    pub nodes: NodeNames,
    /// The names of policies' rules.
    pub rules: RuleNames,
    /// What those are told who ask about Services.
    pub health: HealthChecks,
    /// When it last turned its loop.
    pub heartbeat: Heartbeat,
    /// How the source gets on with the API server, if it has one.
    pub source: Option<SourceHealth>,
    /// What is written back, in numbers, if anything is.
    pub status: Option<StatusMetrics>,
    /// False once it has ended, for whatever reason.
    pub is_up: Arc<AtomicBool>,
}

/// Control has not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoAnswer {
    /// Its thread has ended.
    #[error("control has ended")]
    Ended,
    /// It is too busy.
    #[error("control has not answered in time")]
    Late,
}

impl ControlHandle {
    /// To ask `control` through `requests`.
    pub fn new(requests: Sender<Request>, control: &Control) -> Self {
        ControlHandle {
            requests,
            names: control.service_names(),
            pods: control.pod_names(),
            nodes: control.node_names(),
            rules: control.rule_names(),
            health: control.health_checks(),
            heartbeat: control.heartbeat(),
            source: control.source_health(),
            status: control.status_metrics(),
            is_up: Arc::new(AtomicBool::new(true)),
        }
    }

    /// Why nothing of the cluster's changes reaches the workers.
    pub fn trouble(&self) -> Option<String> {
        if !self.is_up.load(Ordering::Relaxed) {
            return Some("control has ended: the tables stay as they are".to_owned());
        }
        let age = self.heartbeat.age();
        (age >= STUCK_AFTER).then(|| format!("control hangs, for {} seconds now", age.as_secs()))
    }

    /// Asks, and waits for the answer: blocks for seconds at worst.
    ///
    /// # Errors
    /// When control has ended or is too busy.
    pub fn ask<T>(&self, request: impl FnOnce(Sender<T>) -> Request) -> Result<T, NoAnswer> {
        self.ask_within(ANSWER_TIMEOUT, request)
    }

    /// Asks, and waits no longer than `limit` for the answer.
    ///
    /// # Errors
    /// As [`ControlHandle::ask`].
    pub fn ask_within<T>(
        &self,
        limit: Duration,
        request: impl FnOnce(Sender<T>) -> Request,
    ) -> Result<T, NoAnswer> {
        use crossbeam_channel::{RecvTimeoutError, SendTimeoutError};
        let deadline = Instant::now() + limit;
        let (reply, answer) = bounded(1);
        self.requests.send_deadline(request(reply), deadline).map_err(|error| match error {
            SendTimeoutError::Timeout(_) => NoAnswer::Late,
            SendTimeoutError::Disconnected(_) => NoAnswer::Ended,
        })?;
        answer.recv_deadline(deadline).map_err(|error| match error {
            RecvTimeoutError::Timeout => NoAnswer::Late,
            RecvTimeoutError::Disconnected => NoAnswer::Ended,
        })
    }
}
