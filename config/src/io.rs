//! `io`: how frames enter and leave.

use crate::read::{Fields, Reader, Reported, boolean, choice, integer, list, power_of_two, text};
use crate::schema::{Default, Key, Section};

/// Most UMEM frames (2 GiB of 2048-byte chunks).
pub const FRAMES_MAX: u32 = 1_048_576;

/// Packet I/O: backend, mode and memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Io {
    /// What moves the frames.
    pub backend: Backend,
    /// Where the XDP program is attached.
    pub attach: Attach,
    /// Whether the NIC writes straight into the UMEM.
    pub copy: CopyMode,
    /// DPDK's environment, for that backend.
    pub dpdk: Dpdk,
    /// Number of UMEM chunks for all ports and workers; at least
    /// `workers * ports * ring_len * 2`, at most [`FRAMES_MAX`].
    pub frames: u32,
    /// Slots of every RX, TX, fill and completion ring, a power of two.
    pub ring_len: u32,
}

/// What moves the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// AF_XDP sockets.
    AfXdp,
    /// DPDK's drivers, in builds that have them.
    Dpdk,
}

const BACKENDS: &[(&str, Backend)] = &[("af_xdp", Backend::AfXdp), ("dpdk", Backend::Dpdk)];

/// DPDK's environment.
#[derive(Clone, Debug, PartialEq)]
pub struct Dpdk {
    /// Memory in huge pages that are reserved.
    pub huge_pages: bool,
    /// More arguments for EAL.
    pub arguments: Vec<String>,
}

/// Where the XDP program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// In the driver if it can, else generic.
    Auto,
    /// In the driver, or refuse to start (`XDP_FLAGS_DRV_MODE`).
    Native,
    /// In the kernel's generic path (`XDP_FLAGS_SKB_MODE`).
    Generic,
}

/// Whether the NIC writes straight into the UMEM. One decision for the whole UMEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyMode {
    /// Zero-copy if every port can, else copy.
    Auto,
    /// Zero-copy, or refuse to start (`XDP_ZEROCOPY`).
    ZeroCopy,
    /// The kernel copies each frame (`XDP_COPY`).
    Copy,
}

/// Frames that a worker and the cache of its thread in DPDK's pool keep, and those of its on
/// their way to the kernel.
const KEPT_FRAMES: u32 = 2048;

/// UMEM chunks where the file names no number and the rings need no more.
const FRAMES_DEFAULT: u32 = 32768;

pub(crate) static SECTION: Section = Section {
    path: "io",
    keys: &[
        Key {
            name: "backend",
            kind: "`af_xdp` or `dpdk`",
            default: Default::Value("af_xdp"),
            meaning: "what moves the frames: the kernel's sockets, or DPDK's drivers in a build \
                      that has them",
        },
        Key {
            name: "attach",
            kind: "`auto`, `native` or `generic`",
            default: Default::Value("auto"),
            meaning: "run the XDP program in the driver if it can, only there, or in the generic \
                      path (`af_xdp`)",
        },
        Key {
            name: "copy",
            kind: "`auto`, `zero_copy` or `copy`",
            default: Default::Value("auto"),
            meaning: "zero-copy if every port can, always, or never; one decision for all ports \
                      (`af_xdp`)",
        },
        Key {
            name: "dpdk",
            kind: "section",
            default: Default::Words("its defaults"),
            meaning: "DPDK's environment (`dpdk`)",
        },
        Key {
            name: "frames",
            kind: "integer, `workers.count` x ports x `ring_len` x 2 to 1048576",
            default: Default::Words("32768, or what the rings need if that is more"),
            meaning: "number of 2048-byte UMEM chunks for all ports and workers",
        },
        Key {
            name: "ring_len",
            kind: "power of two, 64 to 32768",
            default: Default::Value("4096"),
            meaning: "slots of every RX, TX, fill and completion ring",
        },
    ],
};

pub(crate) static DPDK_SECTION: Section = Section {
    path: "io.dpdk",
    keys: &[
        Key {
            name: "huge_pages",
            kind: "boolean",
            default: Default::Value("true"),
            meaning: "memory in huge pages that are reserved (`vm.nr_hugepages`), which NICs \
                      need; `false`: in usual pages, slower",
        },
        Key {
            name: "arguments",
            kind: "list of at most 64 strings",
            default: Default::Words("none"),
            meaning: "more arguments for DPDK's environment (EAL), such as `--iova-mode=va`; \
                      those for cores, memory and devices follow from the rest of this file",
        },
    ],
};

/// Most arguments for EAL.
const ARGUMENTS_MAX: usize = 64;

/// Arguments of EAL that are not to be given, and what is expected instead.
const RESERVED: [(&[&str], &str); 4] = [
    (
        &["-a", "--allow", "-b", "--block", "--no-pci", "--vdev"],
        "none of those that follow from `ports[].device`",
    ),
    (
        &["-c", "-l", "--lcores", "-s", "-S", "--main-lcore"],
        "none of those that follow from `workers`, whose threads are no lcores of EAL's",
    ),
    (
        &[
            "-m",
            "--no-huge",
            "--huge-unlink",
            "--huge-dir",
            "--huge-worker-stack",
            "--legacy-mem",
            "--match-allocations",
            "--socket-limit",
            "--socket-mem",
        ],
        "none of those that follow from `io.frames` and `io.dpdk.huge_pages`",
    ),
    (
        &[
            "--in-memory",
            "--file-prefix",
            "--no-shconf",
            "--proc-type",
            "--telemetry",
            "--no-telemetry",
            "--help",
            "-h",
            "-v",
            "--",
        ],
        "none of those that say how the process runs: it is a gateway, alone, and has all of it in \
         memory",
    ),
];

