//! The state machine of one connection: smoltcp, which is named in this folder alone.
//!
//! Its interface is only context (the time, the MTU, a generator), so one serves all
//! connections of an MTU; each connection is the only socket of its own set, since
//! smoltcp looks through whole sets. What it does not tell, sequence numbers above
//! all, is read from the segments that it sends.

mod wire;

pub(super) use wire::{Outcome, Sent};

use super::conn::TcpState;
use super::key::Key;
use super::{ConnOptions, PacketSink};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp::{CongestionControl, RecvError, Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpEndpoint, IpListenEndpoint};
use std::task::Waker;
use wire::Wire;

/// MTUs that have an interface of their own; more are rounded down to multiples of
/// `MTU_STEP`.
const MTUS_EXACT: usize = 16;
const MTU_STEP: u16 = 64;

/// What all connections share.
pub(super) struct Stack {
    interfaces: Vec<(u16, Interface)>,
}

/// One connection.
pub(super) struct Machine {
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    interface: usize,
}

impl Stack {
    pub fn new() -> Self {
        Stack { interfaces: Vec::new() }
    }

    /// A connection that has taken a SYN, and will answer with `isn`; `None` if the
    /// SYN is not one.
    pub fn accept(
        &mut self,
        key: &Key,
        syn: &[u8],
        isn: u32,
        options: &ConnOptions,
        now_ns: u64,
    ) -> Option<Machine> {
        let mut machine = self.machine(options);
        let listen = IpListenEndpoint { addr: Some(key.local.into()), port: key.local_port };
        machine.socket().listen(listen).ok()?;
        let mut wire = Wire::new(options.mtu, Some(syn), None, isn);
        let mut context = interface(options.mtu, seed(isn));
        context.poll_ingress_single(instant(now_ns), &mut wire, &mut machine.sockets);
        (machine.state() == Some(TcpState::SynReceived)).then_some(machine)
    }

    /// A connection that is to be opened from here, with `isn`.
    pub fn open(&mut self, key: &Key, isn: u32, options: &ConnOptions) -> Option<Machine> {
        let mut machine = self.machine(options);
        let local = IpEndpoint::new(key.local.into(), key.local_port);
        let remote = IpEndpoint::new(key.remote.into(), key.remote_port);
        let mut context = interface(options.mtu, seed(isn));
        machine.socket().connect(context.context(), remote, local).ok()?;
        Some(machine)
    }

    fn machine(&mut self, options: &ConnOptions) -> Machine {
        let buffer = |len: u32| SocketBuffer::new(vec![0; len as usize]);
        let receive = receive_capacity(options.receive_buffer);
        let mut socket = Socket::new(buffer(receive), buffer(options.send_buffer.max(1)));
        socket.set_congestion_control(CongestionControl::Cubic);
        // HTTP writes what it has at once and waits for the answer.
        socket.set_nagle_enabled(false);
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let handle = sockets.add(socket);
        Machine { sockets, handle, interface: self.interface(options.mtu) }
    }

    /// The interface of an MTU.
    fn interface(&mut self, mtu: u16) -> usize {
        let find = |interfaces: &[(u16, Interface)], mtu: u16| {
            interfaces.iter().position(|(known, _)| *known == mtu)
        };
        let mtu = match find(&self.interfaces, mtu) {
            Some(known) => return known,
            None if self.interfaces.len() < MTUS_EXACT => mtu,
            None => mtu / MTU_STEP * MTU_STEP,
        };
        find(&self.interfaces, mtu).unwrap_or_else(|| {
            self.interfaces.push((mtu, interface(mtu, 0)));
            self.interfaces.len() - 1
        })
    }

    /// Gives a connection another MTU.
    pub fn set_mtu(&mut self, machine: &mut Machine, mtu: u16) {
        machine.interface = self.interface(mtu);
    }

    /// Feeds a packet for the connection. `snd_nxt` is the next sequence number that was
    /// never sent.
    pub fn feed(
        &mut self,
        machine: &mut Machine,
        packet: &[u8],
        snd_nxt: u32,
        now_ns: u64,
        sink: &mut dyn PacketSink,
    ) -> Outcome {
        let (mtu, interface) = &mut self.interfaces[machine.interface];
        let mut wire = Wire::new(*mtu, Some(packet), Some(sink), snd_nxt);
        interface.poll_ingress_single(instant(now_ns), &mut wire, &mut machine.sockets);
        wire.outcome
    }

    /// Sends a segment, if there is one to be sent now and the sink has room. `snd_nxt`
    /// is the next sequence number that was never sent.
    pub fn send(
        &mut self,
        machine: &mut Machine,
        snd_nxt: u32,
        now_ns: u64,
        sink: &mut dyn PacketSink,
    ) -> Option<Sent> {
        let (mtu, interface) = &mut self.interfaces[machine.interface];
        let mut wire = Wire::new(*mtu, None, Some(sink), snd_nxt);
        interface.poll_egress(instant(now_ns), &mut wire, &mut machine.sockets);
        wire.outcome.sent
    }

    /// When the connection will have something to send, if nothing comes.
    pub fn next_ns(&mut self, machine: &Machine, now_ns: u64) -> Option<u64> {
        let (_, interface) = &mut self.interfaces[machine.interface];
        let at = interface.poll_at(instant(now_ns), &machine.sockets)?;
        Some(u64::try_from(at.total_micros()).unwrap_or(0).saturating_mul(1_000))
    }
}

