use crate::Target;

/// Repeatable choices (splitmix64).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 if that is 0.
    pub fn below(&mut self, n: usize) -> usize {
        self.draw().checked_rem(n as u64).unwrap_or(0) as usize
    }
}

/// Values at the edges of fields.
const EDGES: [u8; 9] = [0, 1, 4, 5, 0x3f, 0x40, 0x7f, 0x80, 0xff];

/// A new input from one of the corpus: some mutations on top of each other.
/// `other` is another input, for splices.
pub fn mutate(target: &Target, random: &mut Random, seed: &[u8], other: &[u8]) -> Vec<u8> {
    let mut data = seed.to_vec();
    for _ in 0..1 + random.below(6) {
        step(target, random, &mut data, other);
    }
    data.truncate(target.len_max);
    data
}

fn step(target: &Target, random: &mut Random, data: &mut Vec<u8>, other: &[u8]) {
    let at = random.below(data.len() + 1);
    let end = (at + 1 + random.below(32)).min(data.len());
    match random.below(11) {
        0 => {
            if let Some(byte) = data.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        1 => {
            if let Some(byte) = data.get_mut(at) {
                *byte = EDGES[random.below(EDGES.len())];
            }
        }
        2 => {
            if let Some(byte) = data.get_mut(at) {
                *byte = random.draw() as u8;
            }
        }
        // Length fields: two bytes become a number that nearly fits.
        3 => {
            let len = (data.len() - at.min(data.len())) as u16;
            let value = len.wrapping_add(random.below(17) as u16).wrapping_sub(8);
            if let Some(field) = data.get_mut(at..at + 2) {
                field.copy_from_slice(&value.to_be_bytes());
            }
        }
        4 => data.truncate(at),
        5 => {
            data.drain(at.min(end)..end);
        }
        6 => {
            let again = data[at.min(end)..end].to_vec();
            splice(data, at, &again);
        }
        7 | 8 => {
            let word = target.dictionary[random.below(target.dictionary.len())];
            if random.below(2) == 0 {
                splice(data, at, word);
            } else if let Some(place) = data.get_mut(at..at + word.len()) {
                place.copy_from_slice(word);
            }
        }
        9 => {
            let from = random.below(other.len() + 1);
            let to = (from + random.below(200)).min(other.len());
            splice(data, at, &other[from..to]);
        }
        _ => {
            // The front of one, the back of the other.
            let from = random.below(other.len() + 1);
            data.truncate(at);
            data.extend_from_slice(&other[from..]);
        }
    }
}

fn splice(data: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let at = at.min(data.len());
    data.splice(at..at, bytes.iter().copied());
}
