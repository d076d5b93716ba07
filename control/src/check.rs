use crate::clock::Clock;
use crate::clock::SystemClock;
use crate::cluster::{Cluster, Policy};
use crate::compile::{Compiler, PortFacts, SetupError};
use crate::diagnostic::{Diagnostic, Severity};
use crate::driver::unix_s;
use crate::source::Event;
use crate::source::manifests::Manifests;
use sluice_config::Config;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// MTU in bytes of a port whose configuration tells none: that of Ethernet.
const MTU_DEFAULT: u16 = 1500;

/// Everything that is wrong with the manifests of a folder under a
/// configuration, in order of file and place. Reads the folder once.
pub fn check(config: &Config, folder: &Path) -> Vec<Diagnostic> {
    let (mut cluster, mut all) = scan(config, folder);
    match compile(config, &mut cluster) {
        Ok(compiler) => all.extend(located(&cluster, &compiler)),
        Err(error) => all.push(Diagnostic::general(Severity::Error, error.to_string())),
    }
    all.sort_by(Diagnostic::order);
    all
}

/// The objects of a folder, and what is wrong with its files.
pub(crate) fn scan(config: &Config, folder: &Path) -> (Cluster, Vec<Diagnostic>) {
    let mut cluster = Cluster::default();
    cluster.set_policy(Policy::of(&config.services));
    cluster.set_overlay(config.overlay_mode());
    let mut all = Vec::new();
    let mut source = Manifests::new(folder, Arc::new(SystemClock::default()));
    if config.has_ingresses() {
        source = source.with_ingresses();
    }
    for event in source.scan() {
        match event {
            Event::Applied { object, origin } => cluster.apply(&object, origin),
            Event::Refused { key, rest } => cluster.refuse(&key, rest.as_ref()),
            Event::Diagnostics(diagnostics) => all.extend(diagnostics),
            Event::Moved { .. } | Event::Deleted(_) | Event::Synced | Event::Confirmed => {}
        }
    }
    (cluster, all)
}

/// A compiler that has seen all of a cluster. The devices of the ports are not
/// asked.
///
/// # Errors
/// When the configuration does not fit itself.
pub(crate) fn compile(config: &Config, cluster: &mut Cluster) -> Result<Compiler, SetupError> {
    let facts = |port: &sluice_config::Port| PortFacts {
        mac: [0; 6],
        mtu: port.mtu.unwrap_or(MTU_DEFAULT),
    };
    let facts: Vec<_> = config.ports.iter().map(facts).collect();
    let mut compiler = Compiler::new(config, &facts, 0)?;
    compiler.set_unix_time(unix_s(SystemClock::default().wall()));
    let changes = cluster.take_changes();
    compiler.compile(cluster, &changes, Duration::ZERO, 0);
    Ok(compiler)
}

/// What is wrong with objects, by themselves or together, with places.
pub(crate) fn located(cluster: &Cluster, compiler: &Compiler) -> Vec<Diagnostic> {
    let alone = cluster.findings();
    let together = compiler.findings().map(|(key, finding)| (key, finding));
    alone.chain(together).map(|(key, f)| f.at(key, cluster.origin(key))).collect()
}
