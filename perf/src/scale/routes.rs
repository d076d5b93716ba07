use super::objects::of;
use anyhow::Result;
use serde_json::json;
use sluice_control::object::{Kind, Object};

/// Where requests come to, to be added to a configuration.
pub const L7: &str = "l7: {ingress: {addresses: [198.51.100.80, \"2001:db8:80::1\"]}}";

const NAMESPACE: &str = "shop";

/// What Ingresses need: their class, which is the default one, and two Services.
///
/// # Errors
/// When one cannot be decoded.
pub fn around() -> Result<Vec<Object>> {
    let mut objects = vec![of(
        Kind::IngressClass,
        &json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass",
            "metadata": {"name": "sluice", "annotations":
                         {"ingressclass.kubernetes.io/is-default-class": "true"}},
            "spec": {"controller": "sluice.dev/ingress"},
        }),
    )?];
    for (number, name) in SERVICES.iter().enumerate() {
        objects.push(of(
            Kind::Service,
            &json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"name": name, "namespace": NAMESPACE},
                "spec": {"clusterIP": format!("172.20.255.{number}"),
                         "ports": [{"port": 80, "targetPort": 8080}]},
            }),
        )?);
        objects.push(of(
            Kind::EndpointSlice,
            &json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {"name": format!("{name}-1"), "namespace": NAMESPACE,
                             "labels": {"kubernetes.io/service-name": name}},
                "addressType": "IPv4", "ports": [{"port": 8080}],
                "endpoints": [{"addresses": [format!("10.127.0.{}", 1 + number)],
                               "conditions": {"ready": true}}],
            }),
        )?);
    }
    Ok(objects)
}

/// Between which an Ingress changes.
const SERVICES: [&str; 2] = ["web", "next"];

/// The Ingress of one host; `is_other`: to the other Service.
///
/// # Errors
/// When it cannot be decoded.
pub fn ingress(number: u32, is_other: bool) -> Result<Object> {
    let service = SERVICES[usize::from(is_other)];
    of(
        Kind::Ingress,
        &json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": {"name": format!("host-{number:05}"), "namespace": NAMESPACE},
            "spec": {"rules": [{
                "host": format!("host-{number:05}.example"),
                "http": {"paths": [{
                    "path": "/", "pathType": "Prefix",
                    "backend": {"service": {"name": service, "port": {"number": 80}}},
                }]},
            }]},
        }),
    )
}
