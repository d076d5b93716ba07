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
