/// ICMP echo to the gateway's addresses and VIPs.
pub mod echo;

use crate::packet::Packet;
use crate::time::Nanos;
use echo::Echo;
use sluice_io::{Frame, FrameCache};
use sluice_tables::{V4, V6};

/// A packet that ends at the gateway itself.
// Moved once, from the journey into a service.
#[allow(clippy::large_enum_variant)]
pub enum LocalPacket {
    /// IPv4.
    V4(Packet<V4>),
    /// IPv6.
    V6(Packet<V6>),
}

/// What a local service may use.
pub struct LocalContext<'a> {
    /// The time.
    pub now: Nanos,
    /// Where frames that it does not keep go.
    pub cache: &'a mut FrameCache,
}

/// Something that ends connections or answers packets here.
pub trait LocalService: Send {
    /// Takes a packet over, frame included.
    ///
    /// # Errors
    /// The frame, when there is no room for what is to be done about it.
    fn deliver(&mut self, packet: LocalPacket, context: &mut LocalContext<'_>)
    -> Result<(), Frame>;

    /// The next packet to be sent, its data beginning with the IP header; `None`
    /// when there is nothing to do. The worker bounds how often it asks.
    fn poll(&mut self, context: &mut LocalContext<'_>) -> Option<Frame>;
}

/// The services of one worker.
pub struct LocalServices {
    echo: Echo,
}

impl LocalServices {
    /// The services, with nothing to do.
    pub fn new() -> Self {
        LocalServices { echo: Echo::default() }
    }

    /// Gives a packet to the service that it is for. Only echo requests get
    /// here so far.
    ///
    /// # Errors
    /// As [`LocalService::deliver`].
    pub fn deliver(
        &mut self,
        packet: LocalPacket,
        context: &mut LocalContext<'_>,
    ) -> Result<(), Frame> {
        self.echo.deliver(packet, context)
    }

    /// The next packet that a service wants sent.
    pub fn poll(&mut self, context: &mut LocalContext<'_>) -> Option<Frame> {
        self.echo.poll(context)
    }
}

impl Default for LocalServices {
    fn default() -> Self {
        Self::new()
    }
}
