//! Who announces which VIPs, when there are several gateways: decided by Leases
//! (`coordination.k8s.io/v1`) in one namespace.
//!
//! **Leases.** Every gateway renews one Lease, its *membership*
//! (`sluice-gateway-NODE`). VIPs are dealt out in groups ([`crate::announce`]),
//! each with a Lease (`sluice-vips-N`) that says which member has it and is
//! written only when that changes; one more (`sluice-status`) is for what only
//! one gateway may do, such as to hand out addresses. What a member should have
//! follows from the list of members by rendezvous hashing ([`rank`]): a member
//! that comes or goes moves its share, and nothing else.
//!
//! **Never two.** Holders are instances: a node's name and a random number, new
//! with each membership. An instance may take a slot from another one only after
//! that one's membership is over for good: it has given it up itself, or somebody
//! has *fenced* it, which is a write to its Lease that the API server accepts
//! only if nobody has renewed it meanwhile (`resourceVersion`). Who fences has
//! seen the Lease unchanged for its whole duration by its own monotonic clock;
//! nobody compares clocks. An instance counts its membership as valid until
//! duration less margin after it *began* to send its last successful renewal, so
//! it has ended before anybody can fence it, as long as clocks run equally fast
//! within the margin (a tenth). Everything that one knows of others comes from
//! one watch, in order, so that a slot is never seen without the membership of
//! its holder.
//!
//! **The API away.** Traffic must go on when nobody can reach the API. A holder
//! whose renewals fail for want of an answer therefore goes on to announce its
//! VIPs after its membership is no longer valid (but does nothing else: in
//! particular, `sluice-status` counts as lost). If only this gateway has lost
//! the API, another one fences it and announces its VIPs, unasked and three
//! times; the old holder hears that, and ends for the group in question at once.
//! So ARP and ND requests can be answered twice:
//! - by a gateway that is cut off from the API while another is not: from the
//!   takeover until it hears of it, which takes control's turn of at most 100 ms;
//!   1 or 2 s longer if the first announcements are lost on the way; and for as
//!   long as the two cannot hear each other, in which case few can hear both;
//! - by a gateway whose process, or whose machine, was stopped for longer than
//!   the duration and goes on: until its next renewal is answered, or it hears
//!   the new holder;
//! - if somebody deletes or edits the Leases of slots by hand.
//!
//! **A start while the API is away.** Nothing is known of others then. A gateway
//! that was the only one when the API was last heard, by a file beside the
//! snapshot, announces everything after it has waited for the API for the duration
//! of a Lease; it ends for a group that somebody else announces, and with the
//! first that the API says, once that has had the time to make it a holder.
//!
//! **Control that has failed**, or hangs, cannot tell the workers to end. Its
//! gateway keeps what they announce, and says at each renewal that it is not
//! *able* (the value of the label `sluice.dev/lease`): others do not count on it
//! for anything that it does not hold, and it does not lead.
//!
//! An answer that refuses a renewal (forbidden, for example) counts as none: an
//! API server that starts refuses everybody for a while. An orderly end announces nothing any more
//! first, and then gives the membership up.
//!
//! ```text
//! watch ---> View --.
//! answers ---------> Machine (pure: time is an argument) ---> requests, groups held, leader
//! control: live, claims, eligible --'
//! ```

/// What control was told to announce, and what may be announced by now.
mod told;

/// What is decided, without I/O and clock.
mod machine;
/// What is remembered over a restart.
mod memory;
/// Who should have what.
mod rank;
/// What is known of the Leases.
mod view;

/// What is asked of the API server.
mod requests;
/// How the Leases become known.
mod watch;

/// The thread that takes part.
mod elector;
/// What control and the election tell each other.
mod seat;

pub use elector::{Election, Elector};
pub use machine::{Answer, Counts, Key, Machine, Op, Options, Output, Slot};
pub use rank::rank;
pub use seat::{ElectionView, Seat};
pub use told::Told;
pub use view::{Lease, View};

use crate::announce::stable_hash;

/// Names of Leases of memberships begin with it.
const MEMBER: &str = "sluice-gateway-";
/// Names of Leases of groups of VIPs begin with it.
const VIPS: &str = "sluice-vips-";
/// The Lease of what only one gateway may do.
const STATUS: &str = "sluice-status";

/// Longest name of an object (an RFC 1123 subdomain).
const NAME_MAX: usize = 253;

/// The name of a node's membership.
pub fn member_name(node: &str) -> String {
    if MEMBER.len() + node.len() <= NAME_MAX {
        return format!("{MEMBER}{node}");
    }
    // Node names may be as long as those of Leases.
    let hash = stable_hash(&[node.as_bytes()]);
    let cut = node.get(..200).unwrap_or_default().trim_end_matches(['.', '-']);
    format!("{MEMBER}{cut}-{hash:016x}")
}

/// The node of an instance: what stands before its number.
fn node_of(identity: &str) -> &str {
    identity.rsplit_once('_').map_or(identity, |(node, _)| node)
}

#[cfg(test)]
mod tests;
