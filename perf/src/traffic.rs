use crate::check;
use crate::cluster::Cluster;
use crate::frames::{Builder, Udp};
use crate::gateway::Gateway;
use crate::site::{self, CLUSTER, Family, SERVICE_PORT, TARGET_PORT, UPLINK, Who, snat_number};
use anyhow::{Context, Result, ensure};
use std::net::IpAddr;

/// Clients, over whose addresses flows are spread.
const CLIENTS: u32 = 1 << 16;
const CLIENT_PORT_MIN: u32 = 1024;

/// One client's UDP flow to a Service, and what became of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flow {
    /// Its number: decides client, client port and Service.
    pub number: u32,
    /// The endpoint that the gateway chose.
    pub backend: u32,
    /// The number of the SNAT address that it chose.
    pub snat: u32,
    /// The SNAT port that it chose.
    pub snat_port: u16,
}

impl Flow {
    /// The client's end.
    pub fn client(&self, family: Family) -> (IpAddr, u16) {
        let port = CLIENT_PORT_MIN + self.number / CLIENTS;
        (Who::Client(self.number % CLIENTS).addr(family), port as u16)
    }

    /// The flow that a client's end is of.
    pub fn of_client(family: Family, client: (IpAddr, u16)) -> Option<Self> {
        let first = Who::Client(0).addr(family);
        let index = match (client.0, first) {
            (IpAddr::V4(addr), IpAddr::V4(first)) => addr.to_bits().checked_sub(first.to_bits())?,
            (IpAddr::V6(addr), _) => u32::from(addr.segments()[3]),
            _ => return None,
        };
        let round = u32::from(client.1).checked_sub(CLIENT_PORT_MIN)?;
        let number = round.checked_mul(CLIENTS)?.checked_add(index)?;
        let flow = Flow { number, ..Flow::default() };
        (flow.client(family) == client).then_some(flow)
    }

    /// The Service.
    pub fn service(&self, cluster: &Cluster) -> u32 {
        self.number % cluster.services
    }

    fn vip(&self, cluster: &Cluster) -> (IpAddr, u16) {
        (Who::Vip(self.service(cluster)).addr(cluster.family), SERVICE_PORT)
    }

    fn pod(&self, cluster: &Cluster) -> (IpAddr, u16) {
        (cluster.backend(self.backend).1, TARGET_PORT)
    }

    fn source(&self, family: Family) -> (IpAddr, u16) {
        (Who::Snat(self.snat).addr(family), self.snat_port)
    }

    /// The client's packet, as it arrives on the uplink.
    pub fn request<'a>(&self, cluster: &Cluster, builder: &'a mut Builder) -> &'a [u8] {
        let family = cluster.family;
        let udp = Udp { src: self.client(family), dst: self.vip(cluster), id: self.number };
        builder.plain(family, UPLINK, site::ROUTER_MAC, &udp)
    }

    /// The endpoint that the client asks by itself, of [`Flow::direct`].
    pub fn endpoint(&self, cluster: &Cluster) -> u32 {
        self.service(cluster) * cluster.backends + self.number % cluster.backends
    }

    /// A packet of the client's to an endpoint instead of the Service.
    pub fn direct<'a>(&self, cluster: &Cluster, builder: &'a mut Builder) -> &'a [u8] {
        let (family, backend) = (cluster.family, self.endpoint(cluster));
        let dst = (cluster.backend(backend).1, TARGET_PORT);
        let udp = Udp { src: self.client(family), dst, id: self.number };
        builder.plain(family, UPLINK, site::ROUTER_MAC, &udp)
    }

    /// The pod's packet, as its node sends it through the overlay.
    pub fn reply<'a>(&self, cluster: &Cluster, builder: &'a mut Builder) -> &'a [u8] {
        let family = cluster.family;
        let udp = Udp { src: self.pod(cluster), dst: self.source(family), id: self.number };
        builder.tunneled(family, cluster.backend(self.backend).0, &udp)
    }

    /// Checks a request that the gateway has sent into the overlay, and returns
    /// the flow with what the gateway chose for it.
    ///
    /// # Errors
    /// What is wrong with the frame.
    pub fn chosen(&self, cluster: &Cluster, frame: &[u8]) -> Result<Flow> {
        let family = cluster.family;
        let (node, inner) = check::open_tunnel(family, frame, cluster.nodes)?;
        let id = check::id(&inner);
        ensure!(id.is_none_or(|id| id == self.number), "flow {id:?} instead of {}", self.number);
        let backend = cluster.backend_of(self.service(cluster), inner.dst.0);
        let backend = backend.with_context(|| format!("{} is no endpoint", inner.dst.0))?;
        ensure!(cluster.backend(backend).0 == node, "another node's tunnel");
        ensure!(inner.dst.1 == TARGET_PORT, "target port {}", inner.dst.1);
        let snat = snat_number(family, inner.src.0);
        let snat = snat.with_context(|| format!("source {}", inner.src.0))?;
        let (min, max) = site::SNAT_PORTS;
        ensure!((min..=max).contains(&inner.src.1), "source port {}", inner.src.1);
        Ok(Flow { number: self.number, backend, snat, snat_port: inner.src.1 })
    }

    /// Checks a request of a known flow.
    ///
    /// # Errors
    /// What is wrong with the frame.
    pub fn check_request(&self, cluster: &Cluster, frame: &[u8]) -> Result<()> {
        let chosen = self.chosen(cluster, frame)?;
        let (was, is) = ((self.backend, self.snat, self.snat_port), chosen);
        ensure!(was == (is.backend, is.snat, is.snat_port), "{self:?} has become {is:?}");
        Ok(())
    }

    /// The number of the flow that a reply to the router is of.
    ///
    /// # Errors
    /// What is wrong with the frame, or that it is too short to carry one.
    pub fn id_of_reply(cluster: &Cluster, frame: &[u8]) -> Result<u32> {
        let parsed = check::open_uplink(cluster.family, frame)?;
        check::id(&parsed).context("a reply without a number")
    }

    /// Checks a reply that the gateway has sent to the router.
    ///
    /// # Errors
    /// What is wrong with the frame.
    pub fn check_reply(&self, cluster: &Cluster, frame: &[u8]) -> Result<()> {
        let parsed = check::open_uplink(cluster.family, frame)?;
        let id = check::id(&parsed);
        ensure!(id.is_none_or(|id| id == self.number), "flow {id:?} instead of {}", self.number);
        ensure!(parsed.src == self.vip(cluster), "source {:?}", parsed.src);
        ensure!(parsed.dst == self.client(cluster.family), "destination {:?}", parsed.dst);
        Ok(())
    }
}

