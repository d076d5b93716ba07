use super::*;
use crate::admin::{QUESTION_BYTES_MAX, Question, Reply, client};
use crate::explain::request::asked::{Header, RequestAsked, Verb};
use crate::testing::{self, FakeClock};
use crossbeam_channel::Receiver;
use serde_json::Value;
use sluice_control::object::Name;
use sluice_control::{HealthCheck, Request};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Instant;

/// How long an answer may take before a test fails.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Clients of the admin socket at once, as documented.
const CLIENTS: usize = 16;

/// Servers of a gateway whose control answers nothing by itself.
struct Served {
    servers: Option<Servers>,
    http: SocketAddr,
    folder: tempfile::TempDir,
    asked: Receiver<Request>,
    gateway: Arc<Gateway>,
}

impl Served {
    fn start() -> Self {
        Self::with("")
    }

    /// With more in the configuration.
    fn with(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = testing::config(more);
        let (_, handle, asked) =
            testing::control(&config, Vec::new(), Arc::new(FakeClock::default()));
        let gateway = testing::gateway(&config, handle);
        let listener = http::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let http = listener.local_addr().unwrap();
        let socket = Socket::bind(&folder.path().join("sock")).unwrap();
        let local = vec!["127.0.0.1".parse().unwrap()];
        let servers = Some(Servers::start(listener, socket, local, gateway.clone()).unwrap());
        Served { servers, http, folder, asked, gateway }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("sock")
    }

    fn admin(&self) -> BufReader<UnixStream> {
        let stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(ANSWER_MAX)).unwrap();
        BufReader::new(stream)
    }

    /// What comes back for these bytes, until the server hangs up.
    fn http(&self, request: &[u8]) -> String {
        Self::http_at(TcpStream::connect(self.http).unwrap(), request)
    }

    fn http_at(mut stream: TcpStream, request: &[u8]) -> String {
        stream.set_read_timeout(Some(ANSWER_MAX)).unwrap();
        // A server that has had enough does not take the rest.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
        String::from_utf8(answer).unwrap()
    }

    fn request(&self, method: &str, path: &str) -> String {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        self.http(head.as_bytes())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(servers) = self.servers.take() {
            servers.stop();
        }
    }
}

/// Asks; `None` when the server has hung up.
fn ask(client: &mut BufReader<UnixStream>, question: &[u8]) -> Option<Reply<Value>> {
    // Fails where the server is quicker to hang up.
    let _ = client.get_mut().write_all(question);
    next(client)
}

fn next(client: &mut BufReader<UnixStream>) -> Option<Reply<Value>> {
    let mut line = String::new();
    match client.read_line(&mut line) {
        Ok(0) => None,
        Ok(_) => Some(serde_json::from_str(&line).unwrap()),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            None
        }
    }
}

const DROPS: &[u8] = b"{\"show\":\"drops\"}\n";

#[test]
fn a_client_asks_as_often_as_it_likes_and_wrong_questions_are_told() {
    let served = Served::start();
    let mut client = served.admin();
    for _ in 0..3 {
        assert!(matches!(ask(&mut client, DROPS), Some(Reply::Ok(Value::Array(_)))));
        let reply = ask(&mut client, b"{\"show\":\"weather\"}\n");
        let Some(Reply::Error(error)) = reply else { panic!("{reply:?}") };
        assert!(error.starts_with("cannot read the question: "), "{error}");
    }
}

#[test]
fn a_question_that_is_too_long_is_refused_and_the_client_with_it() {
    let served = Served::start();
    let mut client = served.admin();
    let reply = ask(&mut client, &vec![b' '; QUESTION_BYTES_MAX]);
    let Some(Reply::Error(error)) = reply else { panic!("{reply:?}") };
    assert!(error.contains("at most 4096 bytes"), "{error}");
    assert_eq!(next(&mut client), None);
    assert!(ask(&mut served.admin(), DROPS).is_some(), "others are served");
}

