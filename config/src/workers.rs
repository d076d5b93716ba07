//! `workers`: the polling threads.

use std::time::Duration;

use crate::read::{Fields, Reader, Reported, choice, integer, list, power_of_two};
use crate::schema::{Default, Key, Section};

/// Most workers that one gateway may have.
pub const WORKERS_MAX: usize = 64;

/// The polling threads: how many, where they run, how they wait.
#[derive(Clone, Debug, PartialEq)]
pub struct Workers {
    /// Number of workers, 1 to [`WORKERS_MAX`]. Each has one queue of every port.
    pub count: usize,
    /// CPU core of each worker, distinct, as many as `count`; `None`: the first allowed cores.
    pub cores: Option<Vec<usize>>,
    /// What a worker does when there is nothing to do.
    pub idle: Idle,
    /// Slots of the ring between each pair of workers, a power of two.
    pub handoff_ring_len: u32,
}

/// What a worker does when there is nothing to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Idle {
    /// How it waits.
    pub mode: IdleMode,
    /// How long an adaptive worker spins before it sleeps.
    pub spin: Duration,
    /// Longest sleep without a wake-up; a busy-polling worker ignores it.
    pub sleep_max: Duration,
}

/// How an idle worker waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdleMode {
    /// Spin for a while, then sleep until a frame or a message wakes it.
    Adaptive,
    /// Never sleep: least latency, a whole core.
    BusyPoll,
    /// Sleep at once: least CPU time, most latency.
    Sleep,
}

pub(crate) static SECTION: Section = Section {
    path: "workers",
    keys: &[
        Key {
            name: "count",
            kind: "integer, 1 to 64",
            default: Default::Value("1"),
            meaning: "number of workers; each has one queue of every port",
        },
        Key {
            name: "cores",
            kind: "list of distinct CPU core numbers, `count` of them",
            default: Default::Words("the first cores that the process may use"),
            meaning: "core of each worker",
        },
        Key {
            name: "idle",
            kind: "section",
            default: Default::Words("its defaults"),
            meaning: "what a worker does when there is nothing to do",
        },
        Key {
            name: "handoff_ring_len",
            kind: "power of two, 64 to 65536",
            default: Default::Value("4096"),
            meaning: "slots of the ring between each pair of workers",
        },
    ],
};

pub(crate) static IDLE: Section = Section {
    path: "workers.idle",
    keys: &[
        Key {
            name: "mode",
            kind: "`adaptive`, `busy_poll` or `sleep`",
            default: Default::Value("adaptive"),
            meaning: "spin for a while and then sleep; never sleep; or sleep at once",
        },
        Key {
            name: "spin_us",
            kind: "integer, 0 to 1000000 microseconds",
            default: Default::Value("50"),
            meaning: "how long an adaptive worker spins before it sleeps",
        },
        Key {
            name: "sleep_us_max",
            kind: "integer, 1 to 1000000 microseconds",
            default: Default::Value("1000"),
            meaning: "longest sleep without a wake-up",
        },
    ],
};

impl Workers {
    /// Reads `workers`.
    pub(crate) fn read(reader: &mut Reader<'_>, root: &Fields<'_>) -> Result<Self, Reported> {
        let fields = root.section(reader, "workers", &SECTION)?;
        let count = fields.defaulted(reader, "count", integer(1..=WORKERS_MAX));
        let core = integer(0..=4095_usize);
        let cores = fields.optional(reader, "cores", list(1..=WORKERS_MAX, core));
        let idle = Idle::read(reader, &fields);
        let handoff_ring_len =
            fields.defaulted(reader, "handoff_ring_len", power_of_two(64..=65536));

        let (count, cores) = (count?.value, cores?);
        if let Some(cores) = &cores {
            for (index, core) in cores.value.iter().enumerate() {
                let earlier = &cores.value[..index];
                if let Some(first) = earlier.iter().find(|first| first.value == core.value) {
                    let message = format!("core {} is taken by {}", core.value, first.spot.refer());
                    reader.error(&core.spot, message, "a core of its own for each worker");
                }
            }
            if cores.value.len() != count {
                let message = format!("{} cores for {count} workers", cores.value.len());
                reader.error(&cores.spot, message, "one core for each of `workers.count`");
            }
        }
        Ok(Self {
            count,
            cores: cores.map(|list| list.value.into_iter().map(|core| core.value).collect()),
            idle: idle?,
            handoff_ring_len: handoff_ring_len?.value,
        })
    }
}

impl Idle {
    fn read(reader: &mut Reader<'_>, workers: &Fields<'_>) -> Result<Self, Reported> {
        let fields = workers.section(reader, "idle", &IDLE)?;
        let modes = choice(&[
            ("adaptive", IdleMode::Adaptive),
            ("busy_poll", IdleMode::BusyPoll),
            ("sleep", IdleMode::Sleep),
        ]);
        let mode = fields.defaulted(reader, "mode", modes);
        let spin_us = fields.defaulted(reader, "spin_us", integer(0..=1_000_000_u32));
        let sleep_us_max = fields.defaulted(reader, "sleep_us_max", integer(1..=1_000_000_u32));
        Ok(Self {
            mode: mode?.value,
            spin: Duration::from_micros(spin_us?.value.into()),
            sleep_max: Duration::from_micros(sleep_us_max?.value.into()),
        })
    }
}
