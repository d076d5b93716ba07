//! What is read of the tables for new flows, asked for ahead. Among many Services each is far
//! away in memory; the loads of a burst's packets need not wait for each other here, as they
//! would where one packet is judged after the other.

use crate::flow::table::{NO_ENTRY, prefetch};
use crate::packet::Packet;
use crate::wire::ip::Ip;
use arrayvec::ArrayVec;
use sluice_io::BURST;
use sluice_tables::{Frontend, FrontendKey, Tables};

/// Fewer of them are near all the time.
const FRONTENDS_MIN: usize = 1_024;

/// Asks the processor to load the Services that new flows among the packets of a burst go to.
#[inline]
pub fn fetch<F: Ip>(tables: &Tables, packets: &[Packet<F>]) {
    if F::of(tables).frontends.len() >= FRONTENDS_MIN {
        fetch_services(tables, packets);
    }
}

#[inline(never)]
fn fetch_services<F: Ip>(tables: &Tables, packets: &[Packet<F>]) {
    let mut asked: ArrayVec<&Frontend<F>, BURST> = ArrayVec::new();
    let new = packets.iter().filter(|packet| packet.candidate == NO_ENTRY).take(BURST);
    asked.extend(new.filter_map(|packet| {
        let key = &packet.key;
        let frontend = FrontendKey { addr: key.dst, l4_port: key.dst_port, protocol: key.protocol };
        F::of(tables).frontends.get(&frontend)
    }));
    for frontend in &asked {
        prefetch(std::ptr::from_ref(&*frontend.backends).cast());
    }
    for frontend in &asked {
        frontend.backends.lines().into_iter().flatten().for_each(prefetch);
    }
}
