//! Fragments as the oracle puts them together: lists of ranges, searched
//! naively.

use super::oracle::{Choices, Ingress, Oracle};
use super::parse::{Kind, Packet, Part};
use super::world::family;
use sluice_fastpath::DropReason;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Milliseconds until a datagram is given up.
const TIMEOUT_MS: u64 = 5_000;

/// A fragment's place in its datagram.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    pub id: u32,
    /// In bytes.
    pub start: usize,
    pub end: usize,
    pub more: bool,
    /// Bytes before the payload.
    pub header_len: usize,
    /// The payload's protocol, as the fragment says.
    pub protocol: u8,
}

/// What tells datagrams apart; over IPv6 the protocol does not.
type Key = (IpAddr, IpAddr, u32, u8);

/// Datagrams of which not everything has come.
#[derive(Clone, Debug, Default)]
pub struct Datagrams(BTreeMap<Key, Datagram>);

#[derive(Clone, Debug)]
struct Datagram {
    born_ms: u64,
    ranges: Vec<(usize, usize)>,
    end: Option<usize>,
    /// Ports, protocol and kind, once the first fragment has come.
    told: Option<(u16, u16, u8, Kind)>,
    waiting: Vec<(Vec<u8>, Packet, Ingress)>,
    condemned: Option<DropReason>,
}

impl Datagrams {
    /// Fragments that wait.
    pub fn waiting(&self) -> usize {
        self.0.values().map(|datagram| datagram.waiting.len()).sum()
    }
}

impl Oracle {
    /// Whether a fragment's ports must be known.
    pub(super) fn is_followed(&self, packet: &Packet, ingress: Ingress) -> bool {
        let ends = [packet.tuple.src, packet.tuple.dst];
        self.may_be_translated(packet, ingress)
            || ends.iter().any(|end| self.world.is_selected(end))
    }

    /// Whether a fragment may be of what is translated: only first ones have
    /// ports to tell a Service's reply by.
    fn may_be_translated(&self, packet: &Packet, ingress: Ingress) -> bool {
        let dst = &packet.tuple.dst;
        let may_be_reply = self.world.pools[family(dst)].preserve
            && matches!(ingress, Ingress::Node(_))
            && self.world.pod_node(dst).is_none();
        may_be_reply || self.belongs_here(dst)
    }

    /// A VIP or an address of the gateway.
    pub(super) fn belongs_here(&self, address: &IpAddr) -> bool {
        self.world.vips.contains_key(address) || self.world.own.contains_key(address)
    }

    /// A fragment comes whose ports must be known.
    pub(super) fn assemble(
        &mut self,
        data: Vec<u8>,
        packet: Packet,
        ingress: Ingress,
        choices: &dyn Choices,
    ) {
        let Some(piece) = packet.piece else { return };
        let len = piece.end - piece.start;
        if len == 0 || piece.more && len % 8 != 0 {
            return self.drop(DropReason::BadFragment);
        }
        if let Err(reason) = self.sane(&packet, ingress) {
            return self.drop(reason);
        }
        let tuple = &packet.tuple;
        let protocol = if tuple.src.is_ipv4() { tuple.protocol } else { 0 };
        let key = (tuple.src, tuple.dst, piece.id, protocol);
        let mut datagram = self.datagrams.0.remove(&key).unwrap_or(Datagram {
            born_ms: self.now_ms,
            ranges: Vec::new(),
            end: None,
            told: None,
            waiting: Vec::new(),
            condemned: None,
        });
        let ready = self.fit(&mut datagram, &piece, data, packet, ingress);
        let received: usize = datagram.ranges.iter().map(|(start, end)| end - start).sum();
        let told = datagram.told;
        if datagram.condemned.is_some() || told.is_none() || datagram.end != Some(received) {
            self.datagrams.0.insert(key, datagram);
        }
        for (data, mut packet, ingress) in ready {
            if let Some((src_port, dst_port, protocol, kind)) = told
                && packet.part == Part::Later
            {
                packet.tuple.src_port = src_port;
                packet.tuple.dst_port = dst_port;
                packet.tuple.protocol = protocol;
                if matches!(kind, Kind::EchoRequest | Kind::EchoReply) {
                    packet.kind = kind;
                }
            }
            packet.told = true;
            self.judge_known(data, packet, ingress, choices);
        }
    }

    /// Adds a fragment to its datagram. Returns what goes on.
    fn fit(
        &mut self,
        datagram: &mut Datagram,
        piece: &Piece,
        data: Vec<u8>,
        packet: Packet,
        ingress: Ingress,
    ) -> Vec<(Vec<u8>, Packet, Ingress)> {
        if let Some(reason) = datagram.condemned {
            self.drop(reason);
            return Vec::new();
        }
        let top = datagram.ranges.iter().map(|range| range.1).max().unwrap_or(0);
        let is_lie = match datagram.end {
            Some(end) if piece.more => piece.end >= end,
            Some(end) => piece.end != end,
            None => !piece.more && piece.end < top,
        };
        let common = |(start, end): &(usize, usize)| {
            end.min(&piece.end).saturating_sub(*start.max(&piece.start))
        };
        let covered: usize = datagram.ranges.iter().map(common).sum();
        if !is_lie && covered == piece.end - piece.start {
            self.drop(DropReason::FragmentDuplicate);
            return Vec::new();
        }
        let is_first = packet.part == Part::First;
        let untranslatable = is_first
            && (packet.tuple.protocol == 132 && self.may_be_translated(&packet, ingress)
                || matches!(packet.kind, Kind::IcmpError | Kind::IcmpOther));
        let reason = match is_lie || covered > 0 {
            true => Some(DropReason::FragmentOverlap),
            false => untranslatable.then_some(DropReason::FragmentNotSupported),
        };
        if let Some(reason) = reason {
            datagram.condemned = Some(reason);
            for _ in 0..=datagram.waiting.drain(..).count() {
                self.drop(reason);
            }
            return Vec::new();
        }
        datagram.ranges.push((piece.start, piece.end));
        if !piece.more {
            datagram.end = Some(piece.end);
        }
        if is_first {
            let tuple = &packet.tuple;
            datagram.told = Some((tuple.src_port, tuple.dst_port, tuple.protocol, packet.kind));
            let mut ready = vec![(data, packet, ingress)];
            ready.append(&mut datagram.waiting);
            return ready;
        }
        if datagram.told.is_some() {
            return vec![(data, packet, ingress)];
        }
        datagram.waiting.push((data, packet, ingress));
        Vec::new()
    }

    /// Gives up datagrams that have waited too long.
    pub fn give_up_datagrams(&mut self) {
        let now_ms = self.now_ms;
        let mut gone = 0;
        self.datagrams.0.retain(|_, datagram| {
            let stays = now_ms - datagram.born_ms < TIMEOUT_MS;
            gone += if stays { 0 } else { datagram.waiting.len() };
            stays
        });
        for _ in 0..gone {
            self.drop(DropReason::FragmentTimeout);
        }
    }
}
