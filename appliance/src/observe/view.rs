use super::filter::protocol_name;
use crate::control::ControlHandle;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sluice_fastpath::Nanos;
use sluice_fastpath::events::{EventKind, PacketEvent};
use sluice_fastpath::flow::CUT;
use sluice_fastpath::packet::Ingress;
use sluice_tables::{RuleId, ServiceId, Tuple};
use std::net::IpAddr;
use std::time::{Instant, SystemTime};

/// A line of the flow log, and of what those are sent who follow drops.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Line {
    /// Something happened.
    Event(Box<EventView>),
    /// Some things that happened are not told of.
    LeftOut(LeftOut),
}

/// What is not told of, since this was last said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeftOut {
    /// When it is said.
    pub time: Timestamp,
    /// Events that were left out.
    pub left_out: u64,
    /// Of them, those that were more a second than a worker tells.
    pub beyond_limit: u64,
    /// Of them, those that found a worker's ring full.
    pub ring_full: u64,
    /// Of them, those that the reader was too slow for.
    pub slow_reader: u64,
}

/// One thing that happened to a packet or to a flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventView {
    /// When.
    pub time: Timestamp,
    /// `drop`, `audit` (would have been dropped), or a flow's `begin` and `end`.
    pub event: String,
    /// `dropped`, `audited` or `forwarded`; of a flow's end, what became of its last
    /// packet as far as policies go.
    pub verdict: String,
    /// Why it was dropped, or would have been: a label of `sluice show drops`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// `TCP`, `UDP`, `SCTP`, `ICMP`, `ICMPv6`, or a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// Who sent it, as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<EndView>,
    /// Whom it was sent to, as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<EndView>,
    /// As it leaves, where it got that far; of a flow, as its packets leave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub translated: Option<Ends>,
    /// The real ends that policies have denied: its client as it came, the endpoint that
    /// was chosen. It did not get as far as to leave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub real_ends: Option<Ends>,
    /// The Service that is addressed, as `namespace/name:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Where it came from: `port NAME` or `node NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The rule for what its source sends that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress_rule: Option<String>,
    /// The rule for what its destination gets that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress_rule: Option<String>,
    /// Bytes of the packet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u16>,
    /// State in which a flow has ended; `cut`: policies did not allow it any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Packets from who began it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packets_in: Option<u32>,
    /// Packets to who began it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packets_out: Option<u32>,
    /// The worker.
    pub worker: usize,
}

/// Both ends of a packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ends {
    /// Who it is from.
    pub source: EndView,
    /// Who it is for.
    pub destination: EndView,
}

/// One end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndView {
    /// Its address.
    pub address: IpAddr,
    /// Its port (ICMP: the identifier); 0 where there is none.
    pub port: u16,
    /// The namespace of the pod that has the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The pod that has the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
}

/// What numbers in events stand for.
#[derive(Clone, Debug)]
pub struct Names {
    /// Services, pods, nodes, rules.
    pub control: ControlHandle,
    /// Ports, in the order of the configuration.
    pub ports: Vec<String>,
    /// The zero of the workers' clocks.
    pub started: Instant,
}

impl Names {
    /// The time of day of a worker's time.
    pub fn time(&self, at: Nanos) -> Timestamp {
        let ago = self.started.elapsed().saturating_sub(std::time::Duration::from_nanos(at.0));
        Timestamp::try_from(SystemTime::now() - ago).unwrap_or_default()
    }

    /// Where a packet came from.
    pub fn ingress(&self, ingress: Ingress) -> Option<String> {
        if ingress == Ingress::UNSEEN {
            return None;
        }
        if let Some(vtep) = ingress.vtep() {
            let node = self.control.nodes.get(vtep);
            return Some(node.map_or_else(|| "a node".to_owned(), |node| format!("node {node}")));
        }
        let port = self.ports.get(usize::from(ingress.as_port()?.0))?;
        Some(format!("port {port}"))
    }

    /// The name of a rule; its number, if it has gone.
    pub fn rule(&self, rule: RuleId) -> Option<String> {
        let name = self.control.rules.get(rule).map(|name| name.to_string());
        (rule != RuleId::NONE).then(|| name.unwrap_or_else(|| format!("rule {}", rule.0)))
    }

    fn service(&self, service: ServiceId) -> Option<String> {
        let label = self.control.names.get(service)?;
        Some(format!("{}/{}:{}", label.namespace, label.name, label.port))
    }

    fn end(&self, address: IpAddr, port: u16) -> EndView {
        let name = self.control.pods.get(address);
        let (namespace, pod) =
            name.map(|name| (name.namespace.to_string(), name.name.to_string())).unzip();
        EndView { address, port, namespace, pod }
    }

    /// Both ends of a packet.
    pub fn ends(&self, tuple: &Tuple) -> Ends {
        Ends {
            source: self.end(tuple.src, tuple.src_port),
            destination: self.end(tuple.dst, tuple.dst_port),
        }
    }

    /// An event of a worker, in words.
    pub fn event(&self, worker: usize, event: &PacketEvent) -> EventView {
        let (source, destination) =
            event.came.map(|came| self.ends(&came)).map(|e| (e.source, e.destination)).unzip();
        let protocol = event.came.or(event.leaves).map(|tuple| protocol_name(tuple.protocol));
        let (state, packets) = match event.kind {
            EventKind::FlowEnded { state, packets } => (Some(state.to_owned()), Some(packets)),
            _ => (None, None),
        };
        let verdict = match event.kind {
            EventKind::Dropped(_) => "dropped",
            EventKind::Audited(_) => "audited",
            EventKind::FlowEnded { state: CUT, .. } => "dropped",
            EventKind::FlowBegun | EventKind::FlowEnded { .. } => "forwarded",
        };
        let other = event.leaves.filter(|leaves| Some(*leaves) != event.came);
        let other = other.map(|tuple| self.ends(&tuple));
        // What is dropped on its way out is known by what leaves alone.
        let is_denied = matches!(event.kind, EventKind::Dropped(_)) && event.came.is_some();
        let (translated, real_ends) = if is_denied { (None, other) } else { (other, None) };
        EventView {
            time: self.time(event.at),
            event: event.kind.label().to_owned(),
            verdict: verdict.to_owned(),
            reason: event.kind.reason().map(|reason| reason.label().to_owned()),
            protocol,
            source,
            destination,
            translated,
            real_ends,
            service: self.service(event.service),
            from: event.ingress.and_then(|ingress| self.ingress(ingress)),
            egress_rule: self.rule(event.rules[0]),
            ingress_rule: self.rule(event.rules[1]),
            bytes: event.kind.reason().map(|_| event.len),
            state,
            packets_in: packets.map(|[from, _]| from),
            packets_out: packets.map(|[_, to]| to),
            worker,
        }
    }
}
