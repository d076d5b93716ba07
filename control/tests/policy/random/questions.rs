use super::Dice;
use super::cluster::{PORTS, any_address};
use super::steps::Objects;
use crate::reference::{Protocol, Question};
use ipnet::IpNet;
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What may be asked of a cluster: its addresses, and the ends of the blocks and
/// port ranges of its policies.
pub(super) struct Asker {
    addresses: Vec<IpAddr>,
    edges: Vec<IpAddr>,
    ports: Vec<u16>,
}

impl Asker {
    /// The questions of a cluster.
    pub fn of(objects: &Objects) -> Self {
        let mut asker = Asker { addresses: Vec::new(), edges: Vec::new(), ports: PORTS.to_vec() };
        objects.iter().for_each(|object| asker.read(object));
        asker.addresses.extend(objects.learned());
        asker.edges.sort_unstable();
        asker.edges.dedup();
        asker.ports.sort_unstable();
        asker.ports.dedup();
        asker
    }

    /// Takes in every address, block and port number of an object.
    fn read(&mut self, value: &Value) {
        match value {
            Value::Object(map) => map.values().for_each(|value| self.read(value)),
            Value::Array(list) => list.iter().for_each(|value| self.read(value)),
            Value::String(text) => {
                if let Ok(addr) = text.parse() {
                    self.addresses.push(addr);
                } else if let Ok(net) = text.parse::<IpNet>() {
                    self.edges.extend([net.network(), net.broadcast()]);
                    self.edges.extend(neighbours(net));
                }
            }
            Value::Number(number) => {
                // Priorities are among them, which does no harm.
                let port = number.as_u64().and_then(|n| u16::try_from(n).ok());
                let around = |n: u16| [n.saturating_sub(1), n, n.saturating_add(1)];
                self.ports.extend(port.into_iter().flat_map(around));
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// A question whose ends are of one family.
    pub fn ask(&self, dice: &mut Dice) -> Question {
        let src = self.address(dice);
        let dst = loop {
            let dst = self.address(dice);
            if dst.is_ipv4() == src.is_ipv4() {
                break dst;
            }
        };
        let protocol = match dice.number(0..=9) {
            0..=5 => Protocol::Tcp,
            6 | 7 => Protocol::Udp,
            8 => Protocol::Sctp,
            _ => Protocol::Other,
        };
        let port = if protocol == Protocol::Other { 0 } else { *dice.pick(&self.ports) };
        Question { src, dst, protocol, port }
    }

    fn address(&self, dice: &mut Dice) -> IpAddr {
        match dice.number(0..=9) {
            0..=7 if !self.addresses.is_empty() => *dice.pick(&self.addresses),
            8 if !self.edges.is_empty() => *dice.pick(&self.edges),
            _ => any_address(dice),
        }
    }
}

/// The addresses before and after a block.
fn neighbours(net: IpNet) -> Vec<IpAddr> {
    let (first, last) = (net.network(), net.broadcast());
    let before = match first {
        IpAddr::V4(a) => a.to_bits().checked_sub(1).map(|a| Ipv4Addr::from_bits(a).into()),
        IpAddr::V6(a) => a.to_bits().checked_sub(1).map(|a| Ipv6Addr::from_bits(a).into()),
    };
    let after = match last {
        IpAddr::V4(a) => a.to_bits().checked_add(1).map(|a| Ipv4Addr::from_bits(a).into()),
        IpAddr::V6(a) => a.to_bits().checked_add(1).map(|a| Ipv6Addr::from_bits(a).into()),
    };
    before.into_iter().chain(after).collect()
}
