//! Two gateways and a client on one link, in network namespaces of their own,
//! with the API server within reach.

use crate::lab::{ControlPlane, eventually, succeeded};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

const SLUICE: &str = env!("CARGO_BIN_EXE_sluice");

/// Time between two pings of a VIP.
const PING_S: &str = "0.05";

/// How often the client forgets its neighbors, so that it asks for them.
const FLUSH: Duration = Duration::from_millis(150);

/// How a gateway ends.
#[derive(Clone, Copy, Debug)]
pub enum Stop {
    /// By signal 9.
    Kill,
    /// By signal 15.
    InOrder,
}

/// The link; all of it goes when this does.
pub struct Link {
    prefix: String,
    folder: tempfile::TempDir,
    kubeconfig: PathBuf,
    gateways: [Option<Child>; 2],
    api: [Arc<AtomicBool>; 2],
    capture: Option<Child>,
    captured: Arc<Mutex<Vec<(String, String)>>>,
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Link {
    /// The MAC of a gateway.
    pub fn mac(i: usize) -> String {
        format!("02:00:00:00:0a:0{}", i + 1)
    }

    /// Brings it up. `None`, with a word about it, without the privilege.
    pub fn up(cluster: &ControlPlane) -> Option<Link> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: network namespaces and AF_XDP need root");
            return None;
        }
        let mut link = Link {
            prefix: format!("link-{}-{}", std::process::id(), cluster.server.len()),
            folder: tempfile::tempdir().unwrap(),
            kubeconfig: cluster.kubeconfig(),
            gateways: [None, None],
            api: [(); 2].map(|()| Arc::new(AtomicBool::new(true))),
            capture: None,
            captured: Arc::default(),
            is_over: Arc::default(),
            threads: Vec::new(),
        };
        link.build();
        let server = cluster.server.trim_start_matches("https://").to_owned();
        for i in 0..2 {
            link.forward_api(i, &server);
        }
        link.start_capture();
        Some(link)
    }

    fn ns(&self, short: &str) -> String {
        format!("{}-{short}", self.prefix)
    }

    fn build(&self) {
        let shorts = ["hub", "client", "gw0", "gw1"];
        for short in shorts {
            ip(&["netns", "add", &self.ns(short)]);
            ip(&["-n", &self.ns(short), "link", "set", "lo", "up"]);
            let silent = short != "client";
            let settings = [
                "net.ipv6.conf.all.accept_dad=0",
                "net.ipv6.conf.default.accept_dad=0",
                "net.ipv6.conf.default.accept_ra=0",
                // Sluice's namespaces send nothing of their own.
                if silent {
                    "net.ipv6.conf.default.disable_ipv6=1"
                } else {
                    "net.ipv4.ip_forward=0"
                },
            ];
            let all: Vec<&str> = ["sysctl", "-qw"].into_iter().chain(settings).collect();
            succeeded(&self.run(short, &all), "sysctl");
        }
        let hub = self.ns("hub");
        ip(&["-n", &hub, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0"]);
        ip(&["-n", &hub, "link", "set", "br0", "up"]);
        let macs = [Link::mac(0), Link::mac(1), "02:00:00:00:0a:10".to_owned()];
        for (short, mac) in ["gw0", "gw1", "client"].into_iter().zip(&macs) {
            ip(&[
                "link",
                "add",
                "name",
                "eth0",
                "netns",
                &self.ns(short),
                "address",
                mac,
                "type",
                "veth",
                "peer",
                "name",
                short,
                "netns",
                &hub,
            ]);
            ip(&["-n", &hub, "link", "set", short, "master", "br0", "up"]);
            ip(&["-n", &self.ns(short), "link", "set", "eth0", "up"]);
            for (at, device) in [(short, "eth0"), ("hub", short)] {
                let off = [
                    "ethtool", "-K", device, "tx", "off", "tso", "off", "gso", "off", "gro", "off",
                ];
                succeeded(&self.run(at, &off), "ethtool");
            }
        }
        let client = self.ns("client");
        ip(&["-n", &client, "address", "add", "192.0.2.10/24", "dev", "eth0"]);
        ip(&["-n", &client, "address", "add", "2001:db8:1::10/64", "dev", "eth0", "nodad"]);
    }

    /// A command in a namespace.
    fn command(&self, short: &str, command: &[&str]) -> Command {
        let mut run = Command::new("ip");
        run.args(["netns", "exec", &self.ns(short)]).args(command);
        run
    }

    fn run(&self, short: &str, command: &[&str]) -> Output {
        self.command(short, command).output().expect("ip netns exec runs")
    }

    /// Runs a command at the client.
    pub fn client(&self, command: &[&str]) -> Output {
        self.run("client", command)
    }

    /// Makes the API server, which is on this machine's loopback, answer on that
    /// of a gateway's namespace.
    fn forward_api(&mut self, i: usize, server: &str) {
        let (sender, receiver): (Sender<TcpStream>, Receiver<TcpStream>) = channel();
        let port = server.rsplit_once(':').expect("a port").1.to_owned();
        let (namespace, is_over) = (self.ns(&format!("gw{i}")), self.is_over.clone());
        self.threads.push(std::thread::spawn(move || {
            let file = File::open(format!("/var/run/netns/{namespace}")).unwrap();
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            let listener = TcpListener::bind(format!("127.0.0.1:{port}")).unwrap();
            listener.set_nonblocking(true).unwrap();
            while !is_over.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => sender.send(stream).unwrap(),
                    Err(_) => std::thread::sleep(Duration::from_millis(5)),
                }
            }
        }));
        let (server, is_there) = (server.to_owned(), self.api[i].clone());
        self.threads.push(std::thread::spawn(move || {
            for gateway in receiver {
                gateway.set_nonblocking(false).unwrap();
                let there = is_there.load(Ordering::Relaxed);
                if let (Ok(api), true) = (TcpStream::connect(&server), there) {
                    for (from, to) in [(&gateway, &api), (&api, &gateway)] {
                        let (mut from, mut to) =
                            (from.try_clone().unwrap(), to.try_clone().unwrap());
                        let is_there = is_there.clone();
                        std::thread::spawn(move || pump(&mut from, &mut to, &is_there));
                    }
                }
            }
        }));
    }

    /// Cuts a gateway off from the API.
    pub fn cut_api(&self, i: usize) {
        self.api[i].store(false, Ordering::Relaxed);
    }

    /// Starts a gateway, and waits until it runs.
    pub fn start(&mut self, i: usize) {
        let folder = self.folder.path();
        let config = folder.join(format!("gw{i}.yaml"));
        let text = format!(
            "
node_name: gateway-{i}
ports:
  - {{name: uplink, device: eth0, addresses: [192.0.2.{own}/24, '2001:db8:1::{own}/64']}}
io: {{frames: 4096, ring_len: 512}}
snat: {{addresses: [10.244.25{i}.0/28, 'fd00:10:244:{own}::/124']}}
services: {{external_ips: [192.0.2.0/24, '2001:db8:1::/64'], health_check_addresses: []}}
source: {{kubernetes: {{kubeconfig: {kubeconfig}}}}}
metrics: {{listen: '127.0.0.1:9090'}}
admin: {{socket: {socket}}}
",
            own = i + 1,
            kubeconfig = self.kubeconfig.display(),
            socket = folder.join(format!("gw{i}.sock")).display(),
        );
        std::fs::write(&config, text).unwrap();
        let log = File::options().create(true).append(true).open(self.log(i)).unwrap();
        let mut run = Command::new("nsenter");
        let namespace = format!("--net=/var/run/netns/{}", self.ns(&format!("gw{i}")));
        let child = run
            .args([&namespace, SLUICE, "run", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("nsenter runs");
        self.gateways[i] = Some(child);
        eventually("the gateway is ready", || {
            let curl = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}"];
            let all = [&curl[..], &["--max-time", "5", "http://127.0.0.1:9090/readyz"]].concat();
            let output = self.run(&format!("gw{i}"), &all);
            (output.stdout == b"200").then_some(())
        });
    }

    fn log(&self, i: usize) -> PathBuf {
        self.folder.path().join(format!("gw{i}.log"))
    }

    /// Ends a gateway.
    pub fn stop(&mut self, i: usize, how: Stop) {
        let Some(mut child) = self.gateways[i].take() else { return };
        let signal = match how {
            Stop::Kill => Signal::KILL,
            Stop::InOrder => Signal::TERM,
        };
        kill_process(Pid::from_child(&child), signal).unwrap();
        child.wait().unwrap();
    }

    /// The client forgets its neighbors again and again.
    pub fn client_flushes_neighbors(&mut self) {
        let (client, is_over) = (self.ns("client"), self.is_over.clone());
        self.threads.push(std::thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                ip(&["-n", &client, "neighbor", "flush", "dev", "eth0"]);
                std::thread::sleep(FLUSH);
            }
        }));
    }

    /// Begins to note who claims or answers for addresses, by ARP and ND.
    fn start_capture(&mut self) {
        let filter = "arp[6:2] = 2 or arp[14:4] = arp[24:4] or (icmp6 and ip6[40] = 136)";
        let mut child = self
            .command("client", &["tcpdump", "-l", "-n", "-e", "-i", "eth0", "-Q", "in", filter])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("tcpdump runs");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let captured = self.captured.clone();
        self.threads.push(std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some(claim) = claim(&line) {
                    captured.lock().unwrap().push(claim);
                }
            }
        }));
        self.capture = Some(child);
    }

    /// The claims so far: VIP and MAC.
    pub fn captured(&self) -> Vec<(String, String)> {
        self.captured.lock().unwrap().clone()
    }

    /// Forgets the claims so far.
    pub fn forget_capture(&self) {
        self.captured.lock().unwrap().clear();
    }

    /// One ping of each address, not waited for long.
    pub fn ping_once(&self, addresses: &[String]) {
        let start = |address: &String| {
            let mut run = self.command("client", &["ping", "-c", "1", "-W", "1", address]);
            run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("ping runs")
        };
        let children: Vec<Child> = addresses.iter().map(start).collect();
        children.into_iter().for_each(|mut child| drop(child.wait()));
    }

    /// Pings addresses from now on.
    pub fn ping(&self, addresses: &[String]) -> Pings {
        let start = |address: &String| {
            let mut run = self.command("client", &["ping", "-n", "-D", "-i", PING_S, address]);
            run.stdout(Stdio::piped()).stderr(Stdio::null());
            (address.clone(), run.spawn().expect("ping runs"))
        };
        Pings(addresses.iter().map(start).collect())
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for child in self.gateways.iter_mut().chain([&mut self.capture]).flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        for short in ["client", "gw0", "gw1", "hub"] {
            let _ = Command::new("ip").args(["netns", "del", &self.ns(short)]).output();
        }
        if std::thread::panicking() {
            for i in 0..2 {
                let log = std::fs::read_to_string(self.log(i)).unwrap_or_default();
                eprintln!("gateway {i}:\n{log}");
            }
        }
    }
}