impl Dpdk {
    fn read(reader: &mut Reader<'_>, io: &Fields<'_>) -> Result<Self, Reported> {
        let fields = io.section(reader, "dpdk", &DPDK_SECTION)?;
        let huge_pages = fields.defaulted(reader, "huge_pages", boolean);
        let argument = text("an argument of EAL as on a command line, without spaces", |text| {
            let valid = text.starts_with('-') && text.chars().all(|c| c.is_ascii_graphic());
            if valid { Ok(text.to_owned()) } else { Err(String::new()) }
        });
        let arguments = fields.optional(reader, "arguments", list(0..=ARGUMENTS_MAX, argument));
        let arguments = arguments?.map(|list| list.value).unwrap_or_default();
        for argument in &arguments {
            if let Some(expected) = reserved(&argument.value) {
                let message = format!("`{}` is not to be given", argument.value);
                reader.error(&argument.spot, message, expected);
            }
        }
        let arguments = arguments.into_iter().map(|argument| argument.value).collect();
        Ok(Dpdk { huge_pages: huge_pages?.value, arguments })
    }
}

/// What is expected instead of an argument of EAL, if it is not to be given.
fn reserved(argument: &str) -> Option<&'static str> {
    let name = argument.split('=').next().unwrap_or_default();
    let is = |reserved: &&str| match reserved.starts_with("--") {
        // EAL takes the beginning of a name for all of it.
        true => name == *reserved || name.len() > 2 && reserved.starts_with(name),
        // A short one may have its value behind it.
        false => argument.starts_with(*reserved) && !argument.starts_with("--"),
    };
    RESERVED.iter().find(|(names, _)| names.iter().any(is)).map(|(_, expected)| *expected)
}

impl Io {
    /// What moves the frames, before `io` is read and judged: the ports depend on it.
    pub(crate) fn backend(root: &Fields<'_>) -> Backend {
        let found = root.get("io").and_then(|field| field.text_of("backend"));
        let backend = BACKENDS.iter().find(|(name, _)| found == Some(*name));
        backend.map_or(Backend::AfXdp, |(_, backend)| *backend)
    }

    /// Reads `io`. The rings of `workers` workers and `ports` ports set the least number of
    /// frames; without these numbers it is not checked.
    pub(crate) fn read(
        reader: &mut Reader<'_>,
        root: &Fields<'_>,
        sizes: Option<(usize, usize)>,
    ) -> Result<Self, Reported> {
        let fields = root.section(reader, "io", &SECTION)?;
        let backend = fields.defaulted(reader, "backend", choice(BACKENDS));
        let attach = choice(&[
            ("auto", Attach::Auto),
            ("native", Attach::Native),
            ("generic", Attach::Generic),
        ]);
        let attach = fields.defaulted(reader, "attach", attach);
        let copy = choice(&[
            ("auto", CopyMode::Auto),
            ("zero_copy", CopyMode::ZeroCopy),
            ("copy", CopyMode::Copy),
        ]);
        let copy = fields.defaulted(reader, "copy", copy);
        let dpdk = Dpdk::read(reader, &fields);
        if let Ok(backend) = &backend {
            let (others, name): (&[&str], _) = match backend.value {
                Backend::AfXdp => (&["dpdk"], "dpdk"),
                Backend::Dpdk => (&["attach", "copy"], "af_xdp"),
            };
            for key in others.iter().filter_map(|other| fields.get(other)) {
                let expected = format!("this key beside `backend: {name}` alone");
                reader.error(&key.spot, "of no use with this backend", &*expected);
            }
        }
        let frames = fields.optional(reader, "frames", integer(64..=FRAMES_MAX));
        let ring_len = fields.defaulted(reader, "ring_len", power_of_two(64..=32768));

        let (frames, ring_len) = (frames?, ring_len?);
        let (workers, ports) = sizes.unwrap_or((0, 0));
        // At most 64 workers, 16 ports and 32768 slots: far below u32::MAX.
        // What threads keep of DPDK's pool, beside the rings.
        let kept = match &backend {
            Ok(backend) if backend.value == Backend::Dpdk => workers as u32 * KEPT_FRAMES,
            _ => 0,
        };
        let needed = (workers * ports * 2) as u32 * ring_len.value + kept;
        let more = if kept > 0 { format!(" + {kept} in caches") } else { String::new() };
        let formula = format!(
            "{workers} workers x {ports} ports x {} ring slots x 2{more} = {needed}",
            ring_len.value
        );
        match &frames {
            _ if needed > FRAMES_MAX => {
                let message = format!("the rings need more than {FRAMES_MAX} frames: {formula}");
                reader.error(&ring_len.spot, message, "fewer workers or shorter rings");
            }
            Some(frames) if frames.value < needed => {
                let message = format!("{} frames do not fill the rings", frames.value);
                let expected = format!("at least {formula}");
                reader.error(&frames.spot, message, &*expected);
            }
            _ => {}
        }
        Ok(Self {
            backend: backend?.value,
            attach: attach?.value,
            copy: copy?.value,
            dpdk: dpdk?,
            frames: frames.map_or(FRAMES_DEFAULT.max(needed), |frames| frames.value),
            ring_len: ring_len.value,
        })
    }
}
