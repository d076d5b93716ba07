/// What can be held: a group of VIPs by its number, or, one more than the last,
/// what only one gateway may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot(pub u16);

/// A request to the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Make the membership's Lease this instance's: replace the version, or
    /// create it.
    Join {
        /// This instance.
        identity: String,
        /// The version to be replaced; `None`: there is none.
        version: Option<String>,
    },
    /// Renew the membership, if it is this instance's.
    Renew {
        /// This instance.
        identity: String,
        /// It may be given more.
        is_able: bool,
    },
    /// Give the membership up, if it is this instance's.
    Leave {
        /// This instance.
        identity: String,
    },
    /// End another one's membership: take the holder out of this version.
    Fence {
        /// Name of the Lease.
        lease: String,
        /// The version.
        version: String,
    },
    /// Take a slot.
    Claim {
        /// The slot.
        slot: Slot,
        /// This instance.
        identity: String,
        /// The version to be replaced; `None`: there is none.
        version: Option<String>,
    },
    /// Give a slot up: take the holder out of this version.
    Release {
        /// The slot.
        slot: Slot,
        /// The version.
        version: String,
    },
}

/// What an [`Op`] is about. Of each there is one at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// The gateway's own membership.
    Member,
    /// Another one's, by the name of its Lease.
    Fence(String),
    /// A slot.
    Slot(Slot),
}

impl Op {
    /// What it is about.
    pub fn key(&self) -> Key {
        match self {
            Op::Join { .. } | Op::Renew { .. } | Op::Leave { .. } => Key::Member,
            Op::Fence { lease, .. } => Key::Fence(lease.clone()),
            Op::Claim { slot, .. } | Op::Release { slot, .. } => Key::Slot(*slot),
        }
    }
}

/// What has become of an [`Op`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done, and this is the Lease's version now.
    Done(String),
    /// The Lease has changed, is gone or there already, or is somebody else's.
    Lost,
    /// The API server does not let this gateway do it.
    Refused,
    /// There was no answer, or none that says anything: it may be done or not.
    Unreachable,
}
