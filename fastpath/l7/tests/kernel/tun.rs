//! A network namespace of this thread's own, and a TUN device in it.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, read, write};
use rustix::ioctl::{Setter, ioctl};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use rustix::time::{ClockId, clock_gettime};
use std::os::fd::OwnedFd;
use std::process::Command;

/// The kernel's addresses, and those that packets are sent to the device for.
pub const KERNEL: [&str; 2] = ["10.9.0.1", "fd99::1"];
pub const ENGINE: [&str; 2] = ["10.9.0.2", "fd99::2"];

const DEVICE: &str = "/dev/net/tun";
const TUNSETIFF: rustix::ioctl::Opcode = 0x4004_54ca;
const IFF_TUN: u16 = 1;
const IFF_NO_PI: u16 = 0x1000;

/// `struct ifreq`, as far as it is used.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

/// The device: what the kernel sends comes out, what goes in the kernel receives.
pub struct Tun(OwnedFd);

impl Tun {
    /// Moves this thread, and those that it will start, into a namespace of their own,
    /// which goes with the last of them. `None`, with a word about it, without the
    /// privilege.
    pub fn up() -> Option<Tun> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: network namespaces and TUN devices need root");
            return None;
        }
        if !std::path::Path::new(DEVICE).exists() {
            eprintln!("skipped: there is no {DEVICE}");
            return None;
        }
        // SAFETY: file descriptors stay what they are.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
        // It belongs to the namespace that it is opened in.
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let device = open(DEVICE, flags, Mode::empty()).unwrap();
        let mut request = InterfaceRequest { name: [0; 16], flags: 0, rest: [0; 22] };
        request.name[..4].copy_from_slice(b"tun0");
        request.flags = IFF_TUN | IFF_NO_PI;
        // SAFETY: this is the structure that the request takes.
        unsafe { ioctl(&device, Setter::<TUNSETIFF, _>::new(request)) }.unwrap();
        for line in [
            "addr add 10.9.0.1/24 dev tun0",
            "addr add fd99::1/64 dev tun0 nodad",
            "link set lo up",
            "link set tun0 mtu 1500 up",
        ] {
            run("ip", line);
        }
        Some(Tun(device))
    }

    /// The next packet from the kernel, if there is one.
    pub fn read<'a>(&self, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
        match read(&self.0, &mut *buffer) {
            Ok(len) => Some(&buffer[..len]),
            Err(Errno::AGAIN | Errno::INTR) => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// Gives the kernel a packet, or loses it where there is no room.
    pub fn write(&self, packet: &[u8]) {
        match write(&self.0, packet) {
            Ok(len) => assert_eq!(len, packet.len()),
            Err(Errno::AGAIN | Errno::INTR | Errno::NOBUFS) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// Waits for a packet.
    pub fn wait(&self, ns: u64) {
        let timeout = Timespec { tv_sec: 0, tv_nsec: ns.min(999_999_999) as i64 };
        let _ = poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&timeout));
    }
}

/// Runs a command, which must succeed.
pub fn run(command: &str, arguments: &str) {
    let output = Command::new(command).args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "{command} {arguments}: {output:?}");
}

/// Segments of which the kernel said that they are wrong.
pub fn kernel_errors() -> u64 {
    let snmp = std::fs::read_to_string("/proc/thread-self/net/snmp").unwrap();
    let mut lines = snmp.lines().filter(|line| line.starts_with("Tcp:"));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let of = |name: &str| {
        let at = names.split(' ').position(|known| known == name).unwrap();
        values.split(' ').nth(at).unwrap().parse::<u64>().unwrap()
    };
    of("InErrs") + of("InCsumErrors")
}

/// Nanoseconds of the system's clock.
pub fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
