//! From operations to frames.

use super::ops::{L4, LinkKind, Mutation, MutationKind, Shape, Twist, WayIn};
use super::parse::Tuple;
use super::wire::{self, Header, Segment, Tunnel};
use super::world::{CLUSTER, Mac, Network, SCTP, TCP, Target, UDP, UPLINK, World, host};
use std::net::IpAddr;

/// The MAC of a neighbor with an address, after so many changes.
pub fn mac_of(address: &IpAddr, changes: u8) -> Mac {
    let octets = super::world::octets(address);
    let family = if address.is_ipv4() { 4 } else { 6 };
    let net = octets.iter().fold(0u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(*byte));
    [2, 0xaa, family, changes, net, octets[octets.len() - 1]]
}

/// A frame and the port that it arrives by.
pub type Arrival = (u8, Vec<u8>);

/// The port that a plain source is behind.
fn port_of(world: &World, source: &IpAddr) -> u8 {
    match world.lookup(source) {
        Some(Target::Connected(port) | Target::Via(port, _)) => port,
        _ => UPLINK,
    }
}

/// The frame of a packet between two addresses.
pub fn packet(world: &World, tuple: &Tuple, l4: &L4, shape: &Shape) -> Arrival {
    arrival(world, ip(tuple, l4, shape), tuple, shape)
}

/// The frames of a packet in fragments.
pub fn fragments(world: &World, tuple: &Tuple, l4: &L4, id: u16, form: u16) -> Vec<Arrival> {
    let shape = Shape { payload: 90 + form % 64, ..Shape::PLAIN };
    let (protocol, segment) = segment(tuple, l4, &shape);
    let step = 32 + 8 * usize::from(form % 4);
    let parts = segment.chunks(step).enumerate();
    let mut packets: Vec<Vec<u8>> = parts
        .map(|(i, part)| {
            let more = (i + 1) * step < segment.len();
            let header = Header {
                id,
                dont_fragment: false,
                fragment: Some(((i * step / 8) as u16, more)),
                ..Header::new(tuple.src, tuple.dst, protocol)
            };
            wire::ip_packet(&header, part)
        })
        .collect();
    let count = packets.len();
    packets.rotate_left(usize::from(form / 4) % count);
    if form.is_multiple_of(3) {
        packets.reverse();
    }
    match form % 16 {
        0 => drop(packets.pop()),
        1 => packets.insert(1, packets[0].clone()),
        2 => {
            // The last one again, 8 bytes further on.
            let mut last = packets[count - 1].clone();
            let word = if tuple.src.is_ipv4() { 7 } else { 43 };
            last[word] = last[word].wrapping_add(if tuple.src.is_ipv4() { 1 } else { 8 });
            if tuple.src.is_ipv4() {
                wire::fix_v4_header(&mut last);
            }
            packets.insert(1, last);
        }
        _ => {}
    }
    packets.into_iter().map(|packet| arrival(world, packet, tuple, &shape)).collect()
}

/// The frame that a packet arrives in.
fn arrival(world: &World, mut inner: Vec<u8>, tuple: &Tuple, shape: &Shape) -> Arrival {
    let tunnel = match shape.way_in {
        WayIn::Natural => world.pod_node(&tuple.src).map(Some),
        WayIn::Tunnel(node) => Some(Some(usize::from(node) % world.nodes.len())),
        WayIn::Stranger => Some(None),
        WayIn::Port(_) => None,
    };
    let port = match (shape.way_in, tunnel) {
        (WayIn::Port(port), _) => port,
        (_, Some(_)) => CLUSTER,
        _ => port_of(world, &tuple.src),
    };
    let mutation = shape.mutation;
    if let Some(mutation) = mutation.filter(|mutation| mutation.inner) {
        mutate(&mut inner, mutation, 0);
    }
    let packet = match tunnel {
        None => inner,
        Some(node) => wrap(world, node, shape, &inner),
    };
    let interface = &world.interfaces[usize::from(port)];
    let src = mac_of(&tuple.src, 0);
    let ethertype = match shape.twist {
        Some(Twist::OtherEthertype) => 0x88b5,
        _ => wire::ethertype(&packet),
    };
    let vlan = match shape.twist {
        Some(Twist::OtherVlan) => Some(99),
        Some(Twist::PriorityTag) => Some(0),
        _ => interface.vlan,
    };
    let dst = match shape.twist {
        Some(Twist::OtherMac) => [2, 0, 0, 8, 8, 8],
        Some(Twist::GroupMac) => [0xff; 6],
        _ => interface.mac,
    };
    let mut frame = wire::ethernet(dst, src, vlan, ethertype, &packet);
    if let Some(mutation) = mutation.filter(|mutation| !mutation.inner) {
        let header_len = if vlan.is_some() { 18 } else { 14 };
        mutate(&mut frame, mutation, header_len);
    }
    (port, frame)
}

