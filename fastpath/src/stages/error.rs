//! Answers to packets that cannot go on: ICMP errors (RFC 1812 section 4.3,
//! RFC 4443), TCP resets (RFC 9293 section 3.5.2) and SCTP aborts. Bounded in
//! number, never in answer to errors, fragments or multicast.

mod abort;

use crate::core::Core;
use crate::packet::{Ingress, Packet};
use crate::stages::{output, route};
use crate::time::Nanos;
use crate::wire::ip::{Fragment, Ip, IpHeader, IpInfo};
use crate::wire::l4::{self, Kind, flags};
use crate::wire::{be32, checksum, put16};
use sluice_io::Frame;
use sluice_tables::hash::endpoint;
use sluice_tables::{Tables, V4, V6};

const TTL: u8 = 64;
const ICMP_HEADER_LEN: usize = 8;
/// Longest ICMP error (RFC 1812 section 4.3.2.3; RFC 4443 section 2.4 c allows
/// the minimum MTU of 1280, of which a tunnel needs its share).
const ERROR_LEN_V4: usize = 576;
const ERROR_LEN_V6: usize = 1232;

/// Bounds the errors sent: so many a second in all, and a few per destination.
#[derive(Clone, Debug)]
pub struct ErrorLimiter {
    all: Bucket,
    all_per_second: u32,
    by_destination: Box<[Bucket]>,
}

/// Destinations share so many classes.
const CLASSES: usize = 256;
/// Errors to one class of destinations: a burst, and so many a second after.
const PER_DESTINATION: u32 = 50;

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Tokens in thousandths.
    tokens: u64,
    filled: Nanos,
}

impl Bucket {
    fn full(per_second: u32) -> Self {
        Bucket { tokens: u64::from(per_second) * 1_000, filled: Nanos::default() }
    }

    fn fill(&mut self, per_second: u32, now: Nanos) {
        let millis = now.since(self.filled) / 1_000_000;
        if millis > 0 {
            let full = u64::from(per_second) * 1_000;
            let gained = millis.saturating_mul(u64::from(per_second));
            self.tokens = self.tokens.saturating_add(gained).min(full);
            self.filled = now;
        }
    }
}

impl ErrorLimiter {
    /// Allows `per_second` errors a second, and as many at once.
    pub fn new(per_second: u32) -> Self {
        ErrorLimiter {
            all: Bucket::full(per_second),
            all_per_second: per_second,
            by_destination: vec![Bucket::full(PER_DESTINATION); CLASSES].into(),
        }
    }

    fn allow(&mut self, destination: &[u8], now: Nanos) -> bool {
        let class = endpoint(0, destination, 0) as usize % CLASSES;
        let one = &mut self.by_destination[class];
        one.fill(PER_DESTINATION, now);
        self.all.fill(self.all_per_second, now);
        if one.tokens < 1_000 || self.all.tokens < 1_000 {
            return false;
        }
        one.tokens -= 1_000;
        self.all.tokens -= 1_000;
        true
    }
}

/// An ICMP error's type, code and second word, in one family.
struct Message {
    icmp_type: u8,
    code: u8,
    word: u32,
}

/// Tells the sender that the time to live has run out.
#[cold]
pub fn time_exceeded<F: Ip>(core: &mut Core, tables: &Tables, packet: &Packet<F>) {
    let icmp_type = if F::IS_V4 { 11 } else { 3 };
    icmp(core, tables, &About::of(packet), Message { icmp_type, code: 0, word: 0 }, None);
}

/// Tells the sender that its packet is larger than `mtu`: Fragmentation Needed
/// (RFC 1191) or Packet Too Big (RFC 8201).
#[cold]
pub fn too_big<F: Ip>(core: &mut Core, tables: &Tables, packet: &Packet<F>, mtu: u16) {
    let (icmp_type, code) = if F::IS_V4 { (3, 4) } else { (2, 0) };
    let message = Message { icmp_type, code, word: u32::from(mtu) };
    icmp(core, tables, &About::of(packet), message, None);
}

/// Tells whoever has sent a packet from here that it is larger than `mtu`.
#[cold]
pub fn tell_own<F: Ip>(core: &mut Core, tables: &Tables, ip: &IpInfo<F>, frame: &Frame, mtu: u16) {
    let (icmp_type, code) = if F::IS_V4 { (3, 4) } else { (2, 0) };
    let message = Message { icmp_type, code, word: u32::from(mtu) };
    let ingress = Some(Ingress::GATEWAY);
    let about = About::<F> { src: ip.src, ip: &ip.header, ingress, bytes: frame.data() };
    icmp(core, tables, &about, message, None);
}

