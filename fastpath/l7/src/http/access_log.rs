//! Requests as lines of a log. Whatever a client sends, it is one line.

use super::record::Record;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use std::borrow::Cow;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

/// A line of JSON, its line break included.
pub fn json(record: &Record<'_>, line: &mut Vec<u8>) {
    let before = line.len();
    // Nothing of it can fail but what it is written to.
    match serde_json::to_writer(&mut *line, &Line::new(record)) {
        Ok(()) => line.push(b'\n'),
        Err(_) => line.truncate(before),
    }
}

#[derive(Serialize)]
struct Line<'a> {
    time: Option<String>,
    client: SocketAddr,
    real_client: IpAddr,
    listener: &'a str,
    method: &'a str,
    host: Cow<'a, str>,
    path: &'a str,
    query: Option<&'a str>,
    protocol: &'a str,
    status: u16,
    reason: Option<&'a str>,
    aborted: bool,
    bytes_in: u64,
    bytes_out: u64,
    duration_ns: u64,
    upstream_ns: Option<u64>,
    upstream: Option<&'a str>,
    endpoint: Option<SocketAddr>,
    attempts: u8,
    route: Option<&'a str>,
    place: Option<&'a str>,
    request_id: Cow<'a, str>,
    user_agent: Cow<'a, str>,
    referer: Cow<'a, str>,
    tls: Option<&'a str>,
    sni: Option<&'a str>,
}

impl<'a> Line<'a> {
    fn new(record: &Record<'a>) -> Self {
        let text = |bytes: &'a [u8]| String::from_utf8_lossy(bytes);
        Line {
            time: time(record.unix_ms).map(|time| time.to_string()),
            client: record.client,
            real_client: record.real_client,
            listener: record.listener,
            method: record.method,
            host: text(record.host),
            path: record.path,
            query: record.query,
            protocol: record.protocol,
            status: record.status,
            reason: record.reason.map(|reason| reason.label()),
            aborted: record.is_aborted,
            bytes_in: record.bytes_in,
            bytes_out: record.bytes_out,
            duration_ns: record.duration_ns,
            upstream_ns: record.upstream_ns,
            upstream: record.upstream,
            endpoint: record.endpoint,
            attempts: record.attempts,
            route: record.route.map(|route| &*route.object),
            place: record.route.map(|route| &*route.place),
            request_id: text(record.request_id),
            user_agent: text(record.user_agent),
            referer: text(record.referer),
            tls: record.tls.map(|tls| tls.version.label()),
            sni: record.tls.and_then(|tls| tls.server_name.as_deref()),
        }
    }
}

fn time(unix_ms: u64) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(unix_ms).ok()?).ok()
}

/// A line of the Combined Log Format (Apache, `mod_log_config`), its line break included.
pub fn combined(record: &Record<'_>, line: &mut String) {
    let time = time(record.unix_ms).map(|time| time.to_zoned(TimeZone::UTC));
    let time = time.map(|time| time.strftime("%d/%b/%Y:%H:%M:%S %z").to_string());
    let time = time.as_deref().unwrap_or("-");
    // Writing to a string does not fail.
    let _ = write!(line, "{} - - [{time}] \"", record.real_client);
    if record.method.is_empty() {
        line.push('-');
    } else {
        escaped(record.method.as_bytes(), line);
        line.push(' ');
        escaped(record.path.as_bytes(), line);
        if let Some(query) = record.query {
            line.push('?');
            escaped(query.as_bytes(), line);
        }
        line.push(' ');
        line.push_str(record.protocol);
    }
    let _ = write!(line, "\" {:03} {} ", record.status, record.bytes_out);
    quoted(record.referer, line);
    line.push(' ');
    quoted(record.user_agent, line);
    line.push('\n');
}

fn quoted(bytes: &[u8], line: &mut String) {
    line.push('"');
    match bytes {
        [] => line.push('-'),
        _ => escaped(bytes, line),
    }
    line.push('"');
}

