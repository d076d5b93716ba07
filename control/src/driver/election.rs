//! Which VIPs this gateway announces, as the election says, and who else claims
//! them.

use super::Control;
use super::diagnostics::log_one;
use crate::announce::{Announce, group_of};
use crate::diagnostic::{Diagnostic, Severity};
use crate::election::{ElectionView, Seat};
use sluice_tables::record::Conflict;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// How long a claim of somebody else to a VIP is shown after it was heard last.
const SHOWN: Duration = Duration::from_secs(60);

/// VIPs of which claims are shown.
const SHOWN_MAX: usize = 100;

/// Control's part in an election, and claims of others.
#[derive(Debug, Default)]
pub(super) struct Announcing {
    seat: Option<Seat>,
    /// The order that the next tables follow.
    order: u64,
    /// The order that is on its way to the workers, and its version.
    on_its_way: Option<(u64, u64)>,
    /// The last order that all workers follow.
    live: u64,
    /// Who else claims VIPs of ours, by VIP, and when that was heard last.
    claims: BTreeMap<IpAddr, (Conflict, Duration)>,
}

impl Control {
    /// Announces what an election says, and nothing until it says something. To
    /// be called before [`Control::run`].
    pub fn set_election(&mut self, seat: Seat) {
        self.announcing.seat = Some(seat);
        self.elected();
    }

    /// Rings when the election says something else; never without one.
    pub(super) fn election_bell(&self) -> crossbeam_channel::Receiver<()> {
        let seat = self.announcing.seat.as_ref();
        seat.map_or_else(crossbeam_channel::never, |seat| seat.bell().clone())
    }

    /// The election has rung.
    pub(super) fn elected(&mut self) {
        if let Some(seat) = &self.announcing.seat {
            let (order, held) = seat.order();
            self.announcing.order = order;
            self.compiler.set_announce(Announce::Held { held, groups: seat.groups() });
            self.event_at.get_or_insert(self.clock.now());
        }
    }

    /// Notes that the last tables follow the last order.
    pub(super) fn note_order(&mut self) {
        let Announcing { order, on_its_way, live, .. } = &mut self.announcing;
        // Later tables say the same of it.
        if *order != *live && on_its_way.is_none_or(|(other, _)| other != *order) {
            *on_its_way = Some((*order, self.compiler.tables().version));
        }
    }

    /// Tells the election how far the workers are, and who else claims VIPs.
    pub(super) fn tell_election(&mut self, now: Duration) {
        let live = self.publisher.live();
        let conflicts = self.publisher.take_conflicts();
        if let Some(seat) = &self.announcing.seat {
            seat.beat();
            if let Some((order, _)) =
                self.announcing.on_its_way.take_if(|(_, version)| *version <= live)
            {
                self.announcing.live = order;
                seat.live(order);
            }
            if live > 0 {
                seat.ready();
            }
            for conflict in &conflicts {
                seat.claimed(group_of(conflict.vip, seat.groups()));
            }
        }
        self.note_conflicts(conflicts, now);
    }

    fn note_conflicts(&mut self, conflicts: Vec<Conflict>, now: Duration) {
        let claims = &mut self.announcing.claims;
        claims.retain(|_, (_, heard)| now < *heard + SHOWN);
        for conflict in conflicts {
            let is_known = claims.contains_key(&conflict.vip);
            if !is_known && claims.len() >= SHOWN_MAX {
                continue;
            }
            claims.insert(conflict.vip, (conflict, now));
            if !is_known {
                // Who is in the right says so, once (RFC 5227 section 2.4 (c)): it
                // may be a gateway that does not know better.
                let is_right = self.announcing.seat.as_ref().is_none_or(|s| s.view().member);
                let version = self.compiler.tables().version;
                self.publisher.announce(version, is_right.then_some(conflict.vip));
                let port = self.compiler.tables().port(conflict.port);
                log_one(&of_claim(&conflict, port.map_or("?", |port| &port.name)));
            }
        }
    }

    /// Who else claims VIPs of ours.
    pub(super) fn claims(&self) -> impl Iterator<Item = Diagnostic> {
        self.announcing.claims.values().map(|(conflict, _)| {
            let port = self.compiler.tables().port(conflict.port);
            of_claim(conflict, port.map_or("?", |port| &port.name))
        })
    }

    /// How the election stands.
    pub(super) fn election_view(&self) -> Option<ElectionView> {
        self.announcing.seat.as_ref().map(Seat::view)
    }
}

fn of_claim(conflict: &Conflict, port: &str) -> Diagnostic {
    let mac = conflict.mac.map(|byte| format!("{byte:02x}")).join(":");
    let message = format!(
        "{} is announced here, and {mac} claims it, too, on port {port}: clients may reach either",
        conflict.vip
    );
    let mut diagnostic = Diagnostic::general(Severity::Warning, message);
    diagnostic.expected = Some("an address that nobody else has".to_owned());
    diagnostic
}
