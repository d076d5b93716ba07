//! The README's reference lists every key of the schema, and the defaults it gives are true.

use std::fs;
use std::path::PathBuf;

use sluice_config::schema::{self, Default};
use sluice_config::{Config, parse};

const BEGIN: &str = "<!-- reference: begin -->\n";
const END: &str = "<!-- reference: end -->";

/// Set to write the tables into the README instead of comparing them.
const UPDATE: &str = "SLUICE_UPDATE_GOLDEN";

fn readme() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("README.md")
}

#[test]
fn the_readme_has_the_tables_of_the_schema() {
    let text = fs::read_to_string(readme()).expect("README.md");
    let (before, rest) = text.split_once(BEGIN).expect("begin marker");
    let (tables, after) = rest.split_once(END).expect("end marker");
    let expected = schema::markdown();
    if std::env::var_os(UPDATE).is_some() {
        fs::write(readme(), format!("{before}{BEGIN}{expected}{END}{after}")).expect("write");
        return;
    }
    assert!(
        tables == expected,
        "config/README.md does not show the schema: run this test with {UPDATE}=1"
    );
}

#[test]
fn every_key_is_in_the_readme_and_no_key_is_listed_twice() {
    let text = fs::read_to_string(readme()).expect("README.md");
    for section in schema::SECTIONS {
        for (index, key) in section.keys.iter().enumerate() {
            assert!(text.contains(&format!("| `{}` |", key.name)), "{}", key.name);
            assert!(!key.meaning.is_empty() && !key.kind.is_empty(), "{}", key.name);
            let earlier = &section.keys[..index];
            assert!(earlier.iter().all(|other| other.name != key.name), "{}", key.name);
        }
    }
}

/// A file in which `line` stands in `section`, beside the least that is needed.
fn with(section: &str, line: &str) -> String {
    let mut text = String::new();
    let port = if section == "ports[]" { format!(", {line}") } else { String::new() };
    let device = if section == "io.dpdk" { "net_null0" } else { "b" };
    text.push_str(&format!(
        "ports: [{{name: a, device: {device}, addresses: [192.0.2.1/24]{port}}}]\n"
    ));
    text.push_str(&match section {
        "source.kubernetes.snapshot" => {
            format!("source: {{kubernetes: {{kubeconfig: k, snapshot: {{path: s, {line}}}}}}}\n")
        }
        _ => "source: {manifests: {path: m}}\n".to_owned(),
    });
    let vxlan = if section == "overlay.vxlan" { format!(", {line}") } else { String::new() };
    text.push_str(&format!(
        "overlay: {{vxlan: {{vni: 1, port: a, addresses: [192.0.2.1]{vxlan}}}}}\n"
    ));
    let snat = match section {
        "snat" => format!(", {line}"),
        "snat.ports" => format!(", ports: {{{line}}}"),
        _ => String::new(),
    };
    text.push_str(&format!("snat: {{addresses: [10.0.0.0/28]{snat}}}\n"));
    if matches!(section, "ports[]" | "overlay.vxlan" | "snat" | "snat.ports" | "")
        || section.starts_with("source.")
    {
        return text;
    }
    if section.starts_with("load_balancer") {
        let (own, pool) = if section == "load_balancer" { (line, "") } else { ("", line) };
        let pool = format!("{{name: p, addresses: [198.51.100.0/24], {pool}}}");
        text.push_str(&format!("load_balancer: {{pools: [{pool}], {own}}}\n"));
        return text;
    }
    if section == "io.dpdk" {
        text.push_str(&format!("io: {{backend: dpdk, dpdk: {{{line}}}}}\n"));
        return text;
    }
    if section == "l7.ingress" {
        text.push_str(&format!("l7: {{ingress: {{addresses: [203.0.113.80], {line}}}}}\n"));
        return text;
    }
    if section == "l7.access_log" {
        text.push_str(&format!("l7: {{access_log: {{path: l, {line}}}}}\n"));
        return text;
    }
    if section == "observe.flow_log" {
        text.push_str(&format!("observe: {{flow_log: {{path: l, {line}}}}}\n"));
        return text;
    }
    let mut parts = section.rsplit('.');
    let mut value = format!("{{{line}}}");
    let last = parts.next_back().expect("a section has a name");
    for part in parts {
        value = format!("{{{part}: {value}}}");
    }
    text.push_str(&format!("{last}: {value}\n"));
    text
}

fn config(text: &str) -> Config {
    match parse("default.yaml", text) {
        Ok(loaded) => loaded.config,
        Err(errors) => panic!("{text}\n{errors}"),
    }
}

#[test]
fn a_default_written_out_changes_nothing() {
    let mut checked = 0;
    for section in schema::SECTIONS {
        let base = match section.path {
            path if path.starts_with("source.")
                || path.starts_with("load_balancer")
                || path.starts_with("l7")
                || path.starts_with("io.")
                || path.starts_with("observe.") =>
            {
                config(&with(path, ""))
            }
            _ => config(&with("", "")),
        };
        for key in section.keys {
            if let Default::Value(text) = key.default {
                let written = with(section.path, &format!("{}: {text}", key.name));
                assert_eq!(config(&written), base, "{}.{}", section.path, key.name);
                checked += 1;
            }
        }
    }
    assert!(checked > 30, "only {checked} defaults");
}
