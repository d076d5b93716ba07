/// ICMP echo to the gateway's addresses and VIPs.
pub mod echo;

use crate::core::Core;
use crate::packet::Packet;
use crate::stages::route;
use crate::time::Nanos;
use crate::wire::ip::Ip;
use crate::wire::l4::{Kind, flags};
use echo::Echo;
use send_wrapper::SendWrapper;
use sluice_io::{Frame, FrameCache};
use sluice_tables::{Tables, V4, V6};
use std::sync::Arc;

/// A packet that ends at the gateway itself.
// Moved once, from the journey into a service.
#[allow(clippy::large_enum_variant)]
pub enum LocalPacket {
    /// IPv4.
    V4(Packet<V4>),
    /// IPv6.
    V6(Packet<V6>),
}

impl LocalPacket {
    /// What follows its IP header.
    pub fn kind(&self) -> Kind {
        match self {
            LocalPacket::V4(packet) => packet.ip.l4.kind,
            LocalPacket::V6(packet) => packet.ip.l4.kind,
        }
    }

    /// Its frame, whose data begins with the IP header.
    pub fn into_frame(self) -> Frame {
        match self {
            LocalPacket::V4(packet) => packet.frame,
            LocalPacket::V6(packet) => packet.frame,
        }
    }
}

/// What a local service may use.
pub struct LocalContext<'a> {
    /// The time.
    pub now: Nanos,
    /// Where frames that it does not keep go.
    pub cache: &'a mut FrameCache,
    /// Largest IP packet that can go back to the sender of what is delivered, in bytes:
    /// told of TCP that begins a connection, for all others a size that goes everywhere.
    pub path_mtu: u16,
}

/// What every path carries (RFC 8200 section 5), in bytes.
pub const PATH_MTU_MIN: u16 = 1_280;

/// [`LocalContext::path_mtu`] of a packet.
pub(crate) fn path_mtu<F: Ip>(core: &mut Core, packet: &Packet<F>) -> u16 {
    let begins = packet.ip.l4.kind == Kind::Tcp && packet.ip.l4.tcp_flags & flags::SYN != 0;
    if !begins {
        return PATH_MTU_MIN;
    }
    let tables = core.tables.clone();
    let way = route::find::<F>(core, &tables, &packet.key.src).ok();
    let row = way.and_then(|way| core.adjacencies.row(way));
    row.map_or(PATH_MTU_MIN, |row| row.mtu)
}

/// Something that ends connections or answers packets here.
pub trait LocalService {
    /// Takes a packet over, frame included.
    ///
    /// # Errors
    /// The frame, when there is no room for what is to be done about it.
    fn deliver(&mut self, packet: LocalPacket, context: &mut LocalContext<'_>)
    -> Result<(), Frame>;

    /// The next packet to be sent, its data beginning with the IP header; `None`
    /// when there is nothing to do. The worker bounds how often it asks.
    fn poll(&mut self, context: &mut LocalContext<'_>) -> Option<Frame>;

    /// Takes an ICMP error about a packet that it has sent, from the IP header on.
    fn hear_of_error(&mut self, _packet: &[u8]) {}

    /// Takes the tables that count from now on. It may keep them until the next ones
    /// come, and no longer: the last to let go of tables is not to be a worker.
    fn take_tables(&mut self, _tables: &Arc<Tables>) {}

    /// Does what is due, within its budget; `clock` tells the time as it goes by. True
    /// if there was anything to do.
    fn turn(&mut self, _context: &mut LocalContext<'_>, _clock: &mut dyn FnMut() -> Nanos) -> bool {
        false
    }

    /// When it has something to do next, if nothing comes.
    fn next_due(&self) -> Option<Nanos> {
        None
    }

    /// The worker ends: whatever it holds is let go of.
    fn close(&mut self) {}

    /// It asks network policies itself about the connections that it opens: it knows for
    /// whom it does. Nobody else asks about them then.
    fn asks_policies(&self) -> bool {
        false
    }
}

/// The services of one worker.
pub struct LocalServices {
    echo: Echo,
    /// A worker may change its thread before it has this, and not after.
    l7: Option<SendWrapper<Box<dyn LocalService>>>,
    asks_policies: bool,
}

impl LocalServices {
    /// The services, with nothing to do.
    pub fn new() -> Self {
        LocalServices { echo: Echo::default(), l7: None, asks_policies: false }
    }

    /// Whether policies have been asked about the connections that services open.
    #[inline]
    pub fn asks_policies(&self) -> bool {
        self.asks_policies
    }

    /// Has TCP that ends here served by `l7`, on this thread.
    pub fn set_l7(&mut self, l7: Box<dyn LocalService>) {
        self.asks_policies = l7.asks_policies();
        self.l7 = Some(SendWrapper::new(l7));
    }

    /// Whether TCP ends here.
    #[inline]
    pub fn has_l7(&self) -> bool {
        self.l7.is_some()
    }

    /// Gives a packet to the service that it is for.
    ///
    /// # Errors
    /// As [`LocalService::deliver`].
    pub fn deliver(
        &mut self,
        packet: LocalPacket,
        context: &mut LocalContext<'_>,
    ) -> Result<(), Frame> {
        match (packet.kind(), &mut self.l7) {
            (Kind::Tcp, Some(l7)) => l7.deliver(packet, context),
            (Kind::IcmpError, Some(l7)) => {
                let frame = packet.into_frame();
                l7.hear_of_error(frame.data());
                context.cache.free(frame);
                Ok(())
            }
            // Nobody listens without L7.
            (Kind::Tcp | Kind::IcmpError, None) => Err(packet.into_frame()),
            _ => self.echo.deliver(packet, context),
        }
    }

    /// Tells of an ICMP error about a packet of the gateway's own.
    pub fn hear_of_error(&mut self, packet: &[u8]) {
        if let Some(l7) = &mut self.l7 {
            l7.hear_of_error(packet);
        }
    }

    /// Gives the tables on that count from now on.
    pub fn take_tables(&mut self, tables: &Arc<Tables>) {
        if let Some(l7) = &mut self.l7 {
            l7.take_tables(tables);
        }
    }

    /// Does what is due. True if there was anything to do.
    pub fn turn(
        &mut self,
        context: &mut LocalContext<'_>,
        clock: &mut dyn FnMut() -> Nanos,
    ) -> bool {
        self.l7.as_mut().is_some_and(|l7| l7.turn(context, clock))
    }

    /// When there is something to do next, if nothing comes.
    pub fn next_due(&self) -> Option<Nanos> {
        self.l7.as_ref()?.next_due()
    }

    /// Lets go of whatever services hold.
    pub fn close(&mut self) {
        if let Some(l7) = &mut self.l7 {
            l7.close();
        }
    }

    /// The next packet that a service wants sent.
    pub fn poll(&mut self, context: &mut LocalContext<'_>) -> Option<Frame> {
        self.echo.poll(context).or_else(|| self.l7.as_mut()?.poll(context))
    }
}

impl Default for LocalServices {
    fn default() -> Self {
        Self::new()
    }
}
