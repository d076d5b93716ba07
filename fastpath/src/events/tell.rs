use super::read;
use super::{
    Audience, Captured, EventCounters, EventKind, Fate, Link, PacketEvent, Places, SNAP_LEN_MAX,
    Snapshot, State,
};
use crate::core::Core;
use crate::flow::table::Ended;
use crate::flow::{CUT, Entry, FlowTable, Key};
use crate::packet::{Ingress, Packet};
use crate::reason::DropReason;
use crate::time::Nanos;
use crate::wire::ip::Ip;
use seen::{Seen, arriving, leaving, service};
use sluice_io::Frame;
use sluice_tables::{BackendId, RuleId, ServiceId, Tables, Tuple};

mod seen;

impl<F: Ip> From<&Key<F>> for Tuple {
    fn from(key: &Key<F>) -> Self {
        Tuple {
            src: F::to_ip(key.src),
            dst: F::to_ip(key.dst),
            src_port: key.src_port,
            dst_port: key.dst_port,
            protocol: key.protocol,
        }
    }
}

impl Core {
    /// Tells of a packet that is dropped on its journey: it is known exactly.
    #[cold]
    pub(crate) fn tell_dropped<F: Ip>(&mut self, packet: &Packet<F>, reason: DropReason) {
        let Some(state) = self.events.state.as_deref_mut() else { return };
        let seen = Seen {
            ingress: Some(packet.ingress),
            came: Some(Tuple::from(&packet.key)),
            leaves: None,
            link: Link::Ip,
            len: usize::from(packet.ip.len),
        };
        state.dropped(&self.counters.events, &self.tables, self.now, &packet.frame, &seen, reason);
    }

    /// Tells of a frame that is dropped: while it is received, it is made whole
    /// again; after that it is a packet on its way out, `link` and all.
    #[cold]
    pub(crate) fn tell_dropped_frame(&mut self, frame: &mut Frame, link: Link, reason: DropReason) {
        let Some(state) = self.events.state.as_deref_mut() else { return };
        let arrival =
            state.arrival.filter(|arrival| link == Link::Ip && arrival.chunk == frame.chunk());
        let seen = match arrival {
            Some(arrival) => {
                let at = frame.head().saturating_sub(arrival.head);
                let _ = frame.set_window(arrival.head, arrival.len);
                arriving(&self.tables, frame, arrival.ingress, at)
            }
            None => leaving(&self.tables, frame, link),
        };
        state.dropped(&self.counters.events, &self.tables, self.now, frame, &seen, reason);
    }

    /// Tells of a packet that nobody here took: `frame` is as it came, its data begins
    /// with its IP header.
    #[cold]
    pub(crate) fn tell_undelivered(&mut self, frame: &Frame, ingress: Ingress, reason: DropReason) {
        let Some(state) = self.events.state.as_deref_mut() else { return };
        let (came, len) = (read::tuple(frame.data()), frame.len());
        let seen = Seen { ingress: Some(ingress), came, leaves: None, link: Link::Ip, len };
        state.dropped(&self.counters.events, &self.tables, self.now, frame, &seen, reason);
    }

    /// Tells of a packet that passes, and would have been dropped for `reason` by
    /// `rules` (egress, ingress) if its policy were not only audited.
    #[inline]
    pub fn tell_audited<F: Ip>(
        &mut self,
        packet: &Packet<F>,
        reason: DropReason,
        rules: [RuleId; 2],
    ) {
        if self.events.is_on() {
            self.audited(packet, reason, rules);
        }
    }

    #[cold]
    fn audited<F: Ip>(&mut self, packet: &Packet<F>, reason: DropReason, rules: [RuleId; 2]) {
        let Some(state) = self.events.state.as_deref_mut() else { return };
        let came = Tuple::from(&packet.key);
        let kind = EventKind::Audited(reason);
        let Some(to) = state.of_packet(&self.counters.events, self.now, kind, [Some(&came), None])
        else {
            return;
        };
        let event = PacketEvent {
            at: self.now,
            kind,
            to,
            ingress: Some(packet.ingress),
            came: Some(came),
            leaves: None,
            service: service(&self.tables, &came),
            backend: BackendId::NONE,
            rules,
            len: packet.ip.len,
        };
        state.tell(&self.counters.events, event);
    }

