use super::{Finding, cores};
use crate::cli::units;
use rustix::net::{AddressFamily, SocketType, socket};
use rustix::process::{Resource, getrlimit};
use sluice_config::{Backend, Config, Io};
use sluice_io::{AllMulticast, CHUNK_LEN};
use std::fs;

/// Address family of AF_XDP sockets (`linux/socket.h`).
const AF_XDP: u16 = 44;

/// Capabilities by number (`linux/capability.h`).
const CAP_NET_ADMIN: u32 = 12;
const CAP_NET_RAW: u32 = 13;
const CAP_IPC_LOCK: u32 = 14;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_SYS_RESOURCE: u32 = 24;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// UMEM frames where no configuration says otherwise.
const FRAMES_DEFAULT: u32 = 32_768;

/// Everything that concerns the machine and the process, not a device.
pub(super) fn findings(config: Option<&Config>) -> Vec<Finding> {
    let capabilities = effective_capabilities();
    let mut findings = match backend(config) {
        // The kernel has no part in it, but for addresses of its own.
        Some(dpdk) => vec![dpdk],
        None => vec![
            kernel(),
            xdp_sockets(capabilities),
            multicast(),
            privileges(capabilities),
            locked_memory(config, capabilities),
        ],
    };
    findings.push(huge_pages(config));
    findings.push(transparent_huge_pages());
    findings.extend(cores::findings(config));
    findings
}

fn kernel() -> Finding {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy().into_owned();
    match version(&release) {
        Some(at) if at < (5, 11) => Finding::bad(
            "kernel",
            format!("{release}: AF_XDP with bpf_link and need_wakeup needs Linux 5.11 or later"),
        )
        .mend("apt-get install linux-image-amd64 (and reboot)"),
        Some(at) if at < (6, 4) => Finding::warn(
            "kernel",
            format!("{release}: payloads are moved on encapsulation; Linux 6.4 needs no copy"),
        )
        .mend("apt-get install -t bookworm-backports linux-image-amd64 (and reboot)"),
        _ => Finding::ok("kernel", release),
    }
}

/// Major and minor number of a kernel release such as `6.1.0-13-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn xdp_sockets(capabilities: u64) -> Finding {
    use rustix::io::Errno;
    match socket(AddressFamily::from_raw(AF_XDP), SocketType::RAW, None) {
        Ok(_) => Finding::ok("AF_XDP", "sockets can be made"),
        Err(Errno::PERM) if !has(capabilities, CAP_NET_RAW) => {
            Finding::bad("AF_XDP", "sockets need CAP_NET_RAW").mend("sudo sluice ...")
        }
        Err(Errno::AFNOSUPPORT) => {
            Finding::bad("AF_XDP", "the kernel was built without CONFIG_XDP_SOCKETS")
                .mend("apt-get install linux-image-amd64 (and reboot)")
        }
        Err(error) => Finding::bad("AF_XDP", format!("no socket can be made: {error}")),
    }
}

/// Solicited-node groups come through a NIC's filter only when joined.
fn multicast() -> Finding {
    match AllMulticast::probe() {
        Ok(()) => Finding::ok("multicast", "all groups can be joined, as IPv6 neighbors need"),
        Err(error) => Finding::bad("multicast", error.to_string())
            .mend("sudo sluice ..., and modprobe af_packet"),
    }
}

fn privileges(capabilities: u64) -> Finding {
    let has_admin = has(capabilities, CAP_SYS_ADMIN);
    let wanted = [
        ("CAP_NET_ADMIN", has(capabilities, CAP_NET_ADMIN)),
        ("CAP_NET_RAW", has(capabilities, CAP_NET_RAW)),
        ("CAP_BPF", has(capabilities, CAP_BPF) || has_admin),
        // The XDP program adds lengths that it reads to packet pointers.
        ("CAP_PERFMON", has(capabilities, CAP_PERFMON) || has_admin),
    ];
    let missing: Vec<&str> =
        wanted.iter().filter(|(_, present)| !present).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        return Finding::ok("capabilities", "all that are needed are there");
    }
    Finding::bad("capabilities", format!("missing: {}", missing.join(", "))).mend(
        "sudo sluice ..., or setcap cap_net_admin,cap_net_raw,cap_bpf,cap_perfmon+ep on the binary",
    )
}

/// The effective capabilities of this process, a bit each.
fn effective_capabilities() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0)
}

fn has(capabilities: u64, number: u32) -> bool {
    capabilities >> number & 1 == 1
}

