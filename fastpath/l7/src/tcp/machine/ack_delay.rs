use super::MS;

/// How long an ACK waits for data at first: long enough for an endpoint nearby to answer.
const MIN_MS: u8 = 10;

/// And at most (RFC 9293 section 3.8.6.3 lets it wait for 500 ms): less than half of what
/// peers wait for before they send again.
const MAX_MS: u8 = 80;

/// How long the ACK of a full segment and a bit waits, as the head of an answer and its body
/// often are: who sent it takes that for lost two round trips and two milliseconds later (RFC
/// 8985 section 7.2; Linux, `tcp_schedule_loss_probe`).
const SHORT_NS: u64 = MS;

/// How long an ACK waits for data that it can go with. It is what connections do: one whose
/// answers come late waits for them, one whose peer sends nothing before it has an ACK does
/// not let it wait.
#[derive(Debug)]
pub(super) struct AckDelay {
    ms: u8,
    /// The last one has waited in vain, and nothing has come or gone since.
    is_alone: bool,
}

impl Default for AckDelay {
    fn default() -> Self {
        AckDelay { ms: MIN_MS, is_alone: false }
    }
}

impl AckDelay {
    pub fn ns(&self, is_for_more: bool) -> u64 {
        if is_for_more { SHORT_NS } else { u64::from(self.ms) * MS }
    }

    /// An ACK goes without data.
    pub fn is_over(&mut self) {
        self.is_alone = true;
    }

    /// Data goes: the ACK could have gone with it.
    pub fn data_goes(&mut self) {
        if std::mem::take(&mut self.is_alone) {
            self.ms = (self.ms * 2).min(MAX_MS);
        }
    }

    /// Data comes: the peer may have waited for the ACK.
    pub fn data_comes(&mut self) {
        if std::mem::take(&mut self.is_alone) {
            self.ms = MIN_MS;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_waits_for_late_answers_and_not_for_peers_that_wait() {
        let mut delay = AckDelay::default();
        let mut delays = Vec::new();
        for _ in 0..4 {
            delay.is_over();
            delay.data_goes();
            delays.push(delay.ns(false) / MS);
        }
        assert_eq!(delays, [20, 40, 80, 80]);
        assert_eq!(delay.ns(true), MS);
        // Data that goes and comes in time says nothing.
        delay.data_comes();
        delay.data_goes();
        assert_eq!(delay.ns(false) / MS, 80);
        delay.is_over();
        delay.data_comes();
        assert_eq!(delay.ns(false) / MS, 10);
    }
}
