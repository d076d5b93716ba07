//! What the oracle's gateway answers itself: ICMP errors, resets, echo.

use super::fragments::Piece;
use super::judge::is_martian;
use super::oracle::{Emit, Ingress, Oracle};
use super::parse::{self, Kind, Packet, Part};
use super::wire::{self, ACK, FIN, Header, RST, SYN, Segment};
use super::world::{SCTP, TCP};
use std::net::IpAddr;

impl Oracle {
    pub(super) fn answer_time_exceeded(&mut self, data: &[u8], packet: &Packet, from: Ingress) {
        let kind = if packet.tuple.src.is_ipv4() { 11 } else { 3 };
        self.answer_error(data, packet, self.own_address(packet, from), (kind, 0, 0));
    }

    pub(super) fn answer_too_big(
        &mut self,
        data: &[u8],
        packet: &Packet,
        from: Ingress,
        mtu: usize,
    ) {
        let (kind, code) = if packet.tuple.src.is_ipv4() { (3, 4) } else { (2, 0) };
        self.answer_error(data, packet, self.own_address(packet, from), (kind, code, mtu as u32));
    }

    pub(super) fn answer_unreachable(&mut self, data: &[u8], packet: &Packet, from: Ingress) {
        let kind = if packet.tuple.src.is_ipv4() { 3 } else { 1 };
        self.answer_error(data, packet, self.own_address(packet, from), (kind, 0, 0));
    }

    /// What tells the sender of a packet that left, or should have, that its
    /// next hop does not answer; `None` for a packet that nobody is told of.
    pub fn host_unreachable(&self, data: &[u8]) -> Option<Emit> {
        let v4 = data[0] >> 4 == 4;
        let packet = if v4 { parse::v4(data) } else { parse::v6(data) }.ok()?;
        let to = packet.tuple.src;
        if self.world.own.contains_key(&to) || self.world.vips.contains_key(&to) {
            return None;
        }
        let way = self.way(&to).ok()?;
        let src = match way.tunnel {
            Some(_) => self.pool_address(&to),
            None => self.world.port_address(way.port, &to),
        };
        let (kind, code) = if v4 { (3, 1) } else { (1, 3) };
        let error = self.error(data, &packet, src, (kind, code, 0))?;
        Some(self.emit_of(error, way, true, None))
    }

    /// Refuses a packet as a closed port of the address that was asked does.
    pub(super) fn refuse(&mut self, data: &[u8], packet: &Packet, _from: Ingress) {
        if packet.kind == Kind::Tcp {
            return self.reset(data, packet);
        }
        if packet.kind == Kind::Sctp {
            return self.abort(data, packet);
        }
        let (kind, code) = if packet.tuple.src.is_ipv4() { (3, 3) } else { (1, 4) };
        self.answer_error(data, packet, Some(packet.tuple.dst), (kind, code, 0));
    }

    fn answer_error(
        &mut self,
        data: &[u8],
        packet: &Packet,
        src: Option<IpAddr>,
        message: (u8, u8, u32),
    ) {
        if let Some(error) = self.error(data, packet, src, message) {
            self.originate(error);
        }
    }

    /// An ICMP error, where there may be one.
    fn error(
        &self,
        data: &[u8],
        packet: &Packet,
        src: Option<IpAddr>,
        (kind, code, word): (u8, u8, u32),
    ) -> Option<Vec<u8>> {
        let to = packet.tuple.src;
        let about_error = packet.kind == Kind::IcmpError || packet.part == Part::Later;
        let src = src.filter(|_| !about_error && !is_martian(&to) && !to.is_multicast())?;
        // RFC 1812 section 4.3.2.3; over IPv6 so much that a tunnel carries it.
        let (longest, header_len) = if to.is_ipv4() { (576, 20) } else { (1232, 40) };
        let quoted = &data[..data.len().min(longest - header_len - 8)];
        let message = wire::icmp(&src, &to, kind, code, word.to_be_bytes(), quoted);
        Some(wire::ip_packet(&Header::new(src, to, wire::icmp_of(&to)), &message))
    }

    /// A reset as RFC 9293 section 3.10.7.1 says.
    fn reset(&mut self, data: &[u8], packet: &Packet) {
        let tuple = &packet.tuple;
        if packet.flags & RST != 0 || is_martian(&tuple.src) || tuple.src.is_multicast() {
            return;
        }
        let segment = &data[packet.l4..];
        let number = |at: usize| {
            u32::from_be_bytes([segment[at], segment[at + 1], segment[at + 2], segment[at + 3]])
        };
        let payload = segment.len() - usize::from(segment[12] >> 4) * 4;
        let controls = [SYN, FIN].iter().filter(|flag| packet.flags & **flag != 0).count();
        let next = number(4).wrapping_add((payload + controls) as u32);
        let (seq, ack, flags) =
            if packet.flags & ACK != 0 { (number(8), 0, RST) } else { (0, next, RST | ACK) };
        let reset = Segment {
            src_port: tuple.dst_port,
            dst_port: tuple.src_port,
            seq,
            ack,
            flags,
            ..Segment::default()
        };
        let segment = wire::tcp(&tuple.dst, &tuple.src, &reset);
        self.originate(wire::ip_packet(&Header::new(tuple.dst, tuple.src, TCP), &segment));
    }