/// The packet of a node, or of a stranger, that carries another.
fn wrap(world: &World, node: Option<usize>, shape: &Shape, inner: &[u8]) -> Vec<u8> {
    let overlay = &world.overlay;
    let peer = node.and_then(|node| world.nodes.get(node));
    let ends = peer.and_then(|peer| overlay.v4.zip(peer.v4).or(overlay.v6.zip(peer.v6)));
    let own = overlay.v4.or(overlay.v6).expect("an overlay has an address");
    let stranger = host(!own.is_ipv4(), Network::Cluster, 77);
    let (dst, src) = ends.unwrap_or((own, stranger));
    let tunnel = Tunnel {
        src,
        dst,
        src_port: 50_000,
        dst_port: overlay.udp_port,
        vni: overlay.vni ^ u32::from(shape.twist == Some(Twist::Vni)),
        flags: if shape.twist == Some(Twist::VxlanFlags) { 0 } else { 8 },
        inner_vlan: (shape.twist == Some(Twist::InnerTag)).then_some(5),
        inner_ethertype: (shape.twist == Some(Twist::InnerArp)).then_some(0x0806),
        inner_dst: match shape.twist {
            Some(Twist::InnerMac) => [2, 0, 0, 7, 7, 7],
            _ => overlay.mac,
        },
        inner_src: peer.map_or([2, 0, 0, 9, 9, 9], |peer| peer.mac),
        tos: shape.outer_tos,
        fragment: (shape.twist == Some(Twist::OuterFragment)).then_some((0, true)),
    };
    tunnel.wrap(inner)
}

/// Spoils a frame or packet whose IP header begins at `ip_at`.
fn mutate(bytes: &mut Vec<u8>, mutation: Mutation, ip_at: usize) {
    let at = usize::from(mutation.at) % bytes.len();
    match mutation.kind {
        // Headers are where it hurts.
        MutationKind::Set => {
            let at = if mutation.value.is_multiple_of(4) { at } else { at % bytes.len().min(80) };
            bytes[at] = mutation.value;
        }
        MutationKind::Truncate => bytes.truncate(at),
        MutationKind::Pad => bytes.extend(std::iter::repeat_n(mutation.value, at % 40)),
        MutationKind::Header => {
            let end = ip_at + usize::from(bytes.get(ip_at).map_or(0, |byte| byte & 0xf)) * 4;
            if bytes.len() >= ip_at + 20
                && bytes[ip_at] >> 4 == 4
                && bytes.len() >= end
                && end >= ip_at + 20
            {
                let at = ip_at + 1 + at % (end - ip_at - 1);
                bytes[at] = mutation.value;
                wire::fix_v4_header(&mut bytes[ip_at..]);
            }
        }
    }
}

