//! Segments as they are sent.

use super::PacketSink;
use super::key::Key;
use super::options::{Options, Stamps};
use super::parse::{TCP, fold, pseudo, sum};
use std::net::IpAddr;

/// The header of a segment; the whole of one that is sent without a connection's
/// state machine: RST, late ACK.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bare {
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    pub window: u16,
    pub stamps: Option<Stamps>,
}

impl Bare {
    /// Sends the packet; false where there is no room.
    pub fn send(&self, key: &Key, sink: &mut dyn PacketSink) -> bool {
        let options = Options { stamps: self.stamps, ..Options::default() }.write();
        let has_room = sink.has_room();
        if has_room {
            self.send_with(key, &options, 0, &|_| {}, sink);
        }
        has_room
    }

    /// Sends the packet with options that are whole words, and `len` bytes of data that
    /// `fill` writes. The sink has room.
    pub fn send_with(
        &self,
        key: &Key,
        options: &[u8],
        len: usize,
        fill: &dyn Fn(&mut [u8]),
        sink: &mut dyn PacketSink,
    ) {
        let ip_len = ip_len(key);
        sink.send(ip_len + 20 + options.len() + len, &mut |buffer| {
            let (ip, tcp) = buffer.split_at_mut(ip_len);
            emit_ip(key, ip, tcp.len());
            tcp[0..2].copy_from_slice(&key.local_port.to_be_bytes());
            tcp[2..4].copy_from_slice(&key.remote_port.to_be_bytes());
            tcp[4..8].copy_from_slice(&self.seq.to_be_bytes());
            tcp[8..12].copy_from_slice(&self.ack.to_be_bytes());
            tcp[12] = ((20 + options.len()) as u8 / 4) << 4;
            tcp[13] = self.flags;
            tcp[14..16].copy_from_slice(&self.window.to_be_bytes());
            tcp[16..20].fill(0);
            let (tcp_options, data) = tcp[20..].split_at_mut(options.len());
            tcp_options.copy_from_slice(options);
            fill(data);
            let checksum = !fold(pseudo(key, TCP, tcp.len()) + sum(tcp));
            tcp[16..18].copy_from_slice(&checksum.to_be_bytes());
        });
    }
}

/// Bytes of an IP header.
pub(super) fn ip_len(key: &Key) -> usize {
    if key.local.is_ipv4() { 20 } else { 40 }
}

/// Writes a plain IP header from the local end to the remote one, DF set.
fn emit_ip(key: &Key, ip: &mut [u8], payload_len: usize) {
    ip.fill(0);
    match (key.local, key.remote) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            ip[0] = 0x45;
            ip[2..4].copy_from_slice(&((20 + payload_len) as u16).to_be_bytes());
            ip[6] = 0x40;
            ip[8] = 64;
            ip[9] = TCP;
            ip[12..16].copy_from_slice(&src.octets());
            ip[16..20].copy_from_slice(&dst.octets());
            let checksum = !fold(sum(ip));
            ip[10..12].copy_from_slice(&checksum.to_be_bytes());
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            ip[0] = 0x60;
            ip[4..6].copy_from_slice(&(payload_len as u16).to_be_bytes());
            ip[6] = TCP;
            ip[7] = 64;
            ip[8..24].copy_from_slice(&src.octets());
            ip[24..40].copy_from_slice(&dst.octets());
        }
        _ => {}
    }
}
