//! ICMP errors about flows (RFC 5508 section 4, RFC 4443 section 2.4). One about
//! a flow that may go on may do so too, whatever policies say of its sender. Where
//! the flow is translated, an error goes to whoever sent the packet that it quotes, who
//! knows the flow by other addresses than the one that reports: the error's own
//! addresses and those of the quoted packet become what its receiver knows.

use crate::core::Core;
use crate::flow::table::NO_ENTRY;
use crate::flow::{Direction, Entry, FlowTable};
use crate::journey::Verdict;
use crate::packet::Packet;
use crate::reason::DropReason;
use crate::stages::{conntrack, policy, route, steer};
use crate::wire::ip::{Fragment, Ip};
use crate::wire::{checksum, l4, put16};
use sluice_tables::Tables;

/// Bytes before the quoted packet.
pub const HEADER_LEN: usize = 8;

/// Sends an ICMP error about a translated flow on, as its receiver understands
/// it. It is no packet of the flow: it changes nothing about it and does not
/// keep it alive. Other packets go on as they are. True for an error that is
/// about a flow that is not translated, and goes to the sender of what it quotes:
/// policies have nothing more to say.
///
/// # Errors
/// What becomes of an error about a translated flow, or about one that is cut.
pub fn relate<F: Ip>(
    core: &mut Core,
    table: &FlowTable<F>,
    tables: &Tables,
    packet: &mut Packet<F>,
) -> Result<bool, Verdict> {
    if packet.ip.fragment != Fragment::Whole {
        return Ok(false);
    }
    let Some(key) = steer::quoted_flow(packet) else { return Ok(false) };
    let Some(number) = table.find(&key, table.hash(&key), NO_ENTRY) else { return Ok(false) };
    let entry = table.entry(number);
    // Only the sender of the quoted packet is told of it. What the tables say of
    // the flow is looked at in full: errors are rare, and change no epochs.
    let is_about = packet.key.dst == key.dst && conntrack::is_live(core, table, tables, number);
    let is_for_us = is_about
        && FlowTable::<F>::direction(number) == Direction::Reply
        && conntrack::is_of_gateway(table.both(number));
    if !entry.is_translated() {
        if is_about {
            policy::of_flow(core, tables, packet, table.both(number)).map_err(DropReason::from)?;
        }
        if is_for_us {
            return Err(Verdict::Local);
        }
        return Ok(is_about);
    }
    let message = &packet.frame.data()[usize::from(packet.ip.l4_offset)..];
    if !is_translatable(F::IS_V4, message[0]) {
        return Err(DropReason::IcmpErrorType.into());
    }
    if !is_about {
        return Err(DropReason::IcmpErrorNoFlow.into());
    }
    if !is_sound::<F>(&packet.key.src, &packet.key.dst, message) {
        return Err(DropReason::BadIcmpChecksum.into());
    }
    policy::of_flow(core, tables, packet, table.both(number)).map_err(DropReason::from)?;
    if is_for_us {
        rewrite(packet, entry, FlowTable::<F>::direction(number));
        return Err(Verdict::Local);
    }
    route::take_hop(core, tables, packet)?;
    let way = route::choose(core, tables, packet, &entry.new_dst)?;
    rewrite(packet, entry, FlowTable::<F>::direction(number));
    Err(Verdict::Forward(way))
}

/// The types that mean something beyond a translation: unreachable, time
/// exceeded and parameter problem, over IPv6 packet too big. A redirect is about
/// one link, source quench is obsolete (RFC 6633).
fn is_translatable(v4: bool, icmp_type: u8) -> bool {
    matches!((v4, icmp_type), (true, 3 | 11 | 12) | (false, 1..=4))
}

/// Whether the checksum of an ICMP message is right: what is changed in it gets
/// a new one, which must not vouch for what was broken before.
pub fn is_sound<F: Ip>(src: &F::Addr, dst: &F::Addr, message: &[u8]) -> bool {
    checksum::finish(pseudo::<F>(src, dst, message.len()), message) == 0
}

fn pseudo<F: Ip>(src: &F::Addr, dst: &F::Addr, len: usize) -> u64 {
    match F::IS_V4 {
        true => 0,
        false => checksum::pseudo(src.as_ref(), dst.as_ref(), F::ICMP, len),
    }
}

