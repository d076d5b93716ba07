//! Reading and printing single values.

use super::schema::Syntax;
use super::value::Value;

/// No line needs a longer field; keeps `data N` from taking the machine's memory.
const BYTES_MAX: usize = 1 << 16;

/// TCP flag letters by bit (RFC 9293 section 3.1, AE of RFC 7560 as `N`), in printing order.
const TCP_FLAGS: &[(char, u64)] = &[
    ('S', 0x002),
    ('F', 0x001),
    ('R', 0x004),
    ('P', 0x008),
    ('U', 0x020),
    ('E', 0x040),
    ('W', 0x080),
    ('N', 0x100),
    ('A', 0x010),
];

/// Flag letters of a neighbor advertisement (RFC 4861 section 4.4).
const ND_FLAGS: &[(char, u64)] = &[('R', 4), ('S', 2), ('O', 1)];

/// Byte `i` of the payload `data N`: a big-endian 16-bit counter, so that a misplaced byte shows.
pub(crate) fn counter_byte(i: usize) -> u8 {
    ((i / 2) as u16).to_be_bytes()[i % 2]
}

/// Reads `text` as `syntax` wants it; the error says what was expected.
pub(crate) fn read(text: &str, syntax: Syntax) -> Result<Value, String> {
    match syntax {
        Syntax::Num { max, .. } => number(text, max).map(Value::Num),
        Syntax::Code(names) => match names.iter().find(|(_, name)| *name == text) {
            Some((code, _)) => Ok(Value::Num(*code)),
            None => number(text, 255).map(Value::Num).map_err(|_| {
                let names: Vec<_> = names.iter().map(|(_, name)| *name).collect();
                format!("expected a code or one of {}, found `{text}`", names.join(", "))
            }),
        },
        Syntax::Flag => Err(format!("a flag takes no value, found `{text}`")),
        Syntax::Mac => text.parse().map(Value::Mac),
        Syntax::Ip4 => text
            .parse()
            .map(Value::Ip4)
            .map_err(|_| format!("expected an IPv4 address, found `{text}`")),
        Syntax::Ip6 => text
            .parse()
            .map(Value::Ip6)
            .map_err(|_| format!("expected an IPv6 address, found `{text}`")),
        Syntax::Bytes => bytes(text).map(Value::Bytes),
        Syntax::Payload => payload(text).map(Value::Bytes),
        Syntax::TcpFlags => letters(text, TCP_FLAGS).map(Value::Num),
        Syntax::NdFlags => letters(text, ND_FLAGS).map(Value::Num),
    }
}

/// Whether `value` may stand where `syntax` is.
pub(crate) fn fits(value: &Value, syntax: Syntax) -> bool {
    match (value, syntax) {
        (Value::Num(n), Syntax::Num { max, .. }) => *n <= max,
        (Value::Num(n), Syntax::Code(_)) => *n <= 255,
        (Value::Num(n), Syntax::Flag) => *n <= 1,
        (Value::Num(n), Syntax::TcpFlags) => *n <= 0x1ff,
        (Value::Num(n), Syntax::NdFlags) => *n <= 7,
        (Value::Mac(_), Syntax::Mac)
        | (Value::Ip4(_), Syntax::Ip4)
        | (Value::Ip6(_), Syntax::Ip6)
        | (Value::Bytes(_), Syntax::Bytes | Syntax::Payload) => true,
        _ => false,
    }
}

/// Prints `value` so that `read` gives it back.
pub(crate) fn print(value: &Value, syntax: Syntax) -> String {
    match (value, syntax) {
        (Value::Num(n), Syntax::Code(names)) => match names.iter().find(|(code, _)| code == n) {
            Some((_, name)) => (*name).to_owned(),
            None => n.to_string(),
        },
        (Value::Num(n), Syntax::Num { hex: true, .. }) => format!("{n:#x}"),
        (Value::Num(n), Syntax::TcpFlags) => print_letters(*n, TCP_FLAGS),
        (Value::Num(n), Syntax::NdFlags) => print_letters(*n, ND_FLAGS),
        (Value::Num(n), _) => n.to_string(),
        (Value::Mac(mac), _) => mac.to_string(),
        (Value::Ip4(address), _) => address.to_string(),
        (Value::Ip6(address), _) => address.to_string(),
        (Value::Bytes(bytes), Syntax::Payload) => print_payload(bytes),
        (Value::Bytes(bytes), _) => print_bytes(bytes),
        (Value::Sum(sum), _) => format!("{sum:?}"),
    }
}

fn number(text: &str, max: u64) -> Result<u64, String> {
    let value = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    };
    match value {
        Some(value) if value <= max && !text.starts_with('+') => Ok(value),
        _ => Err(format!("expected a number from 0 to {max}, found `{text}`")),
    }
}

fn letters(text: &str, known: &[(char, u64)]) -> Result<u64, String> {
    if text == "-" {
        return Ok(0);
    }
    let mut bits = 0;
    for letter in text.chars() {
        match known.iter().find(|(name, _)| *name == letter) {
            Some((_, bit)) => bits |= bit,
            None => {
                let names: String = known.iter().map(|(name, _)| *name).collect();
                return Err(format!("expected flags out of {names}, or `-`, found `{text}`"));
            }
        }
    }
    Ok(bits)
}