    /// Tells of a flow that has begun, if it is one of those that are told of.
    #[cold]
    pub(crate) fn tell_begun<F: Ip>(&mut self, table: &FlowTable<F>, number: u32, hash: u64) {
        if !is_sampled(hash, self.events.sample()) {
            return;
        }
        let flow = Ended::of(table, number);
        self.tell_flow(&flow, EventKind::FlowBegun);
    }

    /// Tells of a flow that has ended.
    #[cold]
    pub(crate) fn tell_ended<F: Ip>(&mut self, flow: &Ended<F>) {
        let [original, reply] = &flow.entries;
        let packets = [original.packets, reply.packets];
        let state = if flow.is_cut { CUT } else { flow.state.label() };
        self.tell_flow(flow, EventKind::FlowEnded { state, packets });
    }

    fn tell_flow<F: Ip>(&mut self, flow: &Ended<F>, kind: EventKind) {
        let Some(state) = self.events.state.as_deref_mut() else { return };
        let counters = &self.counters.events;
        if !state.log_flows.take(self.now) {
            return counters.flow_log.limited.add(1);
        }
        let original: &Entry<F> = &flow.entries[0];
        let leaves = Tuple {
            src: F::to_ip(original.new_src),
            dst: F::to_ip(original.new_dst),
            src_port: original.new_src_port,
            dst_port: original.new_dst_port,
            protocol: original.key.protocol,
        };
        let event = PacketEvent {
            at: self.now,
            kind,
            to: Audience { flow_log: true, ..Audience::default() },
            ingress: Some(original.ingress),
            came: Some(Tuple::from(&original.key)),
            leaves: Some(leaves),
            service: original.service,
            backend: flow.backend,
            rules: flow.rules,
            len: 0,
        };
        state.tell(counters, event);
    }

    /// Counts flows whose end found no room to be told.
    pub(crate) fn count_untold_ends(&self, ends: u64) {
        self.counters.events.flow_log.limited.add(ends);
    }

    /// Keeps a packet as it is before it is judged, while packets are copied.
    #[cold]
    pub(crate) fn keep_as_it_came<F: Ip>(&mut self, packet: &Packet<F>) {
        let Some(state) = self.events.state.as_deref_mut() else { return };
        let data = packet.frame.data();
        let snapshot = &mut state.snapshot;
        snapshot.chunk = Some(packet.frame.chunk());
        snapshot.copied = data.len().min(snapshot.snap_len);
        snapshot.bytes[..snapshot.copied].copy_from_slice(&data[..snapshot.copied]);
    }

    /// Copies a packet that was judged and is not dropped, as it came.
    #[cold]
    pub(crate) fn capture_passed<F: Ip>(&mut self, packet: &Packet<F>, fate: Fate) {
        let Some(state) = self.events.state.as_deref_mut() else { return };
        let leaves = match fate {
            Fate::Forwarded => read::tuple(packet.frame.data()),
            Fate::Local | Fate::Dropped(_) => None,
        };
        let seen = Seen {
            ingress: Some(packet.ingress),
            came: Some(Tuple::from(&packet.key)),
            leaves,
            link: Link::Ip,
            len: usize::from(packet.ip.len),
        };
        let rules = [RuleId::NONE; 2];
        state.capture(&self.counters.events, self.now, &packet.frame, &seen, fate, rules);
    }
}

impl State {
    fn dropped(
        &mut self,
        counters: &EventCounters,
        tables: &Tables,
        now: Nanos,
        frame: &Frame,
        seen: &Seen,
        reason: DropReason,
    ) {
        let denied = self.denied.take();
        let rules = denied.map_or([RuleId::NONE; 2], |(rules, _)| rules);
        let seen = &Seen { leaves: seen.leaves.or(denied.map(|(_, between)| between)), ..*seen };
        let tuples = [seen.came.as_ref(), seen.leaves.as_ref()];
        let kind = EventKind::Dropped(reason);
        if let Some(to) = self.of_packet(counters, now, kind, tuples) {
            let event = PacketEvent {
                at: now,
                kind,
                to,
                ingress: seen.ingress,
                came: seen.came,
                leaves: seen.leaves,
                service: seen.came.map_or(ServiceId::NONE, |came| service(tables, &came)),
                backend: BackendId::NONE,
                rules,
                len: seen.len as u16,
            };
            self.tell(counters, event);
        }
        if self.observe.is_capturing() {
            self.capture(counters, now, frame, seen, Fate::Dropped(reason), rules);
        }
    }

