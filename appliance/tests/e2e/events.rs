//! What is told of single packets: drops that are followed, captures, the flow log.

use crate::gateway::{Gateway, SLUICE};
use crate::lab::{FAMILIES, Family, Lab, eventually, succeeded};
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption;
use pcap_file::pcapng::{Block, PcapNgReader};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A command of `sluice` that goes on until it is interrupted; it is killed when this
/// goes.
pub struct Watching {
    child: Child,
    out: PathBuf,
    log: PathBuf,
}

impl Watching {
    pub fn start(lab: &Lab, name: &str, arguments: &[&str]) -> Watching {
        let (out, log) = (lab.folder.join(name), lab.folder.join(format!("{name}.err")));
        let child = Command::new(SLUICE)
            .args(arguments)
            .arg("--socket")
            .arg(lab.folder.join("sluice.sock"))
            .stdin(Stdio::null())
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Watching { child, out, log }
    }

    pub fn printed(&self) -> String {
        fs::read_to_string(&self.out).unwrap()
    }

    /// Interrupts it; what it has said to standard error.
    fn interrupt(mut self) -> String {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        eventually("the end of a command", || self.child.try_wait().unwrap());
        fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until so many watch.
pub fn until_watched(gateway: &Gateway<'_>, stream: &str, count: f64) {
    let label = format!("stream=\"{stream}\"");
    eventually("somebody who watches", || {
        (gateway.metric("sluice_watchers", &[&label]) == count).then_some(())
    });
}

/// A datagram of the client's with a pod's address as its source.
fn spoof(lab: &Lab, family: Family) {
    let device = lab.ok("client", &["ip", "-o", "route", "get", family.web]);
    let device = device.split(" dev ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    let prefix = if family.name == "IPv4" { 32 } else { 128 };
    let address = format!("{}/{prefix}", family.pod1a);
    let add = ["ip", "addr", "add", &address, "dev", device];
    let nodad = if prefix == 128 { &["nodad"][..] } else { &[] };
    lab.ok("client", &[&add[..], nodad].concat());
    let (from, to) = (family.pod1a, family.web);
    lab.ok("client", &["python3", "-c", SEND, from, to, "5353"]);
    lab.ok("client", &["ip", "addr", "del", &address, "dev", device]);
}

/// One datagram from an address.
const SEND: &str = "
import socket, sys
source, to, port = sys.argv[1:]
family = socket.AF_INET6 if ':' in to else socket.AF_INET
client = socket.socket(family, socket.SOCK_DGRAM)
client.bind((source, 4444))
client.sendto(b'hello', (to, int(port)))
";

#[test]
fn drops_are_followed_with_names_and_captured_with_reasons() {
    let Some(lab) = Lab::up(&[]) else { return };
    let gateway = Gateway::ready(&lab);
    let json = Watching::start(&lab, "json", &["show", "drops", "--follow", "-o", "json"]);
    let text = ["show", "drops", "--follow", "--reason", "spoofed_pod", "--proto", "udp"];
    let text = Watching::start(&lab, "text", &text);
    let tcp = Watching::start(&lab, "tcp", &["show", "drops", "--follow", "--proto", "tcp"]);
    let file = lab.folder.join("drops.pcapng");
    let capture = ["capture", "--drops-only", "--src", "10.244.0.0/16", "-w"];
    let capture = [&capture[..], &[file.to_str().unwrap()]].concat();
    let capture = Watching::start(&lab, "capture", &capture);
    until_watched(&gateway, "follow", 3.0);
    until_watched(&gateway, "capture", 1.0);
    // One more is refused.
    let refused = gateway.ask(&["show", "drops", "--follow"]);
    assert!(!refused.status.success());
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(error.contains("no more may at once"), "{error}");
    for family in FAMILIES {
        spoof(&lab, family);
        let event = eventually("a drop that is told of", || {
            let printed = json.printed();
            let lines = printed.lines().filter_map(|line| serde_json::from_str(line).ok());
            lines.into_iter().find(|line: &Value| {
                line["reason"] == "spoofed_pod" && line["source"]["address"] == family.pod1a
            })
        });
        assert_eq!((&event["event"], &event["protocol"]), (&"drop".into(), &"UDP".into()));
        assert_eq!(event["source"]["port"], 4444);
        assert_eq!(event["source"]["pod"], "pod1a", "{event}");
        assert_eq!(event["destination"]["address"], family.web);
        assert_eq!(event["destination"]["port"], 5353);
        assert_eq!(event["from"], "port uplink");
        let line = eventually("a line", || {
            let is_it = |line: &&str| line.contains(family.pod1a) && line.ends_with('k');
            text.printed().lines().find(is_it).map(str::to_owned)
        });
        assert!(line.contains("spoofed_pod") && line.contains("(default/pod1a)"), "{line}");
        assert!(line.contains("from port uplink"), "{line}");
    }
    // Nobody listens there: a reset, and a drop of another protocol.
    let refused = FAMILIES[0].url(FAMILIES[0].web, ":81/");
    assert!(!lab.run("client", &["curl", "-s", "--max-time", "5", &refused]).status.success());
    eventually("a drop of TCP", || tcp.printed().contains("vip_port_unused").then_some(()));
    assert!(!tcp.printed().contains("spoofed_pod"), "{}", tcp.printed());
    assert!(!text.printed().contains("vip_port_unused"), "{}", text.printed());
    let said = capture.interrupt();
    assert!(said.contains("1 packet captured, 0 lost"), "{said}");
    let comments = comments(&fs::read(file).unwrap());
    assert_eq!(comments.len(), 1);
    assert!(comments[0].starts_with("dropped: spoofed_pod: A source address that"), "{comments:?}");
    drop((json, text, tcp));
    until_watched(&gateway, "follow", 0.0);
    until_watched(&gateway, "capture", 0.0);
    assert!(gateway.metric("sluice_events_total", &["kind=\"drop\""]) >= 3.0);
    assert_eq!(gateway.metric("sluice_events_lost_total", &[]), 0.0);
    gateway.stop();
}

/// The comments of all packets of a capture.
fn comments(file: &[u8]) -> Vec<String> {
    let mut reader = PcapNgReader::new(file).unwrap();
    let mut comments = Vec::new();
    while let Some(block) = reader.next_block() {
        if let Block::EnhancedPacket(packet) = block.unwrap() {
            assert!(!packet.data.is_empty());
            comments.extend(packet.options.iter().filter_map(|option| match option {
                EnhancedPacketOption::Comment(text) => Some(text.to_string()),
                _ => None,
            }));
        }
    }
    comments
}

#[test]
fn a_capture_of_a_service_has_both_directions_and_ends_by_itself() {
    let Some(lab) = Lab::up(&[]) else { return };
    let gateway = Gateway::ready(&lab);
    let file = lab.folder.join("web.pcapng");
    let file = file.to_str().unwrap();
    for family in FAMILIES {
        // Handshake and request: both directions of one connection.
        let arguments = ["capture", "--port", "8080", "--proto", "tcp", "--count", "4", "-w", file];
        let mut capture = Watching::start(&lab, "capture", &arguments);
        until_watched(&gateway, "capture", 1.0);
        assert!(lab.curl("client", &family.url(family.web, "/")).contains("pod="));
        let status = eventually("the end of a capture", || capture.child.try_wait().unwrap());
        assert!(status.success());
        let comments = comments(&fs::read(file).unwrap());
        assert_eq!(comments.len(), 4);
        let to_pods = comments
            .iter()
            .filter(|comment| comment.contains("]:8080;") || comment.contains(":8080;"));
        assert!(to_pods.count() >= 1, "{comments:?}");
        assert!(comments.iter().all(|comment| comment.starts_with("forwarded; leaves as ")));
        // What the capture's own format says of it, where the tool is there.
        if let Ok(output) = Command::new("capinfos").arg("-c").arg(file).output() {
            let text = succeeded(&output, "capinfos");
            assert!(text.contains('4'), "{text}");
        }
    }
    gateway.stop();
}

#[test]
fn the_flow_log_has_begin_and_end_of_a_connection_and_is_opened_again() {
    let Some(lab) = Lab::up(&[]) else { return };
    lab.add_config(
        "observe: {flow_log: {path: flows.log}}\nflows: {timeouts: {tcp_time_wait_s: 1, tcp_close_s: 1}}",
    );
    let gateway = Gateway::ready(&lab);
    let path = lab.folder.join("flows.log");
    let find = |path: &PathBuf, event: &str, family: Family| {
        eventually("a line of the flow log", || {
            let text = fs::read_to_string(path).unwrap_or_default();
            let lines: Vec<Value> =
                text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
            lines
                .into_iter()
                .find(|line| line["event"] == event && line["destination"]["address"] == family.web)
        })
    };
    for family in FAMILIES {
        assert!(lab.curl("client", &family.url(family.web, "/")).contains("pod="));
        let begun = find(&path, "begin", family);
        assert_eq!((&begun["protocol"], &begun["verdict"]), (&"TCP".into(), &"forwarded".into()));
        assert_eq!(begun["source"]["address"], family.client);
        assert_eq!(
            (&begun["destination"]["port"], &begun["service"]),
            (&80.into(), &"default/web:80".into())
        );
        let translated = &begun["translated"];
        assert!(translated["source"]["address"].as_str().unwrap().starts_with(family.snat));
        assert_eq!(translated["destination"]["port"], 8080);
        assert_eq!(translated["destination"]["namespace"], "default", "{begun}");
        let ended = find(&path, "end", family);
        for key in ["source", "destination", "translated"] {
            assert_eq!(begun[key], ended[key]);
        }
        assert!(ended["packets_in"].as_u64() >= Some(4), "{ended}");
    }
    let rotated = lab.folder.join("flows.log.1");
    fs::rename(&path, &rotated).unwrap();
    gateway.signal(Signal::HUP);
    eventually("the new file", || path.exists().then_some(()));
    assert!(lab.curl("client", &FAMILIES[1].url(FAMILIES[1].web, "/")).contains("pod="));
    find(&path, "begin", FAMILIES[1]);
    gateway.stop();
}
