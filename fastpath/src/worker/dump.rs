//! Answers to control's questions about flows and neighbors, a bounded part at a
//! time.

use super::Worker;
use crate::core::Core;
use crate::flow::{CUT, Direction, Entry, FlowTable};
use crate::reason::DropReason;
use crate::wire::ip::Ip;
use sluice_tables::mailbox::FromWorker;
use sluice_tables::record::{FlowRecord, NeighborRecord};

/// Flows looked at for one answer to a dump.
const DUMP_BUDGET: usize = 4096;

impl Worker {
    pub(super) fn dump_flows(&mut self, cursor: u64, mut buffer: Vec<FlowRecord>) {
        const V6_BIT: u64 = 1 << 32;
        let core = &self.core;
        let from = cursor as u32 as usize;
        let next = if cursor & V6_BIT == 0 {
            dump(core, &self.flows.v4, from, &mut buffer).map_or(V6_BIT, |next| next as u64)
        } else {
            match dump(core, &self.flows.v6, from, &mut buffer) {
                Some(next) => V6_BIT | next as u64,
                None => {
                    let _ = self.mailbox.send(FromWorker::Flows { next: None, buffer });
                    return;
                }
            }
        };
        let _ = self.mailbox.send(FromWorker::Flows { next: Some(next), buffer });
    }

    pub(super) fn dump_neighbors(&mut self, mut buffer: Vec<NeighborRecord>) {
        let now = self.core.now;
        let room = buffer.capacity();
        buffer.extend(self.core.neighbors.iter().take(room).map(|neighbor| NeighborRecord {
            port: neighbor.port,
            addr: neighbor.addr,
            mac: neighbor.mac,
            state: neighbor.state.label(),
            confirmed_ms: now.since(neighbor.confirmed) / 1_000_000,
            waiting: neighbor.waiting,
        }));
        let _ = self.mailbox.send(FromWorker::Neighbors { buffer });
    }
}

/// Appends flows to `buffer` up to its capacity; where to go on.
fn dump<F: Ip>(
    core: &Core,
    table: &FlowTable<F>,
    from: usize,
    buffer: &mut Vec<FlowRecord>,
) -> Option<usize> {
    table.scan(from, DUMP_BUDGET, core.now_ms, |number, entries, idle, left| {
        if buffer.len() == buffer.capacity() {
            return false;
        }
        buffer.push(record(core, table, number, entries, idle, left));
        true
    })
}

fn record<F: Ip>(
    core: &Core,
    table: &FlowTable<F>,
    number: u32,
    entries: &[Entry<F>; 2],
    idle_ms: u32,
    expires_ms: u32,
) -> FlowRecord {
    debug_assert_eq!(FlowTable::<F>::direction(number), Direction::Original);
    let [original, reply] = entries;
    let cut = table.cut(number);
    let epoch = |entry: &Entry<F>| core.epoch(&core.tables, entry.ingress, entry.adjacency);
    let is_current = match cut {
        Some(_) => table.is_cut_in(number, epoch(original)),
        None => entries.iter().any(|entry| entry.epoch == epoch(entry)),
    };
    FlowRecord {
        protocol: original.key.protocol,
        client: (F::to_ip(original.key.src), original.key.src_port),
        destination: (F::to_ip(original.key.dst), original.key.dst_port),
        server: (F::to_ip(reply.key.src), reply.key.src_port),
        source: (F::to_ip(reply.key.dst), reply.key.dst_port),
        service: original.service,
        backend: table.backend(number),
        rules: table.rules(number),
        cut: cut.map(DropReason::label),
        is_stale: !is_current,
        state: if cut.is_some() { CUT } else { original.state.label() },
        packets: (original.packets, reply.packets),
        idle_ms: u64::from(idle_ms),
        expires_ms: u64::from(expires_ms),
    }
}
