//! What is said of certificates as time goes by.

use crate::support::{Flows, Harness, SetClock, config_with};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use sluice_control::Request;
use std::sync::Arc;
use std::sync::atomic::Ordering;

// 2030 and 2040.
const BEGIN: u64 = 1_893_456_000;
const END: u64 = 2_208_988_800;

#[test]
fn a_certificate_that_begins_or_ends_is_told_though_nothing_else_changes() {
    let folder = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["a.example".to_owned()]).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(2030, 1, 1), date_time_ymd(2040, 1, 1));
    let secret = serde_json::json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"namespace": "edge", "name": "default"},
        "stringData": {"tls.crt": params.self_signed(&key).unwrap().pem(),
                       "tls.key": key.serialize_pem()},
    });
    std::fs::write(folder.path().join("secret.json.yaml"), secret.to_string()).unwrap();
    let config = config_with(
        "l7: {ingress: {addresses: [203.0.113.80], default_certificate: edge/default}}",
    );
    let clock = Arc::new(SetClock::default());
    clock.unix_s.store(BEGIN - 1, Ordering::Relaxed);
    let harness = Harness::with_clock(folder.path(), config, Flows::default(), clock.clone());
    let says = |harness: &Harness, text: &str| {
        harness.diagnostics().iter().any(|of| of.message.contains(text))
    };
    let is_sound = |harness: &Harness| !says(harness, "its certificate ");
    harness.wait("too early", |harness| says(harness, "is not valid yet"));
    clock.unix_s.store(BEGIN, Ordering::Relaxed);
    harness.wait("valid", is_sound);
    clock.unix_s.store(END + 1, Ordering::Relaxed);
    harness.wait("expired", |harness| says(harness, "has expired"));
    let metrics = harness.ask(|reply| Request::Metrics { reply });
    assert_eq!(metrics.certificates, [("edge/default".to_owned(), END as i64)]);
    assert_eq!(metrics.diagnostics["error"], 1);
    clock.unix_s.store(END, Ordering::Relaxed);
    harness.wait("valid again", is_sound);
}
