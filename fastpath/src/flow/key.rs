use crate::wire::ip::Ip;
use sluice_tables::hash::fold;

/// What identifies a flow in one direction: the 5-tuple as it is on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Key<F: Ip> {
    /// Source address.
    pub src: F::Addr,
    /// Destination address.
    pub dst: F::Addr,
    /// Source port, ICMP echo identifier, or 0.
    pub src_port: u16,
    /// Destination port, ICMP echo identifier, or 0.
    pub dst_port: u16,
    /// IP protocol.
    pub protocol: u8,
}

impl<F: Ip> Key<F> {
    /// The same flow seen from the other end, were nothing translated.
    pub fn reversed(&self) -> Self {
        Key {
            src: self.dst,
            dst: self.src,
            src_port: self.dst_port,
            dst_port: self.src_port,
            protocol: self.protocol,
        }
    }

    /// The keyed hash of the tuple: products of halves, each of which is xored
    /// with the seed or a constant (as in wyhash), so that nobody without the
    /// seed can aim at a bucket.
    #[inline]
    pub fn hash(&self, seed: u64) -> u64 {
        let ports = u64::from(self.src_port) << 32
            | u64::from(self.dst_port) << 16
            | u64::from(self.protocol);
        let addresses = F::mix(&self.src, &self.dst, seed);
        fold(fold(addresses ^ seed, ports ^ K0), K1 ^ seed)
    }
}

const K0: u64 = 0x9e37_79b9_7f4a_7c15;
const K1: u64 = 0xa076_1d64_78bd_642f;
