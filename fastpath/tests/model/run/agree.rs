//! Where subject and oracle must agree.

use super::Run;
use super::view::has;
use crate::model::compare::Question;
use crate::model::frames::answer;
use crate::model::subject::FlowView;
use std::collections::BTreeSet;

impl Run {
    /// What was sent, what waits and what was counted is as expected.
    pub(super) fn compare(&mut self, sent: &[(u8, Vec<u8>)]) -> Result<(), String> {
        let left = self.ledger.match_sent(&self.oracle.world, &self.hosts, sent);
        let neighbors = self.subject.neighbors();
        self.known = neighbors.iter().map(|(worker, n)| (*worker, n.port.0, n.addr)).collect();
        let waiting = self
            .ledger
            .settle_waiting(&self.hosts, &neighbors, self.variant.workers)
            .and_then(|gone| self.ledger.match_errors(&self.oracle, &self.hosts, left, &gone));
        let counts = self.ledger.check_counts(&self.subject, &self.oracle);
        match (waiting, counts) {
            (Ok(()), counts) => counts?,
            (Err(waiting), Ok(())) => return Err(waiting),
            (Err(waiting), Err(counts)) => return Err(format!("{counts}; {waiting}")),
        }
        self.subject.check_balance()
    }

    /// Polls the subject, neighbors answering its questions, until all is
    /// quiet. Returns what it sent beside questions.
    pub(super) fn settle(&mut self, received: u64) -> Result<Vec<(u8, Vec<u8>)>, String> {
        self.ledger.received += received;
        let mut sent = Vec::new();
        loop {
            let frames = self.subject.settle()?;
            if frames.is_empty() {
                return Ok(sent);
            }
            for (_, port, frame) in frames {
                let Some(question) = Question::read(&self.oracle.world, port, &frame)? else {
                    sent.push((port, frame));
                    continue;
                };
                self.ledger.asked += 1;
                if let Some(mac) = self.hosts.answers(port, &question.target) {
                    let vlan = self.oracle.world.interfaces[usize::from(port)].vlan;
                    let frame = answer(question.target, mac, vlan, question.asker, question.to_one);
                    // ARP has no ports to spread by: NICs give it to the first
                    // queue, whoever asked.
                    self.subject.send(0, port, &frame);
                    self.ledger.received += 1;
                    self.ledger.learned += 1;
                }
            }
        }
    }

    /// Drops the oracle's flows that the subject has let expire. It may take
    /// a little over two ticks of its wheel for that, and not a moment less
    /// than the timeout.
    pub(super) fn expire(&mut self) -> Result<(), String> {
        const LATE_MS: u64 = 2_200;
        let now_ms = self.oracle.now_ms;
        let mut gone = Vec::new();
        for (id, flow) in self.oracle.flows.iter() {
            let idle = flow.idle_ms(now_ms);
            let timeout = flow.timeout_ms();
            if idle < timeout {
                continue;
            }
            if !has(&self.subject, flow) {
                gone.push(id);
            } else if idle.min(now_ms - flow.changed_ms) > timeout + LATE_MS {
                return Err(format!("idle for {idle} ms and not expired: {flow:?}"));
            }
        }
        for id in gone {
            self.oracle.flows.remove(id);
        }
        Ok(())
    }

    /// The subject has a flow as the oracle has it.
    pub(super) fn check_flow(&self, id: u64) -> Result<(), String> {
        let Some((_, flow)) = self.oracle.flows.iter().find(|(other, _)| *other == id) else {
            return Ok(());
        };
        let views = self.subject.flow(&flow.tuples[0]);
        let is_it = |view: &FlowView| view.tuples == flow.tuples && view.worker == flow.worker;
        let view = views.iter().find(|(view, _)| is_it(view));
        let Some((view, _)) = view else {
            return Err(format!("the subject lacks {flow:?}; it has {views:?}"));
        };
        let same = view.state == flow.track.label()
            && view.service == flow.service
            && view.is_cut == flow.cut
            && (flow.cut || view.rules == flow.rules)
            && view.backend == flow.backend;
        if same { Ok(()) } else { Err(format!("the subject has {view:?} instead of {flow:?}")) }
    }

    /// All flows are the same, and none is on two workers.
    pub fn check_flows(&mut self) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        for view in self.subject.flows() {
            if self.ghosts.contains_key(&(view.tuples, view.worker)) {
                continue;
            }
            let ours = self.oracle.flows.find(&view.tuples[0]);
            let is_ours =
                ours.is_some_and(|(id, _)| self.oracle.flows.get(id).tuples == view.tuples);
            let fresh =
                view.tuples.iter().collect::<BTreeSet<_>>().iter().all(|t| seen.insert(**t));
            if !(is_ours && fresh) {
                let what = if is_ours { "twice" } else { "which is unknown" };
                return Err(format!("the subject has {view:?} {what}"));
            }
        }
        let ids: Vec<_> = self.oracle.flows.iter().map(|(id, _)| id).collect();
        ids.into_iter().try_for_each(|id| {
            let flow = self.oracle.flows.get(id);
            let overdue = flow.idle_ms(self.oracle.now_ms) >= flow.timeout_ms();
            if overdue { Ok(()) } else { self.check_flow(id) }
        })
    }
}
