use super::{devices, warn};
use crate::gateway::Gateway;
use sluice_config::{Backend, Config, L7, L7Io};
use sluice_control::{PortFacts, Request};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

/// Reads the configuration again and hands it to control. What cannot change
/// while the gateway runs is refused, with everything else of the file; the
/// old configuration then goes on.
pub(super) fn reload(path: &Path, running: &Config, gateway: &Gateway) {
    let result = try_reload(path, running, gateway);
    match &result {
        Ok(()) => tracing::info!(config = %path.display(), "the configuration is read again"),
        Err(error) => tracing::error!(
            config = %path.display(),
            "the configuration is not taken, the old one goes on: {error:#}"
        ),
    }
    gateway.reloads.note(result);
}

fn try_reload(path: &Path, running: &Config, gateway: &Gateway) -> anyhow::Result<()> {
    let loaded = sluice_config::load(path)?;
    warn(&loaded);
    let config = super::own_node::named(loaded.config);
    let fixed = fixed_changes(running, &config);
    anyhow::ensure!(fixed.is_empty(), "these need a restart of Sluice: {}", fixed.join(", "));
    let facts: Vec<PortFacts> = gateway
        .ports
        .iter()
        .zip(&config.ports)
        .map(|(state, port)| PortFacts { mac: state.mac, mtu: port.mtu.unwrap_or(state.mtu) })
        .collect();
    if let Some(overlay) = &config.overlay {
        let index = overlay.vxlan.port.0;
        let has = match config.io.backend {
            Backend::AfXdp => sluice_io::Device::inspect(&config.ports[index].device)?.mtu,
            Backend::Dpdk => u32::from(gateway.ports[index].mtu),
        };
        devices::mtu(&config, index, has)
            .map_err(|misfit| anyhow::anyhow!("{}", misfit.at(&loaded.places)))?;
    }
    let config = Box::new(config);
    gateway.control.ask(|reply| Request::Reload { config, facts, reply })??;
    Ok(())
}

/// The keys that differ and that only a restart can change.
fn fixed_changes(old: &Config, new: &Config) -> Vec<&'static str> {
    let endpoint = |config: &Config| {
        let vxlan = config.overlay.as_ref().map(|overlay| &overlay.vxlan);
        vxlan.map(|vxlan| (vxlan.port, vxlan.addresses, vxlan.udp_port))
    };
    let health_checks = |config: &Config| config.services.health_check_addresses.clone();
    let l7_same = |same: fn(&L7, &L7) -> bool| match (&old.l7, &new.l7) {
        (Some(old), Some(new)) => same(old, new),
        _ => true,
    };
    let checks = [
        ("node_name", old.node_name == new.node_name),
        // Objects are read by it.
        ("overlay.vxlan.mode", old.overlay_mode() == new.overlay_mode()),
        ("node", old.node == new.node),
        ("ports", old.ports == new.ports),
        ("workers", old.workers == new.workers),
        ("io", old.io == new.io),
        // The port's XDP program, or the port, knows these.
        ("overlay.vxlan.port, .addresses and .udp_port", endpoint(old) == endpoint(new)),
        ("services.health_check_addresses", health_checks(old) == health_checks(new)),
        ("announce", old.announce == new.announce),
        // Whether there is one at all is control's to say.
        ("l7.limits", l7_same(|old, new| old.limits == new.limits)),
        ("l7.access_log", l7_same(|old, new| old.access_log == new.access_log)),
        // Where the kernel listens is decided when the thread of requests starts.
        (
            "l7.ingress.addresses, .http_port and .https_port with `l7.io: kernel`",
            l7_same(|old, new| kernel_listens(old) == kernel_listens(new)),
        ),
        ("source", old.source == new.source),
        ("flows", old.flows == new.flows),
        ("fragments", old.fragments == new.fragments),
        ("neighbors", old.neighbors == new.neighbors),
        ("icmp", old.icmp == new.icmp),
        ("metrics", old.metrics == new.metrics),
        ("admin", old.admin == new.admin),
        ("logging", old.logging == new.logging),
        ("observe", old.observe == new.observe),
        ("drain", old.drain == new.drain),
    ];
    checks.into_iter().filter(|(_, same)| !same).map(|(key, _)| key).collect()
}

/// Where sockets of the kernel listen for requests; `None`: nowhere, or control says that a
/// restart is needed.
fn kernel_listens(l7: &L7) -> Option<(BTreeSet<IpAddr>, u16, u16)> {
    let ingress = l7.ingress.as_ref().filter(|_| l7.io == L7Io::Kernel)?;
    let addresses = ingress.addresses.iter().copied().collect();
    Some((addresses, ingress.http_port, ingress.https_port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::config;

    #[test]
    fn routes_and_tunnels_settings_change_while_it_runs() {
        let old = config("overlay: {vxlan: {vni: 1, port: a, addresses: [192.0.2.1]}}");
        let new = config(
            "overlay: {vxlan: {vni: 2, port: a, addresses: [192.0.2.1]}}
routes: [{to: 0.0.0.0/0, via: 192.0.2.9}]
services: {external_ips: [198.51.100.0/24], zone: a, proxy_name: b, node_port_addresses: []}",
        );
        assert!(fixed_changes(&old, &new).is_empty());
    }

    #[test]
    fn what_needs_a_restart_is_named() {
        let new = config(
            "workers: {count: 2}\nio: {copy: copy}\nflows: {max: 2048}
services: {health_check_addresses: []}",
        );
        let fixed = ["workers", "io", "services.health_check_addresses", "flows"];
        assert_eq!(fixed_changes(&config(""), &new), fixed);
        let l7 = |more: &str| config(&format!("l7: {{io: worker, {more}}}"));
        let new = l7("limits: {headers: 50}, access_log: {path: /var/log/access.json}");
        assert_eq!(fixed_changes(&l7(""), &new), ["l7.limits", "l7.access_log"]);
        assert!(fixed_changes(&l7(""), &l7("trusted_proxies: [192.0.2.0/24]")).is_empty());
        let ingress =
            |io: &str, more: &str| config(&format!("l7: {{io: {io}, ingress: {{{more}}}}}"));
        let two = "addresses: [192.0.2.8, \"2001:db8::8\"]";
        let (other, port) = ("addresses: [192.0.2.9]", &format!("{two}, https_port: 8443"));
        for new in [other, port] {
            let fixed = fixed_changes(&ingress("kernel", two), &ingress("kernel", new));
            assert_eq!(fixed.len(), 1, "{new}");
            assert!(fixed[0].contains("l7.ingress.addresses"), "{fixed:?}");
            assert!(fixed_changes(&ingress("worker", two), &ingress("worker", new)).is_empty());
        }
        let turned = "addresses: [\"2001:db8::8\", 192.0.2.8]";
        let same = [two, turned, &format!("{two}, default_certificate: a/b")];
        for new in same {
            assert!(fixed_changes(&ingress("kernel", two), &ingress("kernel", new)).is_empty());
        }
        let overlay = config("overlay: {vxlan: {vni: 1, port: a, addresses: [192.0.2.1]}}");
        assert_eq!(fixed_changes(&config(""), &overlay).len(), 1);
    }
}
