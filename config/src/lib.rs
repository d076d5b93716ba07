//! Sluice's configuration: YAML in, a valid [`Config`] out.
//!
//! [`load`] reads a file, [`parse`] a text. The text becomes a tree whose nodes know their place;
//! each section reads its part of the tree into typed values; checks across sections follow.
//! Every error of the file is reported at once, each with line, column, key path, what was found
//! and what was expected.

#![forbid(unsafe_code)]

mod diagnostic;

mod yaml;

mod read;

pub mod schema;

mod document;

mod places;

mod ports;

mod workers;

mod io;

mod overlay;

mod routes;

mod snat;

mod cluster;

mod node;

mod services;

mod policy;

mod announce;

mod load_balancer;

mod l7;

mod source;

mod flows;

mod fragments;

mod neighbors;

mod icmp;

mod observe;

mod flow_log;

mod drain;

mod check;

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::read::Reader;

pub use crate::announce::{Announce, Leases};
pub use crate::cluster::Cluster;
pub use crate::diagnostic::{Diagnostic, Errors, Location, Severity};
pub use crate::drain::Drain;
pub use crate::flow_log::{FlowLog, FlowLogTarget, Observe};
pub use crate::flows::{FlowLimits, FlowTimeouts, Flows};
pub use crate::fragments::Fragments;
pub use crate::icmp::Icmp;
pub use crate::io::{Attach, Backend, CopyMode, Dpdk, FRAMES_MAX, Io};
pub use crate::l7::{AccessLog, AccessLogFormat, Identity, Ingress, L7, L7Io, L7Limits};
pub use crate::load_balancer::{AddressPool, AddressRange, LoadBalancer};
pub use crate::neighbors::Neighbors;
pub use crate::node::Node;
pub use crate::observe::{Admin, LogFormat, LogLevel, Logging, Metrics};
pub use crate::overlay::{
    MacAddr, MtuError, Overlay, OverlayMode, VXLAN_OVERHEAD_V4, VXLAN_OVERHEAD_V6, VtepAddresses,
    Vxlan,
};
pub use crate::places::Places;
pub use crate::policy::Policy;
pub use crate::ports::{MTU_MAX, MTU_MIN, PORTS_MAX, Port, PortIndex, PortName};
pub use crate::read::closest;
pub use crate::routes::Route;
pub use crate::services::Services;
pub use crate::snat::{
    L4PortRange, SNAT_ADDRESSES_MAX, SNAT_PORTS_MIN, Snat, SnatMode, addresses_of,
};
pub use crate::source::{Kubernetes, Manifests, Snapshot, Source};
pub use crate::workers::{Idle, IdleMode, WORKERS_MAX, Workers};

/// Largest configuration file in bytes.
const TEXT_BYTES_MAX: u64 = 1 << 20;

/// A valid configuration, defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Name of this gateway's Kubernetes node; `None`: the host name.
    pub node_name: Option<String>,
    /// The network devices, 1 to [`PORTS_MAX`].
    pub ports: Vec<Port>,
    /// The polling threads.
    pub workers: Workers,
    /// How frames enter and leave.
    pub io: Io,
    /// The tunnels to the cluster's nodes, if it has an overlay.
    pub overlay: Option<Overlay>,
    /// Static routes beside the connected ones.
    pub routes: Vec<Route>,
    /// Source address translation.
    pub snat: Snat,
    /// The gateway as a Node of the cluster.
    pub node: Node,
    /// The cluster's address ranges.
    pub cluster: Cluster,
    /// How Services are served.
    pub services: Services,
    /// How network policies are applied.
    pub policy: Policy,
    /// Who announces VIPs.
    pub announce: Announce,
    /// Which Services are given addresses; `None`: none.
    pub load_balancer: Option<LoadBalancer>,
    /// Requests that end at the gateway; `None`: none.
    pub l7: Option<L7>,
    /// Where the cluster's state comes from.
    pub source: Source,
    /// The connection table.
    pub flows: Flows,
    /// IP fragments of what is translated.
    pub fragments: Fragments,
    /// ARP and ND.
    pub neighbors: Neighbors,
    /// ICMP errors that Sluice sends.
    pub icmp: Icmp,
    /// The HTTP server for Prometheus and health checks.
    pub metrics: Metrics,
    /// The socket of `sluice show` and `sluice status`.
    pub admin: Admin,
    /// What is logged, and how.
    pub logging: Logging,
    /// What is told of single packets and flows.
    pub observe: Observe,
    /// How Sluice takes leave.
    pub drain: Drain,
}

