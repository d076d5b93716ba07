use super::*;
use crate::clock::SystemClock;
use crate::kubernetes::{Access, Connection};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

/// Answers each request for a watch with success, and with nothing; others as
/// they should be. Returns where, and the number of watches so far.
fn server_without_watches() -> (String, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let watches = Arc::new(AtomicU32::new(0));
    let count = watches.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let Some(Ok(request)) = lines.next() else { continue };
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let body = match &*request {
                r if r.contains("/version") => {
                    r#"{"major":"1","minor":"30","gitVersion":"","gitCommit":"","gitTreeState":"",
                        "buildDate":"","goVersion":"","compiler":"","platform":""}"#
                }
                r if r.contains("watch=true") => {
                    count.fetch_add(1, Ordering::SeqCst);
                    ""
                }
                _ => {
                    r#"{"apiVersion":"v1","kind":"ServiceList","metadata":{"resourceVersion":"9"},
                        "items":[]}"#
                }
            };
            let length = body.len();
            let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json";
            let _ = write!(stream, "{head}\r\nContent-Length: {length}\r\n\r\n{body}");
        }
    });
    (format!("http://{address}"), watches)
}

async fn connect(server: &str) -> Connection {
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
         clusters: [{{name: c, cluster: {{server: \"{server}\"}}}}]\n\
         users: [{{name: c, user: {{}}}}]\n\
         contexts: [{{name: c, context: {{cluster: c, user: c}}}}]\n"
    );
    std::fs::write(&kubeconfig, text).unwrap();
    let config = sluice_config::Kubernetes { kubeconfig: Some(kubeconfig), ..Default::default() };
    Connection::open(Access::new(&config, &[]), None).await
}

#[tokio::test(flavor = "current_thread")]
async fn watches_that_end_at_once_are_failures_and_paused_for() {
    let (server, watches) = server_without_watches();
    let connection = connect(&server).await;
    let health = SourceHealth::new(&[Kind::Service], Arc::new(SystemClock::default()));
    let mut events = watch(Kind::Service, connection.client(), health.clone());
    for expected in [Event::Init, Event::InitDone] {
        let (_, event) = events.next().await.unwrap();
        assert_eq!(std::mem::discriminant(&event), std::mem::discriminant(&expected));
    }
    let of = || health.view().kinds["Service"].clone();
    assert!(of().connected);
    // Each of them is noted, and then paused for.
    while of().errors < 3 {
        let more = tokio::time::timeout(Duration::from_millis(50), events.next()).await;
        assert!(more.is_err(), "nothing comes");
    }
    assert!(!of().connected);
    assert_eq!((of().lists, watches.load(Ordering::SeqCst)), (1, 3));
}

/// Has ClusterNetworkPolicies by this version, if any; there is one.
#[derive(Debug, Default)]
struct Crd {
    version: Mutex<Option<&'static str>>,
    asked: AtomicU32,
}

fn server_with(crd: Arc<Crd>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let Some(Ok(request)) = lines.next() else { continue };
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let version = *crd.version.lock().unwrap();
            let (status, body) = match (&*request, version) {
                (r, _) if r.contains("/version") => (
                    "200 OK",
                    r#"{"major":"1","minor":"30","gitVersion":"","gitCommit":"","gitTreeState":"",
                        "buildDate":"","goVersion":"","compiler":"","platform":""}"#,
                ),
                (r, Some(version)) if r.contains(version) && r.contains("watch=true") => {
                    ("200 OK", "")
                }
                (r, Some(version)) if r.contains(version) => (
                    "200 OK",
                    r#"{"apiVersion":"policy.networking.k8s.io/v1","kind":"L","metadata":
                        {"resourceVersion":"9"},"items":[{"metadata":{"name":"p"}}]}"#,
                ),
                _ => {
                    crd.asked.fetch_add(1, Ordering::SeqCst);
                    ("404 Not Found", "404 page not found\n")
                }
            };
            let length = body.len();
            let head = "Connection: close\r\nContent-Type: application/json";
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\n{head}\r\nContent-Length: {length}\r\n\r\n{body}"
            );
        }
    });
    format!("http://{address}")
}

/// The next list that is whole: how many objects it has.
async fn next_list(events: &mut BoxStream<'static, (Kind, Event<Raw>)>) -> usize {
    let mut len = 0;
    loop {
        let next = tokio::time::timeout(Duration::from_secs(60), events.next()).await;
        match next.expect("a list").unwrap().1 {
            Event::Init => len = 0,
            Event::InitDone => return len,
            Event::InitApply(_) => len += 1,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_kind_that_a_cluster_may_lack_is_empty_until_it_is_there() {
    let kind = Kind::ClusterNetworkPolicy;
    for version in ["v1beta1", "v1alpha2"] {
        let crd = Arc::new(Crd::default());
        let connection = connect(&server_with(crd.clone())).await;
        let health = SourceHealth::new(&[kind], Arc::new(SystemClock::default()));
        let pause = Duration::from_millis(20);
        let mut events = watch_with(kind, connection.client(), health.clone(), pause);
        assert_eq!(next_list(&mut events).await, 0);
        assert_eq!(crd.asked.load(Ordering::SeqCst), 2, "each version once");
        assert!(health.view().connected && health.view().kinds[kind.as_str()].errors == 0);
        // That is told once.
        let more = tokio::time::timeout(Duration::from_millis(200), events.next()).await;
        assert!(more.is_err(), "{more:?}");
        assert!(crd.asked.load(Ordering::SeqCst) > 4, "{crd:?}");
        *crd.version.lock().unwrap() = Some(version);
        assert_eq!(next_list(&mut events).await, 1);
        // And gone: it must be said more than once.
        *crd.version.lock().unwrap() = None;
        crd.asked.store(0, Ordering::SeqCst);
        assert_eq!(next_list(&mut events).await, 0);
        assert_eq!(crd.asked.load(Ordering::SeqCst), 2 * GONE_AFTER as u32);
    }
}
