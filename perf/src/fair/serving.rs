use super::clients::{HTTP_PORT, vip};
use super::pods::endpoints;
use super::shakers::NAME;
use super::tls::HTTPS_PORT;
use crate::cluster::Cluster;
use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_RSA_SHA256, RsaKeySize,
};
use rustls::pki_types::CertificateDer;
use sluice_fastpath::Worker;
use sluice_l7::serving::{Serving, ServingOptions};
use sluice_l7::stats::{Counting, Stats};
use sluice_l7::tcp::{ConnOptions, TcpConfig};
use sluice_l7::tls::Handshakes;
use sluice_l7::worker::{L7Options, L7Service, L7Told};
use sluice_tables::http_routes::{Conditions, Host, HttpRouteId, HttpRoutes, Match, Path};
use sluice_tables::l7::{
    BackendProtocol, Certificate, Certificates, Endpoint, HttpRoute, L7, Listener, ListenerId,
    PrivateKey, RouteAction, RouteTable, Upstream, UpstreamId,
};
use sluice_tables::{BackendId, Family, Tables, V4, V6, Vip};
use std::rc::Rc;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

/// What the worker tells of its L7.
#[derive(Default)]
pub struct Telling(OnceLock<Arc<Mutex<L7Told>>>);

impl Telling {
    /// What it has told last.
    pub fn told(&self) -> L7Told {
        let told = self.0.get();
        let told = told.map(|told| told.lock().unwrap_or_else(PoisonError::into_inner).clone());
        told.unwrap_or_default()
    }
}

/// Gives a worker its L7, as it is shipped but for the time that tasks run in one turn. To
/// be called on its thread.
///
/// # Errors
/// When TLS cannot be set up.
pub fn equip(
    worker: &mut Worker,
    handshakes: &Handshakes,
    telling: &Telling,
    slice: Duration,
) -> Result<()> {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let options = L7Options {
        worker: 0,
        tcp: TcpConfig { connections_max: 2 * 65_536, ..TcpConfig::default() },
        clients: ConnOptions::default(),
        endpoints: ConnOptions::default(),
        slice,
        secret: [0x5e; 16],
        unix_ms: Arc::new(AtomicU64::new(since_1970.as_millis() as u64)),
        ends_at_ns: Arc::default(),
    };
    let observer = Rc::new(Counting::new(Arc::new(Stats::default())));
    let mut failure = None;
    let (service, told) = L7Service::new(&options, worker.waker(), |net| {
        Serving::new(net, &ServingOptions::default(), handshakes, observer, 1)
            .map_err(|error| failure = Some(error))
            .ok()
    });
    failure.map_or(Ok(()), Err).context("cannot set up TLS with endpoints")?;
    // A worker is equipped once.
    let _ = telling.0.set(told);
    worker.set_l7(Box::new(service));
    Ok(())
}

/// A certificate with an RSA key of 4,096 bits, and who vouches for it.
pub struct Issued {
    row: Arc<Certificate>,
    /// Who vouches for it.
    pub root: CertificateDer<'static>,
}

impl Issued {
    /// Makes both.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new() -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let root = params.self_signed(&key)?.der().clone();
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_4096)?;
        let params = CertificateParams::new(vec![NAME.to_owned()])?;
        let der = params.signed_by(&key, &issuer)?.der().to_vec();
        let row = Certificate {
            name: "Secret shop/tls".into(),
            not_after: i64::MAX,
            chain: [der.into()].into(),
            key: PrivateKey::Pkcs8(key.serialize_der().into()),
            prepared: OnceLock::new(),
        };
        Ok(Issued { row: Arc::new(row), root })
    }
}

/// The tables of a cluster, and on top of it requests, plain and, with a certificate, in TLS.
///
/// # Errors
/// When an address is not of the cluster's family.
pub fn tables(cluster: &Cluster, issued: Option<&Issued>) -> Result<Tables> {
    let mut tables = cluster.tables(1)?;
    let vip = vip(cluster.family);
    if let Some(addr) = V4::from_ip(vip) {
        tables.v4.vips.insert(addr, Vip { announce: false });
        tables.v4.listeners = Arc::new(listeners(addr));
    }
    if let Some(addr) = V6::from_ip(vip) {
        tables.v6.vips.insert(addr, Vip { announce: false });
        tables.v6.listeners = Arc::new(listeners(addr));
    }
    tables.l7 = l7(cluster, issued)?;
    Ok(tables)
}

type Listeners<A> = hashbrown::HashMap<(A, u16), ListenerId>;

fn listeners<A: std::hash::Hash + Eq + Copy>(addr: A) -> Listeners<A> {
    [((addr, HTTP_PORT), ListenerId(0)), ((addr, HTTPS_PORT), ListenerId(1))].into()
}

fn l7(cluster: &Cluster, issued: Option<&Issued>) -> Result<L7> {
    let matches = HttpRoutes::new([Match {
        host: Host::Exact(NAME.into()),
        path: Path::Prefix("/".into()),
        conditions: Conditions::default(),
        route: HttpRouteId(0),
    }])?;
    let route = HttpRoute {
        object: "Ingress shop/web".into(),
        place: "spec.rules[0].http.paths[0]".into(),
        action: RouteAction::Forward(UpstreamId(0)),
        https_redirect: false,
        client_auth: None,
        rewrite: None,
        body_bytes_max: Some(1 << 20),
        connect_timeout: Duration::from_secs(5),
        read_timeout: Duration::from_secs(60),
        send_timeout: Duration::from_secs(60),
    };
    let mut routes = RouteTable { matches, ..RouteTable::default() };
    routes.routes.set(0, Some(Arc::new(route)));
    let routes = Arc::new(routes);
    let listener = |name: &str, certificates| {
        let (routes, trusted) = (routes.clone(), Arc::default());
        Some(Arc::new(Listener { name: name.into(), certificates, routes, trusted }))
    };
    let default = issued.map(|issued| issued.row.clone());
    let certificates = Certificates { default, ..Certificates::default() };
    let listeners = vec![listener("http", None), listener("https", Some(Arc::new(certificates)))];
    let mut l7 = L7 { listeners: Arc::new(listeners), ..L7::default() };
    let endpoint = |addr| Endpoint { addr, id: BackendId::NONE };
    let upstream = Upstream {
        id: UpstreamId(0),
        name: "shop/web:80".into(),
        protocol: BackendProtocol::Http,
        sends_proxy_protocol: false,
        endpoints: endpoints(cluster.family).map(endpoint).collect(),
    };
    l7.upstreams.set(0, Some(Arc::new(upstream)));
    Ok(l7)
}