/// Tells the sender that there is no way to the destination.
#[cold]
pub fn unreachable<F: Ip>(core: &mut Core, tables: &Tables, packet: &Packet<F>) {
    let icmp_type = if F::IS_V4 { 3 } else { 1 };
    icmp(core, tables, &About::of(packet), Message { icmp_type, code: 0, word: 0 }, None);
}

/// Tells the sender of a packet that waited in vain for its neighbor that the
/// host does not answer (RFC 1812 section 5.2.7.1, RFC 4861 section 7.2.2). The
/// packet is as it would have gone out; one that was translated has an address
/// of the gateway's as its source, and nobody is told. Nor is a sender whose own
/// MAC is not known: what tells of a packet that waited does not wait itself.
#[cold]
pub fn host_unreachable(core: &mut Core, frame: &Frame) {
    match frame.data().first().map(|byte| byte >> 4) {
        Some(4) => host_unreachable_of::<V4>(core, frame),
        Some(6) => host_unreachable_of::<V6>(core, frame),
        _ => {}
    }
}

fn host_unreachable_of<F: Ip>(core: &mut Core, frame: &Frame) {
    let Ok(ip) = F::parse(frame.data()) else { return };
    let tables = core.tables.clone();
    let family = F::of(&tables);
    if family.local.contains_key(&ip.src) || family.vips.get(&ip.src).is_some() {
        return;
    }
    let Ok(back) = route::find::<F>(core, &tables, &ip.src) else { return };
    if !core.adjacencies.row(back).is_some_and(|row| row.resolved) {
        return;
    }
    let (icmp_type, code) = if F::IS_V4 { (3, 1) } else { (1, 3) };
    let about = About::<F> { src: ip.src, ip: &ip.header, ingress: None, bytes: frame.data() };
    icmp(core, &tables, &about, Message { icmp_type, code, word: 0 }, None);
}

/// Refuses a packet as a closed port does: a reset to TCP, an abort to SCTP,
/// port unreachable to the rest, from the address that was asked.
#[cold]
pub fn refuse<F: Ip>(core: &mut Core, tables: &Tables, packet: &Packet<F>) {
    match packet.ip.l4.kind {
        Kind::Tcp => return reset(core, tables, packet),
        Kind::Sctp(chunk) => return abort::abort(core, tables, packet, chunk),
        _ => {}
    }
    let (icmp_type, code) = if F::IS_V4 { (3, 3) } else { (1, 4) };
    let from = Some(packet.key.dst);
    icmp(core, tables, &About::of(packet), Message { icmp_type, code, word: 0 }, from);
}

/// What an ICMP error is about.
struct About<'a, F: Ip> {
    src: F::Addr,
    ip: &'a IpHeader,
    /// Where it came from, if that is known.
    ingress: Option<Ingress>,
    bytes: &'a [u8],
}

impl<'a, F: Ip> About<'a, F> {
    fn of(packet: &'a Packet<F>) -> Self {
        let (src, ip, bytes) = (packet.key.src, &packet.ip, packet.frame.data());
        About { src, ip, ingress: Some(packet.ingress), bytes }
    }
}

/// Builds and sends an ICMP error about a packet as it was received.
fn icmp<F: Ip>(
    core: &mut Core,
    tables: &Tables,
    about: &About<'_, F>,
    message: Message,
    from: Option<F::Addr>,
) {
    let (ip, sender) = (about.ip, about.src);
    let about_error = ip.l4.kind == Kind::IcmpError;
    let is_own = about.ingress == Some(Ingress::GATEWAY);
    if about_error || ip.fragment == Fragment::Later || !is_own && !may_answer::<F>(core, &sender) {
        return;
    }
    // What the gateway tells itself comes from itself.
    let from = from.or_else(|| is_own.then_some(sender));
    let Some(src) = from.or_else(|| own_address(core, tables, about)) else { return };
    let Some(mut frame) = core.new_frame() else { return };
    let longest = if F::IS_V4 { ERROR_LEN_V4 } else { ERROR_LEN_V6 };
    let quoted = about.bytes.len().min(longest - F::HEADER_LEN - ICMP_HEADER_LEN);
    let icmp_len = ICMP_HEADER_LEN + quoted;
    let fits = frame.set_window(sluice_io::HEADROOM, F::HEADER_LEN + icmp_len);
    debug_assert!(fits);
    let out = frame.data_mut();
    F::emit(out, src, sender, F::ICMP, TTL, 0, icmp_len);
    let icmp = &mut out[F::HEADER_LEN..];
    icmp[..4].copy_from_slice(&[message.icmp_type, message.code, 0, 0]);
    icmp[4..8].copy_from_slice(&message.word.to_be_bytes());
    icmp[8..].copy_from_slice(&about.bytes[..quoted]);
    let pseudo = if F::IS_V4 {
        0
    } else {
        checksum::pseudo(src.as_ref(), sender.as_ref(), F::ICMP, icmp_len)
    };
    let checksum = checksum::finish(pseudo, icmp);
    put16(icmp, 2, checksum);
    if is_own {
        core.local.hear_of_error(frame.data());
        return core.cache.free(frame);
    }
    output::originate(core, tables, frame);
}

