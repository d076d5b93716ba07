use crate::ids::RuleId;

/// What becomes of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// It passes.
    Allow,
    /// It would be denied, and passes: who would deny it is only tried out.
    Audit,
    /// It is dropped.
    Deny,
}

/// What becomes of traffic that is denied, or would be, if it is a pod's with
/// itself or with its own node: no NetworkPolicy can deny that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Excuse {
    /// The same as of all other traffic.
    None,
    /// It passes.
    Allow,
    /// It would still be denied by somebody who is only tried out: it passes.
    Audit,
}

/// A verdict and the rule that it is due to, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Outcome(u32);

impl Outcome {
    const RULE: u32 = (1 << 28) - 1;

    /// Nobody was asked: it passes.
    pub const UNASKED: Outcome = Outcome(Self::RULE);

    /// Most rules that can be told apart; [`RuleId::NONE`] is none of them.
    pub const RULES_MAX: u32 = Self::RULE;

    /// An outcome.
    pub fn new(verdict: Verdict, rule: RuleId, excuse: Excuse) -> Self {
        Outcome((verdict as u32) << 30 | (excuse as u32) << 28 | rule.0 & Self::RULE)
    }

    /// Of those for whom there is no room: they are denied.
    pub const fn beyond() -> Self {
        Outcome((Verdict::Deny as u32) << 30 | RuleId::BEYOND.0)
    }

    /// The verdict.
    #[inline]
    pub fn verdict(self) -> Verdict {
        match self.0 >> 30 {
            0 => Verdict::Allow,
            1 => Verdict::Audit,
            _ => Verdict::Deny,
        }
    }

    /// True when it passes, and nobody objects.
    #[inline]
    pub fn is_allowed(self) -> bool {
        self.0 >> 30 == 0
    }

    /// What becomes of it between a pod and itself or its own node.
    #[inline]
    pub fn excuse(self) -> Excuse {
        match self.0 >> 28 & 3 {
            0 => Excuse::None,
            1 => Excuse::Allow,
            _ => Excuse::Audit,
        }
    }

    /// The rule; [`RuleId::NONE`] if nobody was asked.
    pub fn rule(self) -> RuleId {
        match self.0 & Self::RULE {
            Self::RULE => RuleId::NONE,
            rule => RuleId(rule),
        }
    }

    /// The outcome of a rule that was counted from [`RuleId::FIRST`] on, where the
    /// numbers of rules begin at `first` more than that.
    #[inline]
    pub fn counted_from(self, first: u32) -> Self {
        let rule = self.0 & Self::RULE;
        let is_counted = rule >= RuleId::FIRST && rule != Self::RULE;
        Outcome(self.0 + if is_counted { first } else { 0 })
    }

    /// The word, for [`Outcome::from_word`].
    #[inline]
    pub fn word(self) -> u32 {
        self.0
    }

    /// What [`Outcome::word`] gave.
    #[inline]
    pub fn from_word(word: u32) -> Self {
        Outcome(word)
    }
}

/// A protocol and destination port as rules tell them apart: TCP, UDP and SCTP
/// by port, everything else is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortKey(pub u32);

impl PortKey {
    /// Everything that is neither TCP, UDP nor SCTP: only rules without ports
    /// match it.
    pub const OTHER: PortKey = PortKey(3 << 16);
    /// The last key of all.
    pub const LAST: PortKey = Self::OTHER;

    /// The key of an IP protocol number and a destination port.
    #[inline]
    pub fn of(protocol: u8, dst_port: u16) -> Self {
        let class = match protocol {
            6 => 0,
            17 => 1,
            132 => 2,
            _ => return Self::OTHER,
        };
        PortKey(class << 16 | u32::from(dst_port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_a_word() {
        for verdict in [Verdict::Allow, Verdict::Audit, Verdict::Deny] {
            for rule in [RuleId(0), RuleId(7), RuleId(Outcome::RULES_MAX - 1), RuleId::NONE] {
                for excuse in [Excuse::None, Excuse::Allow, Excuse::Audit] {
                    let outcome = Outcome::new(verdict, rule, excuse);
                    let outcome = Outcome::from_word(outcome.word());
                    assert_eq!(outcome.verdict(), verdict);
                    assert_eq!((outcome.rule(), outcome.excuse()), (rule, excuse));
                    assert_eq!(outcome.is_allowed(), verdict == Verdict::Allow);
                }
            }
        }
        assert_eq!(Outcome::UNASKED.rule(), RuleId::NONE);
        assert!(Outcome::UNASKED.is_allowed());
    }

    #[test]
    fn rules_are_counted_from_where_a_row_says() {
        let counted = |rule| {
            let outcome = Outcome::new(Verdict::Deny, rule, Excuse::Audit).counted_from(1000);
            assert_eq!((outcome.verdict(), outcome.excuse()), (Verdict::Deny, Excuse::Audit));
            outcome.rule()
        };
        assert_eq!(counted(RuleId(RuleId::FIRST)), RuleId(RuleId::FIRST + 1000));
        assert_eq!(counted(RuleId(77)), RuleId(1077));
        for rule in [RuleId::ITSELF, RuleId::OWN_NODE, RuleId::BEYOND, RuleId::UNTOLD, RuleId::NONE]
        {
            assert_eq!(counted(rule), rule);
        }
    }

    #[test]
    fn ports_are_in_the_order_of_protocols() {
        assert!(PortKey::of(6, u16::MAX) < PortKey::of(17, 0));
        assert!(PortKey::of(17, u16::MAX) < PortKey::of(132, 0));
        assert_eq!(PortKey::of(1, 8), PortKey::of(58, 0));
        assert!(PortKey::of(132, u16::MAX) < PortKey::LAST);
    }
}
