use crate::gateway::SLUICE;
use crate::lab::{ControlPlane, succeeded};
use crate::stage::{kubernetes, scripts_cluster};
use std::process::Command;

/// Helm, promtool and the API server take chart, manifests, alerts and dashboard,
/// and Pod Security lets the pods in where the guide says so, and only there.
#[test]
fn chart_and_manifests_are_taken_by_a_real_api_server() {
    for tool in ["helm", "promtool"] {
        scripts_cluster("build", tool);
    }
    let cluster = ControlPlane::up(&[]);
    let mut validate = Command::new(kubernetes().join("validate"));
    validate.arg("--server").env("KUBECONFIG", cluster.kubeconfig());
    succeeded(&validate.output().expect("validate runs"), "config/kubernetes/validate");
}

/// Each configuration that the chart makes of the examples is a valid one.
#[test]
fn the_configurations_of_the_examples_are_valid() {
    scripts_cluster("build", "helm");
    let helm = scripts_cluster("path", "helm");
    let values = std::fs::read_dir(kubernetes().join("values")).unwrap();
    let mut configurations = 0;
    for values in values {
        let values = values.unwrap().path();
        let mut template = Command::new(&helm);
        template.args(["template", "sluice", "chart", "--show-only", "templates/configmap.yaml"]);
        template.arg("--values").arg(&values).current_dir(kubernetes());
        let text = succeeded(&template.output().expect("helm runs"), &values.display().to_string());
        let map: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        for (file, text) in map["data"].as_object().unwrap() {
            let name = format!("{}: {file}", values.display());
            let loaded = sluice_config::parse(&name, text.as_str().unwrap());
            let loaded = loaded.unwrap_or_else(|errors| panic!("{errors}"));
            assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
            configurations += 1;
        }
    }
    assert_eq!(configurations, 5);
}

/// The image's root holds all that the program loads: it runs there.
#[test]
fn the_program_runs_in_the_image_s_root() {
    let folder = tempfile::tempdir().unwrap();
    let mut rootfs = Command::new(kubernetes().join("rootfs"));
    rootfs.arg(SLUICE).arg(folder.path().join("root"));
    let said = succeeded(&rootfs.output().expect("rootfs runs"), "config/kubernetes/rootfs");
    assert_eq!(said, format!("sluice {}\n", env!("CARGO_PKG_VERSION")));
    let size = std::fs::metadata(folder.path().join("root/usr/bin/sluice")).unwrap().len();
    println!("the program without debug information: {} MiB", size >> 20);
}

/// What the values ask for comes with the rights that it needs; what cannot work
/// is refused.
#[test]
fn the_chart_follows_the_configurations() {
    scripts_cluster("build", "helm");
    let helm = scripts_cluster("path", "helm");
    let template = |set: &str| {
        let mut template = Command::new(&helm);
        template.args(["template", "sluice", "chart", "--namespace", "sluice"]);
        template.args(["--values", "values/flannel.yaml", "--set", set]);
        template.current_dir(kubernetes()).output().expect("helm runs")
    };
    let with = |set: &str, right: &str| {
        let text = succeeded(&template(set), set);
        text.lines().any(|line| line.trim() == format!("resources: [{right}]"))
    };
    assert!(!with("apiServer=https://192.0.2.9", "nodes/status"));
    assert!(with("config.node.register=true", "nodes/status"));
    assert!(!with("config.node.register=true", "services/status"));
    assert!(with("config.load_balancer.pools[0].name=p", "services/status"));
    for (set, says) in [
        ("config.announce.leases.namespace=other", "announce.leases.namespace of gateway-1"),
        ("config.drain.wait_s=30", "terminationGracePeriodSeconds: is 30"),
        ("config.node_name=a", "config.node_name: is set by the chart"),
        ("apiServer=", "apiServer: is missing"),
    ] {
        let refused = template(set);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains(says), "{set}: {said}");
    }
}
