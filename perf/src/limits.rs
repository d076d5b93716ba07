//! What a generator can be asked for. Each is a parser of an option's value too, so that what
//! cannot be is refused by its option's name before anything starts.

/// Seconds of a run, at most.
pub const SECONDS_MAX: u64 = 3600;
/// No core writes a frame in less than 10 ns.
const RATE_MAX: f64 = 1e8;
/// Below it is less than one in the longest run of all.
const RATE_MIN: f64 = 1e-3;
/// A hundred times of what a worker takes are more than any generator offers.
const PERCENT_MAX: f64 = 1e4;

/// Seconds of a run.
///
/// # Errors
/// What it should be.
pub fn check_seconds(seconds: f64) -> Result<f64, String> {
    if seconds > 0.0 && seconds <= SECONDS_MAX as f64 {
        return Ok(seconds);
    }
    Err(format!("expected seconds, above 0 and {SECONDS_MAX} (an hour) at most"))
}

/// So many a second, or none.
///
/// # Errors
/// What it should be.
pub fn check_rate(rate: f64) -> Result<f64, String> {
    if (0.0..=RATE_MAX).contains(&rate) {
        return Ok(rate);
    }
    Err(format!("expected 0 to {RATE_MAX:.0} a second; no core makes more"))
}

/// Seconds of a run, as they are written.
///
/// # Errors
/// What they should be.
pub fn seconds(text: &str) -> Result<f64, String> {
    check_seconds(number(text)?)
}

/// Seconds before a run, which there need not be.
///
/// # Errors
/// What they should be.
pub fn warm_up(text: &str) -> Result<f64, String> {
    match number(text)? {
        0.0 => Ok(0.0),
        seconds => check_seconds(seconds).map_err(|expected| format!("{expected}, or 0")),
    }
}

/// So many a second, or none, as it is written.
///
/// # Errors
/// What it should be.
pub fn rate(text: &str) -> Result<f64, String> {
    check_rate(number(text)?)
}

/// So many a second that something is there.
///
/// # Errors
/// What it should be.
pub fn some_rate(text: &str) -> Result<f64, String> {
    let rate = rate(text)?;
    if rate >= RATE_MIN { Ok(rate) } else { Err(format!("expected {RATE_MIN} a second at least")) }
}

/// Percent of what a worker takes.
///
/// # Errors
/// What they should be.
pub fn percent(text: &str) -> Result<f64, String> {
    let percent = number(text)?;
    if (0.0..=PERCENT_MAX).contains(&percent) {
        return Ok(percent);
    }
    Err(format!("expected 0 to {PERCENT_MAX} percent"))
}

fn number(text: &str) -> Result<f64, String> {
    text.trim().parse().map_err(|_| "expected a number".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read = fn(&str) -> Result<f64, String>;

    #[test]
    fn what_can_be_is_taken() {
        for (read, texts) in [
            (seconds as Read, ["0.001", "3600"]),
            (warm_up, ["0", "3600"]),
            (rate, ["0", "1e8"]),
            (some_rate, ["0.001", "1e8"]),
            (percent, ["0", "10000"]),
        ] {
            for text in texts {
                assert_eq!(read(text).ok(), text.parse().ok(), "{text}");
            }
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_could() {
        for (read, texts, says) in [
            (seconds as Read, ["0", "-1", "3600.1"], "above 0 and 3600"),
            (warm_up, ["-0.5", "-1", "3600.1"], "at most, or 0"),
            (rate, ["-5", "1e15", "1.1e8"], "expected 0 to 100000000 a second"),
            (some_rate, ["0", "1e-300", "0.0009"], "expected 0.001 a second at least"),
            (percent, ["-1", "10001", "1e15"], "expected 0 to 10000 percent"),
        ] {
            for text in texts.into_iter().chain(["nan", "inf", "-inf", "ten", ""]) {
                let error = read(text).unwrap_err();
                let is_number = text.parse::<f64>().is_ok();
                let is_of_range = texts.contains(&text);
                assert_eq!(error == "expected a number", !is_number, "{text}: {error}");
                assert!(!is_of_range || error.contains(says), "{text}: {error}");
            }
        }
    }
}
