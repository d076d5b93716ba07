use serde::{Deserialize, Serialize};
use sluice_control::view::StatusView as ControlView;
use std::net::SocketAddr;

/// A port: how it is attached, and what went through it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PortView {
    /// Its name in the configuration.
    pub name: String,
    /// Its device.
    pub device: String,
    /// Its MAC.
    pub mac: String,
    /// MTU of IP packets, in bytes.
    pub mtu: u16,
    /// `up`, `down`, `gone`, or what else the kernel says of the link.
    pub link: String,
    /// Why the XDP program does not run in the driver, where that was tried.
    pub native_refused: Option<String>,
    /// Its queues; queue N belongs to worker N.
    pub queues: Vec<QueueView>,
}

/// One queue of a port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueueView {
    /// Its number, and its worker's.
    pub queue: usize,
    /// How it is attached, such as `af_xdp drv/copy`.
    pub mode: String,
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets that the kernel could not hand over: too long, ring full, or no
    /// frame to receive into.
    pub kernel_drops: u64,
}

/// The SNAT ports that flows to one endpoint of a Service's port hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SnatView {
    /// The Service, as `namespace/name`.
    pub service: String,
    /// The port that clients address.
    pub port: u16,
    /// `TCP` or `UDP`.
    pub protocol: String,
    /// The endpoint, as `ADDRESS:PORT`; `None` for one that has gone and still
    /// has flows.
    pub endpoint: Option<String>,
    /// Ports in use, over all workers.
    pub used: u64,
    /// Ports that there are for one endpoint, over all workers.
    pub capacity: u64,
    /// The share of them that is used at the worker that has the least left.
    pub ratio: f64,
}

/// A worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerView {
    /// Its number.
    pub id: usize,
    /// Whether its thread runs.
    pub up: bool,
    /// The core it is pinned to.
    pub core: Option<usize>,
    /// Share of its time spent in turns that found work, since it started.
    pub busy_ratio: f64,
    /// Longest turn so far, in microseconds.
    pub longest_poll_us: u64,
    /// Turns of its loop.
    pub loops: u64,
    /// Times it went to sleep.
    pub sleeps: u64,
    /// Flows that it owns now, IPv4 and IPv6.
    pub flows: [u64; 2],
    /// Packets that other workers gave it.
    pub handed_in: u64,
    /// Packets that it gave to other workers.
    pub handed_out: u64,
    /// Packets that wait for a neighbor or for a first fragment.
    pub held: u64,
    /// Packets dropped, for all reasons.
    pub dropped: u64,
    /// Version of the tables it uses; 0: none yet.
    pub tables_version: u64,
}

/// Clients' connections that requests come by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionsView {
    /// The connections, the oldest first.
    pub connections: Vec<ConnectionView>,
    /// How many more there are.
    pub left_out: usize,
    /// Workers that have not answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silent: Vec<usize>,
}

/// A client's connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionView {
    /// The worker that serves it.
    pub worker: usize,
    /// The client, as `ADDRESS:PORT`.
    pub client: SocketAddr,
    /// Where it came to.
    pub address: SocketAddr,
    /// The name of the listener.
    pub listener: String,
    /// `TLSv1.2` or `TLSv1.3`, if it is encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<String>,
    /// The name that the client asked for in the handshake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// `HTTP/1.1`, `HTTP/2`, `upgraded`; empty while it begins.
    pub protocol: String,
    /// `beginning`, `idle`, `reading`, `serving`, `blocked` (the client takes nothing) or
    /// `ending`.
    pub state: String,
    /// Requests that are under way.
    pub in_flight: u32,
    /// How old it is.
    pub age_ms: u64,
    /// How long it has been without a request.
    pub idle_ms: u64,
    /// Requests so far.
    pub requests: u32,
    /// Bytes from the client, as they are without TLS.
    pub bytes_in: u64,
    /// Bytes to it.
    pub bytes_out: u64,
}

/// Packets dropped for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropView {
    /// The reason.
    pub reason: String,
    /// Packets, over all workers.
    pub count: u64,
    /// What it means.
    pub help: String,
}

/// The gateway on one screen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusView {
    /// Version of the program.
    pub version: String,
    /// Name of its node.
    pub node: String,
    /// `ready`, `not ready` or `draining`.
    pub state: String,
    /// Why it is not ready.
    pub not_ready: Vec<String>,
    /// Milliseconds since it started.
    pub uptime_ms: u64,
    /// The ports.
    pub ports: Vec<PortView>,
    /// The workers.
    pub workers: Vec<WorkerView>,
    /// What went on while the answer was made.
    pub rates: Rates,
    /// Frames that are neither with the kernel nor with a worker.
    pub frames_free: usize,
    /// Frames in all.
    pub frames: usize,
    /// Tables, objects, and what is wrong with those; `None` while control has
    /// ended or hangs.
    pub control: Option<ControlView>,
    /// What is wrong beside that.
    pub problems: Vec<String>,
}

/// Rates over [`Rates::over_ms`], just before the answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Milliseconds over which they were measured.
    pub over_ms: u64,
    /// Packets received a second, by port.
    pub rx_pps: Vec<f64>,
    /// Packets sent a second, by port.
    pub tx_pps: Vec<f64>,
    /// Share of its time that each worker was busy.
    pub busy_ratio: Vec<f64>,
    /// Packets dropped a second, by reason; only reasons that grow.
    pub drops: Vec<(String, f64)>,
}
