//! Fragments of what may be translated, or is asked about: virtual reassembly. Only
//! a first fragment has ports; it tells them to the others, which wait for it if they come before
//! it, and then each goes the way of its flow for itself. Everybody else's
//! fragments pass as they are, and whether they overlap is for their receiver to
//! judge.

use crate::core::Core;
use crate::flow::FlowTable;
use crate::flow::table::NO_ENTRY;
use crate::fragments::{Chain, DatagramKey, Fit, FragmentFamily, Refused, State, Told};
use crate::packet::Packet;
use crate::reason::DropReason;
use crate::stages::{policy, sanity};
use crate::wire::ip::{Fragment, Ip};
use crate::wire::l4::{self, Kind};
use sluice_tables::{NatMode, Tables, V4, V6};

/// Datagrams whose time is over that are looked at in one turn, of each family.
const EXPIRE_BUDGET: usize = 16;

/// What follows a fragment that goes on: those that waited for it, and what it
/// has told of them. [`next`] takes one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Behind {
    waited: Chain,
    told: Told,
    new_id: u32,
}

/// A fragment that goes on, and what follows it; `None`: it waits, or was dropped.
type Admitted<F> = Option<(Packet<F>, Behind)>;

/// True for a fragment whose ports must be known: its datagram may be translated,
/// or policies are asked about it.
pub fn is_followed<F: Ip>(tables: &Tables, packet: &Packet<F>) -> bool {
    let key = &packet.key;
    may_be_translated(tables, packet)
        || policy::is_selected::<F>(tables, &key.src)
        || policy::is_selected::<F>(tables, &key.dst)
}

/// True for a fragment of what is translated or may be. Only first fragments
/// have ports: where clients are preserved, everything from the overlay to the
/// outside may be a Service's reply.
fn may_be_translated<F: Ip>(tables: &Tables, packet: &Packet<F>) -> bool {
    let family = F::of(tables);
    let dst = &packet.key.dst;
    let may_be_reply = family.snat.mode == NatMode::Preserve
        && packet.ingress.vtep().is_some()
        && family.pod_node(dst).is_none();
    may_be_reply || family.vips.get(dst).is_some() || family.local.contains_key(dst)
}

/// The worker that puts a fragment's ports together with it: the same one for
/// all of a datagram. It need not own the flow.
pub fn owner<F: Ip>(tables: &Tables, packet: &Packet<F>) -> usize {
    let Some(piece) = F::piece(packet.frame.data()) else { return 0 };
    let key = DatagramKey::of(packet, &piece);
    let (low, high) = key.halves();
    tables.owners.of_pair((key.src.as_ref(), low), (key.dst.as_ref(), high))
}

/// Takes in a fragment of this worker's; returns it, and what waited for it, once
/// its ports are known.
#[cold]
pub fn admit<F: FragmentFamily>(
    core: &mut Core,
    table: &FlowTable<F>,
    tables: &Tables,
    packet: Packet<F>,
) -> Admitted<F> {
    match try_admit(core, tables, packet) {
        Ok(admitted) => admitted.map(|(packet, behind)| (learn(table, packet, &behind), behind)),
        Err((packet, reason)) => {
            core.drop_packet(packet, reason);
            None
        }
    }
}

fn try_admit<F: FragmentFamily>(
    core: &mut Core,
    tables: &Tables,
    packet: Packet<F>,
) -> Result<Admitted<F>, (Packet<F>, DropReason)> {
    let piece = match F::piece(packet.frame.data()) {
        Some(piece) if piece.len > 0 && !(piece.more && piece.len % 8 != 0) => piece,
        _ => return Err((packet, DropReason::BadFragment)),
    };
    // Who may not speak takes no room.
    if let Err(reason) = sanity::check(tables, &packet) {
        return Err((packet, reason));
    }
    let slot = slot_of(core, DatagramKey::of(&packet, &piece));
    let datagrams = F::table_of(&mut core.fragments);
    if let State::Condemned(reason) = datagrams.state(slot) {
        return Err((packet, reason));
    }
    let reason = match datagrams.cover(slot, &piece) {
        Fit::New if is_beyond_us(tables, &packet) => DropReason::FragmentNotSupported,
        Fit::New => return Ok(take(core, slot, packet)),
        Fit::Duplicate => return Err((packet, DropReason::FragmentDuplicate)),
        Fit::Conflict => DropReason::FragmentOverlap,
    };
    let waited = datagrams.condemn(slot, reason);
    drop_all::<F>(core, waited, reason);
    Err((packet, reason))
}