impl Machine {
    fn get(&self) -> &Socket<'static> {
        self.sockets.get(self.handle)
    }

    fn socket(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    /// The state; `None` where a handshake was reset and there is none any more.
    pub fn state(&self) -> Option<TcpState> {
        Some(match self.get().state() {
            State::Listen => return None,
            State::Closed => TcpState::Closed,
            State::SynSent => TcpState::SynSent,
            State::SynReceived => TcpState::SynReceived,
            State::Established => TcpState::Established,
            State::FinWait1 => TcpState::FinWait1,
            State::FinWait2 => TcpState::FinWait2,
            State::CloseWait => TcpState::CloseWait,
            State::Closing => TcpState::Closing,
            State::LastAck => TcpState::LastAck,
            State::TimeWait => TcpState::TimeWait,
        })
    }

    /// Bytes that have come and are not read.
    pub fn unread(&self) -> usize {
        self.get().recv_queue()
    }

    /// Bytes that were written and are not acknowledged.
    pub fn unacknowledged(&self) -> usize {
        self.get().send_queue()
    }

    /// Reads; `None` when nothing is there yet, 0 at the end.
    pub fn read(&mut self, into: &mut [u8]) -> Option<usize> {
        match self.socket().recv_slice(into) {
            Ok(0) if !into.is_empty() => None,
            Ok(read) => Some(read),
            Err(RecvError::Finished) => Some(0),
            Err(RecvError::InvalidState) => None,
        }
    }

    /// Takes what there is room for.
    pub fn write(&mut self, data: &[u8]) -> usize {
        self.socket().send_slice(data).unwrap_or(0)
    }

    pub fn wake_reader(&mut self, waker: &Waker) {
        self.socket().register_recv_waker(waker);
    }

    pub fn wake_writer(&mut self, waker: &Waker) {
        self.socket().register_send_waker(waker);
    }

    pub fn shutdown(&mut self) {
        self.socket().close();
    }

    pub fn abort(&mut self) {
        self.socket().abort();
    }
}

/// The bytes that a receive buffer may have. smoltcp takes the window of its SYN,
/// which is never scaled, for a scaled one: with 2^n - 1 bytes that is still no more
/// than there is room for.
fn receive_capacity(bytes: u32) -> u32 {
    let bytes = bytes.clamp(1, (1 << 30) - 1);
    if bytes <= 0xffff { bytes } else { (1 << (bytes + 1).ilog2()) - 1 }
}

fn instant(now_ns: u64) -> Instant {
    Instant::from_micros((now_ns / 1_000) as i64)
}

fn interface(mtu: u16, random_seed: u64) -> Interface {
    let mut config = Config::new(HardwareAddress::Ip);
    config.random_seed = random_seed;
    let mut wire = Wire::new(mtu, None, None, 0);
    let mut interface = Interface::new(config, &mut wire, Instant::ZERO);
    interface.set_any_ip(true);
    interface
}

/// The seed with which an interface's generator gives `isn` next. It is a
/// permuted congruential one, whose steps can be undone; one number is taken for
/// the identification of IPv4 packets, and another one if that is 0.
fn seed(isn: u32) -> u64 {
    const MULTIPLIER: u64 = 0xbb2e_fcec_3c39_611d;
    const INCREMENT: u64 = 0x7590_ef39;
    const INVERSE: u64 = inverse(MULTIPLIER);
    let undo = |state: u64| state.wrapping_sub(INCREMENT).wrapping_mul(INVERSE);
    let output = |state: u64| (state >> (29 - (state >> 61))) as u32;
    let mut state = u64::from(isn) << 29;
    loop {
        let first = undo(state);
        let number = output(first);
        if (number ^ number >> 16) as u16 != 0 {
            return undo(first);
        }
        state += 1;
    }
}

/// The inverse of an odd number modulo 2^64, by Newton's method.
const fn inverse(odd: u64) -> u64 {
    let mut inverse = odd;
    let mut bits = 3;
    while bits < 64 {
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(inverse)));
        bits *= 2;
    }
    inverse
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::parse::SYN;

    #[test]
    fn receive_buffers_are_never_smaller_than_the_window_of_their_syn() {
        for bytes in [0, 1, 16_384, 65_535, 65_536, 100_000, 131_070, 131_071, 1 << 20, u32::MAX] {
            let capacity = u64::from(receive_capacity(bytes));
            let shift = (64 - capacity.leading_zeros()).saturating_sub(16);
            assert!(capacity.min(0xffff) << shift <= capacity, "{bytes}");
            assert!(capacity >= u64::from(bytes.clamp(1, 1 << 30) / 2), "{bytes}");
        }
        assert_eq!(receive_capacity(131_071), 131_071);
    }

    #[test]
    fn a_seed_gives_its_number() {
        for isn in [0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX, 0x1234_5678] {
            let mut stack = Stack::new();
            let key = Key {
                local: [10, 0, 0, 1].into(),
                remote: [10, 0, 0, 2].into(),
                local_port: 80,
                remote_port: 81,
            };
            let mut machine = stack.open(&key, isn, &ConnOptions::default()).unwrap();
            struct Drop;
            impl PacketSink for Drop {
                fn has_room(&self) -> bool {
                    true
                }
                fn send(&mut self, len: usize, fill: &mut dyn FnMut(&mut [u8])) {
                    fill(&mut vec![0; len]);
                }
            }
            let sent = stack.send(&mut machine, isn, 0, &mut Drop).unwrap();
            assert_eq!((sent.seq, sent.flags, sent.len), (isn, SYN, 1));
        }
    }
}
