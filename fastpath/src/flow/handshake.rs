use super::Direction;
use crate::wire::tcp::WINDOW_SCALE_MAX;

/// What a TCP connection's SYNs have said, and who has reset it: kept aside,
/// since packets of an established connection need none of it.
#[derive(Clone, Copy, Debug)]
pub struct Handshake {
    /// What acknowledges the client's last SYN: its sequence number + 1.
    syn_ack: u32,
    /// A SYN of the client waits for its answer.
    waits: bool,
    /// The window scale that the SYN offers.
    offered: Option<u8>,
    /// Window scales of client and server.
    scales: [u8; 2],
    /// The side whose reset has closed the connection.
    reset_by: Option<Direction>,
}

impl Handshake {
    /// Nothing is known: the largest scale there is.
    pub const UNSEEN: Handshake = Handshake {
        syn_ack: 0,
        waits: false,
        offered: None,
        scales: [WINDOW_SCALE_MAX; 2],
        reset_by: None,
    };

    /// The client has sent a SYN: its first, or again, or on the tuple of a
    /// connection that it no longer knows.
    pub fn begin(&mut self, sequence: u32, scale: Option<u8>) {
        self.syn_ack = sequence.wrapping_add(1);
        self.waits = true;
        self.offered = scale;
    }

    /// True when a SYN waits and this acknowledges it.
    pub fn is_answer(&self, acknowledgment: u32) -> bool {
        self.waits && self.syn_ack == acknowledgment
    }

    /// The server has answered the SYN that waits. Windows are scaled if both
    /// sides say so (RFC 7323 section 2.2).
    pub fn answered(&mut self, scale: Option<u8>) {
        self.waits = false;
        self.scales = match (self.offered, scale) {
            (Some(client), Some(server)) => [client, server],
            _ => [0, 0],
        };
    }

    /// The largest window that a side can have announced, in bytes.
    pub fn window_max(&self, side: Direction) -> u32 {
        0xffff << self.scales[side as usize]
    }

    /// A side has reset the connection.
    pub fn reset(&mut self, by: Direction) {
        self.reset_by = Some(by);
    }

    /// True for the side whose reset has closed the connection.
    pub fn is_reset_by(&self, side: Direction) -> bool {
        self.reset_by == Some(side)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_scaled_if_both_sides_say_so() {
        let after = |client, server| {
            let mut handshake = Handshake::UNSEEN;
            handshake.begin(u32::MAX, client);
            assert!(handshake.is_answer(0) && !handshake.is_answer(1));
            handshake.answered(server);
            assert!(!handshake.is_answer(0));
            [Direction::Original, Direction::Reply].map(|side| handshake.window_max(side))
        };
        assert_eq!(after(Some(2), Some(7)), [0xffff << 2, 0xffff << 7]);
        assert_eq!(after(None, Some(7)), [0xffff, 0xffff]);
        assert_eq!(after(Some(7), None), [0xffff, 0xffff]);
        assert_eq!(Handshake::UNSEEN.window_max(Direction::Reply), 0xffff << 14);
    }
}
