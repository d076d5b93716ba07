//! `routes`: static routes beside the connected ones.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::ports::{PortIndex, PortName, RawPort, find_port, port_name};
use crate::read::{
    Field, Fields, Located, Reader, Reported, Spot, kernel_address, not_a_host, route_prefix,
};
use crate::schema::{Default, Key, Section};

/// A static route.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Destination prefix, host bits zero.
    pub to: IpNet,
    /// Next hop, of the family of `to`; `None`: the destinations are on the link.
    pub via: Option<IpAddr>,
    /// The port that the packets leave by.
    pub port: PortIndex,
}

/// Most static routes.
pub(crate) const ROUTES_MAX: usize = 4096;

pub(crate) static SECTION: Section = Section {
    path: "routes[]",
    keys: &[
        Key {
            name: "to",
            kind: "prefix",
            default: Default::Required,
            meaning: "destination; each once",
        },
        Key {
            name: "via",
            kind: "address of the family of `to`",
            default: Default::Words("none: the destinations are on the link"),
            meaning: "next hop",
        },
        Key {
            name: "port",
            kind: "name of a port",
            default: Default::Words(
                "the port whose connected prefix holds `via`; required without `via`",
            ),
            meaning: "the port that the packets leave by",
        },
    ],
};

/// A route as read, not yet checked against the rest of the file.
pub(crate) struct RawRoute {
    spot: Spot,
    to: Result<Located<IpNet>, Reported>,
    via: Result<Option<Located<IpAddr>>, Reported>,
    port: Result<Option<Located<PortName>>, Reported>,
}

impl RawRoute {
    /// Reads one element of `routes`.
    pub(crate) fn read(reader: &mut Reader<'_>, field: Field<'_>) -> Result<Self, Reported> {
        let fields = Fields::open(reader, field, &SECTION)?;
        Ok(Self {
            spot: fields.spot().clone(),
            to: fields.required(reader, "to", route_prefix),
            via: fields.optional(reader, "via", kernel_address),
            port: fields.optional(reader, "port", port_name),
        })
    }

    /// The route as it will be used, checked against the ports.
    pub(crate) fn build(
        self,
        reader: &mut Reader<'_>,
        ports: &[RawPort],
    ) -> Result<Route, Reported> {
        let named = match self.port {
            Ok(Some(name)) => Ok(Some(find_port(reader, ports, &name))),
            Ok(None) => Ok(None),
            Err(reported) => Err(reported),
        };
        let (to, via, named) = (self.to?, self.via?, named?.transpose()?);
        let Some(via) = via else {
            let Some(port) = named else {
                return Err(reader.error(
                    &self.spot,
                    format!("the route to {} has neither a next hop nor a port", to.value),
                    "`via`, the next hop, or `port`, if the destinations are on its link",
                ));
            };
            return Ok(Route { to: to.value, via: None, port });
        };
        if via.value.is_ipv4() != to.value.addr().is_ipv4() {
            let message = format!("{} is no next hop for {}", via.value, to.value);
            return Err(reader.error(&via.spot, message, "a next hop of the family of `to`"));
        }
        let port = next_hop_port(reader, ports, &via, named)?;
        Ok(Route { to: to.value, via: Some(via.value), port })
    }
}

/// The port that the next hop is reached by, the one named if it is.
fn next_hop_port(
    reader: &mut Reader<'_>,
    ports: &[RawPort],
    via: &Located<IpAddr>,
    named: Option<PortIndex>,
) -> Result<PortIndex, Reported> {
    let own = ports.iter().any(|port| {
        port.addresses.iter().any(|address| address.value.addr() == via.value)
            || port.kernel_addresses.iter().any(|address| address.value == via.value)
    });
    if own {
        let message = format!("{} is an address of this gateway", via.value);
        return Err(reader.error(&via.spot, message, "the address of a neighbor"));
    }
    if let (IpAddr::V6(address), Some(port)) = (via.value, named)
        && address.is_unicast_link_local()
    {
        return Ok(port);
    }
    // A port that is equal to the best so far has the same prefix: that is reported elsewhere.
    let connected = ports.iter().enumerate().flat_map(|(index, port)| {
        port.addresses.iter().map(move |address| (PortIndex(index), address.value))
    });
    let best = connected
        .filter(|(port, net)| net.contains(&via.value) && named.is_none_or(|named| named == *port))
        .max_by_key(|(_, net)| net.prefix_len());
    let Some((port, net)) = best else {
        let message = match named {
            Some(_) => format!("{} is in no connected prefix of the port", via.value),
            None => format!("{} is in no connected prefix", via.value),
        };
        let expected = connected_prefixes(ports, named);
        return Err(reader.error(&via.spot, message, &*expected));
    };
    match not_a_host(&net, via.value) {
        Some(reason) => {
            let message = format!("{} is {reason}", via.value);
            Err(reader.error(&via.spot, message, "the address of a neighbor"))
        }
        None => Ok(port),
    }
}

/// What a next hop may be, for a message.
fn connected_prefixes(ports: &[RawPort], named: Option<PortIndex>) -> String {
    let ports = ports.iter().enumerate().filter(|(index, _)| named.is_none_or(|n| n.0 == *index));
    let nets: Vec<String> = ports
        .flat_map(|(_, port)| port.addresses.iter().map(|a| a.value.trunc().to_string()))
        .collect();
    format!("an address in {}", nets.join(", "))
}

/// Reports destinations that have more than one route.
pub(crate) fn check_unique(reader: &mut Reader<'_>, routes: &[RawRoute]) {
    let mut seen = std::collections::HashMap::new();
    for to in routes.iter().filter_map(|route| route.to.as_ref().ok()) {
        if let Some(first) = seen.get(&to.value) {
            let first: &Spot = first;
            let message = format!("{} has a route at {}", to.value, first.refer());
            reader.error(&to.spot, message, "one route for each destination");
        } else {
            seen.insert(to.value, to.spot.clone());
        }
    }
}