/// A transport segment and its protocol.
fn segment(tuple: &Tuple, l4: &L4, shape: &Shape) -> (u8, Vec<u8>) {
    let (src, dst) = (tuple.src, tuple.dst);
    let payload: Vec<u8> = (0..shape.payload).map(|i| (i * 7) as u8).collect();
    match *l4 {
        L4::Tcp { flags, .. } => {
            let mut options = match shape.mss {
                None => Vec::new(),
                Some((mss, odd)) => {
                    let [a, b] = mss.to_be_bytes();
                    if odd { vec![1, 2, 4, a, b, 1, 1, 0] } else { vec![2, 4, a, b] }
                }
            };
            options.extend(shape.scale.iter().flat_map(|scale| [1, 3, 3, *scale]));
            let segment = Segment {
                src_port: tuple.src_port,
                dst_port: tuple.dst_port,
                seq: shape.numbers.0,
                ack: shape.numbers.1,
                flags,
                options,
                payload,
            };
            (TCP, wire::tcp(&src, &dst, &segment))
        }
        L4::Udp { checksum, .. } => {
            let (from, to) = ((&src, tuple.src_port), (&dst, tuple.dst_port));
            (UDP, wire::udp(from, to, checksum, &payload))
        }
        L4::Sctp { chunk, checksum, .. } => {
            // A tag, then anything; what may stand with data at times does.
            let alone = [1, 2, 14].contains(&chunk);
            let mut value = vec![1, 2, 3, 4];
            if alone {
                value.extend_from_slice(&payload);
            }
            let mut chunks = vec![(chunk, 0, value)];
            if !alone && !payload.is_empty() {
                chunks.insert(payload.len() % 2, (0, 3, payload));
            }
            // Nearly always the tag that INIT gives.
            let tag = if shape.numbers.0.is_multiple_of(7) { 9 } else { 0x0102_0304 };
            let mut segment = wire::sctp(tuple.src_port, tuple.dst_port, tag, &chunks);
            segment[8] ^= u8::from(!checksum);
            (SCTP, segment)
        }
        L4::Echo { request, id, zero } => {
            let kind = match (request, src.is_ipv4()) {
                (true, true) => 8,
                (false, true) => 0,
                (true, false) => 128,
                (false, false) => 129,
            };
            let [a, b] = id.to_be_bytes();
            let (word, body) = match zero {
                true => ([0; 4], vec![0; payload.len()]),
                false => ([a, b, 0, 1], payload),
            };
            (wire::icmp_of(&src), wire::icmp(&src, &dst, kind, 0, word, &body))
        }
        L4::Icmp { error } => {
            let kind = match (error, src.is_ipv4()) {
                (true, true) => 3,
                (true, false) => 1,
                (false, true) => 13,
                (false, false) => 144,
            };
            (wire::icmp_of(&src), wire::icmp(&src, &dst, kind, 1, [0; 4], &payload))
        }
        L4::Error { about, form } => {
            let kinds = if src.is_ipv4() { [3, 11, 12, 3, 5] } else { [1, 2, 3, 4, 137] };
            let kind = kinds[usize::from(form % 5)];
            let quote = quote(&about, form / 5);
            let mut message = wire::icmp(&src, &dst, kind, 1, [0; 4], &quote);
            message[3] ^= u8::from(form.is_multiple_of(7));
            (wire::icmp_of(&src), message)
        }
        L4::Other { protocol } => (protocol, payload),
    }
}

/// An IP packet.
fn ip(tuple: &Tuple, l4: &L4, shape: &Shape) -> Vec<u8> {
    let (src, dst) = (tuple.src, tuple.dst);
    let (protocol, segment) = segment(tuple, l4, shape);
    let mut header = Header {
        ttl: shape.ttl,
        tos: shape.tos,
        dont_fragment: shape.dont_fragment,
        id: 0x4242,
        fragment: shape.fragment,
        ..Header::new(src, dst, protocol)
    };
    match src {
        IpAddr::V4(_) => header.options = v4_options(shape.options),
        IpAddr::V6(_) => header.extensions = extensions(shape.options),
    }
    wire::ip_packet(&header, &segment)
}

/// What an ICMP error quotes of a packet that answers `about`.
fn quote(about: &Tuple, form: u8) -> Vec<u8> {
    let Tuple { src: dst, dst: src, src_port: dst_port, dst_port: src_port, protocol } = *about;
    let payload = vec![form; usize::from(form % 9)];
    let segment = match protocol {
        TCP => {
            let segment =
                Segment { src_port, dst_port, flags: 0x10, payload, ..Segment::default() };
            wire::tcp(&src, &dst, &segment)
        }
        UDP => wire::udp((&src, src_port), (&dst, dst_port), !form.is_multiple_of(3), &payload),
        // An echo, of either end.
        wire::ICMP | wire::ICMPV6 => {
            let kind = match (form.is_multiple_of(2), src.is_ipv4()) {
                (true, true) => 8,
                (false, true) => 0,
                (true, false) => 128,
                (false, false) => 129,
            };
            let [a, b] = src_port.to_be_bytes();
            wire::icmp(&src, &dst, kind, 0, [a, b, 0, 1], &payload)
        }
        _ => [&src_port.to_be_bytes()[..], &dst_port.to_be_bytes(), &[0; 4]].concat(),
    };
    let mut quote = wire::ip_packet(&Header::new(src, dst, protocol), &segment);
    // Some quote all, some 8 bytes of the transport header (RFC 792), or less.
    match form % 4 {
        0 => quote.truncate(quote.len() - segment.len() + 8),
        1 => quote.truncate(usize::from(form)),
        _ => {}
    }
    quote
}

