//! The same line for IPv6: every story is written once, in IPv4.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::error::{ParseError, Result};
use super::tokens::{self, Token, Words};

/// Rewrites the IPv4 `line` as the IPv6 line that tells the same: `address` maps addresses, `mac`
/// gives the link-layer address that ND carries where ARP has none written.
///
/// Identification and the DF bit have no counterpart and are left out. ARP becomes ND, ICMP
/// becomes ICMPv6 with the same meaning.
///
/// # Errors
/// What has no counterpart, and its column.
pub fn to_ip6(
    line: &str,
    address: impl Fn(Ipv4Addr) -> Option<Ipv6Addr>,
    mac: impl Fn(Ipv4Addr) -> Option<super::Mac>,
) -> Result<String> {
    let mut out = String::new();
    let map = Map { address: &address, mac: &mac };
    for words in tokens::layers(line)? {
        if !out.is_empty() {
            out.push_str(if words.quoted { " quoting " } else { " / " });
        }
        out.push_str(&map.layer(&words)?.join(" "));
    }
    Ok(out)
}

struct Map<'a> {
    address: &'a dyn Fn(Ipv4Addr) -> Option<Ipv6Addr>,
    mac: &'a dyn Fn(Ipv4Addr) -> Option<super::Mac>,
}

impl Map<'_> {
    fn layer(&self, words: &Words<'_>) -> Result<Vec<String>> {
        let texts: Vec<&str> = words.tokens.iter().map(|token| token.text).collect();
        match texts.as_slice() {
            ["ip", ..] => self.ip(&words.tokens[1..]),
            ["arp", "who-has", ..] => self.who_has(&words.tokens[2..], words.column),
            ["arp", ..] => self.is_at(&words.tokens[1..], words.column),
            ["icmp", "unreachable", "frag-needed", rest @ ..] => {
                Ok(icmp(&["icmp6", "packet-too-big"], rest))
            }
            ["icmp", "unreachable", code, rest @ ..] => {
                let code = match *code {
                    "net" => "no-route",
                    "host" => "address",
                    "port" => "port",
                    "admin" => "admin",
                    "*" => "*",
                    code => {
                        let message = format!("ICMPv6 has no counterpart of code `{code}`");
                        return Err(ParseError::new(words.tokens[2].column, message));
                    }
                };
                Ok(icmp(&["icmp6", "unreachable", code], rest))
            }
            ["icmp", word @ ("echo" | "reply" | "time-exceeded"), rest @ ..] => {
                Ok(icmp(&["icmp6", word], rest))
            }
            ["icmp" | "ip6" | "icmp6" | "nd" | "hbh" | "dst" | "route" | "frag6", ..] => {
                let message = "this layer has no counterpart in the other family";
                Err(ParseError::new(words.column, message))
            }
            _ => Ok(texts.iter().map(|text| (*text).to_owned()).collect()),
        }
    }

    fn ip(&self, tokens: &[Token<'_>]) -> Result<Vec<String>> {
        let mut out = vec!["ip6".to_owned()];
        let mut rest = tokens.iter();
        while let Some(token) = rest.next() {
            match token.text {
                "ttl" => out.push("hop".to_owned()),
                "tos" => out.push("tc".to_owned()),
                "proto" => out.push("nh".to_owned()),
                "df" | "no-df" => {}
                "id" => {
                    rest.next();
                }
                "mf" | "no-mf" | "frag" | "rb" | "no-rb" | "opts" | "ihl" | "len" | "sum" => {
                    let message = format!("`{}` has no counterpart in IPv6", token.text);
                    return Err(ParseError::new(token.column, message));
                }
                text if text.starts_with("badsum") => {
                    return Err(ParseError::new(token.column, "IPv6 has no header checksum"));
                }
                _ => out.push(self.term(token)?),
            }
        }
        Ok(out)
    }

    /// Any term, its addresses mapped.
    fn term(&self, token: &Token<'_>) -> Result<String> {
        map_addresses(token.text, self.address)
            .map_err(|message| ParseError::new(token.column, message))
    }

    fn one(&self, token: Option<&Token<'_>>, column: usize) -> Result<(String, Option<Ipv6Addr>)> {
        let token = token.ok_or_else(|| ParseError::new(column, "this ARP packet is not whole"))?;
        let mapped = self.term(token)?;
        let exact = mapped.parse().ok();
        Ok((mapped, exact))
    }

    /// An announcement: an unsolicited advertisement to all nodes (RFC 4861 section 7.2.6).
    fn announcement(&self, vip: &str, tokens: &[Token<'_>]) -> Vec<String> {
        let mut out = vec![format!("ip6 {vip} > ff02::1 / nd na {vip} flags O")];
        out.extend(self.link_layer("tll", "sha", tokens, tokens.get(2)));
        out
    }

    /// A question: to the solicited-node group of the target (RFC 4291 section 2.7.1).
    fn who_has(&self, tokens: &[Token<'_>], column: usize) -> Result<Vec<String>> {
        let (target, exact) = self.one(tokens.first(), column)?;
        let (sender, _) = self.one(tokens.get(2), column)?;
        if sender == target {
            return Ok(self.announcement(&target, tokens));
        }
        let group = match exact {
            Some(target) => {
                let [.., a, b, c] = target.octets();
                let group = Ipv6Addr::new(
                    0xff02,
                    0,
                    0,
                    0,
                    0,
                    1,
                    0xff00 | u16::from(a),
                    u16::from_be_bytes([b, c]),
                );
                group.to_string()
            }
            None => "*".to_owned(),
        };
        let mut out = vec![format!("ip6 {sender} > {group} / nd ns {target}")];
        out.extend(self.link_layer("sll", "sha", tokens, tokens.get(2)));
        Ok(out)
    }

    /// An answer: solicited and overriding, as gateways and hosts send it.
    fn is_at(&self, tokens: &[Token<'_>], column: usize) -> Result<Vec<String>> {
        let (sender, _) = self.one(tokens.first(), column)?;
        let sha = tokens.get(2).map_or("*", |token| token.text);
        let to = tokens.iter().position(|token| token.text == "to");
        let target = match to {
            Some(at) => self.one(tokens.get(at + 1), column)?.0,
            None => "*".to_owned(),
        };
        Ok(vec![format!("ip6 {sender} > {target} / nd na {sender} tll {sha} flags SO")])
    }

    /// The link-layer option: as written after `keyword`, else the sender's.
    fn link_layer(
        &self,
        option: &str,
        keyword: &str,
        tokens: &[Token<'_>],
        sender: Option<&Token<'_>>,
    ) -> Option<String> {
        let written = tokens.iter().position(|token| token.text == keyword);
        if let Some(written) = written.and_then(|at| tokens.get(at + 1)) {
            return Some(format!("{option} {}", written.text));
        }
        let mac = (self.mac)(sender?.text.parse().ok()?)?;
        Some(format!("{option} {mac}"))
    }
}

/// The words of an ICMP layer; a quote is as much longer as the IP header is.
fn icmp(first: &[&str], rest: &[&str]) -> Vec<String> {
    let mut out: Vec<String> = first.iter().map(|word| (*word).to_owned()).collect();
    let mut after_first = false;
    for word in rest {
        let len = word.parse::<u32>().ok().filter(|_| after_first);
        out.push(len.map_or_else(|| (*word).to_owned(), |len| (len + 20).to_string()));
        after_first = *word == "first";
    }
    out
}

/// Replaces every IPv4 address in `text`. A port after `:` makes it `[address]:port`; a prefix
/// length of 0, 24 or 32 becomes 0, 64 or 128.
///
/// # Errors
/// An address without counterpart.
pub(crate) fn map_addresses(
    text: &str,
    address: impl Fn(Ipv4Addr) -> Option<Ipv6Addr>,
) -> std::result::Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, after) = rest.split_at(start);
        out.push_str(before);
        let end = after.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(after.len());
        let end = after[..end].find("..").unwrap_or(end);
        let (word, tail) = after.split_at(end);
        rest = tail;
        let glued = before.ends_with(|c: char| c.is_ascii_alphanumeric() || c == ':' || c == '_');
        let Some(v4) = word.parse::<Ipv4Addr>().ok().filter(|_| !glued) else {
            out.push_str(word);
            continue;
        };
        let v6 = address(v4).ok_or_else(|| format!("{v4} has no IPv6 counterpart"))?;
        if tail.starts_with(':') {
            out.push_str(&format!("[{v6}]"));
            continue;
        }
        out.push_str(&v6.to_string());
        for (v4_len, v6_len) in [("/0", "/0"), ("/24", "/64"), ("/32", "/128")] {
            let whole = |tail: &str| !tail.starts_with(|c: char| c.is_ascii_digit());
            if let Some(tail) = rest.strip_prefix(v4_len).filter(|tail| whole(tail)) {
                out.push_str(v6_len);
                rest = tail;
                break;
            }
        }
        if rest.starts_with('/') && rest[1..].starts_with(|c: char| c.is_ascii_digit()) {
            return Err(format!("only /0, /24 and /32 have IPv6 counterparts, found `{text}`"));
        }
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(v4: Ipv4Addr) -> Option<Ipv6Addr> {
        let [a, b, c, d] = v4.octets().map(u16::from);
        (a == 10).then(|| Ipv6Addr::new(0xfd00, a, b, c, 0, 0, 0, d))
    }

    fn map(line: &str) -> String {
        let mac = |_| Some(super::super::Mac([2, 0, 0, 0, 0, 9]));
        to_ip6(line, address, mac).unwrap_or_else(|e| e.to_string())
    }

    #[test]
    fn lines_tell_the_same_in_ipv6() {
        for (v4, v6) in [
            (
                "ip 10.0.0.2 > $vip ttl 63 df id 7 tos 0x10 / tcp 1 > 2 S",
                "ip6 fd00:a::2 > $vip hop 63 tc 0x10 / tcp 1 > 2 S",
            ),
            (
                "ip 10.0.0.1..10.0.0.9 > !10.0.0.3 / icmp unreachable frag-needed mtu 1400 first 28 \
                 quoting ip 10.0.0.1 > * / udp 1 > 2",
                "ip6 fd00:a::1..fd00:a::9 > !fd00:a::3 / icmp6 packet-too-big mtu 1400 first 48 \
                 quoting ip6 fd00:a::1 > * / udp 1 > 2",
            ),
            ("eth 02:..:10 > * / ip / icmp echo id 1", "eth 02:..:10 > * / ip6 / icmp6 echo id 1"),
            (
                "arp who-has 10.0.0.1 tell 10.0.0.2",
                "ip6 fd00:a::2 > ff02::1:ff00:1 / nd ns fd00:a::1 sll 02:..:09",
            ),
            (
                "arp 10.0.0.1 is-at 02:..:01 to 10.0.0.2 02:..:02",
                "ip6 fd00:a::1 > fd00:a::2 / nd na fd00:a::1 tll 02:..:01 flags SO",
            ),
            ("udp 10 > 53 / data \"10.0.0.1\"", "udp 10 > 53 / data \"10.0.0.1\""),
            ("ip 11.0.0.1 > *", "column 4: 11.0.0.1 has no IPv6 counterpart"),
            ("ip 10.0.0.1 > * frag 8", "column 17: `frag` has no counterpart in IPv6"),
        ] {
            assert_eq!(map(v4), v6.replace("                 ", ""));
        }
    }

    #[test]
    fn addresses_are_mapped_with_their_ports_and_prefixes() {
        for (text, mapped) in [
            (
                "service 10.0.0.1:80/tcp -> 10.0.0.2:8080",
                "service [fd00:a::1]:80/tcp -> [fd00:a::2]:8080",
            ),
            ("route 10.0.0.0/24 via 10.0.0.1", "route fd00:a::/64 via fd00:a::1"),
            (
                "pool 10.0.0.1..10.0.0.4 ports 1024..2000",
                "pool fd00:a::1..fd00:a::4 ports 1024..2000",
            ),
            ("0.5s p10 02:..:10 1.5", "0.5s p10 02:..:10 1.5"),
        ] {
            assert_eq!(map_addresses(text, address).unwrap(), mapped);
        }
        assert!(map_addresses("10.0.0.0/16", address).is_err());
        assert!(map_addresses("11.0.0.0", address).is_err());
    }
}
