use super::cluster::Net;
use crate::input::Input;

/// One step of a script. Scripts are bytes: any bytes are a script, and the
/// corpus is written as steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A frame as it is.
    Frame {
        /// The port that it arrives by.
        port: u8,
        /// The queue, which is a worker.
        queue: u8,
        /// The frame.
        bytes: Vec<u8>,
    },
    /// An IP packet in an Ethernet header that fits the port.
    Packet {
        /// The port that it arrives by.
        port: u8,
        /// The queue.
        queue: u8,
        /// Its checksums are made right.
        mend: bool,
        /// The packet.
        bytes: Vec<u8>,
    },
    /// An IP packet in the tunnel of a node.
    Inner {
        /// The node.
        node: u8,
        /// The queue.
        queue: u8,
        /// Its checksums are made right.
        mend: bool,
        /// The outer type of service.
        tos: u8,
        /// The packet.
        bytes: Vec<u8>,
    },
    /// A packet between two places of the cluster; see
    /// [`super::packet::Traffic`].
    Traffic {
        /// The queue.
        queue: u8,
        /// Family and source.
        from: u8,
        /// Transport and destination.
        to: u8,
        /// Ports.
        flow: u8,
        /// TCP flags, or a chunk type of SCTP.
        flags: u8,
        /// Length.
        len: u8,
        /// Time to live.
        ttl: u8,
    },
    /// The last packet that left comes back, from its receiver.
    Answer {
        /// The queue.
        queue: u8,
        /// TCP flags, or a chunk type of SCTP; or, with [`Step::REFUSES`], the
        /// type of an ICMP error about it.
        flags: u8,
    },
    /// Time passes.
    Wait {
        /// Milliseconds.
        ms: u32,
    },
    /// The tables change.
    Change {
        /// See [`super::cluster::Cluster::change`].
        what: u16,
    },
    /// Neighbors begin or cease to answer.
    Neighbors {
        /// They answer.
        answer: bool,
    },
}

impl Step {
    /// The flag of an answer that refuses.
    pub const REFUSES: u8 = 0x80;

    /// The next step of a script.
    pub fn decode(input: &mut Input<'_>) -> Step {
        let tag = input.byte();
        let queue = tag >> 4 & 1;
        let mend = tag >> 5 & 1 == 1;
        match tag & 15 {
            0 => Step::Frame { port: input.byte() % 3, queue, bytes: sized(input) },
            1 | 2 => Step::Packet { port: input.byte() % 3, queue, mend, bytes: sized(input) },
            3 | 4 => {
                let (node, tos) = (input.byte() % 3, input.byte());
                Step::Inner { node, queue, mend, tos, bytes: sized(input) }
            }
            5..10 => Step::Traffic {
                queue,
                from: input.byte(),
                to: input.byte(),
                flow: input.byte(),
                flags: input.byte(),
                len: input.byte(),
                ttl: input.byte(),
            },
            10 | 11 => Step::Answer { queue, flags: input.byte() },
            12 => Step::Wait { ms: u32::from(input.word()) << (input.byte() % 12) },
            13 | 14 => Step::Change { what: input.word() },
            _ => Step::Neighbors { answer: mend },
        }
    }

    /// The bytes of a step, of which [`Step::decode`] makes it again (durations
    /// rounded).
    pub fn encode(&self, out: &mut Vec<u8>) {
        let tag = |kind: u8, queue: u8, mend: bool| kind | queue << 4 | u8::from(mend) << 5;
        let mut body = |bytes: &[u8], head: &[u8]| {
            out.extend_from_slice(head);
            out.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
            out.extend_from_slice(bytes);
        };
        match self {
            Step::Frame { port, queue, bytes } => body(bytes, &[tag(0, *queue, false), *port]),
            Step::Packet { port, queue, mend, bytes } => {
                body(bytes, &[tag(1, *queue, *mend), *port]);
            }
            Step::Inner { node, queue, mend, tos, bytes } => {
                body(bytes, &[tag(3, *queue, *mend), *node, *tos]);
            }
            Step::Traffic { queue, from, to, flow, flags, len, ttl } => {
                out.extend([tag(5, *queue, false), *from, *to, *flow, *flags, *len, *ttl]);
            }
            Step::Answer { queue, flags } => out.extend([tag(10, *queue, false), *flags]),
            Step::Wait { ms } => {
                let shift = (0..11).find(|shift| ms >> shift <= 0xffff).unwrap_or(11);
                let word = (ms >> shift).min(0xffff) as u16;
                out.push(12);
                out.extend_from_slice(&word.to_be_bytes());
                out.push(shift);
            }
            Step::Change { what } => {
                out.push(13);
                out.extend_from_slice(&what.to_be_bytes());
            }
            Step::Neighbors { answer } => out.push(tag(15, 0, *answer)),
        }
    }
}

fn sized(input: &mut Input<'_>) -> Vec<u8> {
    let len = usize::from(input.word()) % 2048;
    input.bytes(len).to_vec()
}

/// Where packets come from and go to; a byte chooses one.
pub const PLACES: [(Net, u8); 16] = [
    (Net::Uplink, 10),
    (Net::Elsewhere, 9),
    (Net::Tagged, 10),
    (Net::Pods(0), 5),
    (Net::Pods(1), 6),
    (Net::Pods(2), 7),
    (Net::Uplink, 100),
    (Net::Uplink, 101),
    (Net::Pool, 1),
    (Net::Uplink, 254),
    (Net::Cluster, 254),
    (Net::Cluster, 10),
    (Net::Hole, 1),
    (Net::Uplink, 66),
    (Net::Uplink, 253),
    (Net::Pods(0), 8),
];
