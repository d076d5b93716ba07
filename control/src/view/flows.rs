use super::protocol_text;
use crate::compile::{Compiler, Halves, Member};
use serde::{Deserialize, Serialize};
use sluice_tables::record::FlowRecord;
use sluice_tables::{BackendId, Family, RuleId, ServiceId, V4, V6};
use std::net::{IpAddr, SocketAddr};

/// Which flows to show; what is not told does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowQuery {
    /// A Service, as `namespace/name`.
    pub service: Option<String>,
    /// An address of either side, before or after translation.
    pub address: Option<IpAddr>,
    /// IP protocol number.
    pub protocol: Option<u8>,
    /// The most flows to show.
    pub limit: usize,
}

/// Flows, and whether these are all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowsView {
    /// The flows.
    pub flows: Vec<FlowView>,
    /// False: there may be more; the limit was reached, or a worker did not
    /// answer in time.
    pub complete: bool,
}

/// One flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowView {
    /// The worker that owns it.
    pub worker: usize,
    /// `TCP`, `UDP`, `SCTP`, `ICMP`, `ICMPv6`, or a number.
    pub protocol: String,
    /// Who began it, with port (ICMP: identifier).
    pub client: String,
    /// Whom the client addressed.
    pub destination: String,
    /// Who answers: the chosen endpoint, or the destination.
    pub server: String,
    /// Whom the server answers: the SNAT address, or the client.
    pub source: String,
    /// The Service, as `namespace/name:port`.
    pub service: Option<String>,
    /// The pod behind the chosen endpoint, as `namespace/name`.
    pub pod: Option<String>,
    /// The rule for what its client sends that let it pass, or judged it when it was cut; `None`: no policy has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress_rule: Option<String>,
    /// The rule for what its server gets that let it pass, or judged it when it was cut; `None`: no policy has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress_rule: Option<String>,
    /// The drop reason, if policies cut it: those rules are the ones that do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<String>,
    /// The tables have changed since it was judged: it is judged again with its next
    /// packet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
    /// State of the connection; `cut` of one that policies cut.
    pub state: String,
    /// Packets from the client.
    pub packets_in: u32,
    /// Packets to the client.
    pub packets_out: u32,
    /// Milliseconds since the last packet.
    pub idle_ms: u64,
    /// Milliseconds until it expires if no packet comes.
    pub expires_ms: u64,
}

/// A flow with the names of its Service and pod.
pub(crate) fn flow_view(compiler: &Compiler, worker: usize, flow: &FlowRecord) -> FlowView {
    let side = |(addr, port): (IpAddr, u16)| SocketAddr::new(addr, port).to_string();
    FlowView {
        worker,
        protocol: protocol_text(flow.protocol),
        client: side(flow.client),
        destination: side(flow.destination),
        server: side(flow.server),
        source: side(flow.source),
        service: service_text(compiler, flow.service),
        pod: pod_of(compiler, flow.backend),
        egress_rule: rule_text(compiler, flow.rules[0]),
        ingress_rule: rule_text(compiler, flow.rules[1]),
        cut: flow.cut.map(str::to_owned),
        stale: flow.is_stale,
        state: flow.state.to_owned(),
        packets_in: flow.packets.0,
        packets_out: flow.packets.1,
        idle_ms: flow.idle_ms,
        expires_ms: flow.expires_ms,
    }
}

/// A Service's port, as `namespace/name:port`.
pub(super) fn service_text(compiler: &Compiler, id: ServiceId) -> Option<String> {
    let key = compiler.port_of(id)?;
    Some(format!("{}:{}", key.service, key.port))
}

/// What a rule is; its number, if it has gone.
pub(super) fn rule_text(compiler: &Compiler, id: RuleId) -> Option<String> {
    let text = compiler.rule_of(id).map(|text| text.to_string());
    (id != RuleId::NONE).then(|| text.unwrap_or_else(|| format!("rule {}, which has gone", id.0)))
}

/// The pod behind an endpoint.
pub(super) fn pod_of(compiler: &Compiler, id: BackendId) -> Option<String> {
    let backend = compiler.backend_of(id)?;
    let key = compiler.port_of(backend.service)?;
    let programmed = compiler.programmed(&key.service)?;
    let port = programmed.ports.get(&(key.port, key.protocol))?;
    let member = match backend.addr {
        IpAddr::V4(_) => member::<V4>(port, backend.addr, backend.l4_port),
        IpAddr::V6(_) => member::<V6>(port, backend.addr, backend.l4_port),
    }?;
    let pod = member.pod.as_deref().filter(|_| member.id == id)?;
    Some(format!("{}/{pod}", key.service.namespace))
}

fn member<F: Halves>(
    port: &crate::compile::ProgrammedPort,
    addr: IpAddr,
    l4_port: u16,
) -> Option<&Member> {
    F::half(port).members.get(&(<F as Family>::from_ip(addr)?, l4_port))
}
