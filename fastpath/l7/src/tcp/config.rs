use super::pressure::Share;
use std::net::IpAddr;
use std::time::Duration;

/// Bounds and times of an engine. Whatever a bound turns away is counted in
/// [`TcpCounters`](super::TcpCounters).
#[derive(Clone, Debug)]
pub struct TcpConfig {
    /// Connections from outside whose handshake is not over.
    pub half_open_max: usize,
    /// All other connections, until they are released: established, closing, and
    /// those that are being opened from here.
    pub connections_max: usize,
    /// Connections in TIME-WAIT, which cost 120 bytes each. The oldest gives way.
    pub time_wait_max: usize,
    /// Whether SYNs that find `half_open_max` reached are answered with cookies
    /// (RFC 4987 section 3.6); else they are dropped.
    pub syn_cookies: bool,
    /// Answers a second to segments that belong to no connection, or not to its
    /// window: RST and challenge ACK (RFC 5961 section 7). A burst is as many.
    pub answers_max_per_s: u32,
    /// For the handshake, in both directions.
    pub half_open_timeout: Duration,
    /// Nothing is heard from the peer.
    pub idle_timeout: Duration,
    /// A released connection's time to be closed by its peer: FIN-WAIT-1,
    /// FIN-WAIT-2, CLOSING, LAST-ACK. It begins anew with each KiB of what is left that
    /// the peer takes.
    pub fin_timeout: Duration,
    /// Bytes that the buffers of all connections may hold, in blocks of 4 KiB. A
    /// connection may have an eighth of what is left until the half is used, or 64 KiB;
    /// what is done from then on, [`Pressure`](super::Pressure) tells. At this bound a
    /// connection has room for one block to send and one to receive: windows do not grow,
    /// what comes beyond is not taken, and applications wait. So there may be 8 KiB more
    /// for each connection at the very most.
    pub buffer_bytes_max: usize,
    /// TIME-WAIT; two times the lifetime of a segment (RFC 9293 section 3.6.1).
    pub time_wait: Duration,
}

impl Default for TcpConfig {
    fn default() -> Self {
        TcpConfig {
            half_open_max: 1_024,
            connections_max: 65_536,
            time_wait_max: 65_536,
            syn_cookies: true,
            answers_max_per_s: 1_000,
            half_open_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(300),
            fin_timeout: Duration::from_secs(20),
            buffer_bytes_max: 256 << 20,
            time_wait: Duration::from_secs(60),
        }
    }
}

/// What one connection is made with. Buffers take memory as they are used, in blocks of
/// 4 KiB: an idle connection has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnOptions {
    /// The largest IP packet that the path takes, in bytes; at least 576 (IPv4) or
    /// 1,280 (IPv6) is used.
    pub mtu: u16,
    /// Bytes received that may wait to be read. The window begins with 64 KiB at most,
    /// and grows as far as this with who reads as fast as the peer sends.
    pub receive_buffer: u32,
    /// Bytes written that may wait to be acknowledged; two times the congestion window
    /// at most, and 16 KiB at least.
    pub send_buffer: u32,
    /// Whose part of the memory for buffers it takes.
    pub share: Share,
}

impl Default for ConnOptions {
    fn default() -> Self {
        ConnOptions {
            mtu: 1_500,
            receive_buffer: 256 << 10,
            send_buffer: 256 << 10,
            share: Share::NONE,
        }
    }
}

/// The largest IP packet that is sent, in bytes.
const MTU_MAX: u16 = 9_216;

/// An MTU that may be used towards an address: none is smaller than what every host
/// takes whole (RFC 791, RFC 8200 section 5), whatever an ICMP error says.
pub(super) fn clamp_mtu(mtu: u16, remote: &IpAddr) -> u16 {
    mtu.clamp(if remote.is_ipv4() { 576 } else { 1_280 }, MTU_MAX)
}

impl ConnOptions {
    /// The options with an MTU that may be used.
    pub(super) fn towards(self, remote: &IpAddr) -> ConnOptions {
        ConnOptions { mtu: clamp_mtu(self.mtu, remote), ..self }
    }
}
