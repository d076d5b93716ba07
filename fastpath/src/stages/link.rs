//! ARP (RFC 826) and Neighbor Discovery (RFC 4861) as they come in: answers for
//! the gateway's addresses and VIPs, and news for the other workers.

use crate::core::Core;
use crate::mesh;
use crate::neighbor::{Role, State};
use crate::reason::DropReason;
use crate::stages::sanity;
use crate::wire::arp::{self, Arp};
use crate::wire::ethernet::{self, is_multicast};
use crate::wire::ip::{Ip, IpInfo, in_prefix};
use crate::wire::nd::{self, Nd};
use sluice_io::Frame;
use sluice_tables::record::Conflict;
use sluice_tables::{Family, LocalAddress, PortId, PortLocal, RouteTarget, Tables, V4, V6};
use std::net::IpAddr;

const ALL_NODES: [u8; 16] = [0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// Whether an address is to be answered for on a port: the gateway's own there,
/// a VIP that the port announces, or a SNAT address of the port's subnet.
fn is_ours<F: Ip>(tables: &Tables, port: &PortLocal, addr: &F::Addr) -> bool {
    let family = F::of(tables);
    match family.local.get(addr) {
        Some(LocalAddress::Port(id)) => *id == port.id,
        Some(LocalAddress::Snat) => in_subnet::<F>(port, addr),
        Some(LocalAddress::Kernel(_)) => false,
        None => is_announced::<F>(tables, port, addr),
    }
}

fn in_subnet<F: Ip>(port: &PortLocal, addr: &F::Addr) -> bool {
    F::port_addresses(port).iter().any(|(own, len)| in_prefix::<F>(addr, own, *len))
}

/// True when an address is on a port's link: in a subnet of the port, by a
/// route, or link-local, as next hops often are.
fn is_on_link<F: Ip>(tables: &Tables, port: &PortLocal, addr: &F::Addr) -> bool {
    in_subnet::<F>(port, addr)
        || F::is_link_local(addr)
        || F::of(tables).route(addr) == Some(RouteTarget::Connected(port.id))
}

/// True when a neighbor may not have this address: it is ours, or nobody's.
fn is_false_claim<F: Ip>(tables: &Tables, port: &PortLocal, addr: &F::Addr) -> bool {
    let family = F::of(tables);
    let ours = matches!(family.local.get(addr), Some(LocalAddress::Port(_) | LocalAddress::Snat));
    let nobodys = F::is_martian_source(addr) && !F::is_link_local(addr);
    ours || family.vips.get(addr).is_some() || nobodys || sanity::is_edge::<F>(port, addr)
}

/// Whether a VIP is announced on a port.
fn is_announced<F: Ip>(tables: &Tables, port: &PortLocal, addr: &F::Addr) -> bool {
    port.announce_vips && F::of(tables).vips.get(addr).is_some_and(|vip| vip.announce)
}

/// Notes that a MAC claims an address, if it is a VIP that only this gateway
/// may announce: control is told, as far as there is room until it listens.
fn note_claim<F: Ip>(
    core: &mut Core,
    tables: &Tables,
    port: &PortLocal,
    addr: &F::Addr,
    mac: [u8; 6],
) {
    // Two ports may be on one link.
    let is_own_mac = || tables.local.ports.iter().any(|port| port.mac == mac);
    if !is_announced::<F>(tables, port, addr) || is_own_mac() {
        return;
    }
    core.counters.vip_conflicts.add(1);
    let conflict = Conflict { port: port.id, vip: F::to_ip(*addr), mac };
    if core.conflicts.last() != Some(&conflict) {
        let _ = core.conflicts.try_push(conflict);
    }
}

/// Tells everybody on the link of each port that announces it that a VIP is
/// here: by an ARP announcement (RFC 5227 section 2.3), or by an unsolicited
/// advertisement (RFC 4861 section 7.2.6). Returns the packets sent.
pub fn announce(core: &mut Core, tables: &Tables, vip: IpAddr) -> usize {
    let mut sent = 0;
    for port in &tables.local.ports {
        match vip {
            IpAddr::V4(vip) => {
                let vip = vip.octets();
                if is_announced::<V4>(tables, port, &vip) {
                    let (sender_mac, target_mac) = (port.mac, [0; 6]);
                    let packet =
                        Arp { request: true, sender_mac, sender: vip, target_mac, target: vip };
                    send_arp(core, port, ethernet::BROADCAST, &packet);
                    sent += 1;
                }
            }
            IpAddr::V6(vip) => {
                let target = vip.octets();
                if is_announced::<V6>(tables, port, &target) {
                    let (mac, to) = (Some(port.mac), nd::multicast_mac(&ALL_NODES));
                    let message =
                        Nd { solicitation: false, target, mac, solicited: false, overrides: true };
                    send_nd(core, port, to, &message, target, ALL_NODES);
                    sent += 1;
                }
            }
        }
    }
    core.counters.announcements.add(sent as u64);
    sent
}

/// Takes in an ARP packet; the frame's data begins with it.
#[cold]
pub fn arp(core: &mut Core, tables: &Tables, port: &PortLocal, frame: Frame) {
    let packet = match arp::parse(frame.data()) {
        Ok(packet) => packet,
        Err(reason) => return core.drop(frame, reason),
    };
    // A probe for a free address has no sender yet (RFC 5227 section 2.1.1).
    let is_probe = packet.request && packet.sender == [0; 4];
    let bad_mac = is_multicast(&packet.sender_mac) || packet.sender_mac == [0; 6];
    if bad_mac || (!is_probe && is_false_claim::<V4>(tables, port, &packet.sender)) {
        if !bad_mac {
            note_claim::<V4>(core, tables, port, &packet.sender, packet.sender_mac);
        }
        return core.drop(frame, DropReason::BadArp);
    }
    let to_us = is_ours::<V4>(tables, port, &packet.target);
    let asked = packet.request && to_us;
    let mut learned = false;
    if !is_probe && is_on_link::<V4>(tables, port, &packet.sender) {
        let (addr, mac) = (V4::to_ip(packet.sender), Some(packet.sender_mac));
        let answers = !packet.request && to_us;
        let adds = to_us && in_subnet::<V4>(port, &packet.sender);
        learned = learn(core, News { port: port.id, addr, mac, answers, overrides: true, adds });
    }
    if !asked {
        return match learned {
            true => core.consume(frame),
            false => core.drop(frame, DropReason::NeighborNotForUs),
        };
    }
    core.consume(frame);
    let answer = Arp {
        request: false,
        sender_mac: port.mac,
        sender: packet.target,
        target_mac: packet.sender_mac,
        target: packet.sender,
    };
    send_arp(core, port, packet.sender_mac, &answer);
}

/// Takes in an ICMPv6 packet if it is Neighbor Discovery; returns the frame if
/// it is not. Router messages are the kernel's: they do not get here from a NIC.
#[cold]
pub fn nd<F: Ip>(
    core: &mut Core,
    tables: &Tables,
    port: &PortLocal,
    frame: Frame,
    ip: &IpInfo<F>,
) -> Option<Frame> {
    let (Some(src), Some(dst)) = (V6::from_ip(F::to_ip(ip.src)), V6::from_ip(F::to_ip(ip.dst)))
    else {
        return Some(frame);
    };
    let message = frame.data().get(usize::from(ip.header.l4_offset)..).unwrap_or_default();
    match nd::parse(message, ip.header.ttl, &src, &dst) {
        Ok(Some(message)) if message.solicitation => {
            solicited(core, tables, port, frame, &message, src);
        }
        Ok(Some(message)) => advertised(core, tables, port, frame, &message, dst),
        Ok(None) => return Some(frame),
        Err(reason) => core.drop(frame, reason),
    }
    None
}

fn solicited(
    core: &mut Core,
    tables: &Tables,
    port: &PortLocal,
    frame: Frame,
    message: &Nd,
    src: [u8; 16],
) {
    let is_probe = src == [0; 16];
    if !is_probe && is_false_claim::<V6>(tables, port, &src) {
        if let Some(mac) = message.mac.filter(|mac| !is_multicast(mac)) {
            note_claim::<V6>(core, tables, port, &src, mac);
        }
        return core.drop(frame, DropReason::BadNd);
    }
    let asked = is_ours::<V6>(tables, port, &message.target);
    let mut learned = false;
    if let Some(mac) = message.mac
        && !is_multicast(&mac)
        && is_on_link::<V6>(tables, port, &src)
    {
        let addr = V6::to_ip(src);
        let (answers, overrides, adds) = (false, true, asked && in_subnet::<V6>(port, &src));
        let mac = Some(mac);
        learned = learn(core, News { port: port.id, addr, mac, answers, overrides, adds });
    }
    let mac = message.mac.or(mac_of(core, port.id, &src));
    if !asked {
        return match learned {
            true => core.consume(frame),
            false => core.drop(frame, DropReason::NeighborNotForUs),
        };
    }
    core.consume(frame);
    let answer = Nd {
        solicitation: false,
        target: message.target,
        mac: Some(port.mac),
        solicited: !is_probe,
        overrides: true,
    };
    let (to, to_mac) = match (is_probe, mac) {
        (false, Some(mac)) => (src, mac),
        // Nobody to answer by name, or no MAC to send it to: to all.
        (false, None) => return,
        (true, _) => (ALL_NODES, nd::multicast_mac(&ALL_NODES)),
    };
    send_nd(core, port, to_mac, &answer, message.target, to);
}

fn advertised(
    core: &mut Core,
    tables: &Tables,
    port: &PortLocal,
    frame: Frame,
    message: &Nd,
    dst: [u8; 16],
) {
    if is_false_claim::<V6>(tables, port, &message.target) {
        if let Some(mac) = message.mac.filter(|mac| !is_multicast(mac)) {
            note_claim::<V6>(core, tables, port, &message.target, mac);
        }
        return core.drop(frame, DropReason::BadNd);
    }
    let answers = message.solicited && is_ours::<V6>(tables, port, &dst);
    // The answer to a question that went to a known MAC need not repeat it.
    let is_news = message.mac.map_or(answers, |mac| !is_multicast(&mac));
    let is_news = is_news && is_on_link::<V6>(tables, port, &message.target);
    let learned = is_news && {
        let (addr, mac) = (V6::to_ip(message.target), message.mac);
        let overrides = message.overrides;
        let adds = answers && mac.is_some() && in_subnet::<V6>(port, &message.target);
        learn(core, News { port: port.id, addr, mac, answers, overrides, adds })
    };
    // Without a MAC it is for a worker that knows it, which may be another.
    let is_told = is_news && message.mac.is_none() && core.mesh.workers() > 1;
    match learned || is_told {
        true => core.consume(frame),
        false => core.drop(frame, DropReason::NeighborNotForUs),
    }
}

fn mac_of(core: &Core, port: PortId, addr: &[u8; 16]) -> Option<[u8; 6]> {
    let id = core.neighbors.find(port, V6::to_ip(*addr))?;
    core.neighbors.get(id).mac
}

/// What an ARP or ND packet says of a neighbor.
#[derive(Clone, Copy, Debug)]
pub struct News {
    /// The port.
    pub port: PortId,
    /// The neighbor.
    pub addr: IpAddr,
    /// Its MAC; `None`: as it was (RFC 4861 section 7.2.4).
    pub mac: Option<[u8; 6]>,
    /// It answers a question of ours: the neighbor is reachable. Otherwise it
    /// has merely spoken (RFC 4861 section 7.2.3).
    pub answers: bool,
    /// It may replace a MAC that is known already (section 7.2.5).
    pub overrides: bool,
    /// It speaks with the gateway: who does not know it yet adds it.
    pub adds: bool,
}

/// Takes in news of a neighbor and tells the other workers, whether or not this
/// one knows it: news may come by any queue. False when it is of no interest.
fn learn(core: &mut Core, news: News) -> bool {
    let known = core.neighbors.find(news.port, news.addr);
    let is_old = known.is_some_and(|id| core.neighbors.get(id).mac == news.mac);
    // Who merely speaks, and has the MAC that is known, is nothing new.
    if news.answers || !is_old {
        let lost = core.mesh.tell(mesh::News::Neighbor(news));
        core.counters.neighbor_news_lost.add(lost);
    }
    note(core, news)
}

/// Notes a neighbor's MAC and sends what waited for it.
pub fn note(core: &mut Core, news: News) -> bool {
    let id = match core.neighbors.find(news.port, news.addr) {
        Some(id) => id,
        None if news.adds => {
            let neighbors = &mut core.neighbors;
            match neighbors.find_or_add(news.port, news.addr, Role::Stranger, core.now) {
                Some(id) => id,
                None => return false,
            }
        }
        None => return false,
    };
    let now = core.now;
    let neighbor = core.neighbors.get_mut(id);
    // Without a MAC it says that the one is right which was asked, by whoever
    // asked; the others may know another.
    let asked = if neighbor.state == State::Probe { neighbor.mac } else { None };
    let Some(mac) = news.mac.or(asked) else { return false };
    let is_new_mac = neighbor.mac != Some(mac);
    if is_new_mac && neighbor.mac.is_some() && !news.overrides {
        // Somebody else claims the address: ask again who has it.
        if neighbor.state == State::Reachable {
            neighbor.state = State::Stale;
        }
        return true;
    }
    if news.answers {
        neighbor.state = State::Reachable;
        neighbor.confirmed = now;
        neighbor.probes = 0;
    } else if is_new_mac {
        neighbor.state = State::Stale;
    }
    if is_new_mac {
        core.neighbors.set_mac(id, Some(mac));
        for row in &core.neighbors.get(id).rows {
            if let Some(row) = core.adjacencies.row_mut(*row)
                && row.neighbor == id
            {
                row.resolve(mac);
            }
        }
    }
    // No more than waited at first: none that comes to wait meanwhile.
    for _ in 0..core.neighbors.get(id).waiting {
        let Some(held) = core.neighbors.release(id) else { break };
        core.transmit(held.frame, held.adjacency, held.tos, held.entropy);
    }
    core.count_held();
    true
}

pub(super) fn send_arp(core: &mut Core, port: &PortLocal, to: [u8; 6], packet: &Arp) {
    let Some(mut frame) = core.new_frame() else { return };
    let header_len = ethernet::HEADER_LEN + port.vlan.map_or(0, |_| ethernet::TAG_LEN);
    let fits = frame.set_window(sluice_io::HEADROOM, header_len + arp::LEN);
    debug_assert!(fits);
    let out = frame.data_mut();
    let at = ethernet::emit(out, to, port.mac, port.vlan, ethernet::ARP);
    arp::emit(&mut out[at..], packet);
    core.counters.originated.add(1);
    core.send(port.id, frame);
}

pub(super) fn send_nd(
    core: &mut Core,
    port: &PortLocal,
    to_mac: [u8; 6],
    message: &Nd,
    src: [u8; 16],
    dst: [u8; 16],
) {
    let Some(mut frame) = core.new_frame() else { return };
    let header_len = ethernet::HEADER_LEN + port.vlan.map_or(0, |_| ethernet::TAG_LEN);
    let fits = frame.set_window(sluice_io::HEADROOM, header_len + V6::HEADER_LEN + nd::LEN);
    debug_assert!(fits);
    let out = frame.data_mut();
    let at = ethernet::emit(out, to_mac, port.mac, port.vlan, ethernet::IPV6);
    V6::emit(&mut out[at..], src, dst, V6::ICMP, 255, 0, nd::LEN);
    nd::emit(&mut out[at + V6::HEADER_LEN..], message, port.mac, &src, &dst);
    core.counters.originated.add(1);
    core.send(port.id, frame);
}
