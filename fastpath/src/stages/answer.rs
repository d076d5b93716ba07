//! Answers of DNS servers: where policies name peers by domain names, an answer
//! goes on when its addresses are live on every worker. One that finds no room, or
//! that control does not release in time, goes on all the same: policies on names
//! are no filter of DNS.

use crate::core::Core;
use crate::flow::{Direction, FlowTable};
use crate::mesh::Handed;
use crate::packet::Packet;
use crate::reason::DropReason;
use crate::wire::be16;
use crate::wire::checksum;
use crate::wire::ip::{Fragment, Ip};
use crate::wire::l4::{self, Kind};
use sluice_tables::Tables;
use sluice_tables::answer::MESSAGE_MAX;

/// Bytes of a UDP header, and of a DNS message's header (RFC 1035 section 4.1.1).
const UDP_HEADER_LEN: usize = 8;
const DNS_HEADER_LEN: usize = 12;

/// True for the answer of a server that is believed, to a pod whose egress is
/// policed: it waits, its place is taken. Fragments, and messages that are too
/// large, are not read.
#[cold]
pub fn is_held<F: Ip>(
    core: &mut Core,
    table: &FlowTable<F>,
    tables: &Tables,
    packet: &Packet<F>,
    number: u32,
) -> bool {
    if core.answers.is_releasing()
        || packet.ip.l4.kind != Kind::Udp
        || packet.ip.fragment != Fragment::Whole
        || FlowTable::<F>::direction(number) != Direction::Reply
    {
        return false;
    }
    let family = F::of(tables);
    let client = table.entry(number).new_dst;
    let is_policed = |addr| family.known.get(addr).is_some_and(|known| known.egress.is_selected());
    if !is_policed(&client) || !family.believes(&packet.key.src) || !is_readable(packet) {
        return false;
    }
    let has_room = core.answers.admit(F::to_ip(client));
    core.counters.answers_unread.add(u64::from(!has_room));
    has_room
}

/// True for a whole message of a size that is learned from. One that arrived
/// corrupt teaches nothing: its client will not believe it either.
fn is_readable<F: Ip>(packet: &Packet<F>) -> bool {
    let udp = packet.l4();
    let Some(header) = udp.first_chunk::<UDP_HEADER_LEN>() else { return false };
    let len = usize::from(be16(header, 4));
    let Some(udp) = udp.get(..len) else { return false };
    let message_len = len.saturating_sub(UDP_HEADER_LEN);
    let is_right = || {
        let key = &packet.key;
        let pseudo = checksum::pseudo(key.src.as_ref(), key.dst.as_ref(), l4::UDP, len);
        // None, over IPv4 only (RFC 8200 section 8.1).
        let is_absent = be16(header, 6) == 0;
        if is_absent { F::IS_V4 } else { checksum::finish(pseudo, udp) == 0 }
    };
    (DNS_HEADER_LEN..=MESSAGE_MAX).contains(&message_len) && is_right()
}

/// Makes an answer wait that has a place.
#[cold]
pub fn hold<F: Ip>(core: &mut Core, packet: Packet<F>)
where
    Packet<F>: Into<Handed>,
{
    core.answers.hold(packet.into(), core.now);
    core.count_held();
}

/// The next answer that has waited too long: it goes on, and its addresses may
/// become known later.
pub fn expired(core: &mut Core) -> Option<Handed> {
    let packet = core.answers.expired(core.now)?;
    core.counters.answers_overdue.add(1);
    Some(packet)
}

/// Drops every answer that waits: the worker stops.
pub fn close(core: &mut Core) {
    while let Some(packet) = core.answers.take_any() {
        match packet {
            Handed::V4(packet) => core.drop_packet(packet, DropReason::Stopping),
            Handed::V6(packet) => core.drop_packet(packet, DropReason::Stopping),
        }
    }
}
