use super::backoff::Backoff;
use super::error::{AfXdpError, chain, errno_of};
use super::options::{AfXdpOptions, AfXdpPortOptions, CopyMode, FRAME_LEN_MAX};
use super::port::{AfXdpPort, Counts, Rings};
use super::program::Attached;
use super::sockopt;
use super::transmit::{MovingQueue, Transmit};
use super::tx_ring::TxRing;
use crate::frame::CHUNK_LEN;
use crate::port::{BURST, Port, PortInfo, PortMode};
use crate::umem::Umem;
use std::ffi::CString;
use std::io;
use std::num::NonZeroU32;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr::NonNull;
use std::sync::Arc;
use xsk_rs::config::{
    BindFlags, FrameSize, Interface, LibxdpFlags, QueueSize, SocketConfig, UmemConfig,
};
use xsk_rs::{CompQueue, FillQueue, FrameDesc, RxQueue, Socket, TxQueue};

/// All sockets, open.
pub(super) struct Sockets {
    pub(super) umem: Umem,
    pub(super) ports: Vec<Vec<Box<dyn Port>>>,
    pub(super) zero_copy: bool,
    pub(super) huge_pages: bool,
}

/// Opens a socket per (interface, queue) over one UMEM and puts each into its
/// interface's map: with zero-copy if every device has it, else with copies.
pub(super) fn open_all(
    options: &AfXdpOptions,
    attached: &mut [Attached],
) -> Result<Sockets, AfXdpError> {
    // Without the driver's hook, a NIC in zero-copy mode never reaches us.
    let generic = attached.iter().map(Attached::attachment).find(|port| !port.native);
    match (options.copy, generic) {
        (CopyMode::ZeroCopy, Some(port)) => {
            Err(AfXdpError::ZeroCopyGeneric { device: port.device.clone() })
        }
        (CopyMode::ZeroCopy, None) => open_in(options, attached, true),
        (CopyMode::Auto, None) => match open_in(options, attached, true) {
            // The other errors have nothing to do with zero-copy.
            Err(AfXdpError::Bind { errno, .. }) if errno != Some(libc::EBUSY) => {
                open_in(options, attached, false)
            }
            result => result,
        },
        (CopyMode::Copy, _) | (CopyMode::Auto, Some(_)) => open_in(options, attached, false),
    }
}

fn open_in(
    options: &AfXdpOptions,
    attached: &mut [Attached],
    zero_copy: bool,
) -> Result<Sockets, AfXdpError> {
    let memory = Memory::new(options)?;
    let mut ports = Vec::with_capacity(options.workers);
    let mut sockets = Vec::with_capacity(options.queues());
    for queue in 0..options.workers as u32 {
        let mut of_worker: Vec<Box<dyn Port>> = Vec::with_capacity(options.ports.len());
        for (port, attached) in options.ports.iter().zip(attached.iter()) {
            let first = sockets.is_empty();
            let bound = bind(options, &memory, port, queue, zero_copy, first)?;
            sockets.push(bound.tx.fd().as_raw_fd());
            let opened = finish(options, &memory, port, attached, queue, bound)?;
            of_worker.push(Box::new(opened));
        }
        ports.push(of_worker);
    }
    set_sockets(options, attached, &sockets)?;
    Ok(Sockets { umem: memory.umem, ports, zero_copy, huge_pages: memory.huge_pages })
}

/// Opens the gates: from here on frames arrive.
fn set_sockets(
    options: &AfXdpOptions,
    attached: &mut [Attached],
    sockets: &[RawFd],
) -> Result<(), AfXdpError> {
    for (queue, of_queue) in (0..).zip(sockets.chunks(options.ports.len())) {
        for (attached, socket) in attached.iter_mut().zip(of_queue) {
            attached.set_socket(queue, *socket).map_err(|source| AfXdpError::Option {
                device: attached.attachment().device.clone(),
                queue,
                option: "the socket in the XDP program's map",
                source,
            })?;
        }
    }
    Ok(())
}