/// A question about a request with a header of so many bytes.
fn about_request(bytes: usize) -> Vec<u8> {
    let url = "http://shop.example/".parse().unwrap();
    let header = Header { name: "cookie".to_owned(), value: "\"".repeat(bytes) };
    let (method, headers) = (Verb("GET".to_owned()), vec![header]);
    let request = RequestAsked { url, method, headers, from: None, to: None };
    let mut line = serde_json::to_vec(&Question::ExplainRequest { request }).unwrap();
    line.push(b'\n');
    line
}

#[test]
fn a_question_about_a_request_may_be_as_long_as_heads_are() {
    let l7 = "l7: {io: worker, limits: {header_bytes: 8192}, ingress: {addresses: [192.0.2.9]}}";
    let served = Served::with(l7);
    // It is read: control, which is not there to answer, is asked.
    let mut client = served.admin();
    client.get_mut().write_all(&about_request(8_192)).unwrap();
    assert!(served.asked.recv_timeout(ANSWER_MAX).is_ok());
    let mut client = served.admin();
    let reply = ask(&mut client, &about_request(12_000));
    let Some(Reply::Error(error)) = reply else { panic!("{reply:?}") };
    let expected = "at most 20480 bytes: the request is longer than the gateway takes one";
    assert!(error.ends_with(expected), "{error}");
    assert_eq!(next(&mut client), None);
    // So it is told to who asks with the program.
    let request = about_request(300_000);
    let question: Question = serde_json::from_slice(&request).unwrap();
    let error = client::ask(&served.socket(), &question).unwrap_err().to_string();
    assert!(error.ends_with(expected), "{error}");
    // Other questions are as long as ever, and so are all where no requests end.
    let mut other = vec![b' '; 8_192];
    other.push(b'\n');
    let reply = ask(&mut served.admin(), &other);
    assert!(matches!(reply, Some(Reply::Error(error)) if error.ends_with("at most 4096 bytes")));
    let reply = ask(&mut Served::start().admin(), &about_request(8_192));
    assert!(matches!(reply, Some(Reply::Error(error)) if error.ends_with("at most 4096 bytes")));
}

#[test]
fn one_client_too_many_is_turned_away_until_another_leaves() {
    let served = Served::start();
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| served.admin()).collect();
    for client in &mut clients {
        assert!(ask(client, DROPS).is_some());
    }
    assert_eq!(ask(&mut served.admin(), DROPS), None);
    clients.pop();
    // The server sees it go some time after.
    while ask(&mut served.admin(), DROPS).is_none() {
        std::thread::yield_now();
    }
}

#[test]
fn clients_that_are_slow_to_ask_are_hung_up_on() {
    let served = Served::start();
    let mut admin = served.admin();
    admin.get_mut().write_all(b"{\"show\":").unwrap();
    assert_eq!(served.http(b"GET /readyz HT"), "");
    assert_eq!(next(&mut admin), None);
}

#[test]
fn http_answers_gets_and_heads_of_what_there_is() {
    let served = Served::start();
    let get = served.request("GET", "/healthz");
    assert!(get.starts_with("HTTP/1.1 200 ") && get.ends_with("\r\n\r\nok\n"), "{get}");
    let head = served.request("HEAD", "/healthz");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
    let post = served.request("POST", "/metrics");
    assert!(post.starts_with("HTTP/1.1 405 ") && post.contains("allow: GET, HEAD"), "{post}");
    let other = served.request("GET", "/");
    assert!(other.starts_with("HTTP/1.1 404 "), "{other}");
    let ready = served.request("GET", "/readyz");
    assert!(ready.starts_with("HTTP/1.1 503 ") && ready.contains("no tables yet"), "{ready}");
}

