use super::QUEUES_MAX;
use super::error::DpdkError;
use crate::port::PortId;
use std::net::IpAddr;

/// What to open.
#[derive(Clone, Debug)]
pub struct DpdkOptions {
    /// The ports.
    pub ports: Vec<DpdkPortOptions>,
    /// Workers, each with a queue pair of every device.
    pub workers: usize,
    /// Frames of the UMEM.
    pub frames: u32,
    /// Descriptors of a queue, at most.
    pub ring_len: u16,
    /// Memory in huge pages that are reserved, as NICs need it; else in pages of the
    /// usual size.
    pub huge_pages: bool,
    /// More arguments for EAL: not for its cores, memory and devices, which follow from
    /// the rest.
    pub arguments: Vec<String>,
}

/// A port to open.
#[derive(Clone, Debug)]
pub struct DpdkPortOptions {
    /// Which interface.
    pub id: PortId,
    /// Its name in the configuration.
    pub name: String,
    /// The device as EAL takes it (`-a`, `--vdev`): an address on the PCI bus or a
    /// driver's name and number, with arguments behind a comma.
    pub device: String,
    /// The kernel's device that its frames come from, if it has one (`iface=` of
    /// `net_af_packet`).
    pub kernel_device: Option<String>,
    /// The MTU of IP packets in bytes; `None`: as the device has it.
    pub mtu: Option<u16>,
    /// Addresses of the kernel's, with the lengths of their networks, if it is to have any:
    /// on a TAP device that is named as the port.
    pub kernel_addresses: Vec<(IpAddr, u8)>,
    /// Tunnel endpoints of Sluice's, which may share an address with the kernel.
    pub vteps: Vec<IpAddr>,
    /// The UDP port of VXLAN.
    pub vxlan_udp_port: u16,
    /// The 802.1Q tag of the port, which the kernel does not see.
    pub vlan: Option<u16>,
}

impl DpdkPortOptions {
    /// The device without its arguments.
    pub fn device_name(&self) -> &str {
        self.device.split(',').next().unwrap_or_default()
    }

    /// Whether the device is one on the PCI bus: `0000:3b:00.0`, `3b:00.0`.
    pub fn is_pci(&self) -> bool {
        let name = self.device_name();
        let is_hex = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_hexdigit());
        name.rsplit_once('.').is_some_and(|(front, function)| {
            is_hex(function) && front.contains(':') && front.split(':').all(is_hex)
        })
    }
}

impl DpdkOptions {
    /// A port for each of these devices, one worker, and memory in pages of the usual size.
    pub fn new(devices: &[&str], frames: u32) -> Self {
        let port = |(index, device): (usize, &&str)| DpdkPortOptions {
            id: PortId(index as u8),
            name: format!("port{index}"),
            device: (*device).to_owned(),
            kernel_device: None,
            mtu: None,
            kernel_addresses: Vec::new(),
            vteps: Vec::new(),
            vxlan_udp_port: 4789,
            vlan: None,
        };
        DpdkOptions {
            ports: devices.iter().enumerate().map(port).collect(),
            workers: 1,
            frames,
            ring_len: 512,
            huge_pages: false,
            arguments: Vec::new(),
        }
    }

    pub(super) fn check(&self) -> Result<(), DpdkError> {
        if self.ports.is_empty() || self.workers == 0 || self.workers > QUEUES_MAX {
            return Err(DpdkError::Nothing { max: QUEUES_MAX });
        }
        for (index, port) in self.ports.iter().enumerate() {
            let is_same = |other: &&DpdkPortOptions| other.device_name() == port.device_name();
            if let Some(first) = self.ports[..index].iter().find(is_same) {
                return Err(DpdkError::DeviceTwice {
                    device: port.device_name().to_owned(),
                    first: first.name.clone(),
                    second: port.name.clone(),
                });
            }
        }
        Ok(())
    }
}