/// Numbers of flows that a worker owns, the first so many.
pub fn owned(gateway: &Gateway, worker: usize, count: usize) -> Vec<u32> {
    let (owners, family) = (&gateway.tables.owners, gateway.cluster.family);
    let is_owned = |number: &u32| {
        let (addr, port) = Flow { number: *number, ..Flow::default() }.client(family);
        let owner = match addr {
            IpAddr::V4(addr) => owners.of_endpoint(&addr.octets(), port),
            IpAddr::V6(addr) => owners.of_endpoint(&addr.octets(), port),
        };
        owner == worker
    };
    (0..).filter(is_owned).take(count).collect()
}

/// Makes flows through worker `worker`: the first packet of both directions,
/// all of them checked.
///
/// # Errors
/// What is wrong with a packet.
pub fn begin(gateway: &mut Gateway, worker: usize, numbers: &[u32]) -> Result<Vec<Flow>> {
    let cluster = gateway.cluster;
    let mut builder = Builder::default();
    let mut flows = Vec::with_capacity(numbers.len());
    for batch in numbers.chunks(gateway.frames.len().max(1)) {
        let new: Vec<Flow> =
            batch.iter().map(|&number| Flow { number, ..Flow::default() }).collect();
        for flow in &new {
            gateway.load(worker, UPLINK, flow.request(&cluster, &mut builder))?;
        }
        gateway.settle();
        let from = flows.len();
        let mut asked = new.iter();
        gateway.collect(worker, CLUSTER, |frame| {
            let flow = asked.next().context("more packets than were sent")?;
            flows.push(flow.chosen(&cluster, frame)?);
            Ok(())
        })?;
        ensure!(flows.len() - from == batch.len(), "lost packets: {:?}", gateway.drops());
        for flow in &flows[from..] {
            gateway.load(worker, CLUSTER, flow.reply(&cluster, &mut builder))?;
        }
        gateway.settle();
        let mut answered = flows[from..].iter();
        let replies = gateway.collect(worker, UPLINK, |frame| {
            answered.next().context("more packets than were sent")?.check_reply(&cluster, frame)
        })?;
        ensure!(replies == batch.len(), "lost replies: {:?}", gateway.drops());
    }
    gateway.check_counters()?;
    Ok(flows)
}

/// A small generator for shuffles, the same on every run.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator from a seed.
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// A number below `n` (splitmix64).
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) % n as u64) as usize
    }

    /// Shuffles a list (Fisher and Yates).
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for i in (1..list.len()).rev() {
            list.swap(i, self.below(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_tells_its_flow() {
        for family in [Family::V4, Family::V6] {
            for number in [0, 1, 4095, CLIENTS - 1, CLIENTS, 3 * CLIENTS + 7] {
                let flow = Flow { number, ..Flow::default() };
                let found = Flow::of_client(family, flow.client(family));
                assert_eq!(found.map(|flow| flow.number), Some(number));
            }
            let (addr, port) = Flow::default().client(family);
            assert!(Flow::of_client(family, (addr, 1023)).is_none());
            assert!(Flow::of_client(family, (Who::Vip(0).addr(family), port)).is_none());
        }
    }
}