fn v4_options(choice: u8) -> Vec<u8> {
    match choice {
        1 => vec![148, 4, 0, 0],
        2 => vec![7, 7, 4, 0, 0, 0, 0, 148, 4, 0, 0, 0],
        3 => vec![131, 7, 4, 10, 0, 0, 1, 0],
        4 => vec![1, 1, 1, 0],
        5 => vec![68, 40, 0, 0],
        6 => vec![137, 3, 4, 0],
        _ => Vec::new(),
    }
}

fn extensions(choice: u8) -> Vec<(u8, Vec<u8>)> {
    let options = |kind| (kind, vec![0, 0, 1, 4, 0, 0, 0, 0]);
    match choice {
        1 => vec![options(0)],
        2 => vec![options(0), options(60)],
        // An atomic fragment (RFC 6946) behind destination options.
        3 => vec![options(60), (44, vec![0, 0, 0, 0, 0, 0, 0, 7])],
        4 => {
            vec![(43, vec![0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])]
        }
        5 => (0..9).map(|_| options(60)).collect(),
        6 => vec![options(60), options(0)],
        // A fragment within an atomic one.
        7 => vec![(44, vec![0, 0, 0, 1, 0, 0, 0, 7]), (44, vec![0, 0, 0, 0, 0, 0, 0, 7])],
        _ => Vec::new(),
    }
}

/// An ARP or ND frame of a neighbor, by address and MAC.
pub fn link(
    world: &World,
    port: u8,
    kind: LinkKind,
    (sender, mac): (IpAddr, Mac),
    target: IpAddr,
) -> Vec<u8> {
    let v6 = sender.is_ipv6();
    let interface = &world.interfaces[usize::from(port)];
    let own = world.port_address(port, &sender).expect("ports have addresses of both families");
    let (to, ethertype, mut payload) = match (v6, kind) {
        (false, LinkKind::Request | LinkKind::Broken) => {
            ([0xff; 6], 0x0806, wire::arp(true, (mac, sender), ([0; 6], target)))
        }
        (false, LinkKind::Probe) => {
            let nobody = IpAddr::from([0; 4]);
            ([0xff; 6], 0x0806, wire::arp(true, (mac, nobody), ([0; 6], target)))
        }
        (false, LinkKind::Reply) => {
            (interface.mac, 0x0806, wire::arp(false, (mac, sender), (interface.mac, own)))
        }
        (false, LinkKind::FalseReply) => {
            (interface.mac, 0x0806, wire::arp(false, (mac, target), (interface.mac, own)))
        }
        (true, LinkKind::Request | LinkKind::Broken) => {
            let message = wire::nd(135, 0, sender, target, target, Some(mac));
            (interface.mac, 0x86dd, message)
        }
        (true, LinkKind::Probe) => {
            let nobody = IpAddr::from([0; 16]);
            let group = "ff02::1:ff00:1".parse().expect("an address");
            ([0x33, 0x33, 0xff, 0, 0, 1], 0x86dd, wire::nd(135, 0, nobody, group, target, None))
        }
        (true, LinkKind::Reply) => {
            (interface.mac, 0x86dd, wire::nd(136, 0x60, sender, own, sender, Some(mac)))
        }
        (true, LinkKind::FalseReply) => {
            (interface.mac, 0x86dd, wire::nd(136, 0x60, sender, own, target, Some(mac)))
        }
    };
    if matches!(kind, LinkKind::Broken) {
        let last = payload.len() - 1;
        payload[if v6 { last } else { 5 }] ^= 1;
    }
    wire::ethernet(to, mac, interface.vlan, ethertype, &payload)
}

/// The answer of a neighbor to a question about its address: to the asker. As
/// Linux does, it leaves out what a question to one alone (`to_one`) shows to be
/// known (RFC 4861 section 7.2.4).
pub fn answer(
    address: IpAddr,
    mac: Mac,
    vlan: Option<u16>,
    asker: (Mac, IpAddr),
    to_one: bool,
) -> Vec<u8> {
    match address {
        IpAddr::V4(_) => {
            let payload = wire::arp(false, (mac, address), asker);
            wire::ethernet(asker.0, mac, vlan, 0x0806, &payload)
        }
        IpAddr::V6(_) => {
            let (flags, said) = if to_one { (0x40, None) } else { (0x60, Some(mac)) };
            let payload = wire::nd(136, flags, address, asker.1, address, said);
            wire::ethernet(asker.0, mac, vlan, 0x86dd, &payload)
        }
    }
}
