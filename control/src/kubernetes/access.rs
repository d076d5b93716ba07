use foldhash::fast::FixedState;
use ipnet::IpNet;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The files of a pod's service account.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// How long a connection may take to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How the API server is reached.
#[derive(Clone, Debug)]
pub struct Access {
    config: sluice_config::Kubernetes,
    /// Ranges of ClusterIPs: served by the gateway itself.
    service_cidrs: Vec<IpNet>,
}

/// Why there is no way to the API server.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The kubeconfig cannot be used.
    #[error("source.kubernetes.kubeconfig: {}: {error}{help}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: Box<KubeconfigError>,
        /// What there is instead, for people; may be empty.
        help: String,
    },
    /// There is no service account to be used.
    #[error(
        "source.kubernetes: no kubeconfig is configured, and the pod's service account cannot be \
         used: {0}"
    )]
    ServiceAccount(#[from] kube::config::InClusterError),
    /// The URL does not parse.
    #[error("source.kubernetes.server: {0}: expected https://HOST:PORT")]
    Server(String),
    /// The API would be reached through the gateway that waits for it.
    #[error(
        "source.kubernetes.server: {server} is in {range} of `cluster.service_cidrs`, which the \
         gateway serves itself: expected an address of the API server's own"
    )]
    OwnService {
        /// The address.
        server: IpAddr,
        /// The range of ClusterIPs that it is in.
        range: IpNet,
    },
    /// The same, by a name of the cluster's DNS.
    #[error(
        "source.kubernetes.server: {0} is the name of a Service, which the gateway serves itself: \
         expected an address of the API server's own"
    )]
    OwnServiceName(String),
    /// No client can be made of it.
    #[error("source.kubernetes: the credentials cannot be used: {0}")]
    Client(#[from] Box<kube::Error>),
}

impl Access {
    /// By this configuration.
    pub fn new(config: &sluice_config::Kubernetes, service_cidrs: &[IpNet]) -> Self {
        Access { config: config.clone(), service_cidrs: service_cidrs.to_vec() }
    }

    /// What is read, for people.
    pub fn describe(&self) -> String {
        match (&self.config.kubeconfig, &self.config.server) {
            (_, Some(server)) => format!("the Kubernetes API at {server}"),
            (Some(path), None) => format!("the Kubernetes API of {}", path.display()),
            (None, None) => "the Kubernetes API of this cluster".to_owned(),
        }
    }

    /// Reads what is needed to reach the API server. Sends nothing.
    ///
    /// # Errors
    /// When something is missing or wrong.
    pub async fn load(&self) -> Result<kube::Config, AccessError> {
        let mut config = match &self.config.kubeconfig {
            Some(path) => self.of_kubeconfig(path).await?,
            // The name is that of the API's ClusterIP, and gives way to `server`.
            None => kube::Config::incluster_dns()?,
        };
        if let Some(server) = &self.config.server {
            config.cluster_url = server.parse().map_err(|_| AccessError::Server(server.clone()))?;
        }
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        // Who waits for an answer retries by himself.
        config.default_retry = false;
        self.refuse_own_service(&config)?;
        Ok(config)
    }

    async fn of_kubeconfig(&self, path: &Path) -> Result<kube::Config, AccessError> {
        let refuse = |error: KubeconfigError, help: String| AccessError::Kubeconfig {
            path: path.to_owned(),
            error: Box::new(error),
            help,
        };
        let file = Kubeconfig::read_from(path).map_err(|error| refuse(error, String::new()))?;
        let contexts: Vec<_> = file.contexts.iter().map(|context| context.name.clone()).collect();
        let options =
            KubeConfigOptions { context: self.config.context.clone(), ..Default::default() };
        kube::Config::from_custom_kubeconfig(file, &options).await.map_err(|error| {
            let is_context = matches!(
                error,
                KubeconfigError::LoadContext(_) | KubeconfigError::CurrentContextNotSet
            );
            let help = match is_context {
                true => format!("; its contexts are: {}", contexts.join(", ")),
                false => String::new(),
            };
            refuse(error, help)
        })
    }

    fn refuse_own_service(&self, config: &kube::Config) -> Result<(), AccessError> {
        let host = config.cluster_url.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let Ok(server) = host.parse::<IpAddr>() else {
            return match is_of_a_service(host) {
                true => Err(AccessError::OwnServiceName(host.to_owned())),
                false => Ok(()),
            };
        };
        match self.service_cidrs.iter().find(|range| range.contains(&server)) {
            Some(range) => Err(AccessError::OwnService { server, range: *range }),
            None => Ok(()),
        }
    }

