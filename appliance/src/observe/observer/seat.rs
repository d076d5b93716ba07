use super::tally::Tally;
use crate::observe::filter::is_icmp;
use crate::observe::view::{EndView, Ends, Names};
use crate::observe::{Losses, Piece, Want, pcapng};
use sluice_fastpath::events::{Captured, EventReceiver, Fate, Link, SNAP_LEN_MAX};
use sluice_fastpath::packet::Ingress;
use sluice_fastpath::{Nanos, WorkerCounters};
use sluice_tables::RuleId;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio::sync::mpsc::Sender;

/// One who watches.
pub(super) struct Seat {
    pub(super) id: u64,
    /// Its place at the workers ([`Observe`]).
    pub(super) place: usize,
    pub(super) want: Want,
    pub(super) left: Option<u64>,
    pub(super) to: Sender<Piece>,
    /// Workers' time when it began; `None`: not yet.
    pub(super) since: Option<Nanos>,
    pub(super) tally: Tally,
    /// Numbers of the interfaces of a capture that are described.
    pub(super) interfaces: HashMap<(Option<Ingress>, Link), u32>,
}

impl Seat {
    pub(super) fn begin(&mut self, now: Nanos, counts: [u64; 2]) {
        self.since = Some(now);
        self.tally = Tally::new(counts);
        let _ = self.to.try_send(Piece::Begun);
        if let Want::Packets(_) = self.want {
            let _ = self.to.try_send(Piece::Bytes(pcapng::section()));
        }
    }

    /// Sends a piece; one that finds no room is lost, and counted.
    pub(super) fn send(&mut self, bytes: Vec<u8>, lost: &AtomicU64) -> bool {
        // The last room is for what is said at the end.
        if self.to.capacity() > 1 {
            // One that has gone leaves with the next look at the desk.
            return self.to.try_send(Piece::Bytes(bytes)).is_ok();
        }
        self.tally.slow += 1;
        Losses::add(lost, 1);
        false
    }

    /// Sends a packet, and its interface if it is the first one of it.
    pub(super) fn send_packet(
        &mut self,
        names: &Names,
        worker: usize,
        packet: &Captured,
        lost: &AtomicU64,
    ) {
        let Want::Packets(capture) = &self.want else { return };
        let key = (packet.ingress, packet.link);
        let number = self.interfaces.len() as u32;
        let known = self.interfaces.get(&key).copied();
        let mut bytes = Vec::new();
        if known.is_none() {
            let from = packet.ingress.and_then(|ingress| names.ingress(ingress));
            let from = from.unwrap_or_else(|| "on the way out".to_owned());
            let what = match packet.link {
                Link::Ethernet => "frames as they came, or as they were to leave",
                Link::Ip => "IP packets, without what was around them",
            };
            bytes = pcapng::interface(&from, what, packet.link, capture.snap_len);
        }
        let comment = comment(names, worker, packet);
        let number = known.unwrap_or(number);
        let time = unix_ns(names, packet.at);
        bytes.extend(pcapng::packet(number, time, packet, capture.snap_len, &comment));
        if self.send(bytes, lost) {
            self.interfaces.insert(key, number);
            self.left = self.left.map(|left| left.saturating_sub(1));
        }
    }

    /// Ends a capture that has begun with how many packets are missing. What says so
    /// belongs to an interface.
    pub(super) fn close_capture(&mut self, unix_ns: u64, lost: u64) {
        if self.since.is_none() {
            return;
        }
        let mut bytes = Vec::new();
        if self.interfaces.is_empty() {
            let what = "nothing was captured";
            bytes = pcapng::interface("none", what, Link::Ip, SNAP_LEN_MAX as u16);
        }
        bytes.extend(pcapng::statistics(0, unix_ns, lost));
        let _ = self.to.try_send(Piece::Bytes(bytes));
    }
}

/// What the workers have left out for one who watches: beyond the limit, ring full.
pub(super) fn counts_of(seat: &Seat, workers: &[(EventReceiver, Arc<WorkerCounters>)]) -> [u64; 2] {
    workers.iter().fold([0, 0], |[limit, ring], (_, counters)| {
        let untold = match seat.want {
            Want::Drops(_) => &counters.events.follows[seat.place],
            Want::Packets(_) => &counters.events.captures[seat.place],
        };
        [limit + untold.limited.get(), ring + untold.lost.get()]
    })
}

pub(super) fn unix_ns(names: &Names, at: Nanos) -> u64 {
    u64::try_from(names.time(at).as_nanosecond()).unwrap_or(0)
}

/// What became of a packet, in words.
fn comment(names: &Names, worker: usize, packet: &Captured) -> String {
    let mut text = match packet.fate {
        Fate::Forwarded => "forwarded".to_owned(),
        Fate::Local => "for the gateway itself".to_owned(),
        Fate::Dropped(reason) => {
            format!("dropped: {}: {}", reason.label(), reason.help().trim_end_matches('.'))
        }
    };
    if let Some(leaves) = packet.leaves.filter(|leaves| Some(*leaves) != packet.came) {
        let Ends { source, destination } = names.ends(&leaves);
        let is_icmp = is_icmp(leaves.protocol);
        let end = |end: EndView| match is_icmp {
            true => end.address.to_string(),
            false => crate::cli::units::endpoint(&end.address.to_string(), end.port),
        };
        let is_denied = packet.fate.reason().is_some() && packet.came.is_some();
        let what = if is_denied { "between its real ends" } else { "leaves as" };
        text.push_str(&format!("; {what} {} > {}", end(source), end(destination)));
    }
    for (what, rule) in ["egress", "ingress"].into_iter().zip(packet.rules) {
        if rule != RuleId::NONE {
            let name = names.rule(rule).unwrap_or_default();
            text.push_str(&format!("; {what}: {name}"));
        }
    }
    format!("{text}; worker {worker}")
}
