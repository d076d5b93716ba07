/// A span of time: `350 ms`, `4.2 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`.
pub fn duration_ms(ms: u64) -> String {
    let s = ms / 1000;
    match s {
        0 => format!("{ms} ms"),
        1..60 => format!("{s}.{} s", ms % 1000 / 100),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        3600..86_400 => format!("{} h {} min", s / 3600, s % 3600 / 60),
        _ => format!("{} d {} h", s / 86_400, s % 86_400 / 3600),
    }
}

/// A time, in seconds since 1970: `2026-11-26 22:15 UTC`.
pub fn time_s(unix_s: i64) -> String {
    match jiff::Timestamp::from_second(unix_s) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M UTC").to_string(),
        // Nothing that has such a time ends in this era.
        Err(_) => unix_s.to_string(),
    }
}

/// A count with its thousands apart: `1,234,567`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// So many of something: `1 error`, `2 errors`.
pub fn counted(n: u64, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// A size in bytes, rounded: `512 B`, `1.5 KiB`, `3.2 GiB`.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    let mut value = n as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A share, as a percentage: `12.5%`.
pub fn percent(ratio: f64) -> String {
    format!("{:.1}%", ratio * 100.0)
}

/// Address and port: `10.0.0.1:80`, `[fd00::1]:80`.
pub fn endpoint(address: &str, port: u16) -> String {
    match address.contains(':') {
        true => format!("[{address}]:{port}"),
        false => format!("{address}:{port}"),
    }
}

/// A MAC: `02:00:0a:0a:00:01`.
pub fn mac(mac: [u8; 6]) -> String {
    let [a, b, c, d, e, f] = mac;
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units_at_most() {
        for (ms, text) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (4_250, "4.2 s"),
            (185_000, "3 min 5 s"),
            (7_800_000, "2 h 10 min"),
            (273_600_000, "3 d 4 h"),
        ] {
            assert_eq!(duration_ms(ms), text);
        }
    }

    #[test]
    fn times_are_of_utc() {
        assert_eq!(time_s(1_577_836_800), "2020-01-01 00:00 UTC");
        assert_eq!(time_s(i64::MAX), i64::MAX.to_string());
    }

    #[test]
    fn thousands_stand_apart() {
        for (n, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1234567, "1,234,567")] {
            assert_eq!(count(n), text);
        }
    }

    #[test]
    fn sizes_are_rounded() {
        for (n, text) in [(1023, "1023 B"), (1536, "1.5 KiB"), (1 << 30, "1.0 GiB")] {
            assert_eq!(bytes(n), text);
        }
        assert_eq!(bytes(1024 * 1024 - 1), "1.0 MiB");
    }
}
