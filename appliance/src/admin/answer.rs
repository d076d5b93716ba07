use super::view::{DropView, PortView, QueueView, Rates, SnatView, StatusView, WorkerView};
use super::{FLOWS_MAX, Question, connections};
use crate::cli::units;
use crate::control::NoAnswer;
use crate::explain;
use crate::gateway::{Gateway, PortState};
use crate::masquerade;
use crate::snat::{self, Used};
use serde_json::Value;
use sluice_control::Request;
use sluice_control::view::{BackendView, FlowQuery, FlowsView};
use sluice_fastpath::DropReason;
use sluice_fastpath::counters::PortCounters;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How long rates are measured.
const RATES_OVER: Duration = Duration::from_millis(250);

/// Fails to be answered.
pub type Failed = String;

/// Answers a question: blocks for seconds at worst.
///
/// # Errors
/// In words, when there is no answer.
pub fn answer(gateway: &Gateway, question: Question) -> Result<Value, Failed> {
    let control = &gateway.control;
    match question {
        Question::Services => json(control.ask(|reply| Request::Services { reply })),
        Question::Backends => json(control.ask(|reply| Request::Backends { reply })),
        Question::Flows { limit, service, client } => {
            json(flows(gateway, limit.min(FLOWS_MAX) as usize, service, client))
        }
        Question::Neighbors => json(control.ask(|reply| Request::Neighbors { reply })),
        Question::Routes => json(control.ask(|reply| Request::Routes { reply })),
        Question::Tunnels => json(control.ask(|reply| Request::Tunnels { reply })),
        Question::Names => json(control.ask(|reply| Request::DomainNames { reply })),
        Question::Listeners => json(control.ask(|reply| Request::Listeners { reply })),
        Question::HttpRoutes => json(control.ask(|reply| Request::HttpRoutes { reply })),
        Question::Certificates => json(control.ask(|reply| Request::Certificates { reply })),
        Question::Connections { limit, client } => {
            json(Ok(connections::connections(gateway, client, limit as usize)))
        }
        Question::Ports => json(Ok(ports(gateway))),
        Question::Workers => json(Ok(workers(gateway))),
        Question::Snat => json(snat(gateway)),
        Question::Drops => json(Ok(drops(gateway))),
        Question::Status => json(status(gateway)),
        Question::Explain { packet } => {
            let explanation = explain::live(control, &packet).map_err(|e| format!("{e:#}"))?;
            json(Ok(explanation))
        }
        Question::ExplainRequest { request } => {
            let explanation = explain::request::live(gateway, &request);
            json(Ok(explanation.map_err(|e| format!("{e:#}"))?))
        }
    }
}

fn json<T: serde::Serialize>(answer: Result<T, NoAnswer>) -> Result<Value, Failed> {
    let answer = answer.map_err(|error| error.to_string())?;
    serde_json::to_value(answer).map_err(|error| error.to_string())
}

/// Control's filter takes an address of any side; here it is the client's.
fn flows(
    gateway: &Gateway,
    limit: usize,
    service: Option<String>,
    client: Option<IpAddr>,
) -> Result<FlowsView, NoAnswer> {
    let asked = if client.is_some() { FLOWS_MAX as usize } else { limit };
    let query = FlowQuery { service, address: client, protocol: None, limit: asked };
    let mut view = gateway.control.ask(|reply| Request::Flows { query, reply })?;
    if let Some(client) = client {
        let is_client =
            |side: &str| side.parse::<std::net::SocketAddr>().is_ok_and(|side| side.ip() == client);
        view.flows.retain(|flow| is_client(&flow.client));
        if view.flows.len() > limit {
            view.flows.truncate(limit);
            view.complete = false;
        }
    }
    Ok(view)
}

/// All ports.
pub fn ports(gateway: &Gateway) -> Vec<PortView> {
    let view = |(index, port): (usize, &PortState)| {
        let queues = port.queues.iter().zip(&gateway.workers).enumerate();
        PortView {
            name: port.name.clone(),
            device: port.device.clone(),
            mac: units::mac(port.mac),
            mtu: port.mtu,
            link: port.link(),
            native_refused: port.native_refused.clone(),
            queues: queues
                .map(|(queue, (mode, worker))| {
                    queue_view(queue, mode.to_string(), &worker.counters.ports[index])
                })
                .collect(),
        }
    };
    gateway.ports.iter().enumerate().map(view).collect()
}

