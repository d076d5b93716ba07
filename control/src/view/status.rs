use crate::compile::PolicySizes;
use crate::diagnostic::Diagnostic;
use crate::election::ElectionView;
use crate::publish::Histogram;
use crate::source::kubernetes::SourceView;
use crate::view::NamesMetrics;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How control is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusView {
    /// What the source reads.
    pub source: String,
    /// Everything that exists has been read once; nothing is published before.
    pub synced: bool,
    /// How far the tables are.
    pub versions: VersionsView,
    /// How the source gets on with the API server, if it has one.
    pub api: Option<SourceView>,
    /// How the election of who announces VIPs stands, if there is one.
    pub election: Option<ElectionView>,
    /// Objects by kind.
    pub objects: BTreeMap<String, usize>,
    /// Everything that is wrong, by file and place.
    pub diagnostics: Vec<Diagnostic>,
}

/// How far the tables are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionsView {
    /// The version that was published last; 0: none yet.
    pub published: u64,
    /// The version that every worker has reached.
    pub live: u64,
    /// When it was published, in milliseconds since 1970.
    pub published_unix_ms: Option<u64>,
    /// The workers, by number.
    pub workers: Vec<WorkerView>,
}

/// How far one worker is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerView {
    /// The version that it was sent last.
    pub sent: u64,
    /// The version that all its packets see.
    pub live: u64,
    /// Whether its thread has ended.
    pub gone: bool,
}

/// Most Secrets of which [`ControlMetrics`] tell.
pub const CERTIFICATES_MAX: usize = 1_000;

/// Numbers for metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlMetrics {
    /// Everything that exists has been read once.
    pub synced: bool,
    /// How the source gets on with the API server, if it has one.
    pub api: Option<SourceView>,
    /// How the election of who announces VIPs stands, if there is one.
    pub election: Option<ElectionView>,
    /// VIPs that were not announced unasked because too many waited for it.
    pub tellings_left_out: u64,
    /// Objects by kind.
    pub objects: BTreeMap<String, usize>,
    /// Diagnostics by severity: `error`, `warning`, `info`.
    pub diagnostics: BTreeMap<String, usize>,
    /// Publications so far.
    pub publications: u64,
    /// The version that was published last.
    pub version: u64,
    /// The version that every worker has reached.
    pub live_version: u64,
    /// Processor time of each publication: what its changes took to be reduced,
    /// compiled and sent, and old tables to be freed since the one before.
    pub compile: Histogram,
    /// Time from the notice of an event until every worker had it.
    pub event_to_live: Histogram,
    /// Numbers in quarantine: `service`, `backend`, `vtep`.
    pub quarantined: BTreeMap<String, usize>,
    /// Domain names and DNS answers.
    pub names: NamesMetrics,
    /// What has been compiled of network policies.
    pub policy: PolicySizes,
    /// Secrets whose certificates are used, and the last second since 1970 in which each is
    /// valid: those that end first, at most [`CERTIFICATES_MAX`].
    pub certificates: Vec<(String, i64)>,
}
