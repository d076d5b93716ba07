use super::backoff::Backoff;
use super::error::{AfXdpError, chain, errno_of};
use super::{AfXdpPortOptions, Attach, Attachment};
use crate::device::Device;
use aya::maps::{HashMap, MapData, PerCpuArray, XskMap};
use aya::programs::links::FdLink;
use aya::programs::xdp::{XdpError, XdpMode};
use aya::programs::{ProgramError, Xdp, loaded_programs};
use aya::util::KernelVersion;
use aya::{Ebpf, EbpfLoader};
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::RawFd;

/// What clang made of `xdp/sluice_xdp.c`.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/sluice_xdp.o"));

/// Frames that an XDP program has seen, by what became of them. Monotonic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct XdpCounters {
    /// To the socket of their queue.
    pub redirected: u64,
    /// To the kernel: for one of its addresses.
    pub passed_kernel_address: u64,
    /// To the kernel: ARP about one of its addresses.
    pub passed_arp: u64,
    /// To the kernel: neighbor solicitations and advertisements of its own.
    pub passed_nd: u64,
    /// To the kernel: router discovery, redirects, LLDP, LACP, EAPOL.
    pub passed_control: u64,
    /// Dropped: no socket on their queue.
    pub dropped_no_socket: u64,
    /// Dropped: shorter than an Ethernet header.
    pub dropped_malformed: u64,
}

/// A program that is attached to a device for as long as this exists.
pub(super) struct Attached {
    attachment: Attachment,
    xsks: XskMap<MapData>,
    counters: PerCpuArray<MapData, u64>,
    _link: FdLink,
}

impl Attached {
    pub(super) fn attach(
        port: &AfXdpPortOptions,
        device: &Device,
        attach: Attach,
    ) -> Result<Self, AfXdpError> {
        if KernelVersion::current().is_ok_and(|now| now < KernelVersion::new(5, 9, 0)) {
            return Err(AfXdpError::NoLink { device: device.name.clone() });
        }
        let mut ebpf = load(device)?;
        fill_addresses(&mut ebpf, port).map_err(|error| load_error(device, error))?;
        let xdp: &mut Xdp = ebpf
            .program_mut("sluice_xdp")
            .ok_or_else(|| load_error(device, "the object has no program `sluice_xdp`"))?
            .try_into()
            .map_err(|error: ProgramError| load_error(device, error))?;
        xdp.load().map_err(|error| refused(device, error, "load an XDP program"))?;

        let mut native_refused = None;
        let (native, link) = match attach {
            Attach::Native => (true, attach_in(xdp, device, XdpMode::Driver)?),
            Attach::Generic => (false, attach_in(xdp, device, XdpMode::Skb)?),
            Attach::Auto => match attach_in(xdp, device, XdpMode::Driver) {
                Ok(link) => (true, link),
                Err(error @ AfXdpError::Attach { .. }) => {
                    native_refused = Some(error.to_string());
                    (false, attach_in(xdp, device, XdpMode::Skb)?)
                }
                Err(error) => return Err(error),
            },
        };
        let attachment = Attachment {
            port: port.name.clone(),
            device: device.name.clone(),
            native,
            native_refused,
        };
        let missing = |name| load_error(device, format!("the object has no map `{name}`"));
        let xsks = ebpf.take_map("xsks").ok_or_else(|| missing("xsks"))?;
        let counters = ebpf.take_map("counters").ok_or_else(|| missing("counters"))?;
        Ok(Attached {
            attachment,
            xsks: XskMap::try_from(xsks).map_err(|error| load_error(device, error))?,
            counters: PerCpuArray::try_from(counters).map_err(|error| load_error(device, error))?,
            _link: link,
        })
    }

    pub(super) fn attachment(&self) -> &Attachment {
        &self.attachment
    }

    /// Sends the frames of a queue to a socket.
    pub(super) fn set_socket(&mut self, queue: u32, socket: RawFd) -> io::Result<()> {
        self.xsks.set(queue, socket, 0).map_err(io::Error::other)
    }

    pub(super) fn counters(&self) -> io::Result<XdpCounters> {
        let sum = |index: u32| -> io::Result<u64> {
            let per_cpu = self.counters.get(&index, 0).map_err(io::Error::other)?;
            Ok(per_cpu.iter().sum())
        };
        // The order of `enum counter` in the program.
        Ok(XdpCounters {
            redirected: sum(0)?,
            passed_kernel_address: sum(1)?,
            passed_arp: sum(2)?,
            passed_nd: sum(3)?,
            passed_control: sum(4)?,
            dropped_no_socket: sum(5)?,
            dropped_malformed: sum(6)?,
        })
    }
}