fn queue_view(queue: usize, mode: String, counters: &PortCounters) -> QueueView {
    QueueView {
        queue,
        mode,
        rx_packets: counters.rx_packets.get(),
        rx_bytes: counters.rx_bytes.get(),
        tx_packets: counters.tx_packets.get(),
        tx_bytes: counters.tx_bytes.get(),
        kernel_drops: kernel_drops(counters),
    }
}

/// Packets that the kernel had for a queue and could not hand over.
fn kernel_drops(counters: &PortCounters) -> u64 {
    let below = &counters.below;
    below.rx_dropped.get() + below.rx_ring_full.get() + below.rx_fill_ring_empty.get()
}

/// All workers.
pub fn workers(gateway: &Gateway) -> Vec<WorkerView> {
    let view = |(id, worker): (usize, &std::sync::Arc<crate::start::threads::WorkerState>)| {
        let counters = &worker.counters;
        let total = counters.total_ns.get().max(1);
        WorkerView {
            id,
            up: worker.is_up(),
            core: worker.core,
            busy_ratio: counters.busy_ns.get() as f64 / total as f64,
            longest_poll_us: counters.poll_longest_ns.get() / 1000,
            loops: counters.loops.get(),
            sleeps: counters.sleeps.get(),
            flows: [counters.flows[0].get(), counters.flows[1].get()],
            handed_in: counters.handed_in.get(),
            handed_out: counters.handed_out.get(),
            held: counters.held.get(),
            dropped: DropReason::ALL.iter().map(|reason| counters.dropped(*reason)).sum(),
            tables_version: counters.tables_version.get(),
        }
    };
    gateway.workers.iter().enumerate().map(view).collect()
}

/// SNAT ports towards every endpoint, the fullest first.
fn snat(gateway: &Gateway) -> Result<Vec<SnatView>, NoAnswer> {
    let backends = gateway.control.ask(|reply| Request::Backends { reply })?;
    let names = gateway.control.names.snapshot();
    let by_id: HashMap<u32, &BackendView> = backends.iter().map(|of| (of.id, of)).collect();
    let view = |of: Used| {
        let label = names.get(of.service.0 as usize)?.as_ref()?;
        Some(SnatView {
            service: format!("{}/{}", label.namespace, label.name),
            port: label.port,
            protocol: label.protocol.to_owned(),
            endpoint: by_id.get(&of.backend).map(|of| units::endpoint(&of.address, of.port)),
            used: of.used,
            capacity: of.capacity,
            ratio: of.ratio,
        })
    };
    Ok(snat::used(gateway).into_iter().filter_map(view).collect())
}

/// All drop reasons, those that never occurred too.
pub fn drops(gateway: &Gateway) -> Vec<DropView> {
    let view = |reason: &DropReason| DropView {
        reason: reason.label().to_owned(),
        count: dropped(gateway, *reason),
        help: reason.help().to_owned(),
    };
    DropReason::ALL.iter().map(view).collect()
}

fn dropped(gateway: &Gateway, reason: DropReason) -> u64 {
    gateway.workers.iter().map(|worker| worker.counters.dropped(reason)).sum()
}

fn status(gateway: &Gateway) -> Result<StatusView, NoAnswer> {
    let trouble = gateway.control.trouble();
    let control = match trouble {
        Some(_) => None,
        None => Some(gateway.control.ask(|reply| Request::Status { reply })?),
    };
    let before = Sample::take(gateway);
    std::thread::sleep(RATES_OVER);
    let rates = Sample::take(gateway).since(&before);
    let ports = ports(gateway);
    let workers = workers(gateway);
    let not_ready = gateway.not_ready();
    let state = match (gateway.is_draining(), not_ready.is_empty()) {
        (true, _) => "draining",
        (false, true) => "ready",
        (false, false) => "not ready",
    };
    let mut problems = problems(gateway, &ports, &workers);
    problems.extend(snat::problems(gateway, &gateway.control.names.snapshot()));
    if trouble.is_none() {
        problems.extend(masquerade::problems(gateway)?);
    }
    problems.extend(trouble);
    if let Some(refusal) = gateway.reloads.state().refusal {
        problems.push(format!("the configuration is not taken, the old one goes on: {refusal}"));
    }
    if let Some(versions) = control.as_ref().map(|control| &control.versions)
        && versions.live < versions.published
    {
        let (published, live) = (versions.published, versions.live);
        problems.push(format!("tables {published} are published, but only {live} is live"));
    }
    for (reason, pps) in &rates.drops {
        problems.push(format!("packets are being dropped: {reason}, {pps:.0} a second"));
    }
    Ok(StatusView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        node: gateway.node.clone(),
        state: state.to_owned(),
        not_ready,
        uptime_ms: gateway.started.elapsed().as_millis() as u64,
        ports,
        workers,
        rates,
        frames_free: gateway.umem.free_chunks(),
        frames: gateway.umem.chunks() as usize,
        control,
        problems,
    })
}

