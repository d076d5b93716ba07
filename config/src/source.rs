//! `source`: where the cluster's state comes from.

use std::path::PathBuf;
use std::time::Duration;

use crate::read::{Field, Fields, Reader, Reported, path, seconds, text};
use crate::schema::{Default, Key, Section};

/// Where the cluster's state comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A folder of Kubernetes manifests.
    Manifests(Manifests),
    /// The API of a Kubernetes cluster.
    Kubernetes(Kubernetes),
}

/// A folder of Kubernetes manifests.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifests {
    /// The folder; a relative path in the file is taken from the configuration file's folder.
    pub path: PathBuf,
}

/// The API of a Kubernetes cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kubernetes {
    /// The kubeconfig; `None`: the service account of the pod that Sluice runs in.
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig; `None`: its current one.
    pub context: Option<String>,
    /// The API server's URL, instead of the kubeconfig's: `https://HOST[:PORT]`. There is one if
    /// there is no kubeconfig.
    pub server: Option<String>,
    /// What is kept on disk for a start while the API is away.
    pub snapshot: Option<Snapshot>,
}

/// What is kept on disk for a start while the API is away.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// The folder; a relative path in the file is taken from the configuration file's folder.
    pub path: PathBuf,
    /// An older one is not used.
    pub max_age: Duration,
}

pub(crate) static SECTION: Section = Section {
    path: "source",
    keys: &[
        Key {
            name: "manifests",
            kind: "section",
            default: Default::Words("one of the two is required"),
            meaning: "read Kubernetes manifests from a folder",
        },
        Key {
            name: "kubernetes",
            kind: "section",
            default: Default::Words("one of the two is required"),
            meaning: "watch the API of a cluster",
        },
    ],
};

pub(crate) static MANIFESTS: Section = Section {
    path: "source.manifests",
    keys: &[Key {
        name: "path",
        kind: "path",
        default: Default::Required,
        meaning: "the folder; a relative path is taken from this file's folder",
    }],
};

pub(crate) static KUBERNETES: Section = Section {
    path: "source.kubernetes",
    keys: &[
        Key {
            name: "kubeconfig",
            kind: "path",
            default: Default::Words("the service account of Sluice's pod"),
            meaning: "how the API is reached; files that it names may be rotated",
        },
        Key {
            name: "context",
            kind: "text",
            default: Default::Words("the current context"),
            meaning: "the context of the kubeconfig",
        },
        Key {
            name: "server",
            kind: "URL `https://HOST[:PORT]`",
            default: Default::Words("that of the kubeconfig; required without one"),
            meaning: "the API server; an address that Sluice does not serve itself, so none of \
                      `cluster.service_cidrs`, which is what a pod is told",
        },
        Key {
            name: "snapshot",
            kind: "section",
            default: Default::Words("none"),
            meaning: "kept on disk, for a start while the API is away",
        },
    ],
};

pub(crate) static SNAPSHOT: Section = Section {
    path: "source.kubernetes.snapshot",
    keys: &[
        Key {
            name: "path",
            kind: "path",
            default: Default::Required,
            meaning: "the folder, Sluice's own; a relative path is taken from this file's folder; \
                      with `l7.ingress` the keys of certificates are in it, for its owner alone",
        },
        Key {
            name: "max_age_s",
            kind: "integer, 1 to 2592000",
            default: Default::Value("86400"),
            meaning: "an older snapshot is not used",
        },
    ],
};

impl Source {
    /// Reads `source`.
    pub(crate) fn read(reader: &mut Reader<'_>, root: &Fields<'_>) -> Result<Self, Reported> {
        let Some(source) = root.get("source") else {
            return Err(root.report_missing(reader, "source"));
        };
        let source = Fields::open(reader, source, &SECTION)?;
        match (source.get("manifests"), source.get("kubernetes")) {
            (Some(manifests), None) => {
                let manifests = Fields::open(reader, manifests, &MANIFESTS)?;
                let path = manifests.required(reader, "path", path)?.value;
                Ok(Self::Manifests(Manifests { path }))
            }
            (None, Some(kubernetes)) => Kubernetes::read(reader, kubernetes).map(Self::Kubernetes),
            (None, None) => {
                let expected = "`manifests` or `kubernetes`";
                Err(reader.error(source.spot(), "names no source", expected))
            }
            (Some(_), Some(kubernetes)) => {
                let message = "`kubernetes` beside `manifests`";
                Err(reader.error(&kubernetes.spot, message, "one source"))
            }
        }
    }
}

impl Kubernetes {
    fn read(reader: &mut Reader<'_>, field: Field<'_>) -> Result<Self, Reported> {
        let fields = Fields::open(reader, field, &KUBERNETES)?;
        let kubeconfig = fields.optional(reader, "kubeconfig", path);
        let context = fields.optional(reader, "context", text("a name", name));
        let server = fields.optional(reader, "server", text(SERVER, url));
        let snapshot = match fields.get("snapshot") {
            Some(snapshot) => Snapshot::read(reader, snapshot).map(Some),
            None => Ok(None),
        };
        let (kubeconfig, context) = (kubeconfig?, context?);
        if let (None, Some(context)) = (&kubeconfig, &context) {
            let message = "without a kubeconfig there are no contexts";
            return Err(reader.error(&context.spot, message, "`kubeconfig` beside it"));
        }
        let server = server?;
        if kubeconfig.is_none() && server.is_none() {
            let message = "names neither `server` nor `kubeconfig`";
            let expected = "`server: https://HOST[:PORT]`, the API server's own address: a pod is \
                            told the ClusterIP only, which Sluice serves itself";
            return Err(reader.error(fields.spot(), message, expected));
        }
        Ok(Kubernetes {
            kubeconfig: kubeconfig.map(|path| path.value),
            context: context.map(|context| context.value),
            server: server.map(|server| server.value),
            snapshot: snapshot?,
        })
    }
}

impl Snapshot {
    fn read(reader: &mut Reader<'_>, field: Field<'_>) -> Result<Self, Reported> {
        let fields = Fields::open(reader, field, &SNAPSHOT)?;
        let path = fields.required(reader, "path", path);
        let max_age = fields.defaulted(reader, "max_age_s", seconds(1..=2_592_000));
        Ok(Snapshot { path: path?.value, max_age: max_age?.value })
    }
}

/// What the URL of an API server looks like.
const SERVER: &str = "`https://HOST` or `https://HOST:PORT`, an IPv6 address in brackets";

fn name(text: &str) -> Result<String, String> {
    if text.is_empty() { Err(String::new()) } else { Ok(text.to_owned()) }
}

fn url(text: &str) -> Result<String, String> {
    let Some(host) = text.strip_prefix("https://") else {
        return Err("it does not begin with https://".to_owned());
    };
    let host = host.strip_suffix('/').unwrap_or(host);
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-.:[]".contains(c);
    match !host.is_empty() && host.chars().all(allowed) {
        true => Ok(format!("https://{host}")),
        false => Err("it is no host and port".to_owned()),
    }
}
