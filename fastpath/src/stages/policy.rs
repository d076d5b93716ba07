//! Network policy: who may open a flow to whom (networking.k8s.io/v1
//! NetworkPolicy). Asked with the addresses of the real ends: the client's as it
//! came, the server's after it was chosen. A flow that passed is asked again when
//! policies have changed; its packets are not.

use crate::core::Core;
use crate::flow::Entry;
use crate::packet::Packet;
use crate::reason::DropReason;
use crate::stages::service::Target;
use crate::wire::ip::Ip;
use sluice_tables::policy::{self, KnownAddress, PortKey, SubjectId, Verdict};
use sluice_tables::{RuleId, Tables};

/// The rules that decided: of the source's policies, and of the destination's.
pub type Rules = [RuleId; 2];

/// Nobody was asked.
pub const UNASKED: Rules = [RuleId::NONE; 2];

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
    let port = PortKey::of(packet.key.protocol, target.l4_port);
    ask::<F>(core, tables, (&packet.key.src, &target.addr), port)
}

/// Judges a flow again, by its client and its server; `None` if it has been
/// judged since policies changed last.
///
/// # Errors
/// As [`check`].
pub fn of_flow<F: Ip>(
    core: &mut Core,
    tables: &Tables,
    flow: &[Entry<F>; 2],
) -> Result<Option<Rules>, DropReason> {
    let epoch = core.epoch(tables);
    if flow.iter().any(|entry| entry.epoch == epoch) {
        return Ok(None);
    }
    let original = &flow[0];
    let port = PortKey::of(original.key.protocol, original.new_dst_port);
    ask::<F>(core, tables, (&original.key.src, &original.new_dst), port).map(Some)
}

/// True for a pod that policies select: what goes to or from it is asked about.
/// In which direction does not matter: a flow that is asked about has packets
/// both ways.
#[inline]
pub fn is_selected<F: Ip>(tables: &Tables, addr: &F::Addr) -> bool {
    let is_selected =
        |known: &KnownAddress| known.ingress != SubjectId::NONE || known.egress != SubjectId::NONE;
    !tables.policy.is_empty() && F::of(tables).known.get(addr).is_some_and(is_selected)
}

#[inline]
fn ask<F: Ip>(
    core: &mut Core,
    tables: &Tables,
    ends: (&F::Addr, &F::Addr),
    port: PortKey,
) -> Result<Rules, DropReason> {
    if tables.policy.is_empty() {
        return Ok(UNASKED);
    }
    judge::<F>(core, tables, ends, port)
}

/// The source's policies are looked at first: what they deny never gets to the
/// destination.
#[inline(never)]
fn judge<F: Ip>(
    core: &mut Core,
    tables: &Tables,
    (src, dst): (&F::Addr, &F::Addr),
    port: PortKey,
) -> Result<Rules, DropReason> {
    let judgment = policy::judge::<F>(tables, src, dst, port);
    let rules = judgment.rules();
    core.rules = rules;
    let verdicts = [judgment.egress.verdict(), judgment.ingress.verdict()];
    if verdicts == [Verdict::Allow; 2] {
        return Ok(rules);
    }
    let reasons = [DropReason::PolicyEgress, DropReason::PolicyIngress];
    for (verdict, reason) in verdicts.into_iter().zip(reasons) {
        if verdict == Verdict::Deny {
            return Err(reason);
        }
    }
    for (verdict, counter) in verdicts.into_iter().zip(&core.counters.policy_audited) {
        counter.add(u64::from(verdict == Verdict::Audit));
    }
    Ok(rules)
}