/// Rewrites an error that goes the way of `entry`.
///
/// It comes from where the flow's packets of its direction seem to come from, so
/// that neither pods nor nodes show outside (as Linux does it,
/// `nf_nat_icmp_reply_translation`); on the way to a backend that knows its
/// clients, routers keep their own address.
fn rewrite<F: Ip>(packet: &mut Packet<F>, entry: &Entry<F>, direction: Direction) {
    let (src, dst) = (packet.key.src, packet.key.dst);
    let is_shown = direction == Direction::Original
        && entry.bits & Entry::<F>::SNAT == 0
        && src != entry.key.src;
    let new_src = if is_shown { src } else { entry.new_src };
    let outer = F::address_delta([src, dst], [new_src, entry.new_dst]);
    let data = packet.frame.data_mut();
    F::rewrite(data, new_src, entry.new_dst, checksum::add(outer, F::TTL_DELTA));
    let message = &mut data[usize::from(packet.ip.l4_offset)..];
    rewrite_quote(&mut message[HEADER_LEN..], entry);
    put16(message, 2, 0);
    let sum = checksum::finish(pseudo::<F>(&new_src, &entry.new_dst, message.len()), message);
    put16(message, 2, sum);
}

/// Rewrites a quoted packet, which went the other way than the error, to what
/// its sender had put on the wire. Its checksums are mended where they are not
/// cut off: sums do not tell source from destination, so they gain what those of
/// packets of this direction do. (SCTP's covers what is cut off, and stays.)
fn rewrite_quote<F: Ip>(quote: &mut [u8], entry: &Entry<F>) {
    let Some(quoted) = F::quoted(quote) else { return };
    let (key, new_src, new_dst) = (&entry.key, entry.new_src, entry.new_dst);
    let delta = F::address_delta([key.src, key.dst], [new_src, new_dst]);
    F::readdress(quote, new_dst, new_src, delta);
    let Some(header) = quote.get_mut(quoted.l4_offset..) else { return };
    put16(header, 0, entry.new_dst_port);
    put16(header, 2, entry.new_src_port);
    match quoted.protocol {
        l4::TCP if header.len() >= 18 => checksum::apply(header, 16, entry.l4_delta),
        l4::UDP if header.len() >= 8 => checksum::apply_udp(header, entry.l4_delta),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Key;
    use sluice_tables::{V4, V6};

    /// The entry that turns `key` into `new`.
    fn entry<F: Ip>(key: Key<F>, new: Key<F>) -> Entry<F> {
        let mut entry = Entry {
            key,
            new_src: new.src,
            new_dst: new.dst,
            new_src_port: new.src_port,
            new_dst_port: new.dst_port,
            ..Entry::free()
        };
        (entry.ip_delta, entry.l4_delta) = conntrack::deltas(&entry);
        entry
    }

    /// A packet with the tuple `key` and right checksums.
    fn packet<F: Ip>(key: &Key<F>, payload: u8) -> Vec<u8> {
        let (len, at) = if key.protocol == l4::UDP { (8 + 5, 6) } else { (20 + 5, 16) };
        let mut packet = vec![payload; F::HEADER_LEN + len];
        F::emit(&mut packet, key.src, key.dst, key.protocol, 17, 0x2c, len);
        let segment = &mut packet[F::HEADER_LEN..];
        put16(segment, 0, key.src_port);
        put16(segment, 2, key.dst_port);
        if key.protocol == l4::UDP {
            put16(segment, 4, len as u16);
        }
        put16(segment, at, 0);
        let pseudo = checksum::pseudo(key.src.as_ref(), key.dst.as_ref(), key.protocol, len);
        let sum = checksum::finish(pseudo, segment);
        put16(segment, at, sum);
        packet
    }

    fn check<F: Ip>(a: F::Addr, b: F::Addr, c: F::Addr, d: F::Addr) {
        for (protocol, payload) in
            [l4::TCP, l4::UDP].into_iter().flat_map(|p| (0..=255).map(move |byte| (p, byte)))
        {
            let key = Key::<F> { src: a, dst: b, src_port: 40_000, dst_port: 80, protocol };
            let new = Key::<F> { src: c, dst: d, src_port: 1_024, dst_port: 8_080, protocol };
            let (there, back) = (entry(key, new), entry(new, key));
            let quoted = packet(&key.reversed(), payload);
            let half = F::HEADER_LEN + if protocol == l4::UDP { 7 } else { 17 };
            // A shorter one has no ports, and no flow that could be found; half a
            // checksum is none.
            for len in (F::HEADER_LEN + 4..=quoted.len()).filter(|len| *len != half) {
                let mut quote = quoted[..len].to_vec();
                rewrite_quote(&mut quote, &there);
                assert_eq!(quote, packet(&new.reversed(), payload)[..len], "there, {len} bytes");
                rewrite_quote(&mut quote, &back);
                assert_eq!(quote, quoted[..len], "and back, {len} bytes");
            }
        }
    }

    #[test]
    fn a_quote_cut_anywhere_becomes_what_its_sender_sent_and_back() {
        check::<V4>([198, 51, 100, 7], [10, 96, 0, 10], [10, 244, 255, 1], [10, 244, 1, 7]);
        check::<V6>([0x20; 16], [0xfd; 16], [0xfc; 16], [0x2a; 16]);
    }
}