/// The UMEM in both its forms: the library's, for sockets, and ours.
struct Memory {
    xsk: xsk_rs::Umem,
    umem: Umem,
    descs: Arc<[FrameDesc]>,
    huge_pages: bool,
}

impl Memory {
    fn new(options: &AfXdpOptions) -> Result<Self, AfXdpError> {
        let frames = options.frames_rounded();
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| match errno_of(&*error) {
            Some(libc::EPERM) => AfXdpError::Permission {
                device: options.ports[0].device.clone(),
                action: "open an AF_XDP socket",
            },
            Some(errno @ (libc::ENOBUFS | libc::ENOMEM | libc::EAGAIN)) => AfXdpError::Memory {
                action: "lock the UMEM",
                source: io::Error::from_raw_os_error(errno),
            },
            _ => AfXdpError::Umem { frames, source: chain(&*error).into() },
        };
        let count = u32::try_from(frames).ok().and_then(NonZeroU32::new);
        let count = count.ok_or_else(|| failed("the count is out of range".into()))?;
        let ring_len = ring_len(options)?;
        let config = UmemConfig::builder()
            .frame_size(FrameSize::new(CHUNK_LEN as u32).map_err(|error| failed(error.into()))?)
            .frame_headroom(0)
            .fill_queue_size(ring_len)
            .comp_queue_size(ring_len)
            .build()
            .map_err(|error| failed(error.into()))?;
        let (huge_pages, (xsk, descs)) = match xsk_rs::Umem::new(config, count, true) {
            Ok(made) => (true, made),
            Err(_) => {
                let made = xsk_rs::Umem::new(config, count, false);
                (false, made.map_err(|error| failed(error.into()))?)
            }
        };
        // SAFETY: the default descriptor is frame 0 of the UMEM, at its first
        // byte and empty; nobody uses any frame yet.
        let base = unsafe { xsk.data_mut(&mut FrameDesc::default()).contents_mut().as_mut_ptr() };
        // The slice names one frame; the mapping behind it, which came from
        // outside of the language, is what frames are made of.
        let base = std::ptr::with_exposed_provenance_mut::<u8>(base.expose_provenance());
        let base = NonNull::new(base).ok_or_else(|| failed("the UMEM has no address".into()))?;
        // SAFETY: the library has mapped `frames` chunks from `base` on, keeps
        // them mapped while a clone of its UMEM exists, and accesses them only
        // through descriptors, which the ports make only of chunks on rings.
        let umem = unsafe { Umem::from_raw(base, count.get(), Box::new(xsk.clone())) };
        Ok(Memory { xsk, umem, descs: descs.into(), huge_pages })
    }
}

fn ring_len(options: &AfXdpOptions) -> Result<QueueSize, AfXdpError> {
    QueueSize::new(options.ring_len).map_err(|_| AfXdpError::RingLen {
        ring_len: options.ring_len,
        min: 1,
        max: u32::MAX,
    })
}

/// A socket as the library returns it.
struct Bound {
    tx: TxQueue,
    rx: RxQueue,
    fill: FillQueue,
    completion: CompQueue,
}