/// What is neither a visible character nor a space is written in hexadecimal.
fn escaped(bytes: &[u8], line: &mut String) {
    for byte in bytes {
        match byte {
            b'"' => line.push_str("\\\""),
            b'\\' => line.push_str("\\\\"),
            b' '..=b'~' => line.push(char::from(*byte)),
            _ => {
                let _ = write!(line, "\\x{byte:02x}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::L7Reason;
    use crate::http::{Negotiated, TlsVersion};

    fn record() -> Record<'static> {
        Record {
            unix_ms: 1_700_000_000_123,
            client: "[2001:db8::1]:40000".parse().unwrap(),
            real_client: "192.0.2.7".parse().unwrap(),
            listener: "ingress-http",
            method: "GET",
            host: b"shop.example",
            path: "/cart",
            query: Some("a=b"),
            protocol: "HTTP/1.1",
            status: 200,
            reason: None,
            is_aborted: false,
            bytes_in: 1,
            bytes_out: 1024,
            duration_ns: 5,
            upstream_ns: Some(4),
            upstream: Some("shop/web:80"),
            endpoint: None,
            attempts: 1,
            route: None,
            request_id: b"id",
            user_agent: b"curl/8",
            referer: b"",
            tls: None,
        }
    }

    fn line_of(record: &Record<'_>) -> String {
        let mut line = Vec::new();
        json(record, &mut line);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_request_is_a_line_of_json() {
        let line = line_of(&record());
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        for (key, expected) in [
            ("time", "2023-11-14T22:13:20.123Z".into()),
            ("client", "[2001:db8::1]:40000".into()),
            ("real_client", "192.0.2.7".into()),
            ("host", "shop.example".into()),
            ("status", serde_json::Value::from(200)),
            ("bytes_out", serde_json::Value::from(1024)),
            ("reason", serde_json::Value::Null),
            ("tls", serde_json::Value::Null),
        ] {
            assert_eq!(value[key], expected, "{key}");
        }
        let tls = Negotiated {
            protocol: None,
            server_name: Some("shop.example".into()),
            client_auth: None,
            version: TlsVersion::Tls13,
        };
        let line =
            line_of(&Record { reason: Some(L7Reason::NoRoute), tls: Some(&tls), ..record() });
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["reason"], "no_route");
        assert_eq!((&value["tls"], &value["sni"]), (&"TLSv1.3".into(), &"shop.example".into()));
    }

    #[test]
    fn a_request_is_a_line_of_the_combined_format() {
        let mut line = String::new();
        combined(&record(), &mut line);
        let expected = "192.0.2.7 - - [14/Nov/2023:22:13:20 +0000] \
            \"GET /cart?a=b HTTP/1.1\" 200 1024 \"-\" \"curl/8\"\n";
        assert_eq!(line, expected);
        line.clear();
        let nothing = Record { method: "", status: 400, bytes_out: 0, ..record() };
        combined(&nothing, &mut line);
        assert!(line.contains("] \"-\" 400 0 "), "{line}");
    }

    #[test]
    fn what_clients_send_makes_no_lines_of_its_own() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..2000 {
            let mut hostile = [0; 24];
            random.fill(&mut hostile);
            hostile[random.usize(0..24)] = *random.choice(b"\n\r\"\\\0\x1b\x85").unwrap();
            let path: String = hostile.iter().map(|byte| char::from(*byte)).collect();
            let record = Record {
                host: &hostile,
                path: &path,
                user_agent: &hostile,
                referer: &hostile,
                request_id: &hostile,
                ..record()
            };
            let line = line_of(&record);
            assert!(line.ends_with("}\n") && line.matches('\n').count() == 1, "{line:?}");
            assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok(), "{line:?}");
            let mut line = String::new();
            combined(&record, &mut line);
            let body = line.strip_suffix('\n').unwrap();
            assert!(body.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line:?}");
            // As many quotation marks as there are quotes.
            let quotes = body.replace("\\\\", "").replace("\\\"", "").matches('"').count();
            assert_eq!(quotes, 6, "{line:?}");
        }
    }
}
