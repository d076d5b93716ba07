//! `l7`: requests that end at the gateway and go on to pods.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::read::{
    Field, Fields, Located, Reader, Reported, Spot, boolean, choice, host_address, integer,
    is_label, is_subdomain, list, pool_prefix, text,
};
use crate::schema::{Default, Key, Section};

mod access_log;

mod identity;

mod limits;

pub use access_log::{AccessLog, AccessLogFormat};
pub use identity::Identity;
pub use limits::L7Limits;

pub(crate) use access_log::SECTION as ACCESS_LOG;
pub(crate) use identity::SECTION as IDENTITY;
pub(crate) use limits::SECTION as LIMITS;

/// Requests that end at the gateway and go on to pods.
#[derive(Clone, Debug, PartialEq)]
pub struct L7 {
    /// Who has the connections.
    pub io: L7Io,
    /// Where Ingresses are served; `None`: they are not looked at.
    pub ingress: Option<Ingress>,
    /// Proxies that are believed about the clients for whom they speak.
    pub trusted_proxies: Vec<IpNet>,
    /// Connections of those proxies begin with a PROXY protocol header.
    pub proxy_protocol: bool,
    /// What network policies know the gateway's own connections as.
    pub identity: Identity,
    /// How much of everything there may be.
    pub limits: L7Limits,
    /// One line a request; `None`: none is written.
    pub access_log: Option<AccessLog>,
}

/// Who has the connections of clients and to backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum L7Io {
    /// Workers, by a TCP of Sluice's own.
    Worker,
    /// The kernel, by its sockets.
    Kernel,
}

/// Where Ingresses are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingress {
    /// The addresses, at most one of each family.
    pub addresses: Vec<IpAddr>,
    /// The TCP port of HTTP.
    pub http_port: u16,
    /// The TCP port of HTTPS.
    pub https_port: u16,
    /// Namespace and name of the Secret whose certificate hosts have that no Ingress gives one.
    pub default_certificate: Option<(String, String)>,
}

/// Most prefixes of proxies.
const PROXIES_MAX: usize = 256;

pub(crate) static SECTION: Section = Section {
    path: "l7",
    keys: &[
        Key {
            name: "io",
            kind: "`worker` or `kernel`",
            default: Default::Value("worker"),
            meaning: "who has the connections: the workers, by a TCP of Sluice's own, or the \
                      kernel, by its sockets; the addresses are the kernel's then",
        },
        Key {
            name: "ingress",
            kind: "section",
            default: Default::Words("Ingresses are not looked at"),
            meaning: "where Ingresses are served",
        },
        Key {
            name: "trusted_proxies",
            kind: "list of at most 256 prefixes",
            default: Default::Words("none"),
            meaning: "proxies that are believed about their clients: by `X-Forwarded-*`, where \
                      that is not given by `Forwarded`, or by the PROXY protocol; of others these \
                      headers are replaced",
        },
        Key {
            name: "proxy_protocol",
            kind: "boolean",
            default: Default::Value("false"),
            meaning: "connections of `trusted_proxies` begin with a PROXY protocol header, \
                      version 1 or 2; those of others do not",
        },
        Key {
            name: "identity",
            kind: "section",
            default: Default::Words("its defaults"),
            meaning: "what network policies know the gateway's own connections to pods as",
        },
        Key {
            name: "limits",
            kind: "section",
            default: Default::Words("its defaults"),
            meaning: "how much of everything there may be",
        },
        Key {
            name: "access_log",
            kind: "section",
            default: Default::Words("none"),
            meaning: "one line a request",
        },
    ],
};

pub(crate) static INGRESS: Section = Section {
    path: "l7.ingress",
    keys: &[
        Key {
            name: "addresses",
            kind: "list of 1 or 2 addresses, at most one of each family",
            default: Default::Required,
            meaning: "where Ingresses are served, as VIPs that nothing else uses; with `io: \
                      kernel` the kernel's own; `status.loadBalancer` of Ingresses tells them",
        },
        Key {
            name: "http_port",
            kind: "integer, 1 to 65535",
            default: Default::Value("80"),
            meaning: "TCP port of HTTP",
        },
        Key {
            name: "https_port",
            kind: "integer, 1 to 65535",
            default: Default::Value("443"),
            meaning: "TCP port of HTTPS",
        },
        Key {
            name: "default_certificate",
            kind: "Secret, `namespace/name`",
            default: Default::Words("none: connections for other hosts are refused"),
            meaning: "the certificate of hosts that no Ingress gives one",
        },
    ],
};

/// `l7` as read, its addresses not yet checked against others.
pub(crate) struct RawL7 {
    pub io: L7Io,
    pub ingress: Option<RawIngress>,
    trusted_proxies: Vec<IpNet>,
    proxy_protocol: bool,
    identity: Identity,
    limits: L7Limits,
    access_log: Option<AccessLog>,
}