fn print_letters(bits: u64, known: &[(char, u64)]) -> String {
    let text: String =
        known.iter().filter(|(_, bit)| bits & bit != 0).map(|(name, _)| *name).collect();
    if text.is_empty() { "-".to_owned() } else { text }
}

fn bytes(text: &str) -> Result<Vec<u8>, String> {
    let expected = || format!("expected hex digits in pairs, or N*0xHH, found `{text}`");
    if let Some((count, byte)) = text.split_once('*') {
        let count = number(count, BYTES_MAX as u64)?;
        let byte = number(byte, 255)?;
        return Ok(vec![byte as u8; count as usize]);
    }
    let hex = text.strip_prefix("0x").unwrap_or(text);
    if !hex.len().is_multiple_of(2) || hex.len() / 2 > BYTES_MAX {
        return Err(expected());
    }
    let digits: Option<Vec<u32>> = hex.chars().map(|c| c.to_digit(16)).collect();
    let digits = digits.ok_or_else(expected)?;
    Ok(digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect())
}

fn payload(text: &str) -> Result<Vec<u8>, String> {
    if let Some(quoted) = text.strip_prefix('"') {
        return unescape(quoted.strip_suffix('"').unwrap_or(quoted));
    }
    if text.starts_with("0x") || text.contains('*') {
        return bytes(text);
    }
    let (count, offset) = text.split_once('@').unwrap_or((text, "0"));
    let max = BYTES_MAX as u64;
    let expected =
        |_| format!("expected \"text\", a length, N@OFFSET, N*0xHH or 0xHEX, found `{text}`");
    let count = number(count, max).map_err(expected)? as usize;
    let offset = number(offset, max).map_err(expected)? as usize;
    Ok((offset..offset + count).map(counter_byte).collect())
}

fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        out.push(match chars.next() {
            Some('n') => b'\n',
            Some('r') => b'\r',
            Some('t') => b'\t',
            Some(c @ ('"' | '\\')) => c as u8,
            other => {
                let found = other.map(String::from).unwrap_or_default();
                return Err(format!(
                    "expected \\n, \\r, \\t, \\\" or \\\\ in text, found `\\{found}`"
                ));
            }
        });
    }
    Ok(out)
}

fn print_bytes(bytes: &[u8]) -> String {
    match bytes {
        [first, _, ..] if bytes.iter().all(|b| b == first) => {
            format!("{}*{first:#04x}", bytes.len())
        }
        _ => bytes.iter().fold("0x".to_owned(), |text, b| text + &format!("{b:02x}")),
    }
}

fn print_payload(bytes: &[u8]) -> String {
    let len = bytes.len();
    let counts_from =
        |start: usize| bytes.iter().enumerate().all(|(i, b)| *b == counter_byte(start + i));
    if counts_from(0) {
        return len.to_string();
    }
    let constant = bytes.iter().all(|b| *b == bytes[0]);
    if constant && len > 3 {
        return print_bytes(bytes);
    }
    if bytes.iter().all(|b| matches!(b, b' '..=b'~' | b'\n' | b'\r' | b'\t')) {
        let mut text = String::from('"');
        for b in bytes {
            match b {
                b'\n' => text.push_str("\\n"),
                b'\r' => text.push_str("\\r"),
                b'\t' => text.push_str("\\t"),
                b'"' | b'\\' => text.extend(['\\', *b as char]),
                b => text.push(*b as char),
            }
        }
        return text + "\"";
    }
    // Part of a longer counter, such as a fragment: the first bytes say where it begins.
    if let [a, b, c, ..] = bytes
        && len >= 8
    {
        let even = 2 * usize::from(u16::from_be_bytes([*a, *b]));
        let odd = (2 * usize::from(u16::from_be_bytes([*b, *c]))).wrapping_sub(1);
        for start in [even, odd] {
            if start <= BYTES_MAX && counts_from(start) {
                return format!("{len}@{start}");
            }
        }
    }
    print_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(text: &str, syntax: Syntax) -> String {
        print(&read(text, syntax).unwrap(), syntax)
    }

    #[test]
    fn payloads_print_in_their_shortest_form() {
        for text in ["12", "1480@1480", "9@3", "\"GET / \\\"x\\\"\\r\\n\"", "16*0x41", "0x01ff"] {
            assert_eq!(round(text, Syntax::Payload), text);
        }
        assert_eq!(round("0x000000010002", Syntax::Payload), "6");
        assert_eq!(read("7@0", Syntax::Payload), read("7", Syntax::Payload));
    }

    #[test]
    fn flags_read_in_any_order() {
        assert_eq!(round("AS", Syntax::TcpFlags), "SA");
        assert_eq!(round("-", Syntax::TcpFlags), "-");
        assert_eq!(round("OR", Syntax::NdFlags), "RO");
        assert!(read("SX", Syntax::TcpFlags).is_err());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let u8 = Syntax::Num { max: 255, hex: false };
        for (text, syntax) in [
            ("256", u8),
            ("-1", u8),
            ("+1", u8),
            ("", u8),
            ("99999999999999999999", u8),
            ("abc", Syntax::Bytes),
            ("é1", Syntax::Bytes),
            ("99999999*0x00", Syntax::Bytes),
            ("99999999", Syntax::Payload),
            ("\"\\q\"", Syntax::Payload),
            ("fd00::1", Syntax::Ip4),
            ("10.0.0.1", Syntax::Ip6),
        ] {
            assert!(read(text, syntax).is_err(), "{text}");
        }
    }
}
