//! Control is asked to tell the workers what they are to tell.

use super::Observing;
use super::seat::counts_of;
use crate::observe::{Piece, Want};
use crossbeam_channel::{TryRecvError, TrySendError, bounded};
use sluice_control::Request;
use sluice_tables::{FlowTelling, Observe};
use std::sync::Arc;

/// Dropped packets, and audited ones, told of to each who follows, a second and worker.
const FOLLOWS_PER_SECOND: u32 = 1000;

impl Observing {
    /// What the workers are to tell now.
    fn wanted(&self) -> Observe {
        let mut observe = Observe { follows_per_second: FOLLOWS_PER_SECOND, ..Observe::default() };
        for seat in &self.seats {
            match &seat.want {
                Want::Drops(filter) => observe.follows[seat.place] = Some(filter.clone()),
                Want::Packets(capture) => observe.captures[seat.place] = Some(capture.clone()),
            }
        }
        let workers = self.workers.len().max(1) as u32;
        observe.flows = self.flow_log.as_ref().map(|(config, ..)| FlowTelling {
            sample: config.sample,
            per_second: config.per_second.div_ceil(workers),
        });
        observe
    }

    /// Has control tell the workers, if there is anything new to tell them.
    pub(super) fn ask(&mut self) {
        if !self.is_changed || self.asked.is_some() {
            return;
        }
        let observe = self.wanted();
        let is_observing = observe.is_on();
        let (reply, said) = bounded(1);
        let request = Request::Observe { observe: Arc::new(observe), reply };
        match self.names.control.requests.try_send(request) {
            Ok(()) => {
                self.is_changed = false;
                self.is_observing = is_observing;
                let new = self.seats.iter().filter(|seat| seat.since.is_none());
                self.asked = Some((said, new.map(|seat| seat.id).collect()));
            }
            Err(TrySendError::Full(_)) => {}
            Err(TrySendError::Disconnected(_)) => self.fail(),
        }
    }

    /// Hears whether control has passed it on.
    pub(super) fn hear(&mut self) {
        let Some((said, new)) = &self.asked else { return };
        match said.try_recv() {
            Ok(()) => {
                let (now, new) = (self.now(), new.clone());
                self.asked = None;
                self.hub.begin(&new);
                for seat in self.seats.iter_mut().filter(|seat| new.contains(&seat.id)) {
                    let counts = counts_of(seat, &self.workers);
                    seat.begin(now, counts);
                }
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => {
                self.asked = None;
                self.fail();
            }
        }
    }

    /// Control has ended: nobody can begin any more.
    fn fail(&mut self) {
        self.is_changed = false;
        let waiting: Vec<u64> =
            self.seats.iter().filter(|seat| seat.since.is_none()).map(|seat| seat.id).collect();
        self.hub.desk().watchers.retain(|watcher| !waiting.contains(&watcher.id));
        for seat in self.seats.iter().filter(|seat| waiting.contains(&seat.id)) {
            let reason = "control has ended: the workers cannot be asked".to_owned();
            let _ = seat.to.try_send(Piece::Failed(reason));
        }
        self.seats.retain(|seat| !waiting.contains(&seat.id));
    }
}
