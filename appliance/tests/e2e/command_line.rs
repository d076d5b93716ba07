use crate::gateway::SLUICE;
use std::path::Path;
use std::process::{Command, Output};

const CONFIG: &str = "
ports: [{name: a, device: eth1, addresses: [192.0.2.1/24]}]
snat: {addresses: [10.244.255.0/28]}
source: {manifests: {path: manifests}}
";

/// A folder of its own, removed at the end.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sluice-cli-{}-{name}", std::process::id()));
        std::fs::create_dir_all(path.join("manifests")).unwrap();
        Folder(path)
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.0.join(file), text).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn sluice(arguments: &[&str], folder: &Path) -> (Option<i32>, String, String) {
    let run = Command::new(SLUICE).args(arguments).current_dir(folder).output().unwrap();
    let Output { status, stdout, stderr } = run;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn check_finds_nothing_in_what_is_good() {
    let folder = Folder::new("good");
    folder.write("gateway.yaml", CONFIG);
    let (code, out, _) = sluice(&["check", "--config", "gateway.yaml"], &folder.0);
    assert_eq!((code, out.as_str()), (Some(0), "0 errors, 0 warnings\n"));
}

#[test]
fn check_names_every_place_of_a_bad_configuration() {
    let folder = Folder::new("config");
    folder.write("gateway.yaml", &CONFIG.replace("192.0.2.1/24", "192.0.2.1/99, 300.1.1.1/8"));
    let (code, out, _) = sluice(&["check", "--config", "gateway.yaml"], &folder.0);
    assert_eq!(code, Some(1), "{out}");
    assert_eq!(out.matches("gateway.yaml:2:").count(), 2, "{out}");
    assert!(out.ends_with("2 errors, 0 warnings; the manifests were not looked at\n"), "{out}");
}

#[test]
fn check_names_every_place_of_bad_manifests() {
    let folder = Folder::new("manifests");
    folder.write("gateway.yaml", CONFIG);
    folder.write("manifests/broken.yaml", "kind: [\n");
    folder.write(
        "manifests/service.yaml",
        "apiVersion: v1\nkind: Service\nmetadata: {name: Wrong_Name}\nspec:\n  clusterIP: None\n",
    );
    let (code, out, _) = sluice(&["check", "--config", "gateway.yaml"], &folder.0);
    assert_eq!(code, Some(1), "{out}");
    for file in ["manifests/broken.yaml:", "manifests/service.yaml:3:"] {
        assert!(out.contains(file), "{file} is not in\n{out}");
    }
}

#[test]
fn wrong_usage_is_told_from_errors() {
    let folder = Folder::new("usage");
    for wrong in [&["show"][..], &["run"], &["show", "flows", "--limit", "0"], &["nonsense"]] {
        assert_eq!(sluice(wrong, &folder.0).0, Some(2), "{wrong:?}");
    }
    let (code, _, err) = sluice(&["run", "--config", "absent.yaml"], &folder.0);
    assert_eq!(code, Some(1));
    assert!(err.contains("absent.yaml"), "{err}");
    let (code, _, err) = sluice(&["show", "flows", "--socket", "absent.sock"], &folder.0);
    assert_eq!(code, Some(1));
    assert!(err.contains("no gateway listens at absent.sock"), "{err}");
}

#[test]
fn a_request_is_explained_without_a_gateway() {
    let folder = Folder::new("explain-request");
    folder.write("gateway.yaml", CONFIG);
    let explain =
        |subject: &str, more: &[&str]| sluice(&[&["explain", subject], more].concat(), &folder.0);
    let of = |file: &'static str| ["--offline", "--config", file];
    let (code, _, err) = explain("http://shop.example/", &of("gateway.yaml"));
    assert_eq!(code, Some(1));
    assert!(err.contains("requests do not end here: the configuration has no section `l7`"));
    folder.write("l7.yaml", &format!("{CONFIG}l7: {{ingress: {{addresses: [192.0.2.80]}}}}\n"));
    let (code, out, err) = explain("http://shop.example/", &of("l7.yaml"));
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("answer    404 by the gateway: no_route: "), "{out}");
    for (subject, more, why) in [
        ("http://shop.example:70000/", &[][..], "has a port that is none"),
        ("http://shop.example/", &["-H", "nothing"], "expected 'name: value'"),
        ("http://shop.example/", &["-X", "G T"], "is no method"),
        ("http://shop.example/", &["--from", "nobody"], "invalid IP address"),
    ] {
        let (code, _, err) = explain(subject, &[&of("l7.yaml")[..], more].concat());
        assert_eq!(code, Some(2), "{err}");
        assert!(err.contains(why), "{err}");
    }
    let method = [&of("l7.yaml")[..], &["-X", "POST"]].concat();
    let (code, _, err) = explain("192.0.2.9 -> 192.0.2.1/icmp", &method);
    assert_eq!(code, Some(1));
    assert!(err.contains("need the URL of a request"), "{err}");
}

