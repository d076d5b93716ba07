use super::expect::{Expected, Sent};
use crate::check;
use crate::cluster::Cluster;
use crate::frames::{Builder, Udp};
use crate::packet_socket::PacketSocket;
use crate::site::{self, CLUSTER, SERVICE_PORT, TARGET_PORT, Who};
use crate::traffic::Flow;
use anyhow::{Context, Result, ensure};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Flows that begin together: sockets hold twice as many frames.
const WINDOW: u32 = 32;
/// How long the next frame is waited for before questions are asked again.
const PAUSE_MS: u32 = 100;
/// How long so many flows may take, the first one with all that the gateway learns by it.
const PATIENCE: Duration = Duration::from_secs(20);

/// Source and destination of a request as it came to the node.
pub type Ends = [(IpAddr, u16); 2];

/// Flows to be begun.
#[derive(Clone, Copy, Debug)]
pub struct Begin<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// What should be made of their requests.
    pub expected: Expected,
    /// How many.
    pub flows: u32,
}

impl Begin<'_> {
    /// Has each flow begin and be answered once, by one socket where clients are and one where
    /// nodes are. Requests and answers are checked; returns the ends of each flow.
    ///
    /// # Errors
    /// What is wrong with a frame, or that a flow stays without an answer.
    pub fn all(&self, clients: &PacketSocket, nodes: &PacketSocket) -> Result<Vec<Ends>> {
        let mut ends = Vec::with_capacity(self.flows as usize);
        // The first one alone: neighbors are not known, and tables may not be there yet.
        let mut next = 0..self.flows.min(1);
        while !next.is_empty() {
            ends.extend(self.some(next.start, next.len(), clients, nodes)?);
            next = next.end..self.flows.min(next.end + WINDOW);
        }
        Ok(ends)
    }

    fn some(
        &self,
        first: u32,
        count: usize,
        clients: &PacketSocket,
        nodes: &PacketSocket,
    ) -> Result<Vec<Ends>> {
        let mut builder = Builder::default();
        let (mut ends, mut is_answered) = (vec![None; count], vec![false; count]);
        let place = |number: u32| (number.wrapping_sub(first) as usize).min(count);
        let began = Instant::now();
        loop {
            let mut asked = 0;
            for (number, _) in (first..).zip(&is_answered).filter(|(_, known)| !**known) {
                clients.send(self.request(number, &mut builder))?;
                asked += 1;
            }
            self.each(nodes, |frame| {
                asked -= 1;
                let sent = self.expected.check(self.cluster, frame).context("a request")?;
                let number = sent.flow.context("a request without a number")?;
                // What was asked for again comes late.
                let Some(known) = ends.get_mut(place(number)) else { return Ok(asked > 0) };
                let is = *known.get_or_insert(sent.ends);
                ensure!(is == sent.ends, "flow {number} was {is:?}, and is {:?}", sent.ends);
                nodes.send(answer(self.cluster, self.expected, &sent, &mut builder)?)?;
                Ok(asked > 0)
            })?;
            self.each(clients, |frame| {
                let number = self.check_answer(frame).context("an answer")?;
                if let Some(is_answered) = is_answered.get_mut(place(number)) {
                    *is_answered = true;
                }
                Ok(is_answered.contains(&false))
            })?;
            let known: Option<Vec<Ends>> = ends.iter().copied().collect();
            match known {
                Some(known) if !is_answered.contains(&false) => return Ok(known),
                _ => ensure!(began.elapsed() < PATIENCE, "flow {first} or after has no answer"),
            }
        }
    }

    /// A client's request as the gateway gets it.
    pub fn request<'b>(&self, number: u32, builder: &'b mut Builder) -> &'b [u8] {
        let flow = Flow { number, ..Flow::default() };
        match self.expected {
            Expected::Routed => flow.direct(self.cluster, builder),
            _ => flow.request(self.cluster, builder),
        }
    }

    /// Takes packets of the family while more are wanted and come.
    fn each(
        &self,
        socket: &PacketSocket,
        mut take: impl FnMut(&[u8]) -> Result<bool>,
    ) -> Result<()> {
        let mut buffer = [0; 2048];
        let ethertype = self.cluster.family.ethertype().to_be_bytes();
        while let Ok(len) = socket.receive(&mut buffer, PAUSE_MS) {
            let frame = &buffer[..len];
            // Hosts on a link speak ARP and ND, too.
            if frame.get(12..14) == Some(&ethertype) && !take(frame)? {
                break;
            }
        }
        Ok(())
    }

    /// Checks an answer as it comes to the router, and returns the flow's number: it comes from
    /// where the client has asked, and goes to the client.
    fn check_answer(&self, frame: &[u8]) -> Result<u32> {
        let family = self.cluster.family;
        let packet = check::open_uplink(family, frame)?;
        let number = check::id(&packet).context("no number")?;
        let flow = Flow { number, ..Flow::default() };
        let asked = match self.expected {
            Expected::Routed => (self.cluster.backend(flow.endpoint(self.cluster)).1, TARGET_PORT),
            _ => (Who::Vip(flow.service(self.cluster)).addr(family), SERVICE_PORT),
        };
        ensure!(packet.src == asked, "flow {number} from {:?}", packet.src);
        ensure!(packet.dst == flow.client(family), "flow {number} to {:?}", packet.dst);
        Ok(number)
    }
}

