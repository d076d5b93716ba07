use super::ADDRESSES_MAX;
use super::error::AfXdpError;
use crate::device::Device;
use crate::frame::{CHUNK_LEN, MTU_MAX};
use crate::port::{BURST, PortId};
use std::net::IpAddr;

/// Bytes of a 2 MiB huge page hold this many chunks.
const CHUNKS_PER_HUGE_PAGE: usize = (2 << 20) / CHUNK_LEN;

/// Bytes of the largest frame: what AF_XDP leaves of a chunk.
pub(super) const FRAME_LEN_MAX: usize = CHUNK_LEN - crate::HEADROOM;

/// Chunks that a queue needs to work at all: two bursts received, two in
/// flight.
const CHUNKS_PER_QUEUE_MIN: usize = 4 * BURST;

/// Largest ring that every supported kernel grants.
const RING_LEN_MAX: u32 = 1 << 15;

/// Where the XDP program runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Attach {
    /// In the driver where that has XDP, else on socket buffers.
    #[default]
    Auto,
    /// In the driver (DRV), or not at all.
    Native,
    /// On socket buffers (SKB): slower; for tests and devices in doubt.
    Generic,
}

/// Who moves frames between the NIC and the UMEM. One decision for all ports:
/// the kernel makes sockets that share a UMEM inherit the first one's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CopyMode {
    /// The NIC where all of them can, else the kernel.
    #[default]
    Auto,
    /// The NIC, or not at all.
    ZeroCopy,
    /// The kernel.
    Copy,
}

/// Preferred busy polling (Linux 5.11): the worker's own calls run the driver,
/// instead of interrupts on some other core. To be of use it needs
/// `napi_defer_hard_irqs` and `gro_flush_timeout` of the device set, as the
/// kernel's AF_XDP documentation says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusyPoll {
    /// Longest time a call polls when nothing arrives, in microseconds.
    pub time_us: u32,
    /// Packets taken per call.
    pub budget: u16,
}

/// What to open.
#[derive(Clone, Debug)]
pub struct AfXdpOptions {
    /// The interfaces; position and `id` need not agree.
    pub ports: Vec<AfXdpPortOptions>,
    /// Workers; each gets the queue of its number on every interface.
    pub workers: usize,
    /// Frames in the UMEM, rounded up to whole huge pages (1,024 frames).
    pub frames: usize,
    /// Descriptors in each ring: a power of two.
    pub ring_len: u32,
    /// Where the XDP programs run.
    pub attach: Attach,
    /// Who moves the frames.
    pub copy: CopyMode,
    /// Busy polling, if wanted.
    pub busy_poll: Option<BusyPoll>,
    /// Send from a fixed place in the chunk, moving payloads there, as on
    /// kernels that leave no choice.
    pub move_payload: bool,
}

/// One interface.
#[derive(Clone, Debug)]
pub struct AfXdpPortOptions {
    /// Its number.
    pub id: PortId,
    /// Its name in the configuration.
    pub name: String,
    /// The network device.
    pub device: String,
    /// Addresses whose traffic the kernel keeps, at most 256 of each family.
    pub kernel_addresses: Vec<IpAddr>,
    /// Addresses of Sluice's VXLAN tunnel endpoints; they may be kernel
    /// addresses too.
    pub vteps: Vec<IpAddr>,
    /// The UDP port on which those take VXLAN.
    pub vxlan_udp_port: u16,
}

impl AfXdpOptions {
    /// The usual options for some interfaces and workers: rings of 4,096, and
    /// frames to fill them twice.
    pub fn new(ports: Vec<AfXdpPortOptions>, workers: usize) -> Self {
        let ring_len = 4096;
        let frames = 2 * ring_len as usize * ports.len() * workers;
        AfXdpOptions {
            ports,
            workers,
            frames,
            ring_len,
            attach: Attach::default(),
            copy: CopyMode::default(),
            busy_poll: None,
            move_payload: false,
        }
    }

    /// Queues in all.
    pub(super) fn queues(&self) -> usize {
        self.ports.len() * self.workers
    }

    /// Frames of the UMEM: whole huge pages.
    pub(super) fn frames_rounded(&self) -> usize {
        self.frames.next_multiple_of(CHUNKS_PER_HUGE_PAGE)
    }

    /// Frames that each queue keeps with the kernel to receive into: a ring's
    /// worth, but all queues together at most half of the UMEM, so that the
    /// other half can be in flight.
    pub(super) fn fill_target(&self) -> u32 {
        let share = self.frames_rounded() / (2 * self.queues()).max(1);
        self.ring_len.min(share as u32)
    }

