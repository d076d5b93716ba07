use crate::check::{self, Parsed};
use crate::cluster::Cluster;
use crate::site::{self, SERVICE_PORT, TARGET_PORT, TTL, Who, snat_number};
use crate::traffic::Flow;
use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use std::net::IpAddr;

/// What should come out for requests of the generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Expected {
    /// The requests as they were sent, their MACs replaced.
    Request,
    /// Service and client translated, in VXLAN.
    Service,
    /// Service and client translated, straight to the node.
    Plain,
    /// The Service translated and clients kept, straight to the node.
    Kept,
    /// The Service translated and clients kept, in VXLAN.
    KeptVxlan,
    /// Requests to pods, untranslated, in VXLAN.
    Routed,
}

/// What was made of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The flow's number, if there is a trace of it: a client that is kept, or a number in
    /// the payload.
    pub flow: Option<u32>,
    /// Source and destination, as it was sent.
    pub ends: [(IpAddr, u16); 2],
}

impl Expected {
    /// Checks one frame: every byte that is known, and that what is translated belongs to
    /// the flow that it names.
    ///
    /// # Errors
    /// What is wrong with the frame.
    pub fn check(self, cluster: &Cluster, frame: &[u8]) -> Result<Sent> {
        let family = cluster.family;
        let (node, packet) = match self {
            Expected::Service | Expected::KeptVxlan | Expected::Routed => {
                check::open_tunnel(family, frame, cluster.nodes)?
            }
            Expected::Plain | Expected::Kept => check::open_underlay(family, frame, cluster.nodes)?,
            Expected::Request => (0, check::parse(frame, false)?),
        };
        let (id, ends) = (check::id(&packet), [packet.src, packet.dst]);
        let number = match self {
            Expected::Service | Expected::Plain => {
                self.check_source(cluster, &packet)?;
                id
            }
            _ => {
                let flow = Flow::of_client(family, packet.src);
                let flow = flow.with_context(|| format!("source {:?}", packet.src))?;
                ensure!(id.is_none_or(|id| id == flow.number), "{id:?} of {}", flow.number);
                Some(flow.number)
            }
        };
        if self == Expected::Request {
            ensure!(packet.dst.1 == SERVICE_PORT && packet.ttl == TTL, "{packet:?}");
            ensure!(packet.dst_mac == site::node_mac(0), "destination MAC");
            return Ok(Sent { flow: number, ends });
        }
        ensure!(number.is_some() || cluster.services == 1, "nothing tells whose it is");
        let flow = Flow { number: number.unwrap_or(0), ..Flow::default() };
        let backend = match self {
            Expected::Routed => Some(flow.endpoint(cluster)),
            _ => cluster.backend_of(flow.service(cluster), packet.dst.0),
        };
        let backend = backend.with_context(|| format!("{} is no endpoint", packet.dst.0))?;
        let pod = cluster.backend(backend);
        ensure!(packet.dst == (pod.1, TARGET_PORT), "destination {:?}", packet.dst);
        ensure!(pod.0 == node, "another node's");
        Ok(Sent { flow: number, ends })
    }

    /// Checks a translated source. Without an overlay the kernel's masquerade is by the
    /// link's own address.
    fn check_source(self, cluster: &Cluster, packet: &Parsed<'_>) -> Result<()> {
        let (family, (addr, port)) = (cluster.family, packet.src);
        let is_link = self == Expected::Plain && addr == Who::GatewayCluster.addr(family);
        ensure!(is_link || snat_number(family, addr).is_some(), "source {addr}");
        let (min, max) = site::SNAT_PORTS;
        ensure!((min..=max).contains(&port), "source port {port}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::{Builder, Tunnel, Udp};
    use crate::race::CLUSTER_OF_ONE;
    use crate::site::{Family, PORT_MACS};

    /// A request of flow 7 as it leaves for the node, without an overlay.
    fn sent(src: (std::net::IpAddr, u16), backend: u32, ttl: u8) -> Vec<u8> {
        let udp = Udp { src, dst: (CLUSTER_OF_ONE.backend(backend).1, TARGET_PORT), id: 7 };
        let macs = Tunnel::to_node(Family::V4, 0).macs;
        let mut builder = Builder::default();
        let mut frame = builder.plain(Family::V4, site::CLUSTER, macs[0], &udp).to_vec();
        frame[..6].copy_from_slice(&macs[1]);
        assert_eq!(frame[6..12], PORT_MACS[site::CLUSTER]);
        // The time to live and the sum over it (RFC 1624).
        let sum = u16::from_be_bytes([frame[24], frame[25]]) + (u16::from(TTL - ttl) << 8);
        frame[22] = ttl;
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        frame
    }

    #[test]
    fn clients_are_kept_or_translated_as_expected() {
        let client = Flow { number: 7, ..Flow::default() }.client(Family::V4);
        let ours = (Who::Snat(3).addr(Family::V4), 2000);
        let link = (Who::GatewayCluster.addr(Family::V4), 2000);
        let check = |expected: Expected, frame: &[u8]| expected.check(&CLUSTER_OF_ONE, frame);
        assert_eq!(check(Expected::Kept, &sent(client, 4, TTL - 1)).unwrap().flow, Some(7));
        assert_eq!(check(Expected::Plain, &sent(ours, 4, TTL - 1)).unwrap().flow, Some(7));
        assert_eq!(check(Expected::Plain, &sent(link, 4, TTL - 1)).unwrap().flow, Some(7));
        assert!(check(Expected::Plain, &sent(client, 4, TTL - 1)).is_err());
        assert!(check(Expected::Kept, &sent(ours, 4, TTL - 1)).is_err());
        assert!(check(Expected::Service, &sent(ours, 4, TTL - 1)).is_err());
        let below = (ours.0, site::SNAT_PORTS.0 - 1);
        assert!(check(Expected::Plain, &sent(below, 4, TTL - 1)).is_err());
    }

    #[test]
    fn what_is_wrong_is_found() {
        let ours = (Who::Snat(3).addr(Family::V4), 2000);
        let check = |frame: &[u8]| Expected::Plain.check(&CLUSTER_OF_ONE, frame);
        assert!(check(&sent(ours, 10, TTL - 1)).is_err(), "no endpoint");
        assert!(check(&sent(ours, 4, TTL)).is_err(), "not forwarded");
        let good = sent(ours, 4, TTL - 1);
        for at in 0..good.len() {
            let mut frame = good.clone();
            frame[at] ^= 0x10;
            assert!(check(&frame).is_err(), "byte {at}");
        }
    }
}
