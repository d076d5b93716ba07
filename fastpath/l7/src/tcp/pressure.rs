/// How much of the memory for buffers is used, in steps: of what is done about it, what is
/// felt least comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// There is enough.
    #[default]
    None,
    /// A half is used: windows and what waits to be sent are small.
    Windows,
    /// 75 in a hundred: no connection begins.
    Connections,
    /// 85: requests are not served.
    Requests,
    /// 95: connections end.
    Ends,
}

impl Pressure {
    /// The step of so much in use of what there may be.
    pub(super) fn of(used: usize, max: usize) -> Self {
        let has_reached = |percent: usize| used.saturating_mul(100) >= max.saturating_mul(percent);
        match () {
            _ if !has_reached(50) => Pressure::None,
            _ if has_reached(95) => Pressure::Ends,
            _ if has_reached(85) => Pressure::Requests,
            _ if has_reached(75) => Pressure::Connections,
            _ => Pressure::Windows,
        }
    }
}

/// Who takes part in the memory for buffers. A listener may have three fifths of it: what is
/// done where memory is scarce is done to it by its own part, too, so that clients of one
/// leave something to those of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share(u8);

/// Shares that are told apart.
pub(super) const SHARES: usize = 64;

impl Share {
    /// No listener's: all of the memory is for it.
    pub const NONE: Share = Share(0);

    /// A listener's, by its number. Of more than 63 some have one together.
    pub fn of_listener(number: u16) -> Self {
        Share(1 + (number % (SHARES as u16 - 1)) as u8)
    }

    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }

    /// What of so much is for it.
    pub(super) fn of(self, max: usize) -> usize {
        if self == Share::NONE { max } else { max - max / 5 * 2 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_follow_each_other() {
        let steps =
            [0, 49, 50, 74, 75, 84, 85, 94, 95, 100, 200].map(|used| Pressure::of(used, 100));
        use Pressure::*;
        let expected = [
            None,
            None,
            Windows,
            Windows,
            Connections,
            Connections,
            Requests,
            Requests,
            Ends,
            Ends,
            Ends,
        ];
        assert_eq!(steps, expected);
        assert!(steps.is_sorted());
        assert_eq!(Pressure::of(usize::MAX, usize::MAX), Ends);
    }
}