    /// Checks what can be known before anything is changed; returns the
    /// devices in the order of the ports.
    pub(super) fn check(&self) -> Result<Vec<Device>, AfXdpError> {
        if self.ports.is_empty() || self.workers == 0 {
            return Err(AfXdpError::Nothing);
        }
        for (i, second) in self.ports.iter().enumerate() {
            if let Some(first) = self.ports[..i].iter().find(|port| port.device == second.device) {
                return Err(AfXdpError::DeviceTwice {
                    device: second.device.clone(),
                    first: first.name.clone(),
                    second: second.name.clone(),
                });
            }
        }
        let ring_len = self.ring_len;
        if !ring_len.is_power_of_two() || !(2 * BURST as u32..=RING_LEN_MAX).contains(&ring_len) {
            return Err(AfXdpError::RingLen { ring_len, min: 2 * BURST as u32, max: RING_LEN_MAX });
        }
        let max = (1 << 31) / CHUNK_LEN;
        let min = (self.queues() * CHUNKS_PER_QUEUE_MIN).next_multiple_of(CHUNKS_PER_HUGE_PAGE);
        if self.frames_rounded() < min || self.frames > max {
            return Err(AfXdpError::Frames {
                frames: self.frames,
                min,
                max,
                queues: self.queues(),
            });
        }
        self.ports.iter().map(|port| port.check(self.workers)).collect()
    }
}

impl AfXdpPortOptions {
    fn check(&self, workers: usize) -> Result<Device, AfXdpError> {
        for (kind, list) in [("kernel addresses", &self.kernel_addresses), ("VTEPs", &self.vteps)] {
            let v4 = list.iter().filter(|address| address.is_ipv4()).count();
            let count = v4.max(list.len() - v4);
            if count > ADDRESSES_MAX {
                return Err(AfXdpError::Addresses {
                    port: self.name.clone(),
                    kind,
                    count,
                    max: ADDRESSES_MAX,
                });
            }
        }
        let device = Device::inspect(&self.device)?;
        let queues = device.rx_queues.min(device.tx_queues);
        if (queues as usize) < workers {
            return Err(AfXdpError::Queues {
                device: device.name,
                driver: device.driver.unwrap_or_else(|| "unknown".to_owned()),
                queues,
                workers,
            });
        }
        if device.mtu as usize > MTU_MAX {
            return Err(AfXdpError::Mtu { device: device.name, mtu: device.mtu, max: MTU_MAX });
        }
        Ok(device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(frames: usize, ring_len: u32) -> AfXdpOptions {
        let port = AfXdpPortOptions {
            id: PortId(0),
            name: "uplink".to_owned(),
            device: "lo".to_owned(),
            kernel_addresses: Vec::new(),
            vteps: Vec::new(),
            vxlan_udp_port: 4789,
        };
        AfXdpOptions { frames, ring_len, ..AfXdpOptions::new(vec![port], 1) }
    }

    #[test]
    fn rings_are_powers_of_two_within_bounds() {
        for ring_len in [0, 64, 1000, 1 << 16] {
            let error = options(4096, ring_len).check().unwrap_err();
            assert!(matches!(error, AfXdpError::RingLen { .. }), "{ring_len}: {error}");
        }
    }

    #[test]
    fn a_device_belongs_to_one_port() {
        let mut options = options(4096, 4096);
        options.ports.push(AfXdpPortOptions { name: "b".to_owned(), ..options.ports[0].clone() });
        let error = options.check().unwrap_err();
        assert!(matches!(error, AfXdpError::DeviceTwice { .. }), "{error}");
    }

    #[test]
    fn frames_are_whole_huge_pages_within_bounds() {
        assert_eq!(options(1, 128).frames_rounded(), 1024);
        assert_eq!(options(1025, 128).frames_rounded(), 2048);
        for frames in [0, (1 << 20) + 1] {
            let error = options(frames, 128).check().unwrap_err();
            assert!(matches!(error, AfXdpError::Frames { .. }), "{frames}: {error}");
        }
    }

    #[test]
    fn half_of_the_frames_at_most_are_for_receiving() {
        assert_eq!(options(1024, 4096).fill_target(), 512);
        assert_eq!(options(1 << 16, 4096).fill_target(), 4096);
        let mut two_workers = options(2048, 4096);
        two_workers.workers = 2;
        assert_eq!(two_workers.fill_target(), 512);
    }

    #[test]
    fn a_device_that_frames_of_its_mtu_overflow_is_refused() {
        // Loopback has an MTU of 65,536.
        let error = options(4096, 4096).check().unwrap_err();
        assert!(matches!(error, AfXdpError::Mtu { .. }), "{error}");
        assert!(error.to_string().contains("ip link set dev lo mtu 1500"), "{error}");
    }

    #[test]
    fn addresses_are_counted_per_family() {
        let v4 = (0..=255).map(|i| IpAddr::from([10, 0, 0, i]));
        let v6 = (0..=255).map(|i| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, i]));
        let mut options = options(4096, 4096);
        options.ports[0].kernel_addresses = v4.chain(v6).collect();
        assert!(matches!(options.check().unwrap_err(), AfXdpError::Mtu { .. }));
        options.ports[0].kernel_addresses.push(IpAddr::from([10, 0, 1, 0]));
        assert!(matches!(options.check().unwrap_err(), AfXdpError::Addresses { count: 257, .. }));
    }
}
