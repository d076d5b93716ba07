//! Network policy: who may open a flow to whom (networking.k8s.io/v1
//! NetworkPolicy). Asked with the addresses of the real ends: the client's as it
//! came, the server's after it was chosen. A flow that passed is asked again when
//! policies have changed; its packets are not.

use crate::core::Core;
use crate::flow::table::NO_ENTRY;
use crate::flow::{Entry, Key};
use crate::packet::Packet;
use crate::reason::DropReason;
use crate::stages::balance;
use crate::stages::service::Target;
use crate::wire::ip::Ip;
use arrayvec::ArrayVec;
use sluice_io::BURST;
use sluice_tables::policy::{self, Judgment, KnownAddress, PortKey, SubjectId, Verdict};
use sluice_tables::{FrontendKey, RuleId, Tables, Tuple};

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
    let ends = Ends {
        client: (packet.key.src, packet.key.src_port),
        server: (target.addr, target.l4_port),
        protocol: packet.key.protocol,
    };
    ask(core, tables, packet, &ends)
}

/// Looks at what policies will be asked of the packets of a burst that seem to
/// begin flows, so that it comes from memory for all of them at once: with many
/// policies it is spread over more than the caches hold, and each question leads
/// from one place to the next. What is found here is found again when each is
/// judged, and decides nothing.
pub fn foresee<F: Ip>(tables: &Tables, packets: &[Packet<F>]) {
    let begin = |packet: &&Packet<F>| packet.candidate == NO_ENTRY;
    let questions: ArrayVec<Question<F>, BURST> =
        packets.iter().filter(begin).filter_map(|packet| Question::of(tables, packet)).collect();
    if questions.len() < 2 {
        return;
    }
    // A step for all of them before the next one: no step waits for another.
    let known =
        |question: &Question<F>| policy::known::<F>(tables, &question.client, &question.server);
    let ends: ArrayVec<_, BURST> = questions.iter().map(known).collect();
    for ends in &ends {
        std::hint::black_box(policy::touch(tables, ends));
    }
    for (question, ends) in questions.iter().zip(&ends) {
        let asked = policy::peers::<F>(tables, (&question.client, &question.server), ends);
        std::hint::black_box(policy::outcomes(tables, &asked, question.port));
    }
}

/// What policies will be asked, as far as that is foreseen.
struct Question<F: Ip> {
    client: F::Addr,
    server: F::Addr,
    port: PortKey,
}

impl<F: Ip> Question<F> {
    /// The question about a packet that begins a flow; `None` where the endpoint is
    /// not chosen by hash alone.
    fn of(tables: &Tables, packet: &Packet<F>) -> Option<Self> {
        let Key { src, dst, dst_port, protocol, .. } = packet.key;
        let frontend = FrontendKey { addr: dst, l4_port: dst_port, protocol };
        let (server, l4_port) = match F::of(tables).frontends.get(&frontend) {
            Some(frontend) if frontend.rules.is_some() => return None,
            Some(frontend) => {
                let backend = frontend.backends.choose(balance::hash_of(&packet.key))?;
                (backend.addr, backend.l4_port)
            }
            None => (dst, dst_port),
        };
        Some(Question { client: src, server, port: PortKey::of(protocol, l4_port) })
    }
}

/// Judges the flow of a packet again, by its client and its server; `None` if it
/// has been judged since policies changed last.
///
/// # Errors
/// As [`check`].
pub fn of_flow<F: Ip>(
    core: &mut Core,
    tables: &Tables,
    packet: &Packet<F>,
    flow: &[Entry<F>; 2],
) -> Result<Option<Rules>, DropReason> {
    let is_current =
        |entry: &Entry<F>| entry.epoch == core.epoch(tables, entry.ingress, entry.adjacency);
    if flow.iter().any(is_current) {
        return Ok(None);
    }
    let original = &flow[0];
    let client = (original.key.src, original.key.src_port);
    let server = (original.new_dst, original.new_dst_port);
    let ends = Ends { client, server, protocol: original.key.protocol };
    ask(core, tables, packet, &ends).map(Some)
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
        |known: &KnownAddress| known.ingress != SubjectId::NONE || known.egress != SubjectId::NONE;
    !tables.policy.is_empty() && F::of(tables).known.get(addr).is_some_and(is_selected)
}

#[inline]
fn ask<F: Ip>(
    core: &mut Core,
    tables: &Tables,
    packet: &Packet<F>,
    ends: &Ends<F>,
) -> Result<Rules, DropReason> {
    if tables.policy.is_empty() {
        return Ok(UNASKED);
    }
    let port = PortKey::of(ends.protocol, ends.server.1);
    let judgment = policy::judge::<F>(tables, &ends.client.0, &ends.server.0, port);
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
) -> Result<Rules, DropReason> {
    let rules = judgment.rules();
    let verdicts = [judgment.egress.verdict(), judgment.ingress.verdict()];
    let reasons = [DropReason::PolicyEgress, DropReason::PolicyIngress];
    for (verdict, reason) in verdicts.into_iter().zip(reasons) {
        if verdict == Verdict::Deny {
            let ((src, src_port), (dst, dst_port)) = (ends.client, ends.server);
            let key: Key<F> = Key { src, dst, src_port, dst_port, protocol: ends.protocol };
            core.events.note_judgment(rules, Tuple::from(&key));
            return Err(reason);
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
