use super::*;
use crate::clock::SystemClock;
use crate::kubernetes::{Access, Connection};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

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

#[tokio::test(flavor = "current_thread")]
async fn watches_that_end_at_once_are_failures_and_paused_for() {
    let (server, watches) = server_without_watches();
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
    let connection = Connection::open(Access::new(&config, &[]), None).await;
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
