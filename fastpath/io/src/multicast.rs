use crate::device::Device;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, OwnedFd};

/// Why a device's filter could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum MulticastError {
    /// No packet socket: the privilege or the kernel's `CONFIG_PACKET` lacks.
    #[error(
        "cannot make a packet socket: {source}; this needs CAP_NET_RAW and a kernel with \
         CONFIG_PACKET"
    )]
    Socket {
        /// The kernel's answer.
        source: Errno,
    },
    /// The kernel does not let the device take all multicast.
    #[error("cannot make device `{device}` receive all multicast frames: {source}")]
    Join {
        /// The device.
        device: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// Makes a device receive all multicast frames while this exists.
///
/// A NIC passes only the groups that somebody has joined, and XDP comes behind
/// that filter: without this the solicited-node groups of addresses that the
/// kernel does not know (Sluice's own, and VIPs that come and go) would never
/// arrive, and no neighbor could resolve them (RFC 4861 section 7.2.2).
///
/// It is a packet socket's membership (packet(7), PACKET_MR_ALLMULTI), so the
/// kernel takes it back when the process ends, however it does.
#[derive(Debug)]
pub struct AllMulticast {
    _socket: OwnedFd,
}

impl AllMulticast {
    /// Joins all groups on a device of the calling thread's network namespace.
    ///
    /// # Errors
    /// Without CAP_NET_RAW, or when the device is gone.
    pub fn join(device: &Device) -> Result<Self, MulticastError> {
        let socket = packet_socket()?;
        let membership = libc::packet_mreq {
            mr_ifindex: device.ifindex as libc::c_int,
            mr_type: libc::PACKET_MR_ALLMULTI as libc::c_ushort,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        // SAFETY: the kernel reads a `packet_mreq`, which `membership` is, and
        // its size is given with it.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_ADD_MEMBERSHIP,
                std::ptr::from_ref(&membership).cast(),
                size_of::<libc::packet_mreq>() as libc::socklen_t,
            )
        };
        if result != 0 {
            let source = io::Error::last_os_error();
            return Err(MulticastError::Join { device: device.name.clone(), source });
        }
        Ok(AllMulticast { _socket: socket })
    }

    /// Whether this process may join at all; changes nothing.
    ///
    /// # Errors
    /// As [`AllMulticast::join`].
    pub fn probe() -> Result<(), MulticastError> {
        packet_socket().map(drop)
    }
}

/// Of protocol 0: it receives nothing itself.
fn packet_socket() -> Result<OwnedFd, MulticastError> {
    socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, None)
        .map_err(|source| MulticastError::Socket { source })
}
