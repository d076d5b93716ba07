//! The lines that say what network policies say.

use std::net::IpAddr;

use sluice_tables::policy::Verdict;

use super::directives::protocol_of;
use crate::gateway::Topology;
use crate::gateway::policy::{Direction, Policy, Rule};
use crate::gateway::topology::Prefix;

/// `pod ADDR ingress|egress free`, or `none`, or rules and what becomes of the rest.
pub(super) fn set(
    (pod, direction): (IpAddr, &str),
    words: &[&str],
    topology: &mut Topology,
) -> Result<(), String> {
    let direction = if direction == "ingress" { Direction::Ingress } else { Direction::Egress };
    let mut policy = Policy { rules: Vec::new(), otherwise: Verdict::Deny };
    match words {
        ["free"] => {
            topology.policies.remove(&(pod, direction));
            return Ok(());
        }
        ["none"] => {}
        _ => {
            for clause in words.join(" ").split(',') {
                let words: Vec<&str> = clause.split_whitespace().collect();
                match words[..] {
                    ["else", text] => policy.otherwise = verdict(text)?,
                    [text, peer, ref ports @ ..] => policy.rules.push(Rule {
                        verdict: verdict(text)?,
                        peer: if peer == "any" { None } else { Some(peer_of(peer)?) },
                        ports: ports.iter().map(|text| ports_of(text)).collect::<Result<_, _>>()?,
                    }),
                    _ => return Err(format!("expected `VERDICT PEER [PORTS]`, found `{clause}`")),
                }
            }
        }
    }
    topology.policies.insert((pod, direction), policy);
    Ok(())
}

fn verdict(text: &str) -> Result<Verdict, String> {
    match text {
        "allow" => Ok(Verdict::Allow),
        "audit" => Ok(Verdict::Audit),
        "deny" => Ok(Verdict::Deny),
        _ => Err(format!("expected allow, audit or deny, found `{text}`")),
    }
}

/// `10.0.0.7`, `10.0.0.0/24`.
pub(super) fn peer_of(text: &str) -> Result<Prefix, String> {
    let Ok(addr) = text.parse::<IpAddr>() else { return text.parse() };
    Ok(Prefix { addr, len: if addr.is_ipv4() { 32 } else { 128 } })
}

/// `80/tcp`, `8000-9000/udp`, `*/sctp`.
fn ports_of(text: &str) -> Result<(u8, u16, u16), String> {
    let expected = || format!("expected PORT/tcp, FIRST-LAST/udp or */sctp, found `{text}`");
    let (ports, protocol) = text.split_once('/').ok_or_else(expected)?;
    let protocol = protocol_of(protocol).ok_or_else(expected)?;
    if ports == "*" {
        return Ok((protocol, 0, u16::MAX));
    }
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let port = |text: &str| text.parse().map_err(|_| expected());
    Ok((protocol, port(first)?, port(last)?))
}
