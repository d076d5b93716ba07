use super::{WorkerFlow, WorkerNeighbor};
use sluice_tables::ServiceId;
use sluice_tables::mailbox::ToWorker;
use sluice_tables::record::{FlowRecord, NeighborRecord};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

/// Flows of one message: tens of microseconds of a worker's time.
const FLOWS_PER_MESSAGE: usize = 1024;

/// Names a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DumpId(u64);

/// Which flows to show; what is not told does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowFilter {
    /// Numbers of the ports of one Service.
    pub services: Option<BTreeSet<ServiceId>>,
    /// An address of either side, before or after translation.
    pub addr: Option<IpAddr>,
    /// IP protocol number.
    pub protocol: Option<u8>,
}

impl FlowFilter {
    /// Whether a flow is wanted.
    pub fn matches(&self, flow: &FlowRecord) -> bool {
        let addrs = [flow.client.0, flow.destination.0, flow.server.0, flow.source.0];
        self.services.as_ref().is_none_or(|services| services.contains(&flow.service))
            && self.addr.is_none_or(|addr| addrs.contains(&addr))
            && self.protocol.is_none_or(|protocol| flow.protocol == protocol)
    }
}

/// A dump that is done.
#[derive(Debug)]
pub enum Finished {
    /// Of flows.
    Flows {
        /// Which dump.
        id: DumpId,
        /// The flows, by worker.
        flows: Vec<WorkerFlow>,
        /// Every flow that passes the filter is there: neither limit nor
        /// deadline was reached.
        is_complete: bool,
    },
    /// Of neighbors.
    Neighbors {
        /// Which dump.
        id: DumpId,
        /// The neighbors, by worker.
        neighbors: Vec<WorkerNeighbor>,
        /// Every worker has answered, and had room for all.
        is_complete: bool,
    },
}

/// Dumps under way. A worker has at most one question of each kind, since
/// answers do not say which question they belong to.
#[derive(Debug)]
pub(super) struct Dumps {
    flows: VecDeque<Dump<FlowRecord>>,
    neighbors: VecDeque<Dump<NeighborRecord>>,
    flow_questions: Vec<Option<DumpId>>,
    neighbor_questions: Vec<Option<DumpId>>,
    workers: usize,
    last_id: u64,
}

#[derive(Debug)]
struct Dump<R> {
    id: DumpId,
    filter: FlowFilter,
    limit: usize,
    deadline: Duration,
    /// Where to go on, by worker; `None`: it has told everything.
    cursors: Vec<Option<u64>>,
    rows: BTreeMap<usize, Vec<R>>,
    len: usize,
    is_cut: bool,
}

impl<R> Dump<R> {
    fn is_done(&self) -> bool {
        self.len >= self.limit || self.cursors.iter().all(Option::is_none)
    }

    fn is_complete(&self) -> bool {
        !self.is_cut && self.cursors.iter().all(Option::is_none)
    }

    fn add(&mut self, worker: usize, row: R) {
        if self.len < self.limit {
            self.len += 1;
            self.rows.entry(worker).or_default().push(row);
        } else {
            self.is_cut = true;
        }
    }

    fn into_rows(self) -> Vec<(usize, R)> {
        let rows = self.rows.into_iter();
        rows.flat_map(|(worker, rows)| rows.into_iter().map(move |row| (worker, row))).collect()
    }
}

impl Dumps {
    pub(super) fn new(workers: usize) -> Self {
        Dumps {
            flows: VecDeque::new(),
            neighbors: VecDeque::new(),
            flow_questions: vec![None; workers],
            neighbor_questions: vec![None; workers],
            workers,
            last_id: 0,
        }
    }

    fn start<R>(&mut self, filter: FlowFilter, limit: usize, deadline: Duration) -> Dump<R> {
        self.last_id += 1;
        Dump {
            id: DumpId(self.last_id),
            filter,
            limit,
            deadline,
            cursors: vec![Some(0); self.workers],
            rows: BTreeMap::new(),
            len: 0,
            is_cut: false,
        }
    }

