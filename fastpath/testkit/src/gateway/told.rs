//! What a gateway in memory has told of single packets, held against what it has counted.

use std::sync::Arc;

use sluice_fastpath::counters::Counter;
use sluice_fastpath::events::{Captured, EventKind, EventReceiver, PacketEvent};
use sluice_fastpath::{DropReason, WorkerCounters};
use sluice_tables::mailbox::ToWorker;
use sluice_tables::{Capture, FlowTelling, Observe, PacketFilter};

use super::Gateway;

/// What the workers have told since it was last taken.
#[derive(Debug, Default)]
pub struct Told {
    /// Worker and event, oldest first within a worker.
    pub events: Vec<(usize, PacketEvent)>,
    /// Copied packets.
    pub captured: Vec<Captured>,
}

/// Sums of what was told, by worker.
#[derive(Debug, Default, Clone)]
pub(super) struct Sums {
    drops: Vec<u64>,
    captured_drops: u64,
    begun: u64,
    ended: u64,
}

/// Asks for everything, without limits.
pub fn everything() -> Observe {
    Observe {
        follows: [Some(PacketFilter::default()), None, None, None],
        follows_per_second: u32::MAX,
        flows: Some(FlowTelling { sample: 1, per_second: u32::MAX }),
        captures: [Some(Capture { snap_len: 128, ..Capture::default() }), None, None, None],
    }
}

impl Gateway {
    /// Asks the workers to tell of single packets.
    ///
    /// # Errors
    /// When a worker does not take it.
    pub fn observe(&mut self, observe: Observe) -> Result<(), String> {
        let observe = Arc::new(observe);
        for control in &mut self.controls {
            control
                .send(ToWorker::Observe(observe.clone()))
                .map_err(|_| "a worker's mailbox is full".to_owned())?;
        }
        self.settle()
    }

    /// What was told since this was last called.
    pub fn take_told(&mut self) -> Told {
        std::mem::take(&mut self.told)
    }

    /// Runs all workers for some turns, during which nobody reads what they tell.
    pub fn run_unread(&mut self, turns: usize) {
        for _ in 0..turns {
            for worker in &mut self.workers {
                worker.poll(self.now);
            }
        }
    }

    /// Takes what is in the rings.
    pub(super) fn hear(&mut self) {
        for (worker, EventReceiver { events, captured }) in self.receivers.iter_mut().enumerate() {
            let sums = &mut self.sums[worker];
            sums.drops.resize(DropReason::ALL.len(), 0);
            while let Ok(event) = events.pop() {
                match event.kind {
                    EventKind::Dropped(reason) => sums.drops[reason as usize] += 1,
                    EventKind::FlowBegun => sums.begun += 1,
                    EventKind::FlowEnded { .. } => sums.ended += 1,
                    EventKind::Audited(_) => {}
                }
                self.told.events.push((worker, event));
            }
            while let Ok(packet) = captured.pop() {
                sums.captured_drops += u64::from(packet.fate.reason().is_some());
                self.told.captured.push(packet);
            }
        }
    }

    /// Checks that workers which were asked for [`everything`] at the start have told
    /// of each dropped packet once, and of each flow's begin and end.
    ///
    /// # Errors
    /// The worker, and what differs.
    pub fn check_told(&mut self) -> Result<(), String> {
        self.hear();
        for (worker, (counters, sums)) in self.counters.iter().zip(&self.sums).enumerate() {
            check(counters, sums).map_err(|e| format!("worker {worker} has told {e}"))?;
        }
        Ok(())
    }
}

fn check(counters: &WorkerCounters, sums: &Sums) -> Result<(), String> {
    for (reason, &told) in DropReason::ALL.iter().zip(&sums.drops) {
        let dropped = counters.dropped(*reason);
        if told != dropped {
            let label = reason.label();
            return Err(format!("of {told} packets dropped for {label}, of {dropped}"));
        }
    }
    let both = |pair: &[Counter; 2]| pair[0].get() + pair[1].get();
    let (begun, ended) = (both(&counters.flows_created), both(&counters.flows_removed));
    let untold = counters.events.flow_log.limited.get();
    if sums.begun != begun || sums.ended + untold != ended {
        return Err(format!(
            "of {} begins of flows, of {begun}, and of {} ends (and left out {untold}), of {ended}",
            sums.begun, sums.ended
        ));
    }
    let dropped: u64 = DropReason::ALL.iter().map(|reason| counters.dropped(*reason)).sum();
    if sums.captured_drops != dropped {
        return Err(format!("copies of {} dropped packets, of {dropped}", sums.captured_drops));
    }
    Ok(())
}