/// Pings that go on.
pub struct Pings(Vec<(String, Child)>);

impl Pings {
    /// Ends them; the longest time between two answers, by address.
    pub fn finish(self) -> BTreeMap<String, Duration> {
        self.0
            .into_iter()
            .map(|(address, child)| {
                kill_process(Pid::from_child(&child), Signal::INT).unwrap();
                let output = child.wait_with_output().unwrap();
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                let times: Vec<f64> = text.lines().filter_map(answered_at).collect();
                let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
                let longest = gaps.fold(0.0, f64::max);
                assert!(times.len() > 10, "{address}: {text}");
                (address, Duration::from_secs_f64(longest))
            })
            .collect()
    }
}

/// When an answer came: `[1764115200.123456] 64 bytes from ...`.
fn answered_at(line: &str) -> Option<f64> {
    let (time, rest) = line.strip_prefix('[')?.split_once(']')?;
    rest.contains("bytes from").then(|| time.parse().ok())?
}

/// What tcpdump says of a claim: the address and the sender's MAC.
fn claim(line: &str) -> Option<(String, String)> {
    let mac = line.split_whitespace().nth(1)?.to_owned();
    let word_after = |what: &str| {
        let rest = line.split_once(what)?.1;
        Some(rest.split([',', ' ']).next()?.to_owned())
    };
    let address = if line.contains("ARP") {
        word_after("Reply ")
            .or_else(|| word_after("who-has ").or_else(|| word_after("Announcement ")))
    } else {
        word_after("tgt is ")
    }?;
    // Those of the gateways themselves are nobody else's.
    let last = address.rsplit(['.', ':']).next()?;
    (last.parse::<u32>().ok()? >= 100).then_some((address, mac))
}

fn pump(from: &mut TcpStream, to: &mut TcpStream, is_there: &AtomicBool) {
    use std::io::{Read, Write};
    let mut buffer = [0; 16 << 10];
    let _ = from.set_read_timeout(Some(Duration::from_millis(50)));
    loop {
        let read = from.read(&mut buffer);
        if !is_there.load(Ordering::Relaxed) {
            break;
        }
        match read {
            Ok(0) => break,
            Ok(n) if to.write_all(&buffer[..n]).is_err() => break,
            Ok(_) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) => {}
            Err(_) => break,
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().expect("ip runs");
    succeeded(&output, &format!("ip {arguments:?}"));
}
