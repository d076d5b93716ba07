//! The file as a whole: read every section, check them against each other, build the `Config`.

use crate::Config;
use crate::announce::Announce;
use crate::check;
use crate::cluster::RawCluster;
use crate::drain::Drain;
use crate::flow_log::Observe;
use crate::flows::Flows;
use crate::fragments::Fragments;
use crate::icmp::Icmp;
use crate::io::Io;
use crate::l7::RawL7;
use crate::load_balancer::RawLoadBalancer;
use crate::neighbors::Neighbors;
use crate::observe::{Admin, Logging, RawMetrics};
use crate::overlay::RawVxlan;
use crate::policy::Policy;
use crate::ports::{PORTS_MAX, PortIndex, RawPort};
use crate::read::{Field, Fields, Located, Reader, Reported, Spot, is_subdomain, list, text};
use crate::routes::{ROUTES_MAX, RawRoute};
use crate::schema::{Default, Key, Section};
use crate::services::RawServices;
use crate::snat::RawSnat;
use crate::source::Source;
use crate::workers::Workers;
use crate::yaml::Node;

pub(crate) static SECTION: Section = Section {
    path: "",
    keys: &[
        Key {
            name: "node_name",
            kind: "DNS name",
            default: Default::Words("the host name"),
            meaning: "name of this gateway's Kubernetes node",
        },
        Key {
            name: "ports",
            kind: "list of 1 to 16 sections",
            default: Default::Required,
            meaning: "the network devices",
        },
        section("workers", "the polling threads"),
        section("io", "how frames enter and leave"),
        Key {
            name: "overlay",
            kind: "section",
            default: Default::Words("no overlay"),
            meaning: "the tunnels to the cluster's nodes",
        },
        Key {
            name: "routes",
            kind: "list of at most 4096 sections",
            default: Default::Words("none"),
            meaning: "static routes beside the connected ones",
        },
        Key {
            name: "snat",
            kind: "section",
            default: Default::Words("required with the default `mode`"),
            meaning: "source address translation",
        },
        section("node", "the gateway as a Node of the cluster"),
        section("cluster", "the cluster's address ranges"),
        section("services", "what of Services is a matter of the gateway"),
        section("policy", "what of network policies is a matter of the gateway"),
        section("announce", "which of several gateways announces which VIP"),
        Key {
            name: "load_balancer",
            kind: "section",
            default: Default::Words("no Service is given an address"),
            meaning: "addresses for Services of type LoadBalancer",
        },
        Key {
            name: "l7",
            kind: "section",
            default: Default::Words("no request is looked at"),
            meaning: "requests that end at the gateway and go on to pods",
        },
        Key {
            name: "source",
            kind: "section",
            default: Default::Required,
            meaning: "where the cluster's state comes from",
        },
        section("flows", "the connection table"),
        section("fragments", "IP fragments of what is translated"),
        section("neighbors", "ARP and ND"),
        section("icmp", "ICMP errors that Sluice sends"),
        section("metrics", "the HTTP server for Prometheus and health checks"),
        section("admin", "the socket of `sluice show` and `sluice status`"),
        section("logging", "what is logged, and how"),
        section("observe", "what is told of single packets and flows"),
        section("drain", "what happens between the order to stop and the end"),
    ],
};

const fn section(name: &'static str, meaning: &'static str) -> Key {
    Key { name, kind: "section", default: Default::Words("its defaults"), meaning }
}

/// The sections that others are checked against, as read.
pub(crate) struct Raw {
    pub ports: Vec<RawPort>,
    /// The overlay and the port that it uses.
    pub overlay: Option<(RawVxlan, Result<PortIndex, Reported>)>,
    pub snat: RawSnat,
    pub cluster: RawCluster,
    pub services: Result<RawServices, Reported>,
    pub load_balancer: Option<RawLoadBalancer>,
    pub l7: Option<RawL7>,
    pub source: Result<Source, Reported>,
    pub metrics: Result<RawMetrics, Reported>,
}

