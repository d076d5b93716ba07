//! Who holds a default route, by procfs.

use std::fs;
use std::io;

/// Of the calling thread: `/proc/net` is the one of the first thread.
const ROUTES_V4: &str = "/proc/thread-self/net/route";
const ROUTES_V6: &str = "/proc/thread-self/net/ipv6_route";

/// Routes that refuse traffic (`RTF_REJECT`), such as IPv6's built-in one.
const RTF_REJECT: u32 = 0x0200;

/// True when an IPv4 or IPv6 default route leaves through the device. (A
/// multipath IPv6 route shows one line for each of its devices.)
pub(super) fn has_default_route(name: &str) -> io::Result<bool> {
    let v4 = fs::read_to_string(ROUTES_V4)?;
    // A kernel without IPv6 has no such file.
    let v6 = match fs::read_to_string(ROUTES_V6) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        text => text?,
    };
    Ok(v4.lines().skip(1).any(|line| is_default_v4(line, name))
        || v6.lines().any(|line| is_default_v6(line, name)))
}

/// `Iface Destination Gateway Flags RefCnt Use Metric Mask ...`, in hex.
fn is_default_v4(line: &str, name: &str) -> bool {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let [device, destination, _, flags, _, _, _, mask, ..] = fields[..] else { return false };
    device == name && is_zero(destination) && is_zero(mask) && !is_reject(flags)
}

/// `destination len source len next-hop metric refcnt use flags device`.
fn is_default_v6(line: &str, name: &str) -> bool {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let [destination, len, _, _, _, _, _, _, flags, device] = fields[..] else { return false };
    device == name && is_zero(destination) && is_zero(len) && !is_reject(flags)
}

fn is_zero(hex: &str) -> bool {
    hex.bytes().all(|digit| digit == b'0')
}

fn is_reject(flags: &str) -> bool {
    u32::from_str_radix(flags, 16).is_ok_and(|flags| flags & RTF_REJECT != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_default_route_of_the_device_counts() {
        let default = "eth0\t00000000\t0102000A\t0003\t0\t0\t0\t00000000\t0\t0\t0";
        let connected = "eth0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0";
        assert!(is_default_v4(default, "eth0"));
        assert!(!is_default_v4(default, "eth1"));
        assert!(!is_default_v4(connected, "eth0"));
        assert!(!is_default_v4("eth0 00000000", "eth0"));
    }

    #[test]
    fn the_reject_route_of_ipv6_is_no_default_route() {
        let zero = "00000000000000000000000000000000";
        let via = "fe800000000000000000000000000001";
        let line = |flags: &str, device: &str| {
            format!("{zero} 00 {zero} 00 {via} 00000400 00000001 00000000 {flags} {device:>8}")
        };
        assert!(is_default_v6(&line("00000003", "eth0"), "eth0"));
        assert!(!is_default_v6(&line("00200200", "lo"), "lo"));
        assert!(!is_default_v6(&line("00000003", "eth0"), "eth1"));
    }
}
