//! The device that smoltcp's interfaces see.

use crate::tcp::PacketSink;
use crate::tcp::emit::BARE_MAX;
use crate::tcp::parse::{FIN, RST, SYN, before, fold};
use smoltcp::phy::{Checksum, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

/// A segment that was sent, as it stands in its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tcp) struct Sent {
    pub seq: u32,
    /// The sequence numbers that it takes.
    pub len: u32,
    pub ack: u32,
    pub flags: u8,
    pub window: u16,
}

/// What feeding a segment led to at once.
#[derive(Default)]
pub(in crate::tcp) struct Outcome {
    pub sent: Option<Sent>,
    /// An answer was made for which there was no room.
    pub lost: bool,
}

/// A packet to be taken, a sink.
pub(super) struct Wire<'a> {
    mtu: u16,
    packet: Option<&'a [u8]>,
    sink: Option<&'a mut dyn PacketSink>,
    /// The next sequence number that was never sent.
    snd_nxt: u32,
    pub outcome: Outcome,
}

impl<'a> Wire<'a> {
    pub fn new(
        mtu: u16,
        packet: Option<&'a [u8]>,
        sink: Option<&'a mut dyn PacketSink>,
        snd_nxt: u32,
    ) -> Self {
        Wire { mtu, packet, sink, snd_nxt, outcome: Outcome::default() }
    }

    fn sender(&mut self) -> Sender<'_> {
        let sink: Option<&mut dyn PacketSink> = match &mut self.sink {
            Some(sink) => Some(&mut **sink),
            None => None,
        };
        Sender { sink, snd_nxt: self.snd_nxt, outcome: &mut self.outcome }
    }
}

impl Device for Wire<'_> {
    type RxToken<'a>
        = Taken<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Sender<'a>
    where
        Self: 'a;

    fn receive(&mut self, _now: Instant) -> Option<(Taken<'_>, Sender<'_>)> {
        let packet = self.packet.take()?;
        Some((Taken(packet), self.sender()))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Sender<'_>> {
        self.sink.as_ref()?.has_room().then(|| self.sender())
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu.into();
        // What comes is checked before.
        capabilities.checksum.ipv4 = Checksum::Tx;
        capabilities.checksum.tcp = Checksum::Tx;
        capabilities
    }
}

pub(super) struct Taken<'a>(&'a [u8]);

impl RxToken for Taken<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

pub(super) struct Sender<'a> {
    sink: Option<&'a mut dyn PacketSink>,
    snd_nxt: u32,
    outcome: &'a mut Outcome,
}

impl TxToken for Sender<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let (outcome, snd_nxt) = (self.outcome, self.snd_nxt);
        let mut fill = Some(f);
        let mut result = None;
        if let Some(sink) = self.sink.filter(|sink| sink.has_room()) {
            sink.send(len, &mut |buffer| {
                if let Some(fill) = fill.take() {
                    result = Some(fill(buffer));
                    outcome.sent = Sent::read(buffer);
                    raise(buffer, &mut outcome.sent, snd_nxt);
                }
            });
        }
        match (result, fill) {
            (Some(result), _) => result,
            // An answer must be made, with room or without. It is a bare segment.
            (None, Some(fill)) => {
                outcome.lost = true;
                let mut bare = [0; BARE_MAX * 2];
                match bare.get_mut(..len) {
                    Some(bare) => fill(bare),
                    None => fill(&mut vec![0; len]),
                }
            }
            (None, None) => unreachable!("filled, so there is a result"),
        }
    }
}

impl Sent {
    /// Reads a packet of smoltcp's, which has no IP options.
    fn read(packet: &[u8]) -> Option<Sent> {
        let tcp = packet.get(if packet.first()? >> 4 == 4 { 20 } else { 40 }..)?;
        let header: &[u8; 20] = tcp.first_chunk()?;
        let long = |at: usize| {
            u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let flags = header[13];
        let data = tcp.len() - usize::from(header[12] >> 4) * 4;
        let controls = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
        Some(Sent {
            seq: long(4),
            len: data as u32 + controls,
            ack: long(8),
            flags,
            window: u16::from_be_bytes([header[14], header[15]]),
        })
    }
}

/// Gives an ACK without data the sequence number that RFC 9293 section 3.10.7.4 wants,
/// SND.NXT. smoltcp goes back with its own when it sends again: the peer then takes the
/// ACK for an old one, and two such ends never get on.
fn raise(packet: &mut [u8], sent: &mut Option<Sent>, snd_nxt: u32) {
    let Some(sent) = sent else { return };
    if sent.len > 0 || sent.flags & RST != 0 || !before(sent.seq, snd_nxt) {
        return;
    }
    let at = if packet[0] >> 4 == 4 { 20 } else { 40 };
    let tcp = &mut packet[at..];
    let checksum = u16::from_be_bytes([tcp[16], tcp[17]]);
    tcp[4..8].copy_from_slice(&snd_nxt.to_be_bytes());
    // RFC 1624.
    let changed = u64::from(!checksum) + u64::from(!sent.seq) + u64::from(snd_nxt);
    tcp[16..18].copy_from_slice(&(!fold(changed)).to_be_bytes());
    sent.seq = snd_nxt;
}
