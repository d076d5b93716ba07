use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use std::time::Duration;

/// Pauses between tries that fail, without end: each twice the one before, from
/// `min` to `max`, with jitter, so that gateways do not ask all at once.
pub(crate) fn pauses(min: Duration, max: Duration) -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(min)
        .with_max_delay(max)
        .with_jitter()
        .without_max_times()
        .build()
}
