use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::{self, File};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A gateway's namespace with devices `p0`, `p1`, ..., and one with their far
/// ends `e0`, `e1`, ...; both go when this does.
pub struct Lab {
    pub gateway: String,
    pub far: String,
}

/// Linux accepts this many bytes of payload by default.
const ETHERNET_MTU: &str = "1500";

impl Lab {
    /// Namespaces joined by `pairs` veth pairs of `queues` queues each way.
    /// `None`, with a word about it, without the privilege.
    pub fn new(pairs: usize, queues: usize) -> Option<Lab> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: network namespaces and AF_XDP need root");
            return None;
        }
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = |side| format!("sluice-io-{}-{id}-{side}", std::process::id());
        let lab = Lab { gateway: name("gw"), far: name("far") };
        for namespace in [&lab.gateway, &lab.far] {
            ip(&["netns", "add", namespace]);
            ip(&["-n", namespace, "link", "set", "lo", "up"]);
        }
        for pair in 0..pairs {
            lab.add_pair(&format!("p{pair}"), &format!("e{pair}"), &queues.to_string());
        }
        Some(lab)
    }

    fn add_pair(&self, near: &str, far: &str, queues: &str) {
        let sized = ["numrxqueues", queues, "numtxqueues", queues];
        let mut add = vec!["link", "add", near, "netns", &self.gateway, "mtu", ETHERNET_MTU];
        add.extend(sized);
        add.extend(["type", "veth", "peer", "name", far, "netns", &self.far]);
        add.extend(["mtu", ETHERNET_MTU]);
        add.extend(sized);
        ip(&add);
        for (namespace, device) in [(&self.gateway, near), (&self.far, far)] {
            // Silence: no router solicitations or duplicate address detection
            // among the frames that are counted.
            within(namespace, || {
                fs::write(format!("/proc/sys/net/ipv6/conf/{device}/accept_dad"), "0").unwrap();
                fs::write(format!("/proc/sys/net/ipv6/conf/{device}/disable_ipv6"), "1").unwrap();
            });
            // Checksums are finished and packets stay as they are.
            for feature in ["tx", "tso", "gso", "gro", "rxvlan", "txvlan"] {
                run("ip", &["netns", "exec", namespace, "ethtool", "-K", device, feature, "off"]);
            }
            ip(&["-n", namespace, "link", "set", device, "up"]);
        }
    }

    /// Runs in the gateway's namespace.
    pub fn in_gateway<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        within(&self.gateway, f)
    }

    /// A socket on a far end.
    pub fn packet_socket(&self, device: &str) -> PacketSocket {
        within(&self.far, || PacketSocket::open(device).unwrap())
    }

    /// A socket of the gateway's kernel: it sees what is passed to that.
    pub fn kernel_socket(&self, device: &str) -> PacketSocket {
        self.in_gateway(|| PacketSocket::open(device).unwrap())
    }

    /// Gives a device an address; IPv6 is switched on for those that get one.
    pub fn add_address(&self, namespace: &str, device: &str, address: &str) {
        if address.contains(':') {
            within(namespace, || {
                fs::write(format!("/proc/sys/net/ipv6/conf/{device}/disable_ipv6"), "0").unwrap();
            });
        }
        ip(&["-n", namespace, "address", "add", address, "dev", device]);
    }

    /// Runs a command on the far side.
    pub fn far_command(&self, command: &[&str]) -> std::process::Output {
        command_in(&self.far, command)
    }

    /// Runs a command on the gateway.
    pub fn gateway_command(&self, command: &[&str]) -> std::process::Output {
        command_in(&self.gateway, command)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for namespace in [&self.gateway, &self.far] {
            // One that was never made is no failure.
            let _ = Command::new("ip").args(["netns", "delete", namespace]).output();
        }
    }
}

fn command_in(namespace: &str, command: &[&str]) -> std::process::Output {
    let mut args = vec!["netns", "exec", namespace];
    args.extend(command);
    Command::new("ip").args(args).output().unwrap()
}

pub fn ip(args: &[&str]) {
    run("ip", args);
}

fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {stderr}", args.join(" "));
}

/// Runs on a thread of a namespace.
pub fn within<T: Send>(namespace: &str, f: impl FnOnce() -> T + Send) -> T {
    let joined = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                let path = format!("/var/run/netns/{namespace}");
                let file = File::open(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                f()
            })
            .join()
    });
    joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Repeats until there is an answer. A machine that is too busy to give one in
/// half a minute fails the test.
pub fn eventually<T>(what: &str, mut f: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(answer) = f() {
            return answer;
        }
        assert!(Instant::now() < deadline, "never came: {what}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Sends and receives whole frames on one device.
pub struct PacketSocket {
    fd: OwnedFd,
}

impl PacketSocket {
    /// On a device of this thread's namespace.
    fn open(device: &str) -> io::Result<Self> {
        let protocol = (libc::ETH_P_ALL as u16).to_be();
        let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: takes no pointers.
        let fd = unsafe { libc::socket(libc::AF_PACKET, kind, protocol.into()) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new descriptor that nobody else has.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: protocol,
            sll_ifindex: sluice_io::Device::inspect(device).unwrap().ifindex as i32,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: `address` is a `sockaddr_ll`, and `len` its size.
        let bound = unsafe { libc::bind(fd.as_raw_fd(), std::ptr::from_ref(&address).cast(), len) };
        let one: libc::c_int = 1;
        // SAFETY: the option is an integer.
        let set = unsafe {
            libc::setsockopt(
                fd.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_IGNORE_OUTGOING,
                std::ptr::from_ref(&one).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        if bound != 0 || set != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(PacketSocket { fd })
    }

    pub fn send(&self, frame: &[u8]) {
        // The device's queue can be full for a moment.
        eventually("room to send", || match rustix::io::write(&self.fd, frame) {
            Ok(len) => {
                assert_eq!(len, frame.len());
                Some(())
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::NOBUFS) => None,
            Err(error) => panic!("send: {error}"),
        });
    }

    /// A frame that has arrived.
    pub fn try_receive(&self) -> Option<Vec<u8>> {
        let mut buffer = [0; 4096];
        match rustix::io::read(&self.fd, &mut buffer) {
            Ok(len) => Some(buffer[..len].to_vec()),
            Err(rustix::io::Errno::AGAIN) => None,
            Err(error) => panic!("receive: {error}"),
        }
    }
}
