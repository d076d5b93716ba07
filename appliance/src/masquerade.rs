use crate::cli::units;
use crate::control::NoAnswer;
use crate::gateway::Gateway;
use sluice_control::Request;
use std::collections::BTreeMap;

/// What is wrong: nodes that hide their pods behind their own address. Asks control for the
/// nodes' names, if there are any.
///
/// # Errors
/// When control does not answer.
pub fn problems(gateway: &Gateway) -> Result<Vec<String>, NoAnswer> {
    let flows = flows(gateway);
    if flows.is_empty() {
        return Ok(Vec::new());
    }
    let tunnels = gateway.control.ask(|reply| Request::Tunnels { reply })?;
    let nodes = tunnels.into_iter().filter_map(|view| Some((view.node, *flows.get(&view.id)?)));
    let problem = |(node, flows): (String, u64)| {
        let flows = units::count(flows);
        format!(
            "node {node}: {flows} connections to Services came from the address of its tunnel: of \
             its host network, or of pods that it masquerades (flannel's `--ip-masq`, Calico's \
             `natOutgoing`), which are not told apart then"
        )
    };
    Ok(nodes.map(problem).collect())
}

/// The nodes by number, and their connections, over all workers.
fn flows(gateway: &Gateway) -> BTreeMap<u32, u64> {
    let mut all = BTreeMap::new();
    for worker in &gateway.workers {
        for (node, flows) in worker.counters.masqueraded.nodes() {
            *all.entry(node.0).or_default() += flows;
        }
    }
    all
}