/// Opens one socket; waits for a process that is just ending to let go of the
/// queue.
fn bind(
    options: &AfXdpOptions,
    memory: &Memory,
    port: &AfXdpPortOptions,
    queue: u32,
    zero_copy: bool,
    first: bool,
) -> Result<Bound, AfXdpError> {
    let failed = |reason: String, errno| AfXdpError::Bind {
        device: port.device.clone(),
        queue,
        zero_copy,
        reason,
        errno,
    };
    let name = CString::new(port.device.as_str());
    let interface = Interface::new(name.map_err(|error| failed(error.to_string(), None))?);
    let ring_len = ring_len(options)?;
    let mut config = SocketConfig::builder();
    config
        .rx_queue_size(ring_len)
        .tx_queue_size(ring_len)
        .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD);
    if first {
        // The others inherit these, and must not name them.
        let copy = if zero_copy { BindFlags::XDP_ZEROCOPY } else { BindFlags::XDP_COPY };
        config.bind_flags(copy | BindFlags::XDP_USE_NEED_WAKEUP);
    }
    let mut backoff = Backoff::new();
    loop {
        // SAFETY: no two sockets here share an (interface, queue) pair, and the
        // library loads no program.
        let error = match unsafe { Socket::new(config.build(), &memory.xsk, &interface, queue) } {
            Ok((tx, rx, Some((fill, completion)))) => {
                return Ok(Bound { tx, rx, fill, completion });
            }
            Ok((_, _, None)) => {
                return Err(failed("the device is configured for two ports".to_owned(), None));
            }
            Err(error) => error,
        };
        match errno_of(&error) {
            Some(libc::EBUSY) if backoff.wait() => {}
            Some(libc::EPERM) => {
                return Err(AfXdpError::Permission {
                    device: port.device.clone(),
                    action: "open an AF_XDP socket",
                });
            }
            errno => return Err(failed(chain(&error), errno)),
        }
    }
}

/// Makes the port of a socket.
fn finish(
    options: &AfXdpOptions,
    memory: &Memory,
    port: &AfXdpPortOptions,
    attached: &Attached,
    queue: u32,
    bound: Bound,
) -> Result<AfXdpPort, AfXdpError> {
    let refused = |option: &'static str| {
        let device = port.device.clone();
        move |source| AfXdpError::Option { device, queue, option, source }
    };
    let Bound { tx, rx, fill, completion } = bound;
    // SAFETY: `rx` keeps the socket open for the rest of the function.
    let socket = unsafe { BorrowedFd::borrow_raw(rx.fd().as_raw_fd()) };
    let zero_copy = sockopt::is_zero_copy(socket).map_err(refused("the AF_XDP options"))?;
    if !zero_copy {
        // Older kernels send 32 frames a call; more calls are all that costs.
        let _ = sockopt::raise_tx_budget(socket);
    }
    if let Some(busy_poll) = options.busy_poll {
        sockopt::prefer_busy_poll(socket, busy_poll.time_us, busy_poll.budget)
            .map_err(refused("busy polling (Linux 5.11)"))?;
    }
    let transmit = transmit(options, memory, tx).map_err(refused("the mapping of the TX ring"))?;
    let mode = PortMode::AfXdp {
        native: attached.attachment().native,
        zero_copy,
        in_place: transmit.is_in_place(),
    };
    Ok(AfXdpPort {
        info: PortInfo {
            id: port.id,
            name: port.name.clone(),
            queue,
            mode,
            frame_len_max: FRAME_LEN_MAX,
        },
        umem: memory.umem.clone(),
        rings: Rings { rx, fill, completion },
        transmit,
        descs: memory.descs.clone(),
        scratch: Box::new([FrameDesc::default(); BURST]),
        fill_target: options.fill_target(),
        receiving: 0,
        sending: 0,
        busy_poll: options.busy_poll.is_some(),
        counts: Counts::default(),
    })
}

/// In place where the kernel maps the ring of a bound socket.
fn transmit(options: &AfXdpOptions, memory: &Memory, queue: TxQueue) -> io::Result<Transmit> {
    let queue = if options.move_payload {
        queue
    } else {
        match TxRing::new(queue, options.ring_len, memory.umem.chunks()) {
            Ok(ring) => return Ok(Transmit::InPlace(ring)),
            Err((queue, error)) if error.raw_os_error() == Some(libc::EBUSY) => queue,
            Err((_, error)) => return Err(error),
        }
    };
    Ok(Transmit::Moved(MovingQueue {
        queue,
        umem: memory.xsk.clone(),
        descs: memory.descs.clone(),
        len: options.ring_len,
        moved: 0,
    }))
}
