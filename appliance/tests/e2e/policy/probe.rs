use super::story::Story;
use crate::lab::{Family, Lab, eventually};
use std::fmt::{self, Display, Formatter};
use std::io::Read;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// How long an answer may take.
const ANSWER_S_MAX: &str = "20";

/// A line of a story: who asks whom, and what becomes of it.
#[derive(Debug)]
pub struct Line<'t> {
    text: &'t str,
    pub from: &'t str,
    pub to: &'t str,
    is_tcp: bool,
    port: u16,
    pub outcome: &'t str,
    pub egress: Option<&'t str>,
    pub ingress: Option<&'t str>,
}

impl<'t> Line<'t> {
    pub fn parse(text: &'t str) -> Line<'t> {
        let line = Line::try_parse(text.trim());
        line.unwrap_or_else(|| panic!("expected FROM -> TO PROTOCOL PORT: OUTCOME, got {text:?}"))
    }

    fn try_parse(text: &'t str) -> Option<Line<'t>> {
        let (question, answer) = text.split_once(": ")?;
        let mut words = question.split(' ');
        let (from, arrow, to) = (words.next()?, words.next()?, words.next()?);
        let (protocol, port) = (words.next()?, words.next()?);
        let mut answer = answer.split("; ");
        let outcome = answer.next()?;
        let is_known = ["passes", "audited", "policy_egress", "policy_ingress"].contains(&outcome);
        let (mut egress, mut ingress) = (None, None);
        for rule in answer {
            match rule.split_once(' ')? {
                ("egress", rule) => egress = Some(rule),
                ("ingress", rule) => ingress = Some(rule),
                _ => return None,
            }
        }
        let is_tcp = protocol == "tcp";
        let port = port.parse().ok()?;
        (arrow == "->" && is_known && (is_tcp || protocol == "udp")).then_some(Line {
            text,
            from,
            to,
            is_tcp,
            port,
            outcome,
            egress,
            ingress,
        })
    }

    /// Asks.
    pub fn start(&self, story: &Story<'_>, family: &Family) -> Probe {
        // Below the ports that kernels choose; each once.
        static NEXT: AtomicU16 = AtomicU16::new(20_000);
        let own = NEXT.fetch_add(1, Ordering::Relaxed);
        let ip = |text: String| text.parse::<IpAddr>().unwrap();
        let from = SocketAddr::new(ip(story.cast.address(family, self.from)), own);
        let to = story.cast.target(family, self.from, self.to);
        let url = family.url(&to, &format!(":{}/", self.port));
        let to = SocketAddr::new(ip(to), self.port);
        let room = story.cast.room(self.from);
        let asks = if self.is_tcp {
            let (source, port) = (from.ip().to_string(), own.to_string());
            let curl = ["curl", "-sS", "-g", "--noproxy", "*", "--max-time", ANSWER_S_MAX];
            let curl = [&curl[..], &["--interface", &source, "--local-port", &port, &url]].concat();
            let mut curl = inside(story.lab, room, &curl);
            curl.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
            Asks::Curl(curl.spawn().expect("curl runs"))
        } else {
            let socket = story.lab.within(room, || UdpSocket::bind(from).unwrap());
            socket.set_nonblocking(true).unwrap();
            let asks = Asks::Socket(socket);
            asks.send(to);
            asks
        };
        Probe { from, to, asks }
    }
}

/// A command inside a namespace that is ended by ending the process itself.
pub fn inside(lab: &Lab, room: &str, command: &[&str]) -> Command {
    let mut run = Command::new("ip");
    run.args(["netns", "exec", &lab.namespace(room)]).args(command);
    run
}

impl Display for Line<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

/// Somebody who asks; he does not wait any longer when this goes.
#[derive(Debug)]
pub struct Probe {
    pub from: SocketAddr,
    pub to: SocketAddr,
    asks: Asks,
}

#[derive(Debug)]
enum Asks {
    Curl(Child),
    Socket(UdpSocket),
}

impl Asks {
    fn send(&self, to: SocketAddr) {
        if let Asks::Socket(socket) = self {
            socket.send_to(b"hello", to).unwrap();
        }
    }

    fn received(&self) -> Option<String> {
        let Asks::Socket(socket) = self else { return None };
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }
}

impl Probe {
    /// Asks once more, by UDP.
    pub fn again(&self) {
        self.asks.send(self.to);
    }

    /// The answer; there must be one.
    pub fn answer(&mut self) -> String {
        if let Asks::Curl(curl) = &mut self.asks {
            let mut text = String::new();
            let _ = curl.stdout.take().expect("it is asked once").read_to_string(&mut text);
            return text;
        }
        eventually("an answer", || self.asks.received())
    }

    /// What has been answered until now; it is told once.
    pub fn so_far(&mut self) -> String {
        match &mut self.asks {
            Asks::Curl(curl) => {
                // It goes on to try, or has got something.
                let has_ended = curl.try_wait().unwrap();
                has_ended.map(|status| format!("curl ended: {status}")).unwrap_or_default()
            }
            Asks::Socket(_) => {
                std::thread::sleep(Duration::from_millis(50));
                self.asks.received().unwrap_or_default()
            }
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        if let Asks::Curl(curl) = &mut self.asks {
            let _ = curl.kill();
            let _ = curl.wait();
        }
    }
}
