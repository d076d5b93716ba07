//! Next hops: questions to those whose MAC is not known or was confirmed long
//! ago, and the end of those that do not answer.

use crate::core::Core;
use crate::neighbor::{Neighbor, NeighborId, PROBE_INTERVAL_NS, State};
use crate::stages::link::{send_arp, send_nd};
use crate::stages::route;
use crate::time::Nanos;
use crate::wire::arp::Arp;
use crate::wire::ethernet::BROADCAST;
use crate::wire::nd::{self, Nd};
use sluice_tables::{V4, V6};
use std::net::IpAddr;

/// Neighbors looked at for aging in one turn of the worker.
const AGE_BUDGET: usize = 16;

impl Core {
    /// Asks for a neighbor that has failed or is new. False when it was asked
    /// in vain less than a probe's interval ago.
    pub(crate) fn solicit(&mut self, id: NeighborId) -> bool {
        let now = self.now;
        let neighbor = self.neighbors.get_mut(id);
        let asked_before = neighbor.probed != Nanos::default();
        if asked_before && now.since(neighbor.probed) < PROBE_INTERVAL_NS {
            return false;
        }
        neighbor.state = State::Incomplete;
        neighbor.probes = 0;
        self.probe(id);
        true
    }

    /// Sends a question to a neighbor: to all while its MAC is not known, else
    /// to it alone (RFC 4861 section 7.3.3; RFC 1122 section 2.3.2.1).
    fn probe(&mut self, id: NeighborId) {
        let now = self.now;
        let neighbor = self.neighbors.get_mut(id);
        neighbor.probed = now.max(Nanos(1));
        neighbor.probes = neighbor.probes.saturating_add(1);
        let (port, addr, mac) = (neighbor.port, neighbor.addr, neighbor.mac);
        let tables = self.tables.clone();
        let Some(port) = tables.port(port) else { return };
        match addr {
            IpAddr::V4(addr) => {
                let target = addr.octets();
                let Some(sender) = route::port_address::<V4>(&tables, port.id, &target) else {
                    return;
                };
                let question =
                    Arp { request: true, sender_mac: port.mac, sender, target_mac: [0; 6], target };
                send_arp(self, port, mac.unwrap_or(BROADCAST), &question);
            }
            IpAddr::V6(addr) => {
                let target = addr.octets();
                let Some(sender) = route::port_address::<V6>(&tables, port.id, &target) else {
                    return;
                };
                let question = Nd {
                    solicitation: true,
                    target,
                    mac: Some(port.mac),
                    solicited: false,
                    overrides: false,
                };
                let (to, to_mac) = match mac {
                    Some(mac) => (target, mac),
                    None => {
                        let group = nd::solicited_node(&target);
                        (group, nd::multicast_mac(&group))
                    }
                };
                send_nd(self, port, to_mac, &question, sender, to);
            }
        }
    }

    /// Looks at some neighbors: asks again, gives up, or doubts what was
    /// confirmed long ago.
    pub(crate) fn age_neighbors(&mut self) {
        for _ in 0..AGE_BUDGET.min(self.neighbors.len()) {
            let Some(id) = self.neighbors.next_to_age() else { return };
            self.age(id);
        }
    }

    /// Makes room for neighbors that found none.
    pub(crate) fn make_room_for_neighbors(&mut self) {
        let adjacencies = &self.adjacencies;
        // One that packets take is looked at within seconds of its confirmation
        // getting old, and is asked then.
        let old_ns = self.reachable_ns.saturating_add(5 * Nanos::SECOND);
        let now = self.now;
        let is_idle = |id: NeighborId, neighbor: &Neighbor| {
            let rows = neighbor.rows.iter().filter_map(|row| adjacencies.row(*row));
            let mut own = rows.filter(|row| row.neighbor == id).peekable();
            own.peek().is_none()
                || now.since(neighbor.confirmed) >= old_ns && !own.any(|row| row.used)
        };
        if self.neighbors.sweep(self.now, is_idle) {
            self.neighbor_epoch = self.neighbor_epoch.wrapping_add(1);
        }
    }

    fn age(&mut self, id: NeighborId) {
        let now = self.now;
        let neighbor = self.neighbors.get(id);
        let (probes, probed) = (neighbor.probes, neighbor.probed);
        match neighbor.state {
            State::Reachable if now.since(neighbor.confirmed) >= self.reachable_ns => {
                self.take_used(id);
                self.neighbors.get_mut(id).state = State::Stale;
            }
            State::Stale => self.doubt(id),
            State::Incomplete | State::Probe if now.since(probed) >= PROBE_INTERVAL_NS => {
                if probes >= self.probes_max {
                    self.fail(id);
                } else {
                    self.probe(id);
                }
            }
            _ => {}
        }
    }

    /// Asks a stale neighbor again if it is in use.
    fn doubt(&mut self, id: NeighborId) {
        if self.take_used(id) {
            let neighbor = self.neighbors.get_mut(id);
            neighbor.state = State::Probe;
            neighbor.probes = 0;
            self.probe(id);
        }
    }

    /// Whether packets took the neighbor's rows since this was last asked.
    fn take_used(&mut self, id: NeighborId) -> bool {
        let mut used = false;
        for row in &self.neighbors.get(id).rows {
            if let Some(row) = self.adjacencies.row_mut(*row)
                && row.neighbor == id
            {
                used |= std::mem::take(&mut row.used);
            }
        }
        used
    }

    /// Gives up on a neighbor: its rows are incomplete again, and what waits
    /// for it is dropped.
    fn fail(&mut self, id: NeighborId) {
        let neighbor = self.neighbors.get_mut(id);
        neighbor.state = State::Failed;
        self.neighbors.set_mac(id, None);
        for row in &self.neighbors.get(id).rows {
            if let Some(row) = self.adjacencies.row_mut(*row)
                && row.neighbor == id
            {
                row.resolved = false;
            }
        }
        for _ in 0..self.neighbors.get(id).waiting {
            let Some(held) = self.neighbors.release(id) else { break };
            self.give_up(held);
        }
        self.count_held();
    }
}
