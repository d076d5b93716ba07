//! Network policy: who may open a flow to whom (networking.k8s.io/v1
//! NetworkPolicy). Asked with the addresses of the real ends: the client's as it
//! came, the server's after it was chosen. A flow that passed is asked again when
//! policies have changed; its packets are not. Connections of a service of the gateway's
//! that asks by itself are not asked about here.

use crate::core::Core;
use crate::flow::{Entry, Key};
use crate::packet::{Ingress, Packet};
use crate::reason::DropReason;
use crate::stages::service::Target;
use crate::wire::ip::Ip;
use sluice_tables::policy::{self, Judgment, KnownAddress, PortKey, Verdict};
use sluice_tables::{RuleId, Tables, Tuple};

/// The rules that decided: of the source's policies, and of the destination's.
pub type Rules = [RuleId; 2];

/// Nobody was asked.
pub const UNASKED: Rules = [RuleId::NONE; 2];

/// What policies do not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied {
    /// `PolicyEgress`, `PolicyIngress`.
    pub reason: DropReason,
    /// The rules that decided.
    pub rules: Rules,
}

impl From<Denied> for DropReason {
    fn from(denied: Denied) -> Self {
        denied.reason
    }
}

/// Judges a packet that begins a flow, or makes none.
///
/// # Errors
/// `PolicyEgress`, `PolicyIngress`.
#[inline]
pub fn check<F: Ip>(
    core: &mut Core,
    tables: &Tables,
    packet: &Packet<F>,
    target: &Target<F>,
) -> Result<Rules, DropReason> {
    if packet.ingress == Ingress::GATEWAY && core.local.asks_policies() {
        return Ok(UNASKED);
    }
    let ends = Ends {
        client: (packet.key.src, packet.key.src_port),
        server: (target.addr, target.l4_port),
        protocol: packet.key.protocol,
    };
    Ok(ask(core, tables, packet, &ends, policy::judge::<F>)?)
}

/// Judges the flow of a packet again, by its client and its server; `None` if it
/// has been judged since policies changed last.
///
/// # Errors
/// What denies it.
pub fn of_flow<F: Ip>(
    core: &mut Core,
    tables: &Tables,
    packet: &Packet<F>,
    flow: &[Entry<F>; 2],
) -> Result<Option<Rules>, Denied> {
    let is_current =
        |entry: &Entry<F>| entry.epoch == core.epoch(tables, entry.ingress, entry.adjacency);
    if flow.iter().any(is_current) {
        return Ok(None);
    }
    let original = &flow[0];
    if original.ingress == Ingress::GATEWAY && core.local.asks_policies() {
        return Ok(Some(UNASKED));
    }
    let client = (original.key.src, original.key.src_port);
    let server = (original.new_dst, original.new_dst_port);
    let ends = Ends { client, server, protocol: original.key.protocol };
    ask(core, tables, packet, &ends, policy::judge_running::<F>).map(Some)
}

/// Addresses and ports of a flow's real ends, and its protocol: an ICMP error
/// about it has another.
struct Ends<F: Ip> {
    client: (F::Addr, u16),
    server: (F::Addr, u16),
    protocol: u8,
}

/// True for a pod that policies select: what goes to or from it is asked about.
/// In which direction does not matter: a flow that is asked about has packets
/// both ways.
#[inline]
pub fn is_selected<F: Ip>(tables: &Tables, addr: &F::Addr) -> bool {
    let is_selected =
        |known: &KnownAddress| known.ingress.is_selected() || known.egress.is_selected();
    !tables.policy.is_empty() && F::of(tables).known.get(addr).is_some_and(is_selected)
}

#[inline]
fn ask<F: Ip>(
    core: &mut Core,
    tables: &Tables,
    packet: &Packet<F>,
    ends: &Ends<F>,
    judge: impl Fn(&Tables, &F::Addr, &F::Addr, PortKey) -> Judgment,
) -> Result<Rules, Denied> {
    if tables.policy.is_empty() {
        return Ok(UNASKED);
    }
    let port = PortKey::of(ends.protocol, ends.server.1);
    let judgment = judge(tables, &ends.client.0, &ends.server.0, port);
    if judgment.egress.is_allowed() && judgment.ingress.is_allowed() {
        return Ok(judgment.rules());
    }
    object(core, packet, ends, judgment)
}

/// Drops what is denied, and tells of it; tells of what would be. The source's
/// policies are looked at first: what they deny never gets to the destination.
#[cold]
fn object<F: Ip>(
    core: &mut Core,
    packet: &Packet<F>,
    ends: &Ends<F>,
    judgment: Judgment,
) -> Result<Rules, Denied> {
    let rules = judgment.rules();
    let verdicts = [judgment.egress.verdict(), judgment.ingress.verdict()];
    let reasons = [DropReason::PolicyEgress, DropReason::PolicyIngress];
    for (verdict, reason) in verdicts.into_iter().zip(reasons) {
        if verdict == Verdict::Deny {
            let ((src, src_port), (dst, dst_port)) = (ends.client, ends.server);
            let key: Key<F> = Key { src, dst, src_port, dst_port, protocol: ends.protocol };
            core.events.note_judgment(rules, Tuple::from(&key));
            return Err(Denied { reason, rules });
        }
    }
    for (number, (verdict, reason)) in verdicts.into_iter().zip(reasons).enumerate() {
        if verdict == Verdict::Audit {
            core.counters.policy_audited[number].add(1);
            core.tell_audited(packet, reason, rules);
        }
    }
    Ok(rules)
}