/// Builds and sends a reset in answer to a segment.
fn reset<F: Ip>(core: &mut Core, tables: &Tables, packet: &Packet<F>) {
    let tcp_flags = packet.ip.l4.tcp_flags;
    if tcp_flags & flags::RST != 0
        || packet.ingress == Ingress::GATEWAY
        || !may_answer::<F>(core, &packet.key.src)
    {
        return;
    }
    let segment = &packet.frame.data()[usize::from(packet.ip.l4_offset)..];
    let header_len = segment.get(12).map_or(20, |byte| usize::from(byte >> 4) * 4);
    let (seq, ack) = (be32(segment, 4), be32(segment, 8));
    let takes_one = |flag: u8| u32::from(tcp_flags & flag != 0);
    let len = segment.len().saturating_sub(header_len) as u32
        + takes_one(flags::SYN)
        + takes_one(flags::FIN);
    // RFC 9293 section 3.10.7.1.
    let (seq, ack, bits) = if tcp_flags & flags::ACK != 0 {
        (ack, 0, flags::RST)
    } else {
        (0, seq.wrapping_add(len), flags::RST | flags::ACK)
    };
    let Some(mut frame) = core.new_frame() else { return };
    let fits = frame.set_window(sluice_io::HEADROOM, F::HEADER_LEN + 20);
    debug_assert!(fits);
    let out = frame.data_mut();
    let (src, dst) = (packet.key.dst, packet.key.src);
    F::emit(out, src, dst, l4::TCP, TTL, 0, 20);
    let tcp = &mut out[F::HEADER_LEN..];
    tcp.fill(0);
    put16(tcp, 0, packet.key.dst_port);
    put16(tcp, 2, packet.key.src_port);
    tcp[4..8].copy_from_slice(&seq.to_be_bytes());
    tcp[8..12].copy_from_slice(&ack.to_be_bytes());
    tcp[12] = 5 << 4;
    tcp[13] = bits;
    let checksum = checksum::finish(checksum::pseudo(src.as_ref(), dst.as_ref(), l4::TCP, 20), tcp);
    put16(tcp, 16, checksum);
    output::originate(core, tables, frame);
}

/// True when the sender may be answered, and the rate allows it.
fn may_answer<F: Ip>(core: &mut Core, sender: &F::Addr) -> bool {
    if F::is_martian_source(sender) {
        return false;
    }
    let allowed = core.limiter.allow(sender.as_ref(), core.now);
    if !allowed {
        core.counters.errors_limited.add(1);
    }
    allowed
}

/// The gateway's address where the packet came in (RFC 1812 section 4.3.2.4).
fn own_address<F: Ip>(core: &mut Core, tables: &Tables, about: &About<'_, F>) -> Option<F::Addr> {
    let sender = &about.src;
    if let Some(port) = about.ingress.and_then(Ingress::as_port) {
        let own = route::port_address::<F>(tables, port, sender);
        if own.is_some() {
            return own;
        }
    }
    let way = route::find::<F>(core, tables, sender).ok()?;
    route::source_address::<F>(core, tables, way, sender)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_bounded_in_all_and_per_destination() {
        let mut limiter = ErrorLimiter::new(100);
        let now = Nanos(Nanos::SECOND);
        let to_one = (0..200).filter(|_| limiter.allow(&[10, 0, 0, 1], now)).count();
        assert_eq!(to_one, PER_DESTINATION as usize);
        let to_many = (0..200u8).filter(|&i| limiter.allow(&[10, 1, i, 1], now)).count();
        assert_eq!(to_many, 100 - PER_DESTINATION as usize);
        assert!(limiter.allow(&[10, 0, 0, 1], Nanos(2 * Nanos::SECOND)));
    }
}