#[test]
fn a_head_that_is_too_long_is_refused() {
    let served = Served::start();
    let long = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", "x".repeat(64 << 10));
    let answer = served.http(long.as_bytes());
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert!(served.request("GET", "/healthz").starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_scrape_does_not_wait_for_questions_that_take_long() {
    let served = Served::start();
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| served.admin()).collect();
    for client in &mut clients {
        client.get_mut().write_all(b"{\"show\":\"flows\",\"limit\":1}\n").unwrap();
    }
    // As many as are asked at once; nobody answers them.
    let held: Vec<Request> =
        (0..ANSWERS_MAX).map(|_| served.asked.recv_timeout(ANSWER_MAX).unwrap()).collect();
    assert!(held.iter().all(|request| matches!(request, Request::Flows { .. })));
    let scraper = std::thread::scope(|scope| {
        let scrape = scope.spawn(|| served.request("GET", "/metrics"));
        // It asks control while those wait still.
        let asked = served.asked.recv_timeout(ANSWER_MAX).unwrap();
        assert!(matches!(asked, Request::Metrics { .. }), "{asked:?}");
        drop(asked);
        scrape.join().unwrap()
    });
    assert!(scraper.contains("\nsluice_control_up 1\n"), "{scraper}");
    drop(held);
}

/// Tells that a Service has so many endpoints, or that there is none.
fn health_check(served: &Served, port: u16, endpoints: Option<usize>) {
    let service = Name::new("shop", "web");
    let checks = endpoints.map(|endpoints| (port, HealthCheck { service, endpoints }));
    served.gateway.control.health.update(checks.into_iter().collect());
}

/// Asks at a health check port until the answer, or that there is none, is as
/// expected.
fn wait_health(port: u16, what: &str, is_it: impl Fn(Option<&str>) -> bool) -> String {
    let start = Instant::now();
    loop {
        let answer = TcpStream::connect(("127.0.0.1", port)).ok().map(|stream| {
            Served::http_at(stream, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        });
        if is_it(answer.as_deref()) {
            return answer.unwrap_or_default();
        }
        assert!(start.elapsed() < ANSWER_MAX, "not in time: {what}: {answer:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn has_status(answer: Option<&str>, status: &str) -> bool {
    answer.is_some_and(|answer| answer.starts_with(&format!("HTTP/1.1 {status} ")))
}

#[test]
fn a_health_check_port_is_open_while_its_service_is_there() {
    let served = Served::start();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    served.gateway.workers[0].counters.tables_version.set(1);
    health_check(&served, port, Some(3));
    let good = wait_health(port, "200", |answer| has_status(answer, "200"));
    assert!(good.contains("\r\nx-load-balancing-endpoint-weight: 3\r\n"), "{good}");
    let (_, body) = good.split_once("\r\n\r\n").unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    let expected = serde_json::json!({
        "service": {"namespace": "shop", "name": "web"},
        "localEndpoints": 3, "serviceProxyHealthy": true,
    });
    assert_eq!(body, expected);
    health_check(&served, port, Some(0));
    let none = wait_health(port, "no endpoints", |answer| has_status(answer, "503"));
    assert!(none.contains("\"localEndpoints\":0") && none.contains("Healthy\":true"), "{none}");
    health_check(&served, port, Some(1));
    wait_health(port, "200 again", |answer| has_status(answer, "200"));
    served.gateway.drain();
    let draining = wait_health(port, "draining", |answer| has_status(answer, "503"));
    assert!(draining.contains("\"serviceProxyHealthy\":false"), "{draining}");
    health_check(&served, port, None);
    wait_health(port, "closed", |answer| answer.is_none());
}

#[test]
fn a_health_check_port_that_somebody_has_is_told_and_tried_again() {
    let served = Served::start();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    health_check(&served, port, Some(1));
    let refused = || served.gateway.control.health.refused();
    let start = Instant::now();
    while refused().is_empty() {
        assert!(start.elapsed() < ANSWER_MAX);
        std::thread::sleep(Duration::from_millis(20));
    }
    let why = &refused()[&port];
    assert!(why.starts_with(&format!("cannot listen at 127.0.0.1:{port}: ")), "{why}");
    drop(taken);
    wait_health(port, "served", |answer| has_status(answer, "503"));
    while !refused().is_empty() {
        assert!(start.elapsed() < ANSWER_MAX);
        std::thread::sleep(Duration::from_millis(20));
    }
}
