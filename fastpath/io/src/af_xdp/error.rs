use crate::device::DeviceError;
use std::error::Error;
use std::io;

/// Why the interfaces could not be opened. Each message names the device and
/// what to do.
#[derive(Debug, thiserror::Error)]
pub enum AfXdpError {
    /// No ports or no workers were asked for.
    #[error("AF_XDP needs at least one port and one worker")]
    Nothing,
    /// One device for two ports.
    #[error("device `{device}` is configured for port `{first}` and for port `{second}`")]
    DeviceTwice {
        /// The device.
        device: String,
        /// The name of a port.
        first: String,
        /// The name of the other.
        second: String,
    },
    /// A ring length that the kernel does not take.
    #[error("a ring has a power of two of descriptors, {min} to {max}, not {ring_len}")]
    RingLen {
        /// Descriptors asked for.
        ring_len: u32,
        /// Smallest length.
        min: u32,
        /// Largest length.
        max: u32,
    },
    /// A number of frames that does not do.
    #[error("{queues} queues need {min} to {max} frames, not {frames}")]
    Frames {
        /// Frames asked for.
        frames: usize,
        /// Fewest that work.
        min: usize,
        /// Most that a UMEM takes.
        max: usize,
        /// Queues of all ports.
        queues: usize,
    },
    /// Too many addresses for the XDP program.
    #[error("port `{port}` has {count} {kind} of one family; at most {max} are possible")]
    Addresses {
        /// The port's name.
        port: String,
        /// Which list.
        kind: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// The device is missing or cannot be inspected.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The device has fewer queues than there are workers.
    #[error(
        "device `{device}` has {queues} queue(s), but {workers} workers need {workers}: {}",
        queues_hint(device, driver, *workers)
    )]
    Queues {
        /// The device.
        device: String,
        /// Its driver.
        driver: String,
        /// Queues that both receive and transmit.
        queues: u32,
        /// Workers configured.
        workers: usize,
    },
    /// Frames of the device's MTU do not fit into a chunk.
    #[error(
        "device `{device}` has an MTU of {mtu}; a chunk of the UMEM holds frames of an MTU up to \
         {max}: `ip link set dev {device} mtu 1500`"
    )]
    Mtu {
        /// The device.
        device: String,
        /// Its MTU.
        mtu: u32,
        /// The largest MTU that works.
        max: usize,
    },
    /// The process may not do this.
    #[error(
        "no permission to {action} on device `{device}`: run as root, or with the capabilities \
         CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF and CAP_PERFMON"
    )]
    Permission {
        /// The device.
        device: String,
        /// What was refused.
        action: &'static str,
    },
    /// The kernel refused memory.
    #[error(
        "the kernel refuses the memory to {action} ({source}): raise the limit of locked memory \
         (`ulimit -l unlimited`, or `LimitMEMLOCK=infinity` in the unit), or lower the number of \
         frames"
    )]
    Memory {
        /// What it was for.
        action: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Somebody else's XDP program is there.
    #[error(
        "another XDP program{} is attached to device `{device}`: stop what runs it, or detach it \
         with `ip link set dev {device} xdp off`",
        program.as_deref().map(|p| format!(" ({p})")).unwrap_or_default()
    )]
    ForeignProgram {
        /// The device.
        device: String,
        /// Its number and name, if the kernel tells.
        program: Option<String>,
    },
    /// The program could not be loaded.
    #[error("cannot load the XDP program for device `{device}`: {source}")]
    Load {
        /// The device.
        device: String,
        /// What went wrong; the verifier's log is in it.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The program could not be attached.
    #[error("cannot attach the XDP program to device `{device}` in {mode} mode: {reason}{}",
        attach_hint(*errno, mode, device))]
    Attach {
        /// The device.
        device: String,
        /// `native` or `generic`.
        mode: &'static str,
        /// What went wrong.
        reason: String,
        /// The kernel's answer, if it was one.
        errno: Option<i32>,
    },
    /// The kernel attaches programs only in a way that outlives the process.
    #[error(
        "the kernel attaches XDP programs to device `{device}` without a bpf_link, so that they \
         would stay after a crash: Linux 5.9 or later is needed \
         (`ip link set dev {device} xdp off` detaches what is there)"
    )]
    NoLink {
        /// The device.
        device: String,
    },
    /// Zero-copy was demanded of a program that does not run in the driver.
    #[error(
        "zero-copy needs the XDP program in the driver, and device `{device}` runs it on socket \
         buffers: let the kernel copy"
    )]
    ZeroCopyGeneric {
        /// The device.
        device: String,
    },
    /// The UMEM could not be made.
    #[error("cannot make a UMEM of {frames} frames: {source}")]
    Umem {
        /// Frames asked for.
        frames: usize,
        /// What went wrong.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A socket could not be bound to its queue.
    #[error("cannot open an AF_XDP socket on device `{device}` queue {queue}: {reason}{}",
        bind_hint(*errno, *zero_copy))]
    Bind {
        /// The device.
        device: String,
        /// The queue.
        queue: u32,
        /// Zero-copy was asked for.
        zero_copy: bool,
        /// What went wrong.
        reason: String,
        /// The kernel's answer, if it was one.
        errno: Option<i32>,
    },
    /// A socket option was refused.
    #[error("cannot set {option} on device `{device}` queue {queue}: {source}")]
    Option {
        /// The device.
        device: String,
        /// The queue.
        queue: u32,
        /// What was to be set.
        option: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

fn queues_hint(device: &str, driver: &str, workers: usize) -> String {
    if driver == "veth" {
        format!(
            "`ethtool -L {device} rx {workers} tx {workers}`, on a pair made with \
             `ip link add ... numrxqueues {workers} numtxqueues {workers} type veth ...`"
        )
    } else {
        format!("`ethtool -L {device} combined {workers}`, or fewer workers")
    }
}

fn attach_hint(errno: Option<i32>, mode: &str, device: &str) -> String {
    match errno {
        Some(libc::EOPNOTSUPP) if mode == "native" => {
            "; its driver has no XDP: let the mode be chosen, or ask for generic".to_owned()
        }
        Some(libc::ERANGE | libc::EMSGSIZE) => {
            format!(
                "; MTU too large for XDP (on veth, the peer's counts): \
                     `ip link set dev {device} mtu 1500`"
            )
        }
        Some(libc::ENOSPC) => {
            "; too few queues for XDP (on veth, it needs as many receive queues as the peer has \
             transmit queues)"
                .to_owned()
        }
        _ => String::new(),
    }
}

fn bind_hint(errno: Option<i32>, zero_copy: bool) -> &'static str {
    match errno {
        Some(libc::EBUSY) => "; another AF_XDP socket has the queue: stop what runs it",
        Some(libc::EOPNOTSUPP | libc::EINVAL) if zero_copy => {
            "; its driver has no zero-copy: let the kernel copy"
        }
        Some(libc::ENETDOWN) => "; the device is down: `ip link set dev DEV up`",
        _ => "",
    }
}

/// The kernel's error number somewhere below an error.
pub(super) fn errno_of(error: &(dyn Error + 'static)) -> Option<i32> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(errno) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return Some(errno);
        }
        next = error.source();
    }
    None
}

/// An error and all below it, in one line.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let below = error.to_string();
        if !text.contains(&below) {
            text = format!("{text}: {below}");
        }
        next = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_device_and_the_way_out() {
        let queues = AfXdpError::Queues {
            device: "eth7".to_owned(),
            driver: "mlx5_core".to_owned(),
            queues: 2,
            workers: 4,
        };
        let text = queues.to_string();
        assert!(text.contains("has 2 queue(s)"), "{text}");
        assert!(text.contains("`ethtool -L eth7 combined 4`"), "{text}");
        let foreign = AfXdpError::ForeignProgram { device: "eth7".to_owned(), program: None };
        assert!(foreign.to_string().contains("`ip link set dev eth7 xdp off`"));
    }

    #[test]
    fn the_error_number_is_found_below() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] io::Error);
        let error = Outer(io::Error::from_raw_os_error(libc::EBUSY));
        assert_eq!(errno_of(&error), Some(libc::EBUSY));
        assert!(chain(&error).starts_with("outer: "));
    }
}