/// What a pod answers to a request, as its node sends it.
fn answer<'a>(
    cluster: &Cluster,
    expected: Expected,
    sent: &Sent,
    builder: &'a mut Builder,
) -> Result<&'a [u8]> {
    let [src, dst] = sent.ends;
    let udp = Udp { src: dst, dst: src, id: sent.flow.context("no number")? };
    Ok(match expected {
        Expected::Service | Expected::KeptVxlan | Expected::Routed => {
            builder.tunneled(cluster.family, 0, &udp)
        }
        Expected::Plain | Expected::Kept => {
            builder.plain(cluster.family, CLUSTER, site::node_mac(0), &udp)
        }
        Expected::Request => anyhow::bail!("requests that are not translated have no answer"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::race::CLUSTER_OF_ONE;
    use crate::site::{Family, PORT_MACS, UPLINK};

    fn begin(expected: Expected) -> Begin<'static> {
        Begin { cluster: &CLUSTER_OF_ONE, expected, flows: 8 }
    }

    /// An answer as it leaves for the router, one hop on.
    fn answered(src: (IpAddr, u16), dst: (IpAddr, u16), id: u32) -> Vec<u8> {
        let mut builder = Builder::default();
        let udp = Udp { src, dst, id };
        let mut frame = builder.plain(Family::V4, UPLINK, PORT_MACS[UPLINK], &udp).to_vec();
        frame[..6].copy_from_slice(&site::ROUTER_MAC);
        // The time to live and the sum over it (RFC 1624).
        frame[22] -= 1;
        let (sum, carry) = u16::from_be_bytes([frame[24], frame[25]]).overflowing_add(0x100);
        frame[24..26].copy_from_slice(&(sum + u16::from(carry)).to_be_bytes());
        frame
    }

    #[test]
    fn answers_come_from_where_clients_have_asked() {
        let client = |number: u32| Flow { number, ..Flow::default() }.client(Family::V4);
        let vip = (Who::Vip(0).addr(Family::V4), SERVICE_PORT);
        let pod = (CLUSTER_OF_ONE.backend(7).1, TARGET_PORT);
        let check = |expected, frame: Vec<u8>| begin(expected).check_answer(&frame);
        assert_eq!(check(Expected::Service, answered(vip, client(7), 7)).unwrap(), 7);
        assert_eq!(check(Expected::Plain, answered(vip, client(7), 7)).unwrap(), 7);
        assert_eq!(check(Expected::Routed, answered(pod, client(7), 7)).unwrap(), 7);
        assert!(check(Expected::Service, answered(pod, client(7), 7)).is_err(), "not translated");
        assert!(check(Expected::Routed, answered(vip, client(7), 7)).is_err());
        assert!(check(Expected::Service, answered(vip, client(6), 7)).is_err(), "another's");
    }

    #[test]
    fn a_pod_answers_whoever_has_asked() {
        let client = Flow { number: 3, ..Flow::default() }.client(Family::V4);
        let pod = (CLUSTER_OF_ONE.backend(3).1, TARGET_PORT);
        let sent = Sent { flow: Some(3), ends: [client, pod] };
        let mut builder = Builder::default();
        let frame = answer(&CLUSTER_OF_ONE, Expected::Plain, &sent, &mut builder).unwrap();
        let packet = check::parse(frame, false).unwrap();
        assert_eq!((packet.src, packet.dst, check::id(&packet)), (pod, client, Some(3)));
        let frame = answer(&CLUSTER_OF_ONE, Expected::Routed, &sent, &mut builder).unwrap();
        let outer = check::parse(frame, true).unwrap();
        assert_eq!(outer.dst.1, site::VXLAN_PORT);
        let inner = check::parse(&outer.payload[8..], false).unwrap();
        assert_eq!((inner.src, inner.dst, check::id(&inner)), (pod, client, Some(3)));
        assert!(answer(&CLUSTER_OF_ONE, Expected::Request, &sent, &mut builder).is_err());
    }
}
