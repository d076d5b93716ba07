//! What the oracle may ask of the subject.

use crate::model::compare::Ledger;
use crate::model::flows::{Flow, Translation};
use crate::model::oracle::{Choices, Ended};
use crate::model::parse::Tuple;
use crate::model::subject::{FlowView, Subject};
use sluice_fastpath::DropReason;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// What the oracle may ask, answered.
pub(super) struct View<'a> {
    pub(super) subject: &'a Subject,
    pub(super) known: &'a BTreeSet<(usize, u8, IpAddr)>,
    /// The worker whose queue a frame came by.
    pub(super) worker: usize,
    pub(super) ghosts: &'a Ended,
    pub(super) ledger: &'a Ledger,
}

impl View<'_> {
    /// A flow that ended and that a worker still has.
    fn ghost(&self, tuple: &Tuple, worker: usize) -> Option<FlowView> {
        let views = self.subject.flow(tuple).into_iter().map(|(view, _)| view);
        let mut there = views.filter(|view| view.worker == worker);
        there.find(|view| self.ghosts.contains_key(&(view.tuples, worker)))
    }
}

impl Choices for View<'_> {
    fn translation(&self, tuple: &Tuple, owner: usize) -> Option<Translation> {
        let flows = self.subject.flow(tuple);
        let (flow, side) = flows.iter().find(|(flow, _)| flow.worker == owner)?;
        let reply = flow.tuples[1];
        (*side == 0).then_some(Translation {
            src: reply.dst,
            src_port: reply.dst_port,
            dst: reply.src,
            dst_port: reply.src_port,
        })
    }

    fn lingers(&self, tuple: &Tuple, worker: usize) -> bool {
        self.ghost(tuple, worker).is_some()
    }

    fn lingers_translated(&self, tuple: &Tuple, worker: usize) -> bool {
        self.ghost(tuple, worker).is_some_and(|ghost| ghost.service.is_some())
    }

    fn lingering(&self, backend: u32, worker: usize) -> u64 {
        let of_backend = self.ghosts.iter().filter(|(_, ended)| **ended == Some(backend));
        let there = of_backend
            .filter(|((tuples, at), _)| *at == worker && self.ghost(&tuples[0], worker).is_some());
        there.count() as u64
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.subject.dropped(reason) - self.ledger.dropped(reason)
    }

    fn has(&self, flow: &Flow) -> bool {
        has(self.subject, flow)
    }

    fn knew(&self, port: u8, address: &IpAddr) -> bool {
        self.known.contains(&(self.worker, port, *address))
    }
}

/// Whether the subject has a flow.
pub(super) fn has(subject: &Subject, flow: &Flow) -> bool {
    let views = subject.flow(&flow.tuples[0]);
    views.iter().any(|(view, _)| view.tuples == flow.tuples && view.worker == flow.worker)
}