#[test]
fn a_packet_is_explained_without_a_gateway() {
    let folder = Folder::new("explain");
    folder.write("gateway.yaml", CONFIG);
    let explain =
        |packet: &str, more: &[&str]| sluice(&[&["explain", packet], more].concat(), &folder.0);
    let offline = ["--offline", "--config", "gateway.yaml"];
    let (code, out, _) = explain("192.0.2.9 -> 192.0.2.1/icmp", &offline);
    assert_eq!(code, Some(0));
    assert!(out.contains("verdict         answered here\n"), "{out}");
    // Dropped, and explained.
    let (code, out, _) = explain("192.0.2.9 -> 10.9.9.9:80/tcp", &offline);
    assert_eq!(code, Some(0));
    assert!(out.contains("dropped: no_route: "), "{out}");
    let (code, _, err) = explain("192.0.2.9 to 192.0.2.1", &offline);
    assert_eq!(code, Some(2));
    assert!(err.contains("expected '10.1.2.3:4000 -> 10.96.0.10:80/tcp'"), "{err}");
    let (code, _, err) = explain("192.0.2.9 -> 192.0.2.1/icmp", &["--socket", "absent.sock"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("no gateway listens at absent.sock"), "{err}");
    // A configuration file alone says whom to ask.
    let asked = format!("{CONFIG}admin: {{socket: absent.sock}}\n");
    folder.write("asked.yaml", &asked);
    let (code, _, err) = explain("192.0.2.9 -> 192.0.2.1/icmp", &["--config", "asked.yaml"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("no gateway listens at absent.sock"), "{err}");
    let (code, _, err) = explain("192.0.2.9 -> 192.0.2.1/icmp", &["--offline"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("--config <FILE>"), "{err}");
    // Manifests that are wrong are counted, those that cannot be read are no answer.
    folder.write("manifests/bad.yaml", "kind: Service\napiVersion: v1\n");
    let json = [&offline[..], &["-o", "json"]].concat();
    let (code, out, _) = explain("192.0.2.9 -> 192.0.2.1/icmp", &json);
    assert_eq!(code, Some(0));
    assert!(
        out.contains("\"errors\": 2")
            && out.contains("the manifests have 2 errors and 0 warnings: "),
        "{out}"
    );
    folder.write("elsewhere.yaml", &CONFIG.replace("path: manifests", "path: nowhere"));
    let elsewhere = ["--offline", "--config", "elsewhere.yaml"];
    let (code, out, err) = explain("192.0.2.9 -> 192.0.2.1/icmp", &elsewhere);
    assert_eq!((code, out), (Some(1), String::new()));
    assert!(err.contains("source.manifests.path: cannot read the folder"), "{err}");
    let api = "source: {kubernetes: {kubeconfig: /absent}}";
    folder.write("gateway.yaml", &CONFIG.replace("source: {manifests: {path: manifests}}", api));
    let (code, _, err) = explain("192.0.2.9 -> 192.0.2.1/icmp", &offline);
    assert_eq!(code, Some(1));
    assert!(err.contains("`source` is the API server, which is not asked here"), "{err}");
}

#[test]
fn the_program_describes_itself() {
    let folder = Folder::new("self");
    let (code, out, _) = sluice(&["--version"], &folder.0);
    assert_eq!((code, out), (Some(0), format!("sluice {}\n", env!("CARGO_PKG_VERSION"))));
    let (code, out, _) = sluice(&["drop-reasons"], &folder.0);
    assert_eq!(code, Some(0));
    assert!(out.starts_with("| reason | meaning |\n|---|---|\n| `"), "{out}");
    assert!(out.lines().count() > 30, "{out}");
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    assert!(readme.contains(&format!("\n\n{out}\n")), "README.md lacks the table:\n{out}");
}