/// A configuration and what is suspicious about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What probably does not do what was meant, in the order of the file.
    pub warnings: Vec<Diagnostic>,
    /// Where each of its keys stands.
    pub places: Places,
}

/// Reads a configuration file.
///
/// # Errors
/// If the file cannot be read, or with everything that is wrong in it.
pub fn load(path: &Path) -> Result<Loaded, Errors> {
    let name = path.display().to_string();
    match read_file(path) {
        Ok(text) => parse_in(path.parent().unwrap_or(Path::new("")), &name, &text),
        Err(message) => Err(Errors { diagnostics: vec![Diagnostic::of_file(&name, message)] }),
    }
}

fn read_file(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(TEXT_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("cannot read the file: {error}"))?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("found a byte in line {line} (offset {at}) that is not UTF-8")
    })
}

/// Reads a configuration from a text. Relative paths in it are taken from the folder of
/// `file_name`, which messages show.
///
/// # Errors
/// With everything that is wrong in the text.
pub fn parse(file_name: &str, text: &str) -> Result<Loaded, Errors> {
    parse_in(Path::new(file_name).parent().unwrap_or(Path::new("")), file_name, text)
}

fn parse_in(folder: &Path, file_name: &str, text: &str) -> Result<Loaded, Errors> {
    if text.len() as u64 > TEXT_BYTES_MAX {
        let message = format!("the file is larger than {TEXT_BYTES_MAX} bytes");
        return Err(Errors { diagnostics: vec![Diagnostic::of_file(file_name, message)] });
    }
    // A byte-order mark is no character of the first line.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader::new(file_name, folder, text);
    let read = yaml::build(&mut reader).and_then(|tree| {
        let config = document::read(&mut reader, &tree)?;
        Ok((config, tree))
    });
    let ((config, tree), warnings) = reader.finish(read)?;
    let places = Places::new(file_name, text, &tree);
    Ok(Loaded { config, warnings, places })
}

impl Config {
    /// The port at `index`.
    ///
    /// # Panics
    /// If `index` comes from another `Config` that has more ports.
    pub fn port(&self, index: PortIndex) -> &Port {
        &self.ports[index.0]
    }

    /// The device of the kernel's that a port's frames come from: its own or, with DPDK, that
    /// below a virtual one, if there is any.
    ///
    /// # Panics
    /// As [`Config::port`].
    pub fn kernel_device(&self, index: PortIndex) -> Option<&str> {
        let device = &self.port(index).device;
        match self.io.backend {
            Backend::AfXdp => Some(device),
            Backend::Dpdk => ports::dpdk::kernel_device(device),
        }
    }

    /// Whose overlay it is; without one it does not matter.
    pub fn overlay_mode(&self) -> OverlayMode {
        self.overlay.as_ref().map_or(OverlayMode::default(), |overlay| overlay.vxlan.mode)
    }

    /// Whether Ingresses are served.
    pub fn has_ingresses(&self) -> bool {
        self.l7.as_ref().is_some_and(|l7| l7.ingress.is_some())
    }

    /// Whether IPv6 packets of pods or clients are expected: an IPv6 prefix among the SNAT
    /// addresses or the cluster's ranges, or tunnels that carry nothing else.
    pub fn uses_ipv6(&self) -> bool {
        let vxlan = self.overlay.as_ref().map(|overlay| &overlay.vxlan);
        if vxlan.is_some_and(|vxlan| vxlan.is_of_same_family() && vxlan.addresses.v6.is_some()) {
            return true;
        }
        let prefixes = [&self.snat.addresses, &self.cluster.pod_cidrs, &self.cluster.service_cidrs];
        prefixes.into_iter().flatten().any(|net| net.network().is_ipv6())
    }
}
