use std::ops::Sub;

/// Frames, by [`super::people::Kind`] where there is one number for each.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Sent by clients, or they would have been.
    pub offered: [u64; 3],
    /// Of those, found the receive ring of the uplink full.
    pub ring_full: [u64; 3],
    /// Came to pods.
    pub to_pods: [u64; 3],
    /// Sent by pods.
    pub answered: [u64; 3],
    /// Of those, found the receive ring of the cluster's port full.
    pub answers_ring_full: u64,
    /// Came to clients.
    pub to_clients: [u64; 3],
    /// Of what was offered, data of established flows.
    pub data: u64,
    /// Data that came to pods.
    pub data_to_pods: u64,
    /// Acknowledgments of data that came to clients.
    pub data_acked: u64,
    /// Handshakes that pods have seen to their end.
    pub opened: u64,
    /// Pods that were told that their client is not known (any more).
    pub resets: u64,
    /// Flood that a schedule was too far behind to offer.
    pub missed: u64,
}

impl Sub for Counts {
    type Output = Counts;

    fn sub(self, other: Counts) -> Counts {
        let three = |a: [u64; 3], b: [u64; 3]| [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
        Counts {
            offered: three(self.offered, other.offered),
            ring_full: three(self.ring_full, other.ring_full),
            to_pods: three(self.to_pods, other.to_pods),
            answered: three(self.answered, other.answered),
            answers_ring_full: self.answers_ring_full - other.answers_ring_full,
            to_clients: three(self.to_clients, other.to_clients),
            data: self.data - other.data,
            data_to_pods: self.data_to_pods - other.data_to_pods,
            data_acked: self.data_acked - other.data_acked,
            opened: self.opened - other.opened,
            resets: self.resets - other.resets,
            missed: self.missed - other.missed,
        }
    }
}
