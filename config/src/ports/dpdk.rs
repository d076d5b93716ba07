use crate::read::{Field, Reader, Reported, text};

/// Reads a device as DPDK takes it, up to 255 characters. An address on the PCI bus is written
/// as DPDK writes it, with which it compares.
pub(super) fn device(reader: &mut Reader<'_>, field: Field<'_>) -> Result<String, Reported> {
    let expected = "an address on the PCI bus such as `0000:3b:00.0`, or a virtual device such as \
                    `net_af_packet0,iface=eth1`";
    let read = text(expected, |text| {
        let (name, arguments) = text.find(',').map_or((text, ""), |comma| text.split_at(comma));
        let is_virtual = name.starts_with("net_")
            && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_');
        let name = match is_virtual {
            true => Some(name.to_owned()),
            false => pci_address(name),
        };
        let valid = text.len() <= 255 && text.chars().all(|c| c.is_ascii_graphic());
        name.filter(|_| valid).map(|name| format!("{name}{arguments}")).ok_or(String::new())
    });
    read(reader, field)
}

/// `[domain:]bus:device.function` as DPDK writes it (`PCI_PRI_FMT` in `rte_pci.h`): all of it,
/// in lower case.
fn pci_address(text: &str) -> Option<String> {
    let (front, function) = text.rsplit_once('.')?;
    let mut front = front.rsplitn(3, ':');
    let (device, bus) = (front.next()?, front.next()?);
    let domain = front.next().unwrap_or("0");
    let number = |text: &str, max: u32| {
        let is_hex = text.bytes().all(|c| c.is_ascii_hexdigit());
        u32::from_str_radix(text, 16).ok().filter(|number| is_hex && *number <= max)
    };
    let (domain, bus) = (number(domain, u32::MAX)?, number(bus, 0xff)?);
    let (device, function) = (number(device, 0x1f)?, number(function, 7)?);
    Some(format!("{domain:04x}:{bus:02x}:{device:02x}.{function:x}"))
}

/// The device of the kernel's that a virtual one of DPDK's takes its frames from; `None`: it
/// has none, or makes its own.
pub(crate) fn kernel_device(device: &str) -> Option<&str> {
    let mut parts = device.split(',');
    let name = parts.next()?;
    let is = |driver: &str| {
        let number = name.strip_prefix(driver);
        number.is_some_and(|number| number.bytes().all(|c| c.is_ascii_digit()))
    };
    let key = match name {
        _ if ["net_af_packet", "net_af_xdp", "net_pcap"].into_iter().any(is) => "iface",
        // `iface` is the name of the one that it makes.
        _ if is("net_tap") => "remote",
        _ => return None,
    };
    parts.filter_map(|part| part.split_once('=')).find_map(|(of, name)| (of == key).then_some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pci_addresses_are_written_as_dpdk_does() {
        for (text, expected) in [
            ("0000:3b:00.0", Some("0000:3b:00.0")),
            ("3b:00.1", Some("0000:3b:00.1")),
            ("0:3B:1f.7", Some("0000:3b:1f.7")),
            ("10000:E1:00.0", Some("10000:e1:00.0")),
            ("3b:00", None),
            ("3b:20.0", None),
            ("3b:00.8", None),
            ("3b:+1.0", None),
            ("1:2:3:4.0", None),
            (":3b:00.0", None),
            ("eth1", None),
        ] {
            assert_eq!(pci_address(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn the_kernels_device_is_told_from_one_that_dpdk_makes() {
        for (device, expected) in [
            ("net_af_packet0,iface=eth1,qpairs=2", Some("eth1")),
            ("net_af_xdp,start_queue=0,iface=eth1", Some("eth1")),
            ("net_pcap1,iface=eth1", Some("eth1")),
            ("net_tap0,iface=tap0", None),
            ("net_tap0,iface=tap0,remote=eth1", Some("eth1")),
            ("net_memif0,socket=/x,iface=eth1", None),
            ("net_af_packetx0,iface=eth1", None),
            ("0000:3b:00.0,iface=eth1", None),
            ("eth1", None),
        ] {
            assert_eq!(kernel_device(device), expected, "{device}");
        }
    }
}
