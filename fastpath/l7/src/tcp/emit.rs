//! Segments that are sent without a connection's state machine: RST, challenge ACK,
//! SYN-ACK with a cookie.

use super::PacketSink;
use super::key::Key;
use super::parse::{TCP, fold, pseudo, sum};
use std::net::IpAddr;

/// A segment without data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bare {
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    pub window: u16,
    /// The maximum segment size offered, as an option.
    pub mss: Option<u16>,
}

/// Room for any bare segment, in bytes.
pub(super) const BARE_MAX: usize = 64;

impl Bare {
    /// Bytes of the packet.
    pub fn len(&self, key: &Key) -> usize {
        ip_len(key) + self.tcp_len()
    }

    fn tcp_len(&self) -> usize {
        if self.mss.is_some() { 24 } else { 20 }
    }

    /// Writes the packet from the local end to the remote one; `buffer` is of its
    /// length.
    pub fn emit(&self, key: &Key, buffer: &mut [u8]) {
        buffer.fill(0);
        let (ip, tcp) = buffer.split_at_mut(ip_len(key));
        emit_ip(key, ip, tcp.len());
        tcp[0..2].copy_from_slice(&key.local_port.to_be_bytes());
        tcp[2..4].copy_from_slice(&key.remote_port.to_be_bytes());
        tcp[4..8].copy_from_slice(&self.seq.to_be_bytes());
        tcp[8..12].copy_from_slice(&self.ack.to_be_bytes());
        tcp[12] = (tcp.len() as u8 / 4) << 4;
        tcp[13] = self.flags;
        tcp[14..16].copy_from_slice(&self.window.to_be_bytes());
        if let Some(mss) = self.mss {
            tcp[20..22].copy_from_slice(&[2, 4]);
            tcp[22..24].copy_from_slice(&mss.to_be_bytes());
        }
        let checksum = !fold(pseudo(key, TCP, tcp.len()) + sum(tcp));
        tcp[16..18].copy_from_slice(&checksum.to_be_bytes());
    }

    /// Sends the packet; false where there is no room.
    pub fn send(&self, key: &Key, sink: &mut dyn PacketSink) -> bool {
        let has_room = sink.has_room();
        if has_room {
            sink.send(self.len(key), &mut |buffer| self.emit(key, buffer));
        }
        has_room
    }
}

pub(super) fn ip_len(key: &Key) -> usize {
    if key.local.is_ipv4() { 20 } else { 40 }
}

/// Writes a plain IP header from the local end to the remote one, DF set.
pub(super) fn emit_ip(key: &Key, ip: &mut [u8], payload_len: usize) {
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
