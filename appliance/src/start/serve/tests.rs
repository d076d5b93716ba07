use super::*;
use crate::admin::{QUESTION_BYTES_MAX, Reply};
use crate::testing::{self, FakeClock};
use crossbeam_channel::Receiver;
use serde_json::Value;
use sluice_control::Request;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

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
}

impl Served {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = testing::config("");
        let (_, handle, asked) =
            testing::control(&config, Vec::new(), Arc::new(FakeClock::default()));
        let gateway = testing::gateway(&config, handle);
        let listener = http::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let http = listener.local_addr().unwrap();
        let socket = Socket::bind(&folder.path().join("sock")).unwrap();
        let servers = Some(Servers::start(listener, socket, gateway).unwrap());
        Served { servers, http, folder, asked }
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
        let mut stream = TcpStream::connect(self.http).unwrap();
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
