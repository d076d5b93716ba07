use super::deadline::within;
use crate::cluster::node::{VTEP_ADDRESS, VTEP_MAC, calico, flannel};
use crate::kubernetes::pauses::pauses;
use ipnet::IpNet;
use k8s_openapi::api::core::v1;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use sluice_config::{Config, OverlayMode, VtepAddresses};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// A Node without a kubelet: made, and kept ready.
mod register;

/// How often the Node is looked at: at first, and once it says what it should.
const LOOK: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// Longest time that one look may take, and longest pause after one that fails, which jitter may
/// double: together they are shorter than the Node's lease holds, so that what fails besides, such
/// as annotations that are refused, does not keep the lease from being renewed.
const LOOK_MAX: Duration = Duration::from_secs(15);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Who writes, to the API server.
const MANAGER: &str = "sluice";

/// What is to be said of the gateway on its Node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The Node's name.
    node: String,
    /// The tunnels' ends; `None`: nothing is said of them.
    tunnel: Option<Tunnel>,
    /// The Node is Sluice's to make and to keep.
    is_registered: bool,
    /// The gateway's addresses that its Node has.
    addresses: Vec<IpAddr>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Tunnel {
    mode: OverlayMode,
    vni: u32,
    mac: String,
    addresses: VtepAddresses,
    /// The subnets of the addresses, as far as they are Sluice's.
    subnets: Vec<IpNet>,
}

impl Facts {
    /// By a configuration, for the Node of a name; `None` if nothing is to be written.
    pub fn new(config: &Config, node: &str) -> Option<Self> {
        let vxlan = config.overlay.as_ref().map(|overlay| &overlay.vxlan);
        let tunnel = vxlan.filter(|_| config.node.annotate).map(|vxlan| Tunnel {
            mode: vxlan.mode,
            vni: vxlan.vni,
            mac: vxlan.mac.to_string(),
            addresses: vxlan.addresses,
            subnets: config.port(vxlan.port).addresses.clone(),
        });
        let is_registered = config.node.register;
        let addresses = match vxlan {
            Some(vxlan) => vxlan.addresses.iter().collect(),
            None => first_addresses(config),
        };
        let facts = Facts { node: node.to_owned(), tunnel, is_registered, addresses };
        (facts.tunnel.is_some() || is_registered).then_some(facts)
    }

    /// The annotations that the Node is to have; `None` while it cannot have them yet.
    fn annotations(&self, node: &v1::Node) -> Option<BTreeMap<&'static str, String>> {
        let Some(tunnel) = &self.tunnel else { return Some(BTreeMap::new()) };
        match tunnel.mode {
            OverlayMode::Plain => Some(tunnel.plain()),
            OverlayMode::Flannel => tunnel.flannel(node),
            OverlayMode::Calico => Some(tunnel.calico()),
        }
    }

    /// The merge patch (RFC 7386) that makes the Node say what it should; `None` if it does, or
    /// cannot yet.
    fn patch(&self, node: &v1::Node) -> Option<Value> {
        let wanted = self.annotations(node)?;
        let has = |name: &str| node.metadata.annotations.as_ref()?.get(name);
        let differ = wanted.iter().filter(|(name, value)| has(name) != Some(*value));
        let differ: BTreeMap<_, _> = differ.collect();
        (!differ.is_empty()).then(|| json!({"metadata": {"annotations": differ}}))
    }
}