    /// Who is told of a packet: those whose filters and limits let it through.
    fn of_packet(
        &mut self,
        counters: &EventCounters,
        now: Nanos,
        kind: EventKind,
        tuples: [Option<&Tuple>; 2],
    ) -> Option<Audience> {
        let reason = kind.reason().map(|reason| reason as u8);
        let is_audit = usize::from(matches!(kind, EventKind::Audited(_)));
        let mut to = Audience::default();
        for (place, filter) in self.observe.follows.iter().enumerate() {
            if !filter.as_ref().is_some_and(|filter| filter.matches(reason, tuples)) {
                continue;
            }
            match self.follows[place][is_audit].take(now) {
                true => to.followers.insert(place),
                false => counters.follows[place].limited.add(1),
            }
        }
        if self.observe.flows.is_some() {
            to.flow_log = self.log_packets[is_audit].take(now);
            counters.flow_log.limited.add(u64::from(!to.flow_log));
        }
        (!to.followers.is_empty() || to.flow_log).then_some(to)
    }

    fn tell(&mut self, counters: &EventCounters, event: PacketEvent) {
        if self.sender.events.push(event).is_ok() {
            return counters.told[event.kind.index()].add(1);
        }
        counters.lost.add(1);
        counters.flow_log.lost.add(u64::from(event.to.flow_log));
        event.to.followers.iter().for_each(|place| counters.follows[place].lost.add(1));
    }

    /// Copies a packet, if anybody wants it: as it was before it was judged, if that
    /// is known.
    fn capture(
        &mut self,
        counters: &EventCounters,
        now: Nanos,
        frame: &Frame,
        seen: &Seen,
        fate: Fate,
        rules: [RuleId; 2],
    ) {
        let reason = fate.reason().map(|reason| reason as u8);
        let tuples = [seen.came.as_ref(), seen.leaves.as_ref()];
        let (mut to, mut snap_len) = (Places::default(), 0);
        for (place, capture) in self.observe.captures.iter().enumerate() {
            let Some(capture) = capture else { continue };
            let is_asked = reason.is_some() || !capture.drops_only;
            if is_asked && capture.filter.matches(reason, tuples) {
                to.insert(place);
                snap_len = snap_len.max(usize::from(capture.snap_len));
            }
        }
        if to.is_empty() {
            return;
        }
        let Snapshot { chunk, copied, bytes, .. } = &self.snapshot;
        let is_kept = seen.link == Link::Ip && *chunk == Some(frame.chunk());
        let data = if is_kept { &bytes[..*copied] } else { frame.data() };
        let copied = data.len().min(snap_len).min(SNAP_LEN_MAX);
        let len = if seen.link == Link::Ethernet { frame.len() } else { seen.len };
        let mut captured = Captured {
            to,
            at: now,
            fate,
            ingress: seen.ingress,
            link: seen.link,
            came: seen.came,
            leaves: seen.leaves,
            rules,
            len: len as u16,
            copied: copied as u16,
            bytes: [0; SNAP_LEN_MAX],
        };
        captured.bytes[..copied].copy_from_slice(&data[..copied]);
        // It is told of once.
        self.snapshot.chunk = None;
        match self.sender.captured.push(captured) {
            Ok(()) => counters.captured.add(1),
            Err(_) => {
                counters.captured_lost.add(1);
                to.iter().for_each(|place| counters.captures[place].lost.add(1));
            }
        }
    }
}

/// True for one flow in `sample`, by the hash of its original tuple: its begin and
/// its end alike.
#[inline]
pub(crate) fn is_sampled(hash: u64, sample: u32) -> bool {
    sample != 0 && hash.is_multiple_of(u64::from(sample))
}