/// What is wrong, beside diagnostics and growing drops.
fn problems(gateway: &Gateway, ports: &[PortView], workers: &[WorkerView]) -> Vec<String> {
    let mut problems = Vec::new();
    for port in ports {
        if port.link != "up" {
            problems.push(format!("port {}: device {} is {}", port.name, port.device, port.link));
        }
        if let Some(reason) = &port.native_refused {
            problems.push(format!("port {}: XDP is not in the driver: {reason}", port.name));
        }
        let lost: u64 = port.queues.iter().map(|queue| queue.kernel_drops).sum();
        if lost > 0 {
            let lost = units::count(lost);
            problems.push(format!("port {}: the kernel dropped {lost} packets", port.name));
        }
    }
    for worker in workers.iter().filter(|worker| !worker.up) {
        problems.push(format!("worker {} is down: restart Sluice", worker.id));
    }
    let no_frame = dropped(gateway, DropReason::NoFrame);
    if no_frame > 0 {
        problems.push(format!("frames ran out {no_frame} times: raise io.frames"));
    }
    problems
}

/// Counters at one moment.
struct Sample {
    at: Instant,
    rx: Vec<u64>,
    tx: Vec<u64>,
    busy_ns: Vec<u64>,
    total_ns: Vec<u64>,
    drops: Vec<u64>,
}

impl Sample {
    fn take(gateway: &Gateway) -> Self {
        let of_ports = |count: fn(&PortCounters) -> u64| {
            let sum = |port: usize| {
                gateway.workers.iter().map(|worker| count(&worker.counters.ports[port])).sum()
            };
            (0..gateway.ports.len()).map(sum).collect()
        };
        let workers = || gateway.workers.iter().map(|worker| &worker.counters);
        Sample {
            at: Instant::now(),
            rx: of_ports(|port| port.rx_packets.get()),
            tx: of_ports(|port| port.tx_packets.get()),
            busy_ns: workers().map(|counters| counters.busy_ns.get()).collect(),
            total_ns: workers().map(|counters| counters.total_ns.get()).collect(),
            drops: DropReason::ALL.iter().map(|reason| dropped(gateway, *reason)).collect(),
        }
    }

    fn since(&self, before: &Sample) -> Rates {
        let took = self.at.saturating_duration_since(before.at);
        let seconds = took.as_secs_f64().max(1e-9);
        let pps = |now: &[u64], then: &[u64]| {
            let grown = now.iter().zip(then).map(|(now, then)| now.saturating_sub(*then));
            grown.map(|packets| packets as f64 / seconds).collect::<Vec<f64>>()
        };
        let busy = self.busy_ns.iter().zip(&before.busy_ns).map(|(now, then)| now - then);
        let total = self.total_ns.iter().zip(&before.total_ns).map(|(now, then)| now - then);
        let drops = pps(&self.drops, &before.drops);
        let labels = DropReason::ALL.iter().map(|reason| reason.label().to_owned());
        Rates {
            over_ms: took.as_millis() as u64,
            rx_pps: pps(&self.rx, &before.rx),
            tx_pps: pps(&self.tx, &before.tx),
            busy_ratio: busy.zip(total).map(|(b, t)| b as f64 / t.max(1) as f64).collect(),
            drops: labels.zip(drops).filter(|(_, pps)| *pps > 0.0).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: Instant, rx: u64, busy: u64, total: u64, drops: u64) -> Sample {
        let mut all = vec![0; DropReason::ALL.len()];
        all[DropReason::Martian as usize] = drops;
        Sample {
            at,
            rx: vec![rx],
            tx: vec![0],
            busy_ns: vec![busy],
            total_ns: vec![total],
            drops: all,
        }
    }

    #[test]
    fn rates_are_differences_over_the_time_between() {
        let start = Instant::now();
        let before = sample(start, 100, 1_000, 10_000, 5);
        let after = sample(start + Duration::from_millis(500), 600, 2_000, 14_000, 7);
        let rates = after.since(&before);
        assert_eq!((rates.over_ms, rates.rx_pps[0], rates.busy_ratio[0]), (500, 1000.0, 0.25));
        assert_eq!(rates.drops, [("martian".to_owned(), 4.0)]);
    }
}