    /// What RFC 9260 section 8.4 answers to a packet of no association, but for
    /// HEARTBEAT, which may be another path's.
    fn abort(&mut self, data: &[u8], packet: &Packet) {
        let tuple = &packet.tuple;
        if is_martian(&tuple.src) || tuple.src.is_multicast() {
            return;
        }
        let segment = &data[packet.l4..];
        let number = |at: usize| {
            segment
                .get(at..at + 4)
                .map_or(0, |tag| u32::from_be_bytes([tag[0], tag[1], tag[2], tag[3]]))
        };
        let (kind, flags, tag) = match packet.chunk {
            4 | 5 | 6 | 9 | 11 | 14 => return,
            1 if number(16) == 0 => return,
            1 => (6, 0, number(16)),
            8 => (14, 1, number(4)),
            _ => (6, 1, number(4)),
        };
        let chunk = (kind, flags, Vec::new());
        let segment = wire::sctp(tuple.dst_port, tuple.src_port, tag, &[chunk]);
        self.originate(wire::ip_packet(&Header::new(tuple.dst, tuple.src, SCTP), &segment));
    }

    pub(super) fn answer_echo(&mut self, data: &[u8], packet: &Packet) {
        self.out.consumed += 1;
        if let Some(piece) = packet.piece {
            return self.answer_part(data, packet, &piece);
        }
        let (src, dst) = (packet.tuple.dst, packet.tuple.src);
        let protocol = wire::icmp_of(&src);
        let mut message = data[packet.l4..].to_vec();
        let sum = wire::segment_sum(&dst, &src, protocol, &message).unwrap_or(0xffff);
        message[0] = if src.is_ipv4() { 0 } else { 129 };
        wire::set_checksum(&src, &dst, protocol, &mut message, sum);
        let header = Header { tos: packet.tos, ..Header::new(src, dst, protocol) };
        self.originate_sound(wire::ip_packet(&header, &message), sum == 0xffff);
    }

    /// A part of an echo request becomes the same part of the reply.
    fn answer_part(&mut self, data: &[u8], packet: &Packet, piece: &Piece) {
        let (src, dst) = (packet.tuple.dst, packet.tuple.src);
        let protocol = wire::icmp_of(&src);
        let mut payload = data[piece.header_len..].to_vec();
        if packet.part == Part::First {
            let message = &mut payload[packet.l4 - piece.header_len..];
            let sum = wire::segment_sum(&dst, &src, protocol, message).unwrap_or(0xffff);
            message[0] = if src.is_ipv4() { 0 } else { 129 };
            wire::set_checksum(&src, &dst, protocol, message, sum);
        }
        let header = Header {
            tos: packet.tos,
            dont_fragment: false,
            fragment: Some((piece.start as u16 / 8, piece.more)),
            ..Header::new(src, dst, piece.protocol)
        };
        let mut answer = wire::ip_packet(&header, &payload);
        wire::set_id(&mut answer, piece.id);
        self.originate_sound(answer, false);
    }

    fn originate(&mut self, packet: Vec<u8>) {
        self.originate_sound(packet, true);
    }

    /// A packet of the gateway's own leaves, if it can.
    fn originate_sound(&mut self, packet: Vec<u8>, is_sound: bool) {
        self.out.originated += 1;
        let parsed = if packet[0] >> 4 == 4 { parse::v4(&packet) } else { parse::v6(&packet) };
        let dst = parsed.expect("the gateway makes packets that parse").tuple.dst;
        match self.way(&dst) {
            Ok(way) if packet.len() > way.mtu => {
                self.drop(sluice_fastpath::DropReason::TooBig);
            }
            Ok(way) => self.emit(packet, way, is_sound, None),
            Err(reason) => self.drop(reason),
        }
    }

    /// The gateway's address that speaks to the sender of a packet: that of the
    /// port where it came in, or the first of the pool through a tunnel
    /// (RFC 1812 section 4.3.2.4).
    fn own_address(&self, packet: &Packet, from: Ingress) -> Option<IpAddr> {
        let to = &packet.tuple.src;
        if let Ingress::Port(port) = from
            && let Some(own) = self.world.port_address(port, to)
        {
            return Some(own);
        }
        let way = self.way(to).ok()?;
        match way.tunnel {
            Some(_) => self.pool_address(to),
            None => self.world.port_address(way.port, to),
        }
    }
}
