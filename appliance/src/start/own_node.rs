//! The gateway as a Node of the cluster.

use anyhow::Context;
use sluice_config::{Config, Source};
use sluice_control::kubernetes::{Access, Connection};
use sluice_control::status::node::{Facts, run};
use tokio::runtime::Builder;

/// The name of the gateway's Node.
pub(super) fn name(config: &Config) -> String {
    config
        .node_name
        .clone()
        .unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
}

/// The configuration with the name that the Node has in the API: it is known there by nothing
/// else.
pub(super) fn named(mut config: Config) -> Config {
    if matches!(config.source, Source::Kubernetes(_)) {
        config.node_name = Some(name(&config));
    }
    config
}

/// Keeps what the gateway says of itself on its Node, on a thread of its own, which ends with
/// the process: nothing is taken back.
///
/// # Errors
/// When the system has no thread left.
pub(super) fn keep(config: &Config) -> anyhow::Result<()> {
    let Source::Kubernetes(kubernetes) = &config.source else { return Ok(()) };
    let Some(facts) = Facts::new(config, &name(config)) else { return Ok(()) };
    let access = Access::new(kubernetes, &config.cluster.service_cidrs);
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot keep the gateway's Node")?;
    std::thread::Builder::new().name("own-node".to_owned()).spawn(move || {
        runtime.block_on(async {
            let connection = Connection::open(access, None).await;
            run(connection.client(), facts).await;
        });
    })?;
    Ok(())
}
