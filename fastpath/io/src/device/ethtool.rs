//! The read-only questions of the ethtool ioctl (<linux/ethtool.h>).

use super::{Channels, Rings};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::collections::BTreeSet;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, OwnedFd};

const SIOCETHTOOL: libc::c_ulong = 0x8946;

const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GRINGPARAM: u32 = 0x10;
const ETHTOOL_GRXFH: u32 = 0x29;
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSSET_INFO: u32 = 0x37;
const ETHTOOL_GFEATURES: u32 = 0x3a;
const ETHTOOL_GCHANNELS: u32 = 0x3c;

/// UDP over IPv4, and over IPv6, as flows that are hashed.
pub(super) const UDP_V4_FLOW: u32 = 2;
pub(super) const UDP_V6_FLOW: u32 = 6;
/// The source port and the destination port among what is hashed.
const RXH_L4_PORTS: u32 = 1 << 6 | 1 << 7;
/// Words of `struct ethtool_rxnfc`, and more.
const RXNFC_WORDS: usize = 64;

/// The set of strings that names the features.
const ETH_SS_FEATURES: u32 = 4;
const ETH_GSTRING_LEN: usize = 32;

/// More features than any kernel has; a bound for the buffers.
const FEATURES_MAX: usize = 1024;

/// Words of `struct ethtool_drvinfo`, and where its driver name is, in bytes.
const DRVINFO_WORDS: usize = 196 / 4;
const DRVINFO_DRIVER: std::ops::Range<usize> = 4..36;

pub(super) struct Ethtool {
    socket: OwnedFd,
    name: [libc::c_char; libc::IFNAMSIZ],
}

/// `struct ifreq` with the member of its union that SIOCETHTOOL uses, and the
/// union's other members as padding.
#[repr(C)]
struct IfReq {
    name: [libc::c_char; libc::IFNAMSIZ],
    data: *mut u32,
    rest: [u8; 24 - size_of::<*mut u32>()],
}

impl Ethtool {
    /// For the device `name`, which is shorter than `IFNAMSIZ`.
    pub(super) fn open(name: &str) -> io::Result<Self> {
        let socket =
            socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        let mut c_name = [0; libc::IFNAMSIZ];
        for (to, from) in c_name.iter_mut().zip(name.bytes()).take(libc::IFNAMSIZ - 1) {
            *to = from as libc::c_char;
        }
        Ok(Ethtool { socket, name: c_name })
    }

    /// Name of the driver; `None` when it has none to tell.
    pub(super) fn driver(&self) -> io::Result<Option<String>> {
        let mut info = [0; DRVINFO_WORDS];
        info[0] = ETHTOOL_GDRVINFO;
        if !self.ask(&mut info)? {
            return Ok(None);
        }
        let name = text(&bytes(&info)[DRVINFO_DRIVER]);
        Ok((!name.is_empty()).then_some(name))
    }

    /// Channels; `None` when the driver has no notion of them.
    pub(super) fn channels(&self) -> io::Result<Option<Channels>> {
        let mut words = [0; 9];
        words[0] = ETHTOOL_GCHANNELS;
        if !self.ask(&mut words)? {
            return Ok(None);
        }
        let [_, rx_max, tx_max, _, combined_max, rx, tx, _, combined] = words;
        Ok(Some(Channels { rx, tx, combined, rx_max, tx_max, combined_max }))
    }

    /// Rings; `None` when the driver has no notion of them.
    pub(super) fn rings(&self) -> io::Result<Option<Rings>> {
        let mut words = [0; 9];
        words[0] = ETHTOOL_GRINGPARAM;
        if !self.ask(&mut words)? {
            return Ok(None);
        }
        let [_, rx_max, _, _, tx_max, rx, _, _, tx] = words;
        Ok(Some(Rings { rx, tx, rx_max, tx_max }))
    }

    /// Whether both ports are part of the hash of such flows; `None` when the driver does
    /// not say.
    pub(super) fn hashes_ports(&self, flow: u32) -> io::Result<Option<bool>> {
        let mut words = [0; RXNFC_WORDS];
        words[..2].copy_from_slice(&[ETHTOOL_GRXFH, flow]);
        if !self.ask(&mut words)? {
            return Ok(None);
        }
        // `data` has 64 bits, of which these are in the lower word.
        let data = words[if cfg!(target_endian = "big") { 3 } else { 2 }];
        Ok(Some(data & RXH_L4_PORTS == RXH_L4_PORTS))
    }

    /// Names of the features that are on.
    pub(super) fn features(&self) -> io::Result<BTreeSet<String>> {
        // cmd, reserved, sset_mask (two words), then the count.
        let mut info = [ETHTOOL_GSSET_INFO, 0, 1 << ETH_SS_FEATURES, 0, 0];
        if !self.ask(&mut info)? {
            return Ok(BTreeSet::new());
        }
        let count = (info[4] as usize).min(FEATURES_MAX);

        // cmd, string set, count, then the names.
        let mut strings = vec![0; 3 + count * ETH_GSTRING_LEN / 4];
        strings[..3].copy_from_slice(&[ETHTOOL_GSTRINGS, ETH_SS_FEATURES, count as u32]);
        // cmd, count of blocks, then per block: available, requested, active,
        // never_changed.
        let blocks = count.div_ceil(32);
        let mut features = vec![0; 2 + blocks * 4];
        features[..2].copy_from_slice(&[ETHTOOL_GFEATURES, blocks as u32]);
        if !self.ask(&mut strings)? || !self.ask(&mut features)? {
            return Ok(BTreeSet::new());
        }
        let names = bytes(&strings[3..]);
        let is_active = |bit: usize| features[2 + bit / 32 * 4 + 2] & 1 << (bit % 32) != 0;
        Ok(names
            .chunks_exact(ETH_GSTRING_LEN)
            .enumerate()
            .filter(|(bit, _)| is_active(*bit))
            .map(|(_, name)| text(name))
            .filter(|name| !name.is_empty())
            .collect())
    }

    /// Sends a command and takes its answer in place. False when the driver
    /// does not support it.
    fn ask(&self, command: &mut [u32]) -> io::Result<bool> {
        let mut request = IfReq { name: self.name, data: command.as_mut_ptr(), rest: [0; _] };
        // SAFETY: SIOCETHTOOL reads and writes a `struct ifreq`, which
        // `request` is laid out as; `data` points to the command's own
        // structure, whose size (with the counts in it) the callers allocate
        // as <linux/ethtool.h> says, and which nobody else refers to now.
        let answer = unsafe {
            libc::ioctl(self.socket.as_raw_fd(), SIOCETHTOOL as _, std::ptr::from_mut(&mut request))
        };
        if answer == 0 {
            return Ok(true);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EOPNOTSUPP | libc::EPERM) => Ok(false),
            _ => Err(error),
        }
    }
}

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// A string that the kernel ends with a zero, or that fills its field.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
