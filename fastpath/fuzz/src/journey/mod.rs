//! Scripts of frames, pauses and table changes against a whole gateway. After
//! each step: packets and frames are all accounted for, and what was sent
//! stands up to another implementation.

/// What outputs must be like.
pub mod check;
/// Tables by hand.
pub mod cluster;
/// Workers on memory ports.
pub mod gateway;
/// Packets by hand.
pub mod packet;
/// The steps of a script.
pub mod step;

use crate::input::Input;
use cluster::Cluster;
use gateway::{Gateway, Sizes};
use packet::Traffic;
use step::Step;

/// Steps of a script that are carried out.
const STEPS_MAX: usize = 200;

/// Carries out an input as a script: a byte of flags, then steps.
pub fn journey(data: &[u8]) {
    let mut input = Input::new(data);
    let mut script = Script::new(input.byte());
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        script.carry_out(&Step::decode(&mut input));
    }
    script.finish();
}

/// A script as it runs.
pub struct Script {
    cluster: Cluster,
    gateway: Gateway,
    /// Neighbors answer.
    answering: bool,
    /// Every packet that may still come out had right checksums.
    sound: bool,
    /// The last packet that was sent in the open, and by which port.
    last: Option<(u8, Vec<u8>)>,
}

impl Script {
    /// Begins a script: bit 0 two workers, 1 clients preserved, 2 underlay of
    /// IPv6, 3 a default route, 4 everything tight.
    pub fn new(flags: u8) -> Self {
        let cluster = Cluster::new(flags);
        let sizes = if flags & 16 == 0 { Sizes::AMPLE } else { Sizes::TIGHT };
        let mut gateway = Gateway::new(cluster.workers, sizes);
        gateway.publish(&cluster);
        let mut script = Script { cluster, gateway, answering: true, sound: true, last: None };
        script.settle();
        script
    }

    /// Carries out a step and looks at what came of it.
    pub fn carry_out(&mut self, step: &Step) {
        match step {
            Step::Frame { port, queue, bytes } => self.send(*queue, *port, bytes),
            Step::Packet { port, queue, mend, bytes } => {
                let mut bytes = bytes.clone();
                if *mend {
                    packet::mend(&mut bytes);
                }
                self.send(*queue, *port, &packet::frame(*port, &bytes));
            }
            Step::Inner { node, queue, mend, tos, bytes } => {
                let mut bytes = bytes.clone();
                if *mend {
                    packet::mend(&mut bytes);
                }
                self.send_inner(*queue, *node, *tos, &bytes);
            }
            Step::Traffic { queue, from, to, flow, flags, len, ttl } => {
                let (from, to, flow) = (*from, *to, *flow);
                let traffic = Traffic { from, to, flow, flags: *flags, len: *len, ttl: *ttl };
                let packet = traffic.packet();
                match traffic.way_in() {
                    Ok(port) => self.send(*queue, port, &packet::frame(port, &packet)),
                    Err(node) => self.send_inner(*queue, node, 0, &packet),
                }
            }
            Step::Answer { queue, flags } => self.answer(*queue, *flags),
            Step::Wait { ms } => {
                self.gateway.release();
                self.gateway.wait(*ms);
            }
            Step::Change { what } => {
                self.cluster.change(*what);
                self.gateway.publish(&self.cluster);
            }
            Step::Neighbors { answer } => self.answering = *answer,
        }
        self.settle();
    }

    /// Ends a script.
    pub fn finish(self) {
        self.gateway.close();
    }

    fn send_inner(&mut self, queue: u8, node: u8, tos: u8, inner: &[u8]) {
        let frame = packet::tunnel(node, self.cluster.underlay_v6, tos, inner);
        self.send(queue, 1, &frame);
    }

    fn send(&mut self, queue: u8, port: u8, frame: &[u8]) {
        self.sound &= check::is_sound(check::innermost(frame));
        self.gateway.send(queue, port, frame);
    }

    /// Sends the last packet that left back to its sender.
    fn answer(&mut self, queue: u8, flags: u8) {
        let Some((port, mut packet)) = self.last.clone() else { return };
        let v4 = packet[0] >> 4 == 4;
        let (at, len, header) = if v4 { (12, 4, 20) } else { (8, 16, 40) };
        if flags & Step::REFUSES != 0 {
            packet = packet::error_about(&packet, flags);
            return self.send_back(queue, port, &packet);
        }
        let addresses = packet[at..at + 2 * len].to_vec();
        packet[at..at + len].copy_from_slice(&addresses[len..]);
        packet[at + len..at + 2 * len].copy_from_slice(&addresses[..len]);
        packet[if v4 { 8 } else { 7 }] = 64;
        let protocol = packet[if v4 { 9 } else { 6 }];
        match (protocol, packet.get_mut(header..header + 14)) {
            (6, Some(tcp)) => {
                tcp[..4].rotate_left(2);
                tcp[13] = flags & 0x17;
            }
            (132, Some(sctp)) => {
                sctp[..4].rotate_left(2);
                sctp[12] = flags & 15;
            }
            (17, Some(udp)) => udp[..4].rotate_left(2),
            (1, Some(icmp)) if icmp[0] == 8 => icmp[0] = 0,
            (58, Some(icmp)) if icmp[0] == 128 => icmp[0] = 129,
            _ => {}
        }
        packet::mend(&mut packet);
        self.send_back(queue, port, &packet);
    }

    /// Sends a packet from where the last one went: the tunnel that it went into,
    /// if it did.
    fn send_back(&mut self, queue: u8, port: u8, packet: &[u8]) {
        match port.checked_sub(16) {
            Some(node) => self.send_inner(queue, node, 0, packet),
            None => self.send(queue, port, &packet::frame(port, packet)),
        }
    }

    /// Lets the gateway come to rest, neighbors answering or not, and looks at
    /// what it sent.
    fn settle(&mut self) {
        loop {
            let sent = self.gateway.settle();
            if sent.is_empty() {
                break;
            }
            for (queue, port, frame) in sent {
                check::sent(&self.cluster, port, &frame, self.sound);
                match gateway::answer_to(&frame) {
                    Some(answer) if self.answering => self.gateway.send(queue, port, &answer),
                    Some(_) => {}
                    None => self.note(port, &frame),
                }
            }
        }
        // What waits may have been wrong when it came.
        self.sound |= self.gateway.held() == 0;
    }

    /// Remembers a packet that was sent, the inner one of a tunnel.
    fn note(&mut self, port: u8, frame: &[u8]) {
        let inner = check::innermost(frame);
        let outer_len = frame.len() - inner.len();
        if inner.len() < 40 || !matches!(inner[0] >> 4, 4 | 6) {
            return;
        }
        let place = if outer_len > 18 {
            // The node, by the last byte of its inner MAC.
            16 + frame.get(outer_len - 9).copied().unwrap_or(0) % 3
        } else {
            port
        };
        self.last = Some((place, inner.to_vec()));
    }
}
