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
            _ if has_reached(95) => Pressure::Ends,
            _ if has_reached(85) => Pressure::Requests,
            _ if has_reached(75) => Pressure::Connections,
            _ if has_reached(50) => Pressure::Windows,
            _ => Pressure::None,
        }
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
