//! A folder that changes while control runs.

use crate::support::Harness;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;

fn service(name: &str, vip: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n\
         spec: {{clusterIP: {vip}, ports: [{{port: 80}}]}}\n"
    )
}

fn slice(service: &str, addresses: &[&str]) -> String {
    let endpoints: Vec<_> =
        addresses.iter().map(|addr| format!("{{addresses: [{addr}]}}")).collect();
    format!(
        "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{name: {service}, labels: {{kubernetes.io/service-name: {service}}}}}\n\
         addressType: IPv4\nports: [{{port: 80}}]\nendpoints: [{}]\n",
        endpoints.join(", ")
    )
}

fn names(harness: &Harness) -> Vec<String> {
    harness.services().into_iter().map(|service| service.name).collect()
}

fn addresses(harness: &Harness) -> Vec<String> {
    harness.backends().into_iter().map(|backend| backend.address).collect()
}

/// Writes as editors do: beside, then over.
fn replace(path: &Path, text: &str) {
    let beside = path.with_file_name(".beside.tmp");
    fs::write(&beside, text).unwrap();
    fs::rename(&beside, path).unwrap();
}

#[test]
fn files_are_added_changed_broken_mended_moved_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("a.yaml"), service("a", "10.96.0.1") + &slice("a", &["10.244.1.1"])).unwrap();
    let harness = Harness::start(folder.path());
    harness.wait("the first file", |h| addresses(h) == ["10.244.1.1"]);

    fs::create_dir(path("more")).unwrap();
    fs::write(path("more/b.yml"), service("b", "10.96.0.2")).unwrap();
    harness.wait("a file in a new folder", |h| names(h) == ["a", "b"]);

    let two = slice("a", &["10.244.1.1", "10.244.1.2"]);
    replace(&path("a.yaml"), &(service("a", "10.96.0.1") + &two));
    harness.wait("a changed file", |h| addresses(h) == ["10.244.1.1", "10.244.1.2"]);

    let id = harness.services()[0].ports[0].id;
    fs::write(path("a.yaml"), service("a", "10.96.0.1") + "---\nkind: [\n").unwrap();
    harness.wait("a broken file", |h| h.diagnostics().len() == 1);
    assert_eq!(addresses(&harness), ["10.244.1.1", "10.244.1.2"], "the last good version");
    let said = harness.diagnostics()[0].to_string();
    assert!(said.starts_with("a.yaml:7:7: error"), "{said}");

    fs::write(path("a.yaml"), service("a", "10.96.0.1") + &slice("a", &["10.244.1.3"])).unwrap();
    harness.wait("a mended file", |h| addresses(h) == ["10.244.1.3"] && h.diagnostics().is_empty());

    fs::rename(path("a.yaml"), path("z.yaml")).unwrap();
    fs::remove_file(path("more/b.yml")).unwrap();
    harness.wait("a removed file", |h| names(h) == ["a"]);
    assert_eq!(addresses(&harness), ["10.244.1.3"]);
    assert_eq!(harness.services()[0].ports[0].id, id, "the number stays");

    fs::write(path("a.yaml"), service("a", "10.96.0.9")).unwrap();
    harness.wait("the same object twice", |h| h.diagnostics().len() == 1);
    let said = harness.diagnostics()[0].to_string();
    assert!(said.contains("a.yaml:2:1: error: Service default/a: z.yaml:2 has the same"), "{said}");
    assert_eq!(harness.services()[0].vips[0].address, "10.96.0.1", "what is in force stays");
    fs::remove_file(path("z.yaml")).unwrap();
    harness.wait("the second takes over", |h| h.services()[0].vips[0].address == "10.96.0.9");
    assert!(harness.diagnostics().is_empty(), "{:?}", harness.diagnostics());

    harness.wait_live();
    let label = harness.names.get(sluice_tables::ServiceId(id)).expect("a name");
    assert_eq!((&*label.namespace, &*label.name, label.port), ("default", "a", 80));
    for in_use in &harness.in_use {
        let tables = in_use.lock().unwrap().clone().expect("tables");
        assert_eq!(tables.v4.frontends.len(), 1);
        assert_eq!(tables.version, harness.versions().published);
    }
}

#[test]
fn a_slow_writer_withdraws_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.yaml");
    let [a, b] = ["a", "b"].map(|name| service(name, &format!("10.96.0.{}", name.as_bytes()[0])));
    fs::write(&path, a.clone() + &b).unwrap();
    let harness = Harness::start(folder.path());
    harness.wait("the first version", |h| names(h) == ["a", "b"]);
    // `kubectl get ... > all.yaml`: the shell empties the file, the answer
    // comes later, and in pieces.
    let mut file = File::create(&path).unwrap();
    let says = |h: &Harness, text: &str| h.diagnostics().iter().any(|d| d.message.contains(text));
    harness.wait("an emptied file", |h| says(h, "it has become empty"));
    assert_eq!(names(&harness), ["a", "b"]);
    file.write_all(b.as_bytes()).unwrap();
    harness.wait("half a file", |h| says(h, "it is being written"));
    assert_eq!(names(&harness), ["a", "b"]);
    file.write_all(service("c", "10.96.0.3").as_bytes()).unwrap();
    drop(file);
    harness.wait("all of it", |h| names(h) == ["b", "c"] && h.diagnostics().is_empty());

    // A writer that stops in the middle is taken at its word in the end.
    let mut file = File::create(&path).unwrap();
    file.write_all(a.as_bytes()).unwrap();
    harness.wait("a long pause", |h| names(h) == ["a"]);
    assert!(harness.diagnostics().is_empty(), "{:?}", harness.diagnostics());
}

#[test]
fn a_mounted_configmap_is_swapped_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("..v1")).unwrap();
    fs::write(path("..v1/m.yaml"), service("a", "10.96.0.1")).unwrap();
    symlink("..v1", path("..data")).unwrap();
    symlink("..data/m.yaml", path("m.yaml")).unwrap();
    let harness = Harness::start(folder.path());
    harness.wait("the first version", |h| names(h) == ["a"]);

    fs::create_dir(path("..v2")).unwrap();
    fs::write(path("..v2/m.yaml"), service("b", "10.96.0.2")).unwrap();
    symlink("..v2", path("..data_tmp")).unwrap();
    fs::rename(path("..data_tmp"), path("..data")).unwrap();
    fs::remove_dir_all(path("..v1")).unwrap();
    harness.wait("the second version", |h| names(h) == ["b"]);
}

#[test]
fn a_folder_that_is_not_there_yet_is_waited_for() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("manifests");
    let harness = Harness::start(&folder);
    harness.wait("a diagnostic", |h| h.diagnostics().len() == 1);
    assert_eq!(harness.versions().published, 0, "nothing is published before it is read");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a.yaml"), service("a", "10.96.0.1")).unwrap();
    harness.wait("the folder", |h| names(h) == ["a"] && h.diagnostics().is_empty());
    harness.wait_live();
    // Gone again: what was read stays.
    fs::rename(&folder, parent.path().join("elsewhere")).unwrap();
    harness.wait("a diagnostic", |h| h.diagnostics().len() == 1);
    assert_eq!(names(&harness), ["a"]);
}