fn load(device: &Device) -> Result<Ebpf, AfXdpError> {
    EbpfLoader::new()
        .btf(None)
        .map_max_entries("xsks", device.rx_queues)
        .load(OBJECT)
        .map_err(|error| refused(device, error, "create BPF maps"))
}

fn fill_addresses(ebpf: &mut Ebpf, port: &AfXdpPortOptions) -> Result<(), aya::maps::MapError> {
    let mut insert = |map_v4: &str, map_v6: &str, addresses: &[IpAddr], value: u16| {
        for address in addresses {
            match address {
                IpAddr::V4(address) => {
                    let map = ebpf.map_mut(map_v4).ok_or(no_map(map_v4))?;
                    let key = u32::from_ne_bytes(address.octets());
                    HashMap::<_, u32, u16>::try_from(map)?.insert(key, value, 0)?;
                }
                IpAddr::V6(address) => {
                    let map = ebpf.map_mut(map_v6).ok_or(no_map(map_v6))?;
                    HashMap::<_, [u8; 16], u16>::try_from(map)?.insert(
                        address.octets(),
                        value,
                        0,
                    )?;
                }
            }
        }
        Ok(())
    };
    insert("kernel_v4", "kernel_v6", &port.kernel_addresses, 1)?;
    if !port.kernel_addresses.is_empty() {
        // Stands for all link-local addresses.
        let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0);
        insert("kernel_v4", "kernel_v6", &[link_local.into()], 1)?;
    }
    insert("vtep_v4", "vtep_v6", &port.vteps, port.vxlan_udp_port.to_be())
}

fn no_map(name: &str) -> aya::maps::MapError {
    aya::maps::MapError::InvalidName { name: name.to_owned() }
}

/// Attaches, and waits for a process that is just ending to let go.
fn attach_in(xdp: &mut Xdp, device: &Device, mode: XdpMode) -> Result<FdLink, AfXdpError> {
    let mut backoff = Backoff::new();
    loop {
        let error = match xdp.attach_to_if_index(device.ifindex, mode) {
            Ok(id) => {
                let link = xdp.take_link(id).map_err(|error| load_error(device, error))?;
                return FdLink::try_from(link)
                    .map_err(|_| AfXdpError::NoLink { device: device.name.clone() });
            }
            Err(error) => error,
        };
        let errno = program_errno(&error);
        match errno {
            Some(libc::EBUSY | libc::EEXIST) => {
                if !backoff.wait() {
                    return Err(foreign_program(device));
                }
            }
            Some(libc::EPERM | libc::EACCES) => {
                return Err(AfXdpError::Permission {
                    device: device.name.clone(),
                    action: "attach an XDP program",
                });
            }
            _ => {
                let native = matches!(mode, XdpMode::Driver);
                return Err(AfXdpError::Attach {
                    device: device.name.clone(),
                    mode: if native { "native" } else { "generic" },
                    reason: chain(&error),
                    errno,
                });
            }
        }
    }
}

/// Names the program that is in the way.
fn foreign_program(device: &Device) -> AfXdpError {
    let id = Device::inspect(&device.name)
        .ok()
        .and_then(|now| now.xdp)
        .map(|xdp| xdp.program_id)
        .filter(|id| *id != 0);
    let program = id.map(|id| {
        let name = loaded_programs()
            .flatten()
            .find(|program| program.id() == id)
            .and_then(|program| program.name_as_str().map(str::to_owned));
        name.map_or_else(|| format!("id {id}"), |name| format!("id {id}, `{name}`"))
    });
    AfXdpError::ForeignProgram { device: device.name.clone(), program }
}

fn program_errno(error: &ProgramError) -> Option<i32> {
    match error {
        ProgramError::XdpError(XdpError::NetlinkError(error)) => error.raw_os_error(),
        error => errno_of(error),
    }
}

fn refused(
    device: &Device,
    error: impl std::error::Error + Send + Sync + 'static,
    action: &'static str,
) -> AfXdpError {
    match errno_of(&error) {
        Some(libc::EPERM | libc::EACCES) => {
            AfXdpError::Permission { device: device.name.clone(), action }
        }
        Some(errno @ (libc::ENOMEM | libc::ENOBUFS)) => {
            AfXdpError::Memory { action, source: io::Error::from_raw_os_error(errno) }
        }
        _ => load_error(device, chain(&error)),
    }
}

fn load_error(
    device: &Device,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> AfXdpError {
    AfXdpError::Load { device: device.name.clone(), source: error.into() }
}
