//! Changes of what the gateway is told, and of its neighbors.

use crate::model::random::Random;
use std::net::IpAddr;

#[derive(Clone, Copy, Debug)]
pub enum Change {
    Health {
        frontend: u8,
        backend: u8,
        health: u8,
    },
    AddBackend {
        frontend: u8,
        endpoint: u8,
    },
    /// Its Services' endpoints stay where they have other addresses.
    RemoveVip {
        number: u8,
        endpoints_stay: bool,
    },
    /// A VIP with two ports; some of these are addresses that were somebody's.
    AddVip {
        v6: bool,
        place: u8,
    },
    DefaultRoute(bool),
    /// Where "behind" is.
    Behind(u8),
    Node {
        node: u8,
        present: bool,
    },
    NodeMac {
        node: u8,
        value: u8,
    },
    Mtu {
        port: u8,
        mtu: u16,
    },
    OverlayMtu(u16),
    Preserve(bool),
    /// A node has its pods' range, or not.
    PodRange {
        node: u8,
        present: bool,
    },
    /// A pod's policies for one direction select it and allow nothing; or they say
    /// what they said before that.
    Deny {
        pod: IpAddr,
        egress: bool,
    },
    Restore,
    /// What policies say of a pod's traffic in one direction.
    Policy {
        v6: bool,
        pod: u8,
        egress: bool,
        form: u32,
    },
    PolicyEpoch,
    RouteEpoch,
    AddNodePort {
        v6: bool,
        place: u8,
    },
    /// Its Service's endpoints stay where it has a VIP.
    RemoveNodePort {
        number: u8,
        endpoints_stay: bool,
    },
    /// Who may connect to a port: one of some lists.
    Sources {
        frontend: u8,
        list: u8,
    },
    /// For how long a client goes where it went; 0 for no affinity.
    Affinity {
        frontend: u8,
        ms: u32,
    },
    /// By hash, least connections, random of two.
    Balance {
        frontend: u8,
        how: u8,
    },
    /// By bits: nodes, zones, nodes only.
    Locality {
        frontend: u8,
        bits: u8,
    },
    /// The zone of a node or, behind those, of the gateway.
    Zone {
        node: u8,
        zone: u16,
    },
    Weight {
        frontend: u8,
        backend: u8,
        weight: u16,
    },
}

#[derive(Clone, Copy, Debug)]
pub enum HostChange {
    Dies,
    Returns,
    NewMac,
}

pub(super) fn change(random: &mut Random, v6: bool) -> Change {
    let (a, b) = (random.next() as u8, random.next() as u8);
    match random.below(58) {
        0..8 => Change::Health { frontend: a, backend: b, health: random.below(4) as u8 },
        8..13 => Change::AddBackend { frontend: a, endpoint: b },
        13..15 => Change::RemoveVip { number: a, endpoints_stay: random.one_in(2) },
        15..18 => Change::AddVip { v6, place: a },
        18 => Change::DefaultRoute(random.one_in(2)),
        19 => Change::Behind(a),
        20 => Change::Node { node: a, present: random.one_in(2) },
        21 => Change::NodeMac { node: a, value: b },
        22 => Change::Mtu { port: a, mtu: random.of(&[1400, 1420, 1500]) },
        23 => random.of(&[
            Change::OverlayMtu(1440),
            Change::OverlayMtu(1300),
            Change::OverlayMtu(1400),
        ]),
        24 => Change::Preserve(!random.one_in(5)),
        25 => Change::PodRange { node: a % 4, present: !random.one_in(4) },
        26 => random.of(&[Change::PolicyEpoch, Change::RouteEpoch]),
        27..29 => Change::AddNodePort { v6, place: a },
        29 => Change::RemoveNodePort { number: a, endpoints_stay: !random.one_in(3) },
        // No list, mostly.
        30..34 => Change::Sources { frontend: a, list: if random.one_in(2) { b } else { 0 } },
        34..39 => {
            let ms = random.of(&[0, 2_000, 60_000, 60_000, 10_800_000]);
            Change::Affinity { frontend: a, ms }
        }
        39..42 => Change::Balance { frontend: a, how: b },
        42..45 => Change::Locality { frontend: a, bits: random.of(&[0, 0, 1, 2, 2, 3, 5]) },
        45..55 => {
            let form = random.next() as u32;
            Change::Policy { v6, pod: a, egress: random.one_in(2), form }
        }
        55 => Change::Zone { node: a, zone: random.below(3) as u16 },
        _ => Change::Weight { frontend: a, backend: b, weight: random.of(&[1, 2, 7, 100]) },
    }
}