    pub(super) fn start_flows(
        &mut self,
        filter: FlowFilter,
        limit: usize,
        deadline: Duration,
    ) -> DumpId {
        let dump = self.start(filter, limit, deadline);
        let id = dump.id;
        self.flows.push_back(dump);
        id
    }

    pub(super) fn start_neighbors(&mut self, limit: usize, deadline: Duration) -> DumpId {
        // The limit is each worker's: all of them know the same neighbors.
        let dump = self.start(FlowFilter::default(), limit, deadline);
        let id = dump.id;
        self.neighbors.push_back(Dump { limit: limit.saturating_mul(self.workers.max(1)), ..dump });
        id
    }

    pub(super) fn is_busy(&self) -> bool {
        !self.flows.is_empty() || !self.neighbors.is_empty()
    }

    /// Asks one worker the next question of each kind, if it has none.
    pub(super) fn ask(
        &mut self,
        worker: usize,
        is_gone: bool,
        mut send: impl FnMut(ToWorker) -> Result<(), ToWorker>,
    ) {
        if is_gone {
            self.flows.iter_mut().for_each(|dump| dump.cursors[worker] = None);
            self.neighbors.iter_mut().for_each(|dump| dump.cursors[worker] = None);
            return;
        }
        let flows = self.flows.front().filter(|dump| !dump.is_done());
        let flows = flows.and_then(|dump| Some((dump.id, dump.cursors[worker]?)));
        if let (Some((id, cursor)), None) = (flows, self.flow_questions[worker]) {
            let buffer = Vec::with_capacity(FLOWS_PER_MESSAGE);
            if send(ToWorker::DumpFlows { cursor, buffer }).is_ok() {
                self.flow_questions[worker] = Some(id);
            }
        }
        let neighbors = self.neighbors.front().filter(|dump| !dump.is_done());
        let neighbors =
            neighbors.and_then(|dump| dump.cursors[worker].map(|_| (dump.id, dump.limit)));
        if let (Some((id, limit)), None) = (neighbors, self.neighbor_questions[worker]) {
            let buffer = Vec::with_capacity(limit / self.workers.max(1));
            if send(ToWorker::DumpNeighbors { buffer }).is_ok() {
                self.neighbor_questions[worker] = Some(id);
            }
        }
    }

    /// Takes an answer. One to a dump that was given up is dropped.
    pub(super) fn flows(&mut self, worker: usize, next: Option<u64>, buffer: Vec<FlowRecord>) {
        let asked = self.flow_questions[worker].take();
        let Some(dump) = self.flows.front_mut().filter(|dump| Some(dump.id) == asked) else {
            return;
        };
        // A cursor that does not advance would never end.
        dump.cursors[worker] = next.filter(|next| Some(*next) > dump.cursors[worker]);
        for flow in buffer {
            if dump.filter.matches(&flow) {
                dump.add(worker, flow);
            }
        }
    }

    /// Takes an answer. One to a dump that was given up is dropped.
    pub(super) fn neighbors(&mut self, worker: usize, buffer: Vec<NeighborRecord>) {
        let asked = self.neighbor_questions[worker].take();
        let workers = self.workers.max(1);
        let Some(dump) = self.neighbors.front_mut().filter(|dump| Some(dump.id) == asked) else {
            return;
        };
        dump.cursors[worker] = None;
        dump.is_cut |= buffer.len() >= dump.limit / workers;
        for neighbor in buffer {
            dump.add(worker, neighbor);
        }
    }

    /// The dumps that are done, or whose time is over.
    pub(super) fn finished(&mut self, now: Duration) -> Vec<Finished> {
        let mut finished = Vec::new();
        while let Some(dump) = self.flows.pop_front_if(|d| d.is_done() || d.deadline <= now) {
            let (id, is_complete) = (dump.id, dump.is_complete());
            finished.push(Finished::Flows { id, flows: dump.into_rows(), is_complete });
        }
        while let Some(dump) = self.neighbors.pop_front_if(|d| d.is_done() || d.deadline <= now) {
            let (id, is_complete) = (dump.id, dump.is_complete());
            finished.push(Finished::Neighbors { id, neighbors: dump.into_rows(), is_complete });
        }
        finished
    }
}