    /// A number that changes when a file does that [`Access::load`] reads.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = FixedState::default().build_hasher();
        for path in self.files() {
            hasher.write(path.as_os_str().as_encoded_bytes());
            // A file that cannot be read is a state of its own.
            hasher.write(&std::fs::read(&path).unwrap_or_default());
        }
        hasher.finish()
    }

    /// The files that are read, the kubeconfig first.
    fn files(&self) -> Vec<PathBuf> {
        let Some(path) = &self.config.kubeconfig else {
            return ["token", "ca.crt"].map(|file| Path::new(SERVICE_ACCOUNT).join(file)).into();
        };
        let mut files = vec![path.clone()];
        if let Ok(file) = Kubeconfig::read_from(path) {
            let clusters = file.clusters.into_iter().filter_map(|named| named.cluster);
            files.extend(clusters.filter_map(|c| c.certificate_authority).map(PathBuf::from));
            for user in file.auth_infos.into_iter().filter_map(|named| named.auth_info) {
                let named = [user.client_certificate, user.client_key, user.token_file];
                files.extend(named.into_iter().flatten().map(PathBuf::from));
            }
        }
        files
    }
}

/// Whether a name is a Service's (kubernetes.io/docs/concepts/services-networking/dns-pod-service):
/// `SERVICE.NAMESPACE.svc`, with or without the cluster's domain, or the API's own in short.
fn is_of_a_service(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let is_short = ["kubernetes", "kubernetes.default"].contains(&&*name);
    is_short || name.split('.').nth(2) == Some("svc")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KUBECONFIG: &str = r#"
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://10.96.0.1:443"}}]
users: [{name: u, user: {tokenFile: token}}]
contexts: [{name: prod, context: {cluster: c, user: u}}, {name: bad, context: {cluster: x, user: u}}]
current-context: prod
"#;

    fn load(text: &str, change: impl FnOnce(&mut sluice_config::Kubernetes)) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kubeconfig");
        std::fs::write(&path, text).unwrap();
        std::fs::write(folder.path().join("token"), "secret").unwrap();
        let mut config = sluice_config::Kubernetes { kubeconfig: Some(path), ..Default::default() };
        change(&mut config);
        let access = Access::new(&config, &["10.96.0.0/16".parse().unwrap()]);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        match runtime.block_on(access.load()) {
            Ok(config) => config.cluster_url.to_string(),
            Err(error) => error.to_string().replace(folder.path().to_str().unwrap(), ""),
        }
    }

    #[test]
    fn each_wrong_part_of_a_kubeconfig_is_named() {
        let with = |from: &str, to: &str| load(&KUBECONFIG.replace(from, to), |_| {});
        assert!(with("10.96.0.1", "10.9.0.1").starts_with("https://10.9.0.1"));
        let own = with("", "");
        assert!(own.contains("10.96.0.1 is in 10.96.0.0/16 of `cluster.service_cidrs`"), "{own}");
        let name = with("10.96.0.1", "Kubernetes.default.svc.cluster.local.");
        assert!(name.contains("is the name of a Service"), "{name}");
        assert!(with("10.96.0.1", "api.svc.example.com").starts_with("https://api.svc"));
        let context = with("current-context: prod", "current-context: dev");
        assert!(
            context.contains("dev") && context.contains("contexts are: prod, bad"),
            "{context}"
        );
        let cluster = with("current-context: prod", "current-context: bad");
        assert!(cluster.contains("cluster of context"), "{cluster}");
        let none = load(KUBECONFIG, |config| config.kubeconfig = Some("/nowhere".into()));
        assert!(none.contains("/nowhere") && none.contains("read"), "{none}");
        let yaml = with("clusters:", "clusters: ]");
        assert!(yaml.starts_with("source.kubernetes.kubeconfig: /kubeconfig: "), "{yaml}");
        let url = with("https://10.96.0.1:443", "https://a b");
        assert!(url.contains("cluster url"), "{url}");
        let ca = with("{server:", "{certificate-authority: ca.crt, server:");
        assert!(ca.contains("certificate authority") && ca.contains("ca.crt"), "{ca}");
    }

    #[test]
    fn a_server_of_ones_own_comes_first() {
        let server = load(KUBECONFIG, |c| c.server = Some("https://[fd00::1]:6443".into()));
        assert_eq!(server, "https://[fd00::1]:6443/");
    }

    #[test]
    fn a_rotated_file_is_another_fingerprint() {
        let folder = tempfile::tempdir().unwrap();
        let (path, token) = (folder.path().join("kubeconfig"), folder.path().join("token"));
        std::fs::write(&path, KUBECONFIG).unwrap();
        std::fs::write(&token, "a").unwrap();
        let config = sluice_config::Kubernetes { kubeconfig: Some(path), ..Default::default() };
        let access = Access::new(&config, &[]);
        let before = access.fingerprint();
        assert_eq!(access.fingerprint(), before);
        std::fs::write(&token, "b").unwrap();
        assert_ne!(access.fingerprint(), before);
    }
}
