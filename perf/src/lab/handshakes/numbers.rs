use crate::flood::people::mix;

/// A connection's first sequence number.
pub fn isn(number: u32) -> u32 {
    number.wrapping_mul(STEP)
}

/// The distance of two connections' numbers: odd, so that it has an inverse.
const STEP: u32 = 0x9e37_79b1;
const STEP_INVERSE: u32 = inverse(STEP);

/// The inverse of an odd number modulo 2^32 (Newton).
const fn inverse(odd: u32) -> u32 {
    let mut inverse = odd;
    let mut rounds = 0;
    while rounds < 5 {
        inverse = inverse.wrapping_mul(2u32.wrapping_sub(odd.wrapping_mul(inverse)));
        rounds += 1;
    }
    inverse
}

/// The connection whose first sequence number that is.
pub fn number(isn: u32) -> u32 {
    isn.wrapping_mul(STEP_INVERSE)
}

/// The pod's first sequence number: as from a SYN cookie, nothing is remembered for it.
pub fn pod_isn(number: u32) -> u32 {
    mix(u64::from(number)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_found_by_their_numbers() {
        for number_ in [0, 1, 2, 77_777, u32::MAX] {
            assert_eq!(number(isn(number_)), number_);
        }
        assert_eq!(STEP.wrapping_mul(STEP_INVERSE), 1);
    }
}