/// A first fragment that nothing here could translate, or find the flow of: SCTP's
/// checksum covers the whole packet (RFC 9260 section 6.8), and an error or
/// another message of ICMP has no flow.
fn is_beyond_us<F: Ip>(tables: &Tables, packet: &Packet<F>) -> bool {
    packet.ip.fragment == Fragment::First
        && match packet.ip.l4.kind {
            Kind::IcmpError | Kind::IcmpOther => true,
            _ => packet.ip.protocol == l4::SCTP && may_be_translated(tables, packet),
        }
}

/// The slot of a datagram, which is begun if it is new. The oldest one of a full
/// bucket gives way.
fn slot_of<F: FragmentFamily>(core: &mut Core, key: DatagramKey<F>) -> u16 {
    let now = core.now;
    let datagrams = F::table_of(&mut core.fragments);
    let found = datagrams.find(&key);
    let (slot, gives_way) = match found {
        Some(slot) if !datagrams.is_over(slot, now) => return slot,
        Some(slot) => (slot, Some(DropReason::FragmentTimeout)),
        None => {
            let (slot, is_taken) = datagrams.place(&key);
            (slot, is_taken.then_some(DropReason::FragmentTableFull))
        }
    };
    if let Some(reason) = gives_way {
        let waited = datagrams.close(slot);
        drop_all::<F>(core, waited, reason);
    }
    let new_id = core.fragments.next_id::<F>();
    F::table_of(&mut core.fragments).open(slot, key, new_id, now);
    slot
}

/// Lets a fragment go on that fits its datagram, or makes it wait.
fn take<F: FragmentFamily>(core: &mut Core, slot: u16, packet: Packet<F>) -> Admitted<F> {
    let datagrams = F::table_of(&mut core.fragments);
    let (told, waited) = match (datagrams.state(slot), packet.ip.fragment) {
        (State::Known(told), _) => (told, Chain::EMPTY),
        (_, Fragment::First) => {
            let told = Told {
                src_port: packet.key.src_port,
                dst_port: packet.key.dst_port,
                protocol: packet.key.protocol,
                kind: packet.ip.l4.kind,
            };
            (told, datagrams.tell(slot, told))
        }
        _ => {
            hold(core, slot, packet);
            return None;
        }
    };
    let new_id = datagrams.new_id(slot);
    if datagrams.is_complete(slot) {
        // Nothing waits for a first fragment that has come.
        let _ = datagrams.close(slot);
    }
    Some((packet, Behind { waited, told, new_id }))
}

/// Makes a fragment wait for the first one. Where too many wait already, the
/// datagram that has waited longest gives way; one that takes more than its
/// share gets nowhere itself. A datagram that lacks a fragment is of no use to
/// anybody: all of it is dropped.
fn hold<F: FragmentFamily>(core: &mut Core, slot: u16, packet: Packet<F>) {
    let datagrams = F::table_of(&mut core.fragments);
    let gives_way = match datagrams.admits(slot) {
        Ok(()) => None,
        Err(Refused::Share) => Some(slot),
        Err(Refused::Full) => datagrams.longest_waiting(),
    };
    if let Some(gives_way) = gives_way {
        let waited = datagrams.condemn(gives_way, DropReason::FragmentQueueFull);
        drop_all::<F>(core, waited, DropReason::FragmentQueueFull);
        if gives_way == slot {
            return core.drop_packet(packet, DropReason::FragmentQueueFull);
        }
    }
    F::table_of(&mut core.fragments).hold(slot, packet);
    core.count_held();
}