/// `l7.ingress` as read.
pub(crate) struct RawIngress {
    pub addresses: Vec<Located<IpAddr>>,
    http_port: u16,
    https_port: u16,
    default_certificate: Option<(String, String)>,
}

impl RawL7 {
    /// Reads `l7`.
    pub(crate) fn read(
        reader: &mut Reader<'_>,
        root: &Fields<'_>,
    ) -> Result<Option<Self>, Reported> {
        let Some(field) = root.get("l7") else { return Ok(None) };
        let fields = Fields::open(reader, field, &SECTION)?;
        let io = choice(&[("worker", L7Io::Worker), ("kernel", L7Io::Kernel)]);
        let io = fields.defaulted(reader, "io", io);
        let ingress = fields.get("ingress").map(|field| RawIngress::read(reader, field));
        let proxies = list(0..=PROXIES_MAX, pool_prefix);
        let proxies = fields.optional(reader, "trusted_proxies", proxies);
        let proxy_protocol = fields.defaulted(reader, "proxy_protocol", boolean);
        let identity = Identity::read(reader, &fields);
        let limits = L7Limits::read(reader, &fields);
        let access_log = fields.get("access_log").map(|field| AccessLog::read(reader, field));
        let proxies: Vec<IpNet> = proxies?
            .map(|list| list.value.into_iter().map(|net| net.value).collect())
            .unwrap_or_default();
        let proxy_protocol = proxy_protocol?;
        if proxy_protocol.value && proxies.is_empty() {
            let message = "nobody speaks it: `l7.trusted_proxies` is empty";
            reader.error(&proxy_protocol.spot, message, "`trusted_proxies`, or `false`");
        }
        Ok(Some(Self {
            io: io?.value,
            ingress: ingress.transpose()?,
            trusted_proxies: proxies,
            proxy_protocol: proxy_protocol.value,
            identity: identity?,
            limits: limits?,
            access_log: access_log.transpose()?,
        }))
    }

    /// Every address, and where it stands.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = &Located<IpAddr>> {
        self.ingress.iter().flat_map(|ingress| &ingress.addresses)
    }

    /// The addresses that are Sluice's, not the kernel's.
    pub(crate) fn vips(&self) -> impl Iterator<Item = (IpAddr, &Spot)> {
        let are_vips = self.io == L7Io::Worker;
        self.addresses().filter(move |_| are_vips).map(|address| (address.value, &address.spot))
    }

    /// The section as it will be used.
    pub(crate) fn build(self) -> L7 {
        L7 {
            io: self.io,
            ingress: self.ingress.map(|ingress| Ingress {
                addresses: ingress.addresses.into_iter().map(|address| address.value).collect(),
                http_port: ingress.http_port,
                https_port: ingress.https_port,
                default_certificate: ingress.default_certificate,
            }),
            trusted_proxies: self.trusted_proxies,
            proxy_protocol: self.proxy_protocol,
            identity: self.identity,
            limits: self.limits,
            access_log: self.access_log,
        }
    }
}

impl RawIngress {
    fn read(reader: &mut Reader<'_>, field: Field<'_>) -> Result<Self, Reported> {
        let fields = Fields::open(reader, field, &INGRESS)?;
        let addresses = fields.required(reader, "addresses", list(1..=2, host_address));
        let http_port = fields.defaulted(reader, "http_port", integer(1..=65_535));
        let https_port = fields.defaulted(reader, "https_port", integer(1..=65_535));
        let certificate = fields.optional(reader, "default_certificate", secret);
        let addresses = addresses?.value;
        if let [first, second] = &addresses[..]
            && first.value.is_ipv4() == second.value.is_ipv4()
        {
            let message = format!("{} has the family of {}", second.value, first.spot.refer());
            reader.error(&second.spot, message, "at most one address of each family");
        }
        let (http_port, https_port) = (http_port?, https_port?);
        if http_port.value == https_port.value {
            let message = format!("{} is the port of HTTP", https_port.value);
            reader.error(&https_port.spot, message, "two ports");
        }
        Ok(Self {
            addresses,
            http_port: http_port.value,
            https_port: https_port.value,
            default_certificate: certificate?.map(|name| name.value),
        })
    }
}

/// Reads the namespace and the name of a Secret.
fn secret(reader: &mut Reader<'_>, field: Field<'_>) -> Result<(String, String), Reported> {
    let read = text("a Secret, such as kube-system/wildcard", |text| match text.split_once('/') {
        Some((namespace, name))
            if namespace.len() <= 63 && is_label(namespace) && is_subdomain(name) =>
        {
            Ok((namespace.to_owned(), name.to_owned()))
        }
        _ => Err(String::new()),
    });
    read(reader, field)
}

#[cfg(test)]
mod tests;
