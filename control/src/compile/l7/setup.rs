//! What the configuration says of Ingresses.

use crate::compile::local::prefix;
use crate::object::Name;
use sluice_config::{Config, L7Io};
use sluice_tables::l7::TrustedSources;
use sluice_tables::{SourceRanges, V4, V6};
use std::net::IpAddr;
use std::sync::Arc;

/// What the configuration says of Ingresses.
#[derive(Debug)]
pub(in crate::compile) struct Setup {
    /// Where they are served.
    pub(in crate::compile) addresses: Vec<IpAddr>,
    /// The addresses are Sluice's own, not the kernel's.
    pub(in crate::compile) are_vips: bool,
    pub(super) http_port: u16,
    pub(super) https_port: u16,
    /// The Secret of hosts that no Ingress gives a certificate.
    pub(super) default_certificate: Option<Name>,
    pub(super) trusted: Arc<TrustedSources>,
}

impl Setup {
    /// `None`: they are not served.
    pub(in crate::compile) fn of(config: &Config) -> Option<Arc<Self>> {
        let l7 = config.l7.as_ref()?;
        let ingress = l7.ingress.as_ref()?;
        let trusted = TrustedSources {
            v4: SourceRanges::new(l7.trusted_proxies.iter().filter_map(prefix::<V4>)),
            v6: SourceRanges::new(l7.trusted_proxies.iter().filter_map(prefix::<V6>)),
            speak_proxy_protocol: l7.proxy_protocol,
        };
        let default = ingress.default_certificate.as_ref();
        Some(Arc::new(Setup {
            addresses: ingress.addresses.clone(),
            are_vips: l7.io == L7Io::Worker,
            http_port: ingress.http_port,
            https_port: ingress.https_port,
            default_certificate: default.map(|(namespace, name)| Name::new(namespace, name)),
            trusted: Arc::new(trusted),
        }))
    }

    /// Whether it is an address of Sluice's own where Ingresses are served.
    pub(in crate::compile) fn has_vip(&self, addr: IpAddr) -> bool {
        self.are_vips && self.addresses.contains(&addr)
    }
}
