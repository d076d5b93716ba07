use super::shape::Shape;
use crate::cluster::Cluster;
use crate::frames::{Builder, Tcp, Tunnel};
use crate::site::{self, Family, PORT_MACS, ROUTER_MAC, TTL};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(crate) const RST: u8 = 0x04;
pub(crate) const SYN: u8 = 0x02;
const PSH: u8 = 0x08;
pub(crate) const ACK: u8 = 0x10;
/// Bytes of data in a segment of an established flow.
pub const DATA_LEN: usize = 512;
/// What fits the overlay: its MTU less the TCP header.
const OVERLAY_TCP_MTU: u16 = 1430 - 20;
pub(crate) const WINDOW: u16 = 64_240;
const LINK_TCP_MTU: u16 = 1500 - 20;

/// What a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A client's SYN, or a pod's SYN-ACK.
    Open,
    /// Acknowledges, carries nothing.
    Ack,
    /// Carries [`DATA_LEN`] bytes.
    Data,
    /// A reset by the gateway itself.
    Reset,
}

/// The shapes of what goes one way in one place. No two agree in length and
/// flags.
#[derive(Clone, Debug)]
pub struct Shapes {
    /// SYN, or SYN-ACK.
    pub open: Shape,
    /// ACK.
    pub ack: Shape,
    /// Data.
    pub data: Shape,
    /// RST.
    pub reset: Shape,
}

/// Where segments go.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// From a client, to the gateway.
    FromClient,
    /// From the gateway, to a client.
    ToClient,
    /// From a pod on a node, to the gateway.
    FromPod(u32),
    /// From the gateway, to a pod on a node.
    ToPod(u32),
}

/// What all that goes one way has in common.
pub(crate) struct Mold {
    family: Family,
    /// A tunnel, or the MACs of sender and receiver.
    ends: Result<Tunnel, [[u8; 6]; 2]>,
    /// Comes to the gateway.
    arrives: bool,
    builder: Builder,
}

impl Mold {
    /// Of a way.
    pub fn new(family: Family, way: Way) -> Self {
        let link = [ROUTER_MAC, PORT_MACS[site::UPLINK]];
        let (ends, arrives) = match way {
            Way::FromClient => (Err(link), true),
            Way::ToClient => (Err([link[1], link[0]]), false),
            Way::FromPod(node) => (Ok(Tunnel::from_node(family, node)), true),
            Way::ToPod(node) => (Ok(Tunnel::to_node(family, node)), false),
        };
        Mold { family, ends, arrives, builder: Builder::default() }
    }

    /// Time to live: the gateway takes a hop.
    pub fn ttl(&self) -> u8 {
        if self.arrives { TTL } else { TTL - 1 }
    }

    /// The shape of segments.
    pub fn shape(
        &mut self,
        flags: u8,
        mss: Option<u16>,
        payload: &[u8],
        window: u16,
        ttl: u8,
    ) -> Shape {
        let any = match self.family {
            Family::V4 => IpAddr::from(Ipv4Addr::UNSPECIFIED),
            Family::V6 => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        };
        let (src, dst) = ((any, 0), (any, 0));
        let tcp = Tcp { src, dst, seq: 0, ack: 0, flags, window, mss, payload };
        let frame = match &self.ends {
            Ok(tunnel) => self.builder.tunneled_tcp(self.family, tunnel, &tcp),
            Err(macs) => self.builder.plain_tcp(self.family, *macs, &tcp),
        };
        Shape::new(self.family, frame, self.ends.is_ok(), ttl)
    }
}

impl Shapes {
    /// Makes them.
    pub fn new(family: Family, way: Way) -> Self {
        let mut mold = Mold::new(family, way);
        let from_pod = matches!(way, Way::FromPod(_) | Way::ToClient);
        // The gateway tells both sides what fits the overlay.
        let mtu = if mold.arrives { LINK_TCP_MTU } else { OVERLAY_TCP_MTU };
        let mss = mtu - family.header_len() as u16;
        let (open, ttl) = (if from_pod { SYN | ACK } else { SYN }, mold.ttl());
        Shapes {
            open: mold.shape(open, Some(mss), &[], WINDOW, ttl),
            ack: mold.shape(ACK, None, &[], WINDOW, ttl),
            data: mold.shape(PSH | ACK, None, &[0x5a; DATA_LEN], WINDOW, ttl),
            reset: mold.shape(RST, None, &[], 0, TTL),
        }
    }

    /// The one shape that a frame can be of.
    pub fn of(&self, frame: &[u8]) -> Option<(Step, &Shape)> {
        [
            (Step::Open, &self.open),
            (Step::Ack, &self.ack),
            (Step::Data, &self.data),
            (Step::Reset, &self.reset),
        ]
        .into_iter()
        .find(|(_, shape)| shape.resembles(frame))
    }
}

/// All shapes of a cluster.
pub struct AllShapes {
    /// From clients.
    pub from_client: Shapes,
    /// To clients.
    pub to_client: Shapes,
    /// From pods, by node.
    pub from_pod: Vec<Shapes>,
    /// To pods, by node.
    pub to_pod: Vec<Shapes>,
}

impl AllShapes {
    /// Makes them.
    pub fn new(cluster: &Cluster) -> Self {
        let family = cluster.family;
        AllShapes {
            from_client: Shapes::new(family, Way::FromClient),
            to_client: Shapes::new(family, Way::ToClient),
            from_pod: (0..cluster.nodes).map(|n| Shapes::new(family, Way::FromPod(n))).collect(),
            to_pod: (0..cluster.nodes).map(|n| Shapes::new(family, Way::ToPod(n))).collect(),
        }
    }
}
