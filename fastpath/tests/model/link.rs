//! The oracle's ARP (RFC 826) and Neighbor Discovery (RFC 4861).

use super::judge::is_martian;
use super::oracle::{Choices, Oracle};
use super::parse::Packet;
use super::wire;
use super::world::{Mac, Own, Target};
use sluice_fastpath::DropReason;
use std::net::IpAddr;

const ALL_NODES: &str = "ff02::1";

impl Oracle {
    /// Whether an address is answered for on a port.
    fn is_ours(&self, port: u8, address: &IpAddr) -> bool {
        match self.world.own.get(address) {
            Some(Own::Port(own)) => *own == port,
            Some(Own::Snat) => self.world.in_subnet(port, address),
            Some(Own::Kernel(_)) => false,
            None => {
                let announce = self.world.interfaces[usize::from(port)].announce;
                announce && self.world.vips.get(address) == Some(&true)
            }
        }
    }

    /// Whether an address is on a port's link.
    fn is_on_link(&self, port: u8, address: &IpAddr) -> bool {
        self.world.in_subnet(port, address)
            || is_link_local(address)
            || self.world.lookup(address) == Some(Target::Connected(port))
    }

    /// Whether a neighbor may not say that it has an address.
    fn is_false_claim(&self, address: &IpAddr) -> bool {
        let own = matches!(self.world.own.get(address), Some(Own::Port(_) | Own::Snat));
        own || self.world.vips.contains_key(address)
            || is_martian(address) && !is_link_local(address)
            || address.is_multicast()
            || self.world.is_subnet_edge(address)
    }

    pub(super) fn arp(
        &mut self,
        port: u8,
        data: &[u8],
        choices: &dyn Choices,
    ) -> Result<(), DropReason> {
        if data.len() < 28 {
            return Err(DropReason::Truncated);
        }
        let is_request = data[7] == 1;
        let is_answer = data[7] == 2;
        if data[..7] != [0, 1, 8, 0, 6, 4, 0] || !(is_request || is_answer) {
            return Err(DropReason::BadArp);
        }
        let mac: Mac = data[8..14].try_into().expect("six bytes");
        let address =
            |at: usize| IpAddr::from([data[at], data[at + 1], data[at + 2], data[at + 3]]);
        let (sender, target) = (address(14), address(24));
        let is_probe = is_request && sender == IpAddr::from([0; 4]);
        if !may_be_mac(&mac) || !is_probe && self.is_false_claim(&sender) {
            return Err(DropReason::BadArp);
        }
        let to_us = self.is_ours(port, &target);
        let asked = is_request && to_us;
        let learned = !is_probe
            && self.is_on_link(port, &sender)
            && (to_us && self.world.in_subnet(port, &sender) || choices.knew(port, &sender));
        if !asked && !learned {
            return Err(DropReason::NeighborNotForUs);
        }
        self.out.consumed += 1;
        if asked {
            let own = self.world.interfaces[usize::from(port)].mac;
            let answer = wire::arp(false, (own, target), (mac, sender));
            self.emit_frame(port, mac, 0x0806, &answer);
        }
        Ok(())
    }

    /// Takes Neighbor Discovery; false for other ICMPv6.
    pub(super) fn nd(
        &mut self,
        port: u8,
        data: &[u8],
        packet: &Packet,
        choices: &dyn Choices,
    ) -> Result<bool, DropReason> {
        let (src, dst) = (packet.tuple.src, packet.tuple.dst);
        let message = &data[packet.l4..];
        let solicitation = message[0] == 135;
        if !solicitation && message[0] != 136 {
            return Ok(false);
        }
        let sum = wire::segment_sum(&src, &dst, wire::ICMPV6, message);
        if packet.ttl != 255 || message[1] != 0 || message.len() < 24 || sum != Some(0xffff) {
            return Err(DropReason::BadNd);
        }
        let octets16: [u8; 16] = message[8..24].try_into().expect("sixteen bytes");
        let target = IpAddr::from(octets16);
        let mac = find_mac(&message[24..], if solicitation { 1 } else { 2 })?;
        let unspecified = src.is_unspecified();
        let multicast = dst.is_multicast();
        let solicited = message[4] & 0x40 != 0;
        if target.is_multicast()
            || solicitation && unspecified && (mac.is_some() || !multicast)
            || !solicitation && multicast && solicited
        {
            return Err(DropReason::BadNd);
        }
        if solicitation {
            self.solicited(port, src, target, mac, choices)?;
        } else {
            let answers = solicited && self.is_ours(port, &dst);
            self.advertised(port, target, mac, answers, choices)?;
        }
        Ok(true)
    }

    fn solicited(
        &mut self,
        port: u8,
        src: IpAddr,
        target: IpAddr,
        mac: Option<Mac>,
        choices: &dyn Choices,
    ) -> Result<(), DropReason> {
        let unspecified = src.is_unspecified();
        if !unspecified && self.is_false_claim(&src) {
            return Err(DropReason::BadNd);
        }
        let asked = self.is_ours(port, &target);
        let learned = mac.is_some_and(|mac| mac[0] & 1 == 0)
            && self.is_on_link(port, &src)
            && (asked && self.world.in_subnet(port, &src) || choices.knew(port, &src));
        if !asked && !learned {
            return Err(DropReason::NeighborNotForUs);
        }
        self.out.consumed += 1;
        let own = self.world.interfaces[usize::from(port)].mac;
        let all_nodes: IpAddr = ALL_NODES.parse().expect("an address");
        if asked && unspecified {
            let answer = wire::nd(136, 0x20, target, all_nodes, target, Some(own));
            self.emit_frame(port, [0x33, 0x33, 0, 0, 0, 1], 0x86dd, &answer);
        } else if asked && let Some(mac) = mac {
            let answer = wire::nd(136, 0x60, target, src, target, Some(own));
            self.emit_frame(port, mac, 0x86dd, &answer);
        }
        Ok(())
    }

    fn advertised(
        &mut self,
        port: u8,
        target: IpAddr,
        mac: Option<Mac>,
        answers: bool,
        choices: &dyn Choices,
    ) -> Result<(), DropReason> {
        if self.is_false_claim(&target) {
            return Err(DropReason::BadNd);
        }
        let adds = answers && mac.is_some() && self.world.in_subnet(port, &target);
        let learned = mac.map_or(answers, |mac| mac[0] & 1 == 0)
            && self.is_on_link(port, &target)
            && (adds || choices.knew(port, &target));
        if !learned {
            return Err(DropReason::NeighborNotForUs);
        }
        self.out.consumed += 1;
        Ok(())
    }
}

fn is_link_local(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

fn may_be_mac(mac: &Mac) -> bool {
    mac[0] & 1 == 0 && *mac != [0; 6]
}

fn find_mac(mut options: &[u8], wanted: u8) -> Result<Option<Mac>, DropReason> {
    let mut found = None;
    while !options.is_empty() {
        let len = usize::from(*options.get(1).ok_or(DropReason::BadNd)?) * 8;
        if len == 0 || len > options.len() {
            return Err(DropReason::BadNd);
        }
        if options[0] == wanted && len == 8 {
            found = Some(options[2..8].try_into().expect("six bytes"));
        }
        options = &options[len..];
    }
    Ok(found)
}
