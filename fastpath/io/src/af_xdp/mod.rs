use crate::port::Port;
use crate::umem::Umem;
use std::io;

/// Why it could not be opened.
mod error;
/// What to open, and how.
mod options;

/// Waiting for a process that is just ending.
mod backoff;
/// The XDP program: loading, attaching, counters.
mod program;
/// Sockets over one UMEM.
mod socket;
/// Socket options of AF_XDP.
mod sockopt;

/// `Port` on an AF_XDP socket.
mod port;
/// Sending, in place or with the payload moved.
mod transmit;
/// A TX ring that takes any address.
mod tx_ring;

pub use error::AfXdpError;
pub use options::{AfXdpOptions, AfXdpPortOptions, Attach, BusyPoll, CopyMode};
pub use program::XdpCounters;

use program::Attached;

/// Most addresses of a kind (kernel or VTEP, of one family) that a port has.
pub const ADDRESSES_MAX: usize = 256;

/// Every configured interface, open: a port per (worker, interface), all over
/// one UMEM, behind one XDP program per interface.
pub struct AfXdp {
    umem: Umem,
    /// The ports: `ports[worker][port]`, in the order of the options. Workers
    /// take theirs.
    pub ports: Vec<Vec<Box<dyn Port>>>,
    /// Keeps the XDP programs attached; reads their counters.
    pub handle: AfXdpHandle,
}

/// Keeps the XDP programs attached: dropping it detaches them, and so does the
/// end of the process, however it comes. Can be shared between threads.
pub struct AfXdpHandle {
    attached: Vec<Attached>,
    zero_copy: bool,
    huge_pages: bool,
}

/// How one interface got attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The port's name in the configuration.
    pub port: String,
    /// The network device.
    pub device: String,
    /// The XDP program runs in the driver.
    pub native: bool,
    /// Why it does not, where it was tried.
    pub native_refused: Option<String>,
}

impl AfXdp {
    /// Loads and attaches the XDP programs, makes the UMEM and opens a socket
    /// per (interface, queue). Also raises the process's limit of locked
    /// memory, where it may.
    ///
    /// Until the sockets are open, frames that are not the kernel's are
    /// dropped. May sleep for up to a second per interface when a previous
    /// process is still letting go of it.
    ///
    /// # Errors
    /// Anything that keeps one of the interfaces from working as asked; nothing
    /// stays attached then.
    pub fn open(options: &AfXdpOptions) -> Result<Self, AfXdpError> {
        let devices = options.check()?;
        raise_locked_memory_limit();
        let mut attached = options
            .ports
            .iter()
            .zip(&devices)
            .map(|(port, device)| Attached::attach(port, device, options.attach))
            .collect::<Result<Vec<_>, _>>()?;
        let sockets = socket::open_all(options, &mut attached)?;
        let handle =
            AfXdpHandle { attached, zero_copy: sockets.zero_copy, huge_pages: sockets.huge_pages };
        Ok(AfXdp { umem: sockets.umem, ports: sockets.ports, handle })
    }

    /// The memory of all frames.
    pub fn umem(&self) -> &Umem {
        &self.umem
    }
}

impl AfXdpHandle {
    /// How each interface got attached, in the order of the options.
    pub fn attachments(&self) -> Vec<Attachment> {
        self.attached.iter().map(|attached| attached.attachment().clone()).collect()
    }

    /// The NICs read and write the UMEM themselves.
    pub fn zero_copy(&self) -> bool {
        self.zero_copy
    }

    /// The UMEM is made of reserved huge pages.
    pub fn huge_pages(&self) -> bool {
        self.huge_pages
    }

    /// What each interface's XDP program has counted, with the port's name.
    /// A system call per counter and interface.
    ///
    /// # Errors
    /// When the kernel refuses to read a counter.
    pub fn xdp_counters(&self) -> io::Result<Vec<(String, XdpCounters)>> {
        self.attached
            .iter()
            .map(|attached| Ok((attached.attachment().port.clone(), attached.counters()?)))
            .collect()
    }
}

/// Kernels before 5.11 count BPF maps, and all of them UMEMs, as locked memory.
/// Failure shows where the memory is then asked for.
fn raise_locked_memory_limit() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
}

/// The metrics thread reads what the main thread keeps.
const _: () = {
    const fn is_shared<T: Send + Sync>() {}
    is_shared::<AfXdpHandle>();
};
