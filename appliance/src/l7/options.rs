use anyhow::Context;
use rustix::rand::{GetRandomFlags, getrandom};
use sluice_config::{Config, L7Limits};
use sluice_l7::HeadLimits;
use sluice_l7::http::ProxyOptions;
use sluice_l7::serving::ServingOptions;
use sluice_l7::tcp::{ConnOptions, TcpConfig};
use sluice_l7::tls::TlsConfig;
use sluice_l7::worker::{L7Options, SLICE};
use sluice_tables::l7::ListenerId;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Bytes that a client's connection may have on their way, in either direction: for
/// 300 Mbit/s over 100 ms twice, since what is lost is waited for as long again.
const CLIENT_BUFFER: u32 = 8 << 20;

/// How handshakes are made.
pub(super) fn tls(_config: &Config) -> TlsConfig {
    TlsConfig::default()
}

/// How requests are served.
pub(super) fn serving(config: &Config) -> ServingOptions {
    let mut options = ServingOptions::default();
    if let Some(limits) = limits(config) {
        options.proxy = ProxyOptions {
            head: HeadLimits {
                bytes: limits.header_bytes as usize,
                headers: limits.headers as usize,
                ..HeadLimits::default()
            },
            connections_max: share(config, limits.connections),
            requests_max: limits.requests_per_connection,
            ..options.proxy
        };
    }
    options
}

/// How L7 of a worker is set up.
///
/// # Errors
/// The system has no random numbers.
pub(super) fn worker(
    config: &Config,
    worker: usize,
    started_unix_ms: &Arc<AtomicU64>,
    ends_at_ns: &Arc<AtomicU64>,
) -> anyhow::Result<L7Options> {
    let mut secret = [0; 16];
    let got = getrandom(&mut secret, GetRandomFlags::empty());
    got.context("the system has no random numbers")?;
    let clients = limits(config).map_or(65_536, |limits| share(config, limits.connections));
    Ok(L7Options {
        worker,
        // Each client's connection may need one to an endpoint.
        tcp: TcpConfig { connections_max: clients as usize * 2, ..TcpConfig::default() },
        clients: ConnOptions {
            receive_buffer: CLIENT_BUFFER,
            send_buffer: CLIENT_BUFFER,
            ..ConnOptions::default()
        },
        endpoints: ConnOptions::default(),
        slice: SLICE,
        secret,
        unix_ms: Arc::clone(started_unix_ms),
        ends_at_ns: Arc::clone(ends_at_ns),
    })
}

/// Where the kernel's sockets listen: HTTP is the first listener, HTTPS the second.
pub(super) fn kernel_addrs(config: &Config) -> Vec<(SocketAddr, ListenerId)> {
    let ingress = config.l7.as_ref().and_then(|l7| l7.ingress.as_ref());
    let Some(ingress) = ingress else { return Vec::new() };
    let ports = [(ingress.http_port, ListenerId(0)), (ingress.https_port, ListenerId(1))];
    let of = |addr: &IpAddr| ports.map(|(port, listener)| (SocketAddr::new(*addr, port), listener));
    ingress.addresses.iter().flat_map(of).collect()
}

fn limits(config: &Config) -> Option<&L7Limits> {
    config.l7.as_ref().map(|l7| &l7.limits)
}

/// A worker's share of what there may be over all.
fn share(config: &Config, all: u32) -> u32 {
    all.div_ceil(config.workers.count as u32)
}
