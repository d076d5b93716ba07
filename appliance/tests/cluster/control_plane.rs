use crate::lab::{ControlPlane, eventually, succeeded};

/// A watch of Services from a revision, for a second.
fn watch_from(cluster: &ControlPlane, revision: &str) -> String {
    let path = format!("/api/v1/services?watch=1&timeoutSeconds=1&resourceVersion={revision}");
    let output = cluster.try_kubectl(&["get", "--raw", &path]);
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// It keeps what it was told over a kill of its API server, on the same port;
/// and what etcd has forgotten is gone.
#[test]
fn an_api_server_that_was_killed_comes_back() {
    let cluster = ControlPlane::up(&[]);
    let revision = cluster.kubectl(&[
        "get",
        "service",
        "kubernetes",
        "-o",
        "jsonpath={.metadata.resourceVersion}",
    ]);
    cluster.kubectl(&["create", "service", "clusterip", "kept", "--tcp=80"]);
    assert!(watch_from(&cluster, &revision).contains("kept"));

    cluster.stop_apiserver();
    assert!(!cluster.try_kubectl(&["get", "services"]).status.success());

    cluster.start_apiserver();
    cluster.compact();
    assert!(cluster.kubectl(&["get", "services"]).contains("kept"));
    let answer = watch_from(&cluster, &revision);
    assert!(answer.contains("too old resource version"), "{answer}");
}

/// A service account may what it was given, and no more.
#[test]
fn a_service_account_has_its_own_rights() {
    let cluster = ControlPlane::up(&[]);
    cluster.apply(
        "
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader, namespace: kube-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader}
rules: [{apiGroups: [''], resources: [services], verbs: [list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader}
subjects: [{kind: ServiceAccount, name: reader, namespace: kube-system}]
",
    );
    let file = cluster.folder.join("reader.kubeconfig");
    cluster.kubeconfig_of("kube-system", "reader", &file);
    // The last flag of its kind is the one that counts.
    let flag = format!("--kubeconfig={}", file.display());
    let get = |what: &str| cluster.try_kubectl(&[&flag, "get", what]);
    // Rights take effect when the API server has seen them.
    let listed =
        eventually("the right to list", || Some(get("services")).filter(|o| o.status.success()));
    assert!(succeeded(&listed, "services").contains("kubernetes"));
    let refused = String::from_utf8(get("nodes").stderr).unwrap();
    assert!(refused.contains("forbidden") && refused.contains("kube-system:reader"), "{refused}");
}
