//! ICMP errors about flows: as the oracle translates those about a Service's, and
//! relates the others.

use super::compile;
use super::flows::{Flow, Translation};
use super::judge::is_served;
use super::oracle::{Choices, Event, Ingress, Oracle};
use super::parse::{Packet, Tuple};
use super::wire::{self, be16};
use super::world::{TCP, UDP, octets};
use sluice_fastpath::DropReason;

/// What an ICMP error is about.
pub(super) enum About {
    /// No flow.
    Nothing,
    /// One that it may pass with, as it is.
    Flow,
    /// One, and the error's journey has ended.
    Ended,
}

impl Oracle {
    /// Judges an ICMP error by the flow that it is about.
    pub(super) fn relate(
        &mut self,
        data: &[u8],
        packet: &Packet,
        ingress: Ingress,
        choices: &dyn Choices,
    ) -> About {
        let Some(about) = packet.about else { return About::Nothing };
        let owner = compile::owner(&self.world, &about);
        let own = self.flows.find(&about).filter(|(id, _)| self.flows.get(*id).worker == owner);
        let found = own.filter(|(id, _)| self.flows.get(*id).service.is_some());
        if found.is_none() && !choices.lingers_translated(&about, owner) {
            let flow = own.map(|(id, _)| self.flows.get(id).clone());
            return match flow.filter(|_| packet.tuple.dst == about.dst) {
                Some(flow) => self.relate_plain(&flow),
                None => About::Nothing,
            };
        }
        match self.translated(data, packet, ingress, &about, found) {
            Ok((data, way)) => {
                let original = found.map(|(id, _)| self.flows.get(id).tuples[0].dst);
                if original.is_some_and(|dst| self.world.is_port_address(&dst)) {
                    self.met(Event::NodePortError);
                }
                self.emit_in_pieces(data, way, true, None);
            }
            Err(reason) => {
                if [DropReason::PolicyEgress, DropReason::PolicyIngress].contains(&reason) {
                    self.met(Event::CutError);
                }
                self.drop(reason);
            }
        }
        About::Ended
    }

    /// Judges an ICMP error about a flow that is not translated.
    fn relate_plain(&mut self, flow: &Flow) -> About {
        if !is_served(&self.world, &flow.tuples, flow.backend, flow.worker) {
            return About::Nothing;
        }
        match self.still_allowed(flow) {
            Ok(_) => About::Flow,
            Err(reason) => {
                self.met(Event::CutError);
                self.drop(reason);
                About::Ended
            }
        }
    }

    fn translated(
        &mut self,
        data: &[u8],
        packet: &Packet,
        ingress: Ingress,
        about: &Tuple,
        found: Option<(u64, usize)>,
    ) -> Result<(Vec<u8>, super::oracle::Way), DropReason> {
        let tuple = &packet.tuple;
        let meant: &[u8] = if tuple.src.is_ipv4() { &[3, 11, 12] } else { &[1, 2, 3, 4] };
        if !meant.contains(&data[packet.l4]) {
            return Err(DropReason::IcmpErrorType);
        }
        let served = found
            .map(|(id, side)| (self.flows.get(id), side))
            .filter(|(flow, _)| is_served(&self.world, &flow.tuples, flow.backend, flow.worker));
        let Some((flow, side)) = served.filter(|_| tuple.dst == about.dst) else {
            return Err(DropReason::IcmpErrorNoFlow);
        };
        let mut to = flow.translation(side);
        let message = &data[packet.l4..];
        if wire::segment_sum(&tuple.src, &tuple.dst, tuple.protocol, message) != Some(0xffff) {
            return Err(DropReason::BadIcmpChecksum);
        }
        self.still_allowed(flow)?;
        if packet.ttl <= 1 {
            return Err(DropReason::TtlExceeded);
        }
        let way = self.way(&to.dst)?;
        if let Some(reason) = self.cannot_go(data, packet, ingress, way) {
            return Err(reason);
        }
        let mut data = data.to_vec();
        requote(&mut data[packet.l4 + 8..], about, &to);
        // Who knows the client knows the routers on the way to it.
        if side == 0 && to.src == about.src {
            to.src = tuple.src;
        }
        let (at, ttl_at) = if tuple.src.is_ipv4() { (12, 8) } else { (8, 7) };
        let addresses = [octets(&to.src), octets(&to.dst)].concat();
        data[at..at + addresses.len()].copy_from_slice(&addresses);
        data[ttl_at] -= 1;
        if tuple.src.is_ipv4() {
            wire::fix_v4_header(&mut data);
        }
        let message = &mut data[packet.l4..];
        wire::set_checksum(&to.src, &to.dst, tuple.protocol, message, 0xffff);
        Ok((data, way))
    }
}

/// Makes of a quoted packet, which was the answer to `about`, the answer to what
/// `about` becomes.
fn requote(quote: &mut [u8], about: &Tuple, to: &Translation) {
    let v4 = about.src.is_ipv4();
    let (at, l4) = if v4 { (12, usize::from(quote[0] & 0xf) * 4) } else { (8, 40) };
    let words = |src: Vec<u8>, dst: Vec<u8>, src_port: u16, dst_port: u16| {
        [src, dst, src_port.to_be_bytes().to_vec(), dst_port.to_be_bytes().to_vec()].concat()
    };
    let before = words(octets(&about.dst), octets(&about.src), about.dst_port, about.src_port);
    let after = words(octets(&to.dst), octets(&to.src), to.dst_port, to.src_port);
    let (addresses, ports) = after.split_at(after.len() - 4);
    quote[at..at + addresses.len()].copy_from_slice(addresses);
    if v4 {
        wire::fix_v4_header(quote);
    }
    let header = &mut quote[l4..];
    header[..4].copy_from_slice(ports);
    let field = match about.protocol {
        TCP => 16,
        UDP => 6,
        _ => return,
    };
    let has_none = header.len() < field + 2 || about.protocol == UDP && be16(header, 6) == 0;
    if has_none {
        return;
    }
    // RFC 1624: what is no longer there is taken out of the sum.
    let taken: Vec<u8> = before.iter().map(|byte| !byte).collect();
    let sum = wire::sum(&[&(!be16(header, field)).to_be_bytes(), &taken, &after]);
    let new = if about.protocol == UDP && !sum == 0 { 0xffff } else { !sum };
    header[field..field + 2].copy_from_slice(&new.to_be_bytes());
}
