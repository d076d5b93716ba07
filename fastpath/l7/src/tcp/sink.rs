use super::ConnOptions;
use std::net::SocketAddr;

/// Where packets go that an engine sends.
pub trait PacketSink {
    /// Whether a packet can be sent now. Without room a connection keeps what it
    /// has to send, and answers to segments are lost.
    fn has_room(&self) -> bool;

    /// Sends an IP packet of `len` bytes, from the IP header on. `fill` writes all of
    /// it and must be called once, with a slice of that length.
    fn send(&mut self, len: usize, fill: &mut dyn FnMut(&mut [u8]));
}

/// Says what is listened on.
pub trait Listeners {
    /// What a connection to `local` from `remote` is to be made with; `None` where
    /// nothing listens.
    fn listens(&mut self, local: SocketAddr, remote: SocketAddr) -> Option<ConnOptions>;
}

impl<F: FnMut(SocketAddr, SocketAddr) -> Option<ConnOptions>> Listeners for F {
    fn listens(&mut self, local: SocketAddr, remote: SocketAddr) -> Option<ConnOptions> {
        self(local, remote)
    }
}
