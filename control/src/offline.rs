use crate::check::{compile, located, scan};
use crate::cluster::Cluster;
use crate::compile::{Compiler, SetupError};
use crate::diagnostic::Diagnostic;
use crate::driver::PodNames;
use crate::view::{self, FlowView, Names, NamesQuery, RequestedQuery, RequestedView};
use sluice_config::Config;
use sluice_tables::Tables;
use sluice_tables::record::FlowRecord;
use std::path::Path;
use std::sync::Arc;

/// The tables of a folder of manifests, as a gateway with a configuration has
/// them, and the names in them. Reads the folder once.
#[derive(Debug)]
pub struct Offline {
    cluster: Cluster,
    compiler: Compiler,
    pods: PodNames,
    diagnostics: Vec<Diagnostic>,
}

impl Offline {
    /// Reads and compiles a folder. What is wrong with manifests is left out, as a
    /// gateway does it.
    ///
    /// # Errors
    /// When the configuration does not fit itself.
    pub fn read(config: &Config, folder: &Path) -> Result<Self, SetupError> {
        let (mut cluster, mut diagnostics) = scan(config, folder);
        let compiler = compile(config, &mut cluster)?;
        let pods = PodNames::default();
        pods.update(&cluster, &cluster.everything().pods);
        diagnostics.extend(located(&cluster, &compiler));
        Ok(Offline { cluster, compiler, pods, diagnostics })
    }

    /// The tables.
    pub fn tables(&self) -> Arc<Tables> {
        self.compiler.shared_tables()
    }

    /// What numbers and addresses of the tables stand for.
    pub fn names(&self, query: &NamesQuery) -> Names {
        view::names(&self.cluster, &self.compiler, &self.pods, query)
    }

    /// What is known of a request's way beside the tables.
    pub fn requested(&self, query: &RequestedQuery) -> RequestedView {
        view::requested(&self.cluster, &self.compiler, query)
    }

    /// A flow that a worker has by these tables.
    pub fn flow(&self, worker: usize, flow: &FlowRecord) -> FlowView {
        view::flow_view(&self.compiler, worker, flow)
    }

    /// What is wrong with the manifests.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }
}