impl Tunnel {
    fn plain(&self) -> BTreeMap<&'static str, String> {
        let addresses: Vec<_> = self.addresses.iter().map(|addr| addr.to_string()).collect();
        BTreeMap::from([(VTEP_ADDRESS, addresses.join(",")), (VTEP_MAC, self.mac.clone())])
    }

    /// As flanneld writes it. A peer that sees the annotations before the Node has its ranges
    /// makes no route, and does not look again when the ranges come: so these come first. In both
    /// families a peer takes notice only of changes of both at once, so all is one patch.
    fn flannel(&self, node: &v1::Node) -> Option<BTreeMap<&'static str, String>> {
        let cidrs = node.spec.iter().flat_map(|spec| spec.pod_cidrs.iter().flatten());
        let cidrs: Vec<IpNet> = cidrs.filter_map(|cidr| cidr.parse().ok()).collect();
        let mut wanted = BTreeMap::new();
        for addr in self.addresses.iter() {
            if !cidrs.iter().any(|cidr| cidr.addr().is_ipv4() == addr.is_ipv4()) {
                continue;
            }
            let family = usize::from(addr.is_ipv6());
            let data = format!(r#"{{"VNI":{},"VtepMAC":"{}"}}"#, self.vni, self.mac);
            wanted.insert(flannel::DATA[family], data);
            wanted.insert(flannel::PUBLIC[family], addr.to_string());
        }
        if wanted.is_empty() {
            return None;
        }
        wanted.insert(flannel::BACKEND, "vxlan".to_owned());
        wanted.insert(flannel::MANAGED, "true".to_owned());
        Some(wanted)
    }

    /// The addresses of the devices are left to Calico's IPAM, which gives them out of the node's
    /// block: made up, they would be another's some day.
    fn calico(&self) -> BTreeMap<&'static str, String> {
        let mut wanted = BTreeMap::new();
        for addr in self.addresses.iter() {
            let family = usize::from(addr.is_ipv6());
            let subnet = self.subnets.iter().find(|net| net.contains(&addr));
            let len = subnet.map_or(IpNet::from(addr).prefix_len(), IpNet::prefix_len);
            wanted.insert(calico::ADDRESS[family], format!("{addr}/{len}"));
            wanted.insert(calico::MAC[family], self.mac.clone());
        }
        wanted
    }
}

/// The first address of each family that is Sluice's or its kernel's.
fn first_addresses(config: &Config) -> Vec<IpAddr> {
    let own = config.ports.iter().flat_map(|port| port.addresses.iter().map(IpNet::addr));
    let kernel = config.ports.iter().flat_map(|port| port.kernel_addresses.iter().copied());
    let all = || kernel.clone().chain(own.clone());
    let first = |is_v4: bool| all().find(|addr| addr.is_ipv4() == is_v4);
    first(true).into_iter().chain(first(false)).collect()
}

/// Keeps the Node saying what it should, for ever. Nothing is taken back at the end: a gateway
/// that starts again finds its ranges and its peers as they were.
pub async fn run(client: Client, facts: Facts) {
    let mut writer = Writer { registered: None, said: String::new(), facts, client };
    let mut failing = None;
    loop {
        let pause = match within(LOOK_MAX, writer.look()).await {
            Ok(is_done) => {
                writer.said.clear();
                failing = None;
                if is_done { LOOK.1 } else { LOOK.0 }
            }
            Err(error) => {
                writer.say(&error);
                let pauses = failing.get_or_insert_with(|| pauses(LOOK.0, PAUSE_MAX));
                pauses.next().unwrap_or(PAUSE_MAX)
            }
        };
        tokio::time::sleep(pause).await;
    }
}

struct Writer {
    client: Client,
    facts: Facts,
    registered: Option<register::Kept>,
    /// The last trouble: it is told once.
    said: String,
}

impl Writer {
    /// Looks at the Node, and writes what is missing. False if something could not be said yet.
    async fn look(&mut self) -> Result<bool, kube::Error> {
        let nodes = Api::<v1::Node>::all(self.client.clone());
        let node = match nodes.get_opt(&self.facts.node).await? {
            Some(node) => node,
            None if self.facts.is_registered => {
                let node = register::node(&self.facts);
                let params =
                    PostParams { field_manager: Some(MANAGER.into()), ..Default::default() };
                tracing::info!(node = self.facts.node, "the gateway makes its Node");
                nodes.create(&params, &node).await?
            }
            None => {
                tracing::debug!(node = self.facts.node, "the gateway's Node is not there");
                return Ok(false);
            }
        };
        if self.facts.is_registered {
            let kept = self.registered.get_or_insert_default();
            kept.keep(&self.client, &self.facts, &node).await?;
        }
        if let Some(patch) = self.facts.patch(&node) {
            nodes.patch(&self.facts.node, &params(), &Patch::Merge(&patch)).await?;
            tracing::info!(node = self.facts.node, %patch, "written on the gateway's Node");
        }
        Ok(self.facts.annotations(&node).is_some())
    }

    fn say(&mut self, error: &kube::Error) {
        let text = error.to_string();
        if text != self.said {
            tracing::error!(node = self.facts.node, "the gateway's Node cannot be written: {text}");
            self.said = text;
        }
    }
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() }
}

#[cfg(test)]
mod tests;
