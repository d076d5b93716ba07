use super::http;
use crate::gateway::Gateway;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use rustix::net::sockopt::{set_ipv6_v6only, set_socket_reuseaddr};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use serde_json::json;
use sluice_control::HealthCheck;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, spawn_blocking};

/// Most ports that are served; the others are refused.
const PORTS_MAX: usize = 1024;

/// How often is looked for Services that came or went, and for the state of the
/// gateway; a port that could not be had is tried again then.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Clients that wait until they are accepted.
const BACKLOG: i32 = 128;

/// The number of endpoints, as kube-proxy's `pkg/proxy/healthcheck` tells it.
const WEIGHT: HeaderName = HeaderName::from_static("x-load-balancing-endpoint-weight");

/// One open port.
struct Open {
    /// By address; those that could not be had are missing.
    sockets: BTreeMap<IpAddr, JoinHandle<()>>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.sockets.values().for_each(JoinHandle::abort);
    }
}

/// What all ports share.
struct Shared {
    gateway: Arc<Gateway>,
    is_ready: AtomicBool,
    connections: Arc<Semaphore>,
}

/// Opens a port at each of the addresses for each Service that asks for health
/// checks (`spec.healthCheckNodePort`), and answers there, until the runtime
/// ends.
pub async fn serve(addresses: Vec<IpAddr>, gateway: Arc<Gateway>) {
    let health = gateway.control.health.clone();
    let shared = Arc::new(Shared {
        gateway,
        is_ready: AtomicBool::new(false),
        connections: Arc::new(Semaphore::new(http::CONNECTIONS_MAX)),
    });
    let mut open: BTreeMap<u16, Open> = BTreeMap::new();
    let mut said = BTreeMap::new();
    loop {
        let checks = health.snapshot();
        open.retain(|port, _| checks.contains_key(port));
        if !checks.is_empty() {
            let gateway = Arc::clone(&shared.gateway);
            let reasons = spawn_blocking(move || gateway.not_serving()).await;
            shared.is_ready.store(reasons.is_ok_and(|all| all.is_empty()), Ordering::Relaxed);
        }
        let mut refused = BTreeMap::new();
        for port in checks.keys() {
            if open.len() >= PORTS_MAX && !open.contains_key(port) {
                refused.insert(*port, format!("{PORTS_MAX} others are"));
                continue;
            }
            let one = open.entry(*port).or_insert_with(|| Open { sockets: BTreeMap::new() });
            let wrong = one.complete(*port, &addresses, &shared);
            if !wrong.is_empty() {
                refused.insert(*port, wrong.join("; "));
            }
        }
        if refused != said {
            for (port, why) in refused.iter().filter(|(port, why)| said.get(*port) != Some(*why)) {
                tracing::warn!(port, why, "a health check port is not served");
            }
            health.refuse(refused.clone());
            said = refused;
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

impl Open {
    /// Opens the port where it is not yet; what is wrong where it cannot be.
    fn complete(&mut self, port: u16, addresses: &[IpAddr], shared: &Arc<Shared>) -> Vec<String> {
        let mut wrong = Vec::new();
        for &ip in addresses.iter().filter(|ip| !self.sockets.contains_key(ip)).collect::<Vec<_>>()
        {
            let at = SocketAddr::new(ip, port);
            match listen(at) {
                Ok(listener) => {
                    let shared = Arc::clone(shared);
                    let connections = Arc::clone(&shared.connections);
                    let answer = move |_, _| {
                        let shared = Arc::clone(&shared);
                        async move { shared.answer(port) }
                    };
                    let task = tokio::spawn(http::accept(listener, connections, answer));
                    self.sockets.insert(ip, task);
                }
                // A kernel without the family has no clients of it either.
                Err(error) if ip.is_unspecified() && is_no_family(&error) => {}
                Err(error) => wrong.push(format!("cannot listen at {at}: {error}")),
            }
        }
        wrong
    }
}

impl Shared {
    fn answer(&self, port: u16) -> Response<Full<Bytes>> {
        let is_ready = self.is_ready.load(Ordering::Relaxed) && !self.gateway.is_draining();
        let checks = self.gateway.control.health.snapshot();
        match checks.get(&port) {
            Some(check) => verdict(check, is_ready),
            // It has gone just now.
            None => status(StatusCode::NOT_FOUND, String::new()),
        }
    }
}

/// 200 while the Service has endpoints here and the gateway is ready, else 503;
/// either way as kube-proxy says it.
fn verdict(check: &HealthCheck, is_ready: bool) -> Response<Full<Bytes>> {
    let body = json!({
        "service": {"namespace": &*check.service.namespace, "name": &*check.service.name},
        "localEndpoints": check.endpoints,
        "serviceProxyHealthy": is_ready,
    });
    let is_good = check.endpoints > 0 && is_ready;
    let code = if is_good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut response = status(code, body.to_string());
    response.headers_mut().insert(WEIGHT, HeaderValue::from(check.endpoints));
    response
}

fn status(code: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A socket of one family only, so that `0.0.0.0` and `::` are apart.
fn listen(at: SocketAddr) -> io::Result<TcpListener> {
    let family = if at.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    if at.is_ipv6() {
        set_ipv6_v6only(&socket, true)?;
    }
    set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &at)?;
    rustix::net::listen(&socket, BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn is_no_family(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(rustix::io::Errno::from_raw_os_error);
    matches!(errno, Some(rustix::io::Errno::AFNOSUPPORT | rustix::io::Errno::ADDRNOTAVAIL))
}
