//! Packets that have waited for control.

use super::{Verdict, carry_out_seen};
use crate::core::Core;
use crate::flow::{FlowTable, Flows};
use crate::fragments::FragmentFamily;
use crate::local::LocalPacket;
use crate::mesh::Handed;
use crate::packet::Packet;
use crate::reason::DropReason;
use crate::stages::{answer, conntrack};
use sluice_tables::Tables;

/// Lets a packet go on that control has learned from, if it still waits: the way
/// of its flow, which may have ended or been cut by now.
#[cold]
pub fn run_released(core: &mut Core, flows: &mut Flows, tables: &Tables) {
    if let Some(packet) = core.answers.take_released() {
        run_held(core, flows, tables, packet);
    }
}

/// Lets packets go on that have waited for control for too long.
pub fn run_overdue(core: &mut Core, flows: &mut Flows, tables: &Tables) {
    while let Some(packet) = answer::expired(core) {
        run_held(core, flows, tables, packet);
    }
}

#[cold]
fn run_held(core: &mut Core, flows: &mut Flows, tables: &Tables, packet: Handed) {
    match packet {
        Handed::V4(packet) => release(core, &mut flows.v4, tables, packet),
        Handed::V6(packet) => release(core, &mut flows.v6, tables, packet),
    }
}

fn release<F: FragmentFamily>(
    core: &mut Core,
    table: &mut FlowTable<F>,
    tables: &Tables,
    mut packet: Packet<F>,
) where
    Packet<F>: Into<Handed> + Into<LocalPacket>,
{
    core.count_held();
    if core.events.is_capturing() {
        core.keep_as_it_came(&packet);
    }
    packet.candidate = table.suggest(packet.hash);
    core.answers.set_releasing(true);
    let verdict = conntrack::replay(core, table, tables, &mut packet);
    core.answers.set_releasing(false);
    carry_out_seen(core, packet, verdict.unwrap_or(Verdict::Drop(DropReason::DnsNoFlow)));
}