fn umem_bytes(config: Option<&Config>) -> u64 {
    let frames = config.map_or(FRAMES_DEFAULT, |config| config.io.frames);
    u64::from(frames) * CHUNK_LEN as u64
}

fn locked_memory(config: Option<&Config>, capabilities: u64) -> Finding {
    const TOPIC: &str = "locked memory";
    let needed = umem_bytes(config);
    match getrlimit(Resource::Memlock).current {
        None => Finding::ok(TOPIC, "unlimited"),
        _ if has(capabilities, CAP_IPC_LOCK) || has(capabilities, CAP_SYS_RESOURCE) => {
            Finding::ok(TOPIC, "limited, but this process may exceed or raise the limit")
        }
        Some(limit) if limit >= needed => {
            Finding::ok(TOPIC, format!("{} may be locked", units::bytes(limit)))
        }
        Some(limit) => Finding::bad(
            TOPIC,
            format!("{} may be locked, {} are needed", units::bytes(limit), units::bytes(needed)),
        )
        .mend("ulimit -l unlimited, or LimitMEMLOCK=infinity in the unit"),
    }
}

fn huge_pages(config: Option<&Config>) -> Finding {
    const TOPIC: &str = "huge pages";
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let number = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').trim().trim_end_matches(" kB").trim().parse::<u64>().ok()
    };
    let (Some(free), Some(size_kib)) = (number("HugePages_Free"), number("Hugepagesize")) else {
        return Finding::warn(TOPIC, "the kernel has none (CONFIG_HUGETLBFS)");
    };
    let dpdk = config.map(|config| &config.io).filter(|io| io.backend == Backend::Dpdk);
    if dpdk.is_some_and(|io| !io.dpdk.huge_pages) {
        return Finding::warn(
            TOPIC,
            "DPDK does without, as is configured: no NIC can, and it is slower",
        )
        .mend("`io.dpdk.huge_pages: true`");
    }
    if let Some(io) = dpdk {
        return of_dpdk(TOPIC, io);
    }
    let wanted = umem_bytes(config).div_ceil(size_kib.max(1) * 1024);
    if free >= wanted {
        return Finding::ok(TOPIC, format!("{free} of {size_kib} KiB are free, {wanted} are used"));
    }
    let total = number("HugePages_Total").unwrap_or(0);
    let text =
        format!("{free} of {size_kib} KiB are free; {wanted} would hold the packets' memory");
    // AF_XDP goes on in usual pages.
    Finding::warn(TOPIC, text).mend(format!("sysctl -w vm.nr_hugepages={}", total + wanted - free))
}

#[cfg(feature = "dpdk")]
fn of_dpdk(topic: &str, io: &Io) -> Finding {
    match sluice_io::dpdk::check_memory(io.frames) {
        Ok(()) => Finding::ok(topic, "enough of them are free for DPDK"),
        Err(error) => Finding::bad(topic, error.to_string()),
    }
}

#[cfg(not(feature = "dpdk"))]
fn of_dpdk(topic: &str, _: &Io) -> Finding {
    Finding::warn(topic, "a build with DPDK knows how many it needs")
}

/// Whether this build can do what is configured.
fn backend(config: Option<&Config>) -> Option<Finding> {
    let config = config.filter(|config| config.io.backend == Backend::Dpdk)?;
    let names: Vec<_> = config.ports.iter().map(|port| port.device.as_str()).collect();
    Some(match cfg!(feature = "dpdk") {
        true => {
            Finding::ok("DPDK", format!("is part of this build; devices: {}", names.join("; ")))
        }
        false => Finding::bad("DPDK", "is not part of this build")
            .mend("cargo build --release -p sluice --features dpdk"),
    })
}

fn transparent_huge_pages() -> Finding {
    const TOPIC: &str = "THP";
    const PATH: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
    let modes = fs::read_to_string(PATH).unwrap_or_default();
    match modes.split_once('[').and_then(|(_, rest)| rest.split_once(']')) {
        Some((mode @ ("always" | "madvise"), _)) => {
            Finding::ok(TOPIC, format!("transparent huge pages: {mode}"))
        }
        _ => Finding::warn(TOPIC, "no transparent huge pages: the flow table misses the TLB more")
            .mend(format!("echo madvise > {PATH}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read() {
        assert_eq!(version("6.1.0-13-amd64"), Some((6, 1)));
        assert_eq!(version("5.11-rc1"), Some((5, 11)));
        assert_eq!(version("odd"), None);
    }
}