/// Reads the tree. A result counts only if the reader has no error
/// ([`Reader::finish`] sees to that).
pub(crate) fn read(reader: &mut Reader<'_>, node: &Node) -> Result<Config, Reported> {
    let field = Field { node, spot: Spot::whole(node.span) };
    let root = Fields::open(reader, field, &SECTION)?;

    let node_name = root.optional(reader, "node_name", node_name);
    let backend = Io::backend(&root);
    let read_port = |reader: &mut Reader<'_>, field| RawPort::read(reader, field, backend);
    let ports = root.required(reader, "ports", list(1..=PORTS_MAX, read_port));
    let ports_read = ports.is_ok();
    let ports = values(ports.ok());
    let workers = Workers::read(reader, &root);
    let sizes = workers.as_ref().ok().filter(|_| ports_read).map(|w| (w.count, ports.len()));
    let io = Io::read(reader, &root, sizes);
    let overlay = RawVxlan::read(reader, &root);
    let overlay = overlay.ok().flatten().map(|vxlan| {
        let port = vxlan.port(reader, &ports);
        (vxlan, port)
    });
    let routes = root.optional(reader, "routes", list(0..=ROUTES_MAX, RawRoute::read));
    let routes = values(routes.ok().flatten());
    let snat = RawSnat::read(reader, &root);
    let cluster = RawCluster::read(reader, &root).unwrap_or_default();
    let services = RawServices::read(reader, &root);
    let policy = Policy::read(reader, &root);
    let load_balancer = RawLoadBalancer::read(reader, &root).ok().flatten();
    let l7 = RawL7::read(reader, &root).ok().flatten();
    let source = Source::read(reader, &root);
    let own_node = crate::node::Node::read(reader, &root, &source);
    let has_api = matches!(source, Ok(Source::Kubernetes(_)));
    let announce = Announce::read(reader, &root, has_api || source.is_err());
    let flows = Flows::read(reader, &root);
    let fragments = Fragments::read(reader, &root);
    let neighbors = Neighbors::read(reader, &root);
    let icmp = Icmp::read(reader, &root);
    let metrics = RawMetrics::read(reader, &root);
    let admin = Admin::read(reader, &root);
    let logging = Logging::read(reader, &root);
    let observe = Observe::read(reader, &root);
    let drain = Drain::read(reader, &root);

    let raw = Raw { ports, overlay, snat, cluster, services, load_balancer, l7, source, metrics };
    check::check(reader, &raw);
    crate::routes::check_unique(reader, &routes);
    let routes: Result<Vec<_>, Reported> = routes
        .into_iter()
        .map(|route| route.build(reader, &raw.ports))
        .collect::<Vec<_>>()
        .into_iter()
        .collect();

    let Raw { ports, overlay, snat, cluster, services, load_balancer, l7, source, metrics } = raw;
    let overlay = match overlay {
        Some((vxlan, port)) => Some(vxlan.build(port?)?),
        None => None,
    };
    let overlay_port = overlay.as_ref().map(|overlay| overlay.vxlan.port);
    let several = ports.len() > 1;
    let build = |(index, port): (usize, RawPort)| {
        port.build(!(several && overlay_port == Some(PortIndex(index))))
    };
    Ok(Config {
        node_name: node_name?.map(|name| name.value),
        ports: ports.into_iter().enumerate().map(build).collect::<Result<_, _>>()?,
        workers: workers?,
        io: io?,
        overlay,
        routes: routes?,
        snat: snat.build()?,
        node: own_node?,
        cluster: cluster.build(),
        services: services?.build(),
        policy: policy?,
        announce: announce?,
        load_balancer: load_balancer.map(RawLoadBalancer::build),
        l7: l7.map(RawL7::build),
        source: source?,
        flows: flows?,
        fragments: fragments?,
        neighbors: neighbors?,
        icmp: icmp?,
        metrics: metrics?.build(),
        admin: admin?,
        logging: logging?,
        observe: observe?,
        drain: drain?,
    })
}

/// The elements of a list that was read.
fn values<T>(list: Option<Located<Vec<Located<T>>>>) -> Vec<T> {
    list.map(|list| list.value.into_iter().map(|item| item.value).collect()).unwrap_or_default()
}

/// Reads a node name: an RFC 1123 subdomain, as Kubernetes wants it.
fn node_name(reader: &mut Reader<'_>, field: Field<'_>) -> Result<String, Reported> {
    let expected = "a DNS name of at most 253 characters: `a-z`, `0-9`, `-` and `.`, each label \
                    beginning and ending with a letter or digit";
    let read =
        text(
            expected,
            |text| {
                if is_subdomain(text) { Ok(text.to_owned()) } else { Err(String::new()) }
            },
        );
    read(reader, field)
}
