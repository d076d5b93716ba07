/// A longest-prefix match over addresses of up to 16 bytes: a trie that
/// consumes 8 bits a step, so a lookup takes at most 4 (IPv4) or 16 (IPv6)
/// dependent loads, however many prefixes there are.
#[derive(Clone, Debug)]
pub struct Lpm {
    nodes: Vec<[Slot; 256]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// Node of the next byte, plus nothing: 0 (the root) means none.
    child: u32,
    /// Value of the longest prefix that ends in this node and covers the slot,
    /// plus one; 0 means none.
    value: u32,
}

impl Default for Lpm {
    fn default() -> Self {
        Lpm { nodes: vec![[Slot::default(); 256]] }
    }
}

impl Lpm {
    /// Builds the trie of (address, prefix length in bits, value). Of equal
    /// prefixes the last one wins; address bits beyond the prefix are ignored.
    /// Values are below `u32::MAX`.
    pub fn build<'a>(prefixes: impl IntoIterator<Item = (&'a [u8], u8, u32)>) -> Self {
        let mut sorted: Vec<_> = prefixes.into_iter().collect();
        // Shorter first: a longer prefix overwrites the slots that it covers.
        sorted.sort_by_key(|&(_, len, _)| len);
        let mut lpm = Lpm::default();
        for (addr, len, value) in sorted {
            lpm.insert(addr, len, value);
        }
        lpm
    }

    fn insert(&mut self, addr: &[u8], len: u8, value: u32) {
        let len = usize::from(len).min(addr.len() * 8);
        let last = len.saturating_sub(1) / 8;
        let mut node = 0;
        for &byte in &addr[..last] {
            let child = self.nodes[node][usize::from(byte)].child as usize;
            node = if child == 0 {
                self.nodes.push([Slot::default(); 256]);
                let new = self.nodes.len() - 1;
                self.nodes[node][usize::from(byte)].child = new as u32;
                new
            } else {
                child
            };
        }
        let free_bits = (last + 1) * 8 - len;
        let first = usize::from(addr[last]) >> free_bits << free_bits;
        for slot in &mut self.nodes[node][first..first + (1 << free_bits)] {
            slot.value = value + 1;
        }
    }

    /// The value of the longest prefix that contains `addr`.
    #[inline]
    pub fn lookup(&self, addr: &[u8]) -> Option<u32> {
        let mut best = 0;
        let mut node = 0;
        for &byte in addr {
            let slot = self.nodes[node][usize::from(byte)];
            if slot.value != 0 {
                best = slot.value;
            }
            if slot.child == 0 {
                break;
            }
            node = slot.child as usize;
        }
        best.checked_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(prefix: &[u8], len: u8, addr: &[u8]) -> bool {
        (0..usize::from(len)).all(|bit| {
            let mask = 0x80 >> (bit % 8);
            prefix[bit / 8] & mask == addr[bit / 8] & mask
        })
    }

    #[test]
    fn agrees_with_a_linear_scan() {
        let mut x = 7u64;
        let mut random = || {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (x >> 33) as u32
        };
        for width in [4usize, 16] {
            let mut prefixes: Vec<(Vec<u8>, u8, u32)> = Vec::new();
            for value in 0..300 {
                // Few distinct bytes, so that prefixes nest.
                let addr: Vec<u8> = (0..width).map(|_| (random() % 3) as u8 * 85).collect();
                let len = (random() as usize % (width * 8 + 1)) as u8;
                if !prefixes.iter().any(|p| p.1 == len && covers(&p.0, len, &addr)) {
                    prefixes.push((addr, len, value));
                }
            }
            let lpm = Lpm::build(prefixes.iter().map(|(a, l, v)| (a.as_slice(), *l, *v)));
            for _ in 0..5000 {
                let addr: Vec<u8> = (0..width).map(|_| (random() % 3) as u8 * 85).collect();
                let expected = prefixes
                    .iter()
                    .filter(|(prefix, len, _)| covers(prefix, *len, &addr))
                    .max_by_key(|(_, len, _)| *len)
                    .map(|(_, _, value)| *value);
                assert_eq!(lpm.lookup(&addr), expected);
            }
        }
    }
}
