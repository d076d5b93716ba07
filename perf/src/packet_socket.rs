use anyhow::{Context, Result, bail};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A raw packet socket on a device: sees each frame that arrives there, before
/// the kernel looks at it, and sends.
pub struct PacketSocket {
    fd: OwnedFd,
}

impl PacketSocket {
    /// Opens a socket on a device.
    ///
    /// # Errors
    /// When there is no such device, or packet sockets are not allowed.
    #[allow(unsafe_code)]
    pub fn open(device: &str) -> Result<Self> {
        let index = std::fs::read_to_string(format!("/sys/class/net/{device}/ifindex"))
            .with_context(|| format!("no device {device}"))?;
        let protocol = (libc::ETH_P_ALL as u16).to_be();
        // SAFETY: a call without pointers; the result is checked.
        let fd = unsafe {
            libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol.into())
        };
        if fd < 0 {
            return Err(std::io::Error::last_os_error()).context("cannot open a packet socket");
        }
        // SAFETY: the descriptor was opened just now and is nobody else's.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: protocol,
            sll_ifindex: index.trim().parse()?,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: `address` is a sockaddr_ll of length `len` and outlives the call.
        let bound = unsafe { libc::bind(fd.as_raw_fd(), std::ptr::from_ref(&address).cast(), len) };
        if bound < 0 {
            return Err(std::io::Error::last_os_error()).context("cannot bind a packet socket");
        }
        Ok(PacketSocket { fd })
    }

    /// Waits for the next frame, at most `timeout_ms`; its length in `buffer`.
    ///
    /// # Errors
    /// When none comes.
    pub fn receive(&self, buffer: &mut [u8], timeout_ms: u32) -> Result<usize> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let timeout = Timespec {
            tv_sec: i64::from(timeout_ms / 1000),
            tv_nsec: i64::from(timeout_ms % 1000) * 1_000_000,
        };
        if poll(&mut [PollFd::new(&self.fd, PollFlags::IN)], Some(&timeout))? == 0 {
            bail!("no frame for {timeout_ms} ms");
        }
        Ok(rustix::io::read(&self.fd, buffer)?)
    }

    /// Sends a frame by the device.
    ///
    /// # Errors
    /// When the device does not take it.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        rustix::io::write(&self.fd, frame).context("cannot send")?;
        Ok(())
    }
}
