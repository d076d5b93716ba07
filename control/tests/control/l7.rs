//! Listeners, routes and upstreams of tables as text.

use sluice_tables::l7::{Listener, ListenerId, RouteAction};
use sluice_tables::{Family, Tables, V4, V6};
use std::fmt::Write;
use std::net::SocketAddr;

/// Says everything that there is for requests.
pub fn say(tables: &Tables, said: &mut String) {
    let mut at = at::<V4>(tables);
    at.append(&mut self::at::<V6>(tables));
    at.sort();
    for (addr, id) in at {
        let name = tables.l7.listener(id).map_or("nobody", |listener| &listener.name);
        writeln!(said, "listen {addr}: {name}").unwrap();
    }
    for listener in tables.l7.listeners.iter().flatten() {
        say_certificates(listener, said);
    }
    let Some(listener) = tables.l7.listener(ListenerId(0)) else { return };
    for route in listener.routes.routes.iter().flatten() {
        let to = match route.action {
            RouteAction::Forward(id) => tables.l7.upstream(id).unwrap().name.to_string(),
            RouteAction::Unsupported => "nobody".to_owned(),
        };
        write!(said, "route {} {}: {to}", route.object, route.place).unwrap();
        if route.https_redirect {
            said.push_str(", sent to HTTPS");
        }
        if let Some(bytes) = route.body_bytes_max.filter(|bytes| *bytes != 1 << 20) {
            write!(said, ", at most {bytes} bytes").unwrap();
        }
        if let Some(auth) = &route.client_auth {
            let (mode, roots) = (auth.mode, auth.roots.len());
            write!(said, ", {mode:?} client certificates of {roots}").unwrap();
        }
        if route.rewrite.is_some() {
            said.push_str(", another path");
        }
        said.push('\n');
    }
    for upstream in tables.l7.upstreams.iter().flatten() {
        write!(said, "upstream {} {:?}:", upstream.name, upstream.protocol).unwrap();
        upstream.endpoints.iter().for_each(|of| write!(said, " {}", of.addr).unwrap());
        said.push('\n');
    }
}

fn at<F: Family>(tables: &Tables) -> Vec<(SocketAddr, ListenerId)> {
    let listeners = F::of(tables).listeners.iter();
    listeners.map(|((addr, port), id)| (SocketAddr::new(F::to_ip(*addr), *port), *id)).collect()
}

fn say_certificates(listener: &Listener, said: &mut String) {
    let Some(of) = &listener.certificates else { return };
    let exact = of.exact.iter().map(|(name, of)| (name.to_string(), of));
    let wildcards = of.wildcards.iter().map(|(suffix, of)| (format!("*{suffix}"), of));
    let default = of.default.iter().map(|of| ("all others".to_owned(), of));
    let mut all: Vec<_> = exact.chain(wildcards).chain(default).collect();
    all.sort_by_key(|(name, _)| name.clone());
    for (name, of) in all {
        writeln!(said, "certificate of {name}: {}", of.name).unwrap();
    }
    let of = &of.client_auths;
    let exact = of.exact.iter().map(|(name, of)| (name.to_string(), of.as_ref()));
    let wildcards = of.wildcards.iter().map(|(suffix, of)| (format!("*{suffix}"), of.as_ref()));
    let default = of.default.iter().map(|of| ("all others".to_owned(), Some(of)));
    let mut all: Vec<_> = exact.chain(wildcards).chain(default).collect();
    all.sort_by_key(|(name, _)| name.clone());
    for (name, of) in all {
        let asked = of.map_or("nothing".to_owned(), |of| {
            format!("{:?}, {} trusted, depth {}", of.mode, of.roots.len(), of.depth_max)
        });
        writeln!(said, "clients of {name} show: {asked}").unwrap();
    }
}
