//! Multiply-and-fold hashing: the 128-bit product of two words, its halves
//! xored. Fast, and good enough for tables whose keys control chooses; where a
//! sender chooses the key, the caller passes a random seed.

/// Mixes two words into one.
#[inline]
pub fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

const K0: u64 = 0x9e37_79b9_7f4a_7c15;
const K1: u64 = 0xd6e8_feb8_6659_fd93;

/// Hashes an address and a number under a seed.
#[inline]
pub fn endpoint(seed: u64, addr: &[u8], number: u16) -> u64 {
    let mut hash = seed ^ (u64::from(number) << 32 | addr.len() as u64).wrapping_mul(K0);
    let mut words = addr.chunks_exact(8);
    for word in &mut words {
        let word = u64::from_le_bytes(word.try_into().unwrap_or([0; 8]));
        hash = fold(hash ^ word, K1);
    }
    if let Ok(rest) = <[u8; 4]>::try_from(words.remainder()) {
        hash ^= u64::from(u32::from_le_bytes(rest));
    }
    fold(hash ^ K0, K1 ^ hash.rotate_left(32))
}

/// The hash that chooses a backend for a connection. It has no seed, so that
/// several gateways behind one ECMP route choose alike.
#[inline]
pub fn connection(src: &[u8], src_port: u16, dst: &[u8], dst_port: u16, protocol: u8) -> u64 {
    let from = endpoint(K0, src, src_port);
    endpoint(from ^ u64::from(protocol), dst, dst_port)
}
