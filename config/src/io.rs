//! `io`: how frames enter and leave.

use crate::read::{Fields, Reader, Reported, choice, integer, power_of_two};
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

/// UMEM chunks where the file names no number and the rings need no more.
const FRAMES_DEFAULT: u32 = 32768;

pub(crate) static SECTION: Section = Section {
    path: "io",
    keys: &[
        Key {
            name: "backend",
            kind: "`af_xdp`",
            default: Default::Value("af_xdp"),
            meaning: "what moves the frames",
        },
        Key {
            name: "attach",
            kind: "`auto`, `native` or `generic`",
            default: Default::Value("auto"),
            meaning: "run the XDP program in the driver if it can, only there, or in the generic \
                      path",
        },
        Key {
            name: "copy",
            kind: "`auto`, `zero_copy` or `copy`",
            default: Default::Value("auto"),
            meaning: "zero-copy if every port can, always, or never; one decision for all ports",
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

impl Io {
    /// Reads `io`. The rings of `workers` workers and `ports` ports set the least number of
    /// frames; without these numbers it is not checked.
    pub(crate) fn read(
        reader: &mut Reader<'_>,
        root: &Fields<'_>,
        sizes: Option<(usize, usize)>,
    ) -> Result<Self, Reported> {
        let fields = root.section(reader, "io", &SECTION)?;
        let backend = fields.defaulted(reader, "backend", choice(&[("af_xdp", Backend::AfXdp)]));
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
        let frames = fields.optional(reader, "frames", integer(64..=FRAMES_MAX));
        let ring_len = fields.defaulted(reader, "ring_len", power_of_two(64..=32768));

        let (frames, ring_len) = (frames?, ring_len?);
        let (workers, ports) = sizes.unwrap_or((0, 0));
        // At most 64 workers, 16 ports and 32768 slots: far below u32::MAX.
        let needed = (workers * ports * 2) as u32 * ring_len.value;
        let formula = format!(
            "{workers} workers x {ports} ports x {} ring slots x 2 = {needed}",
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
            frames: frames.map_or(FRAMES_DEFAULT.max(needed), |frames| frames.value),
            ring_len: ring_len.value,
        })
    }
}