/// Takes the next fragment that waited for one that goes on.
pub fn next<F: FragmentFamily>(
    core: &mut Core,
    table: &FlowTable<F>,
    behind: &mut Behind,
) -> Option<Packet<F>> {
    let packet = F::table_of(&mut core.fragments).release(&mut behind.waited)?;
    core.count_held();
    Some(learn(table, packet, behind))
}

/// Gives a fragment what the first one has told. A later one has no transport
/// header that could be rewritten; that it is of an echo is all that matters.
fn learn<F: Ip>(table: &FlowTable<F>, mut packet: Packet<F>, behind: &Behind) -> Packet<F> {
    packet.datagram = Some(behind.new_id);
    if packet.ip.fragment == Fragment::Later {
        let Told { src_port, dst_port, protocol, kind } = behind.told;
        packet.key.src_port = src_port;
        packet.key.dst_port = dst_port;
        packet.key.protocol = protocol;
        packet.ip.protocol = protocol;
        if matches!(kind, Kind::EchoRequest | Kind::EchoReply) {
            packet.ip.l4.kind = kind;
        }
        packet.hash = table.hash(&packet.key);
        packet.candidate = NO_ENTRY;
    }
    packet
}

/// Judges a fragment whose ports are known and that found no flow: only a first
/// one may begin a flow. Echo to the gateway has none.
///
/// # Errors
/// `FragmentNoFlow`.
pub fn check<F: Ip>(tables: &Tables, packet: &Packet<F>) -> Result<(), DropReason> {
    if packet.datagram.is_none() || packet.ip.fragment == Fragment::First {
        return Ok(());
    }
    let family = F::of(tables);
    let dst = &packet.key.dst;
    let is_ours = family.local.contains_key(dst) || family.vips.get(dst).is_some();
    match is_ours && packet.ip.l4.kind == Kind::EchoRequest {
        true => Ok(()),
        false => Err(DropReason::FragmentNoFlow),
    }
}

/// Gives a rewritten fragment its datagram's new identification if its source was
/// replaced: others are behind the same address.
pub fn renumber<F: Ip>(packet: &mut Packet<F>) {
    let Some(new_id) = packet.datagram else { return };
    let data = packet.frame.data_mut();
    if F::source(data) != Some(packet.key.src) {
        F::renumber(data, new_id);
    }
}

/// Ends datagrams whose time is over, the oldest first.
pub fn expire(core: &mut Core) {
    expire_of::<V4>(core);
    expire_of::<V6>(core);
}

fn expire_of<F: FragmentFamily>(core: &mut Core) {
    for _ in 0..EXPIRE_BUDGET {
        let now = core.now;
        let datagrams = F::table_of(&mut core.fragments);
        let Some(slot) = datagrams.oldest().filter(|slot| datagrams.is_over(*slot, now)) else {
            return;
        };
        let waited = datagrams.close(slot);
        drop_all::<F>(core, waited, DropReason::FragmentTimeout);
    }
}

/// Drops every fragment that waits: the worker stops.
pub fn close(core: &mut Core) {
    close_of::<V4>(core);
    close_of::<V6>(core);
}

fn close_of<F: FragmentFamily>(core: &mut Core) {
    while let Some(slot) = F::table_of(&mut core.fragments).oldest() {
        let waited = F::table_of(&mut core.fragments).close(slot);
        drop_all::<F>(core, waited, DropReason::Stopping);
    }
}

fn drop_all<F: FragmentFamily>(core: &mut Core, mut waited: Chain, reason: DropReason) {
    while let Some(packet) = F::table_of(&mut core.fragments).release(&mut waited) {
        core.drop_packet(packet, reason);
    }
    core.count_held();
}
