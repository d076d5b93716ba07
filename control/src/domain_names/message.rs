use domain::base::iana::{Class, Opcode, Rcode, Rtype};
use domain::base::{Message, ParsedName, ToName};
use domain::rdata::{A, Aaaa, Cname};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// Aliases that are followed from the question's name.
pub const ALIASES_MAX: usize = 16;

/// Records of an answer that are looked at.
pub const RECORDS_MAX: usize = 512;

/// What an answer says: these names have these addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The name that was asked for, and the aliases that it leads to, in order; in
    /// lower case and without the final dot. All of them have the addresses.
    pub names: Vec<String>,
    /// The addresses, and for how long the answer says so: the least TTL on the
    /// way to each.
    pub addresses: BTreeMap<IpAddr, Duration>,
}

/// Why nothing is learned from a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unread {
    /// It does not parse (RFC 1035 section 4).
    Malformed,
    /// It is a question, of another operation than a query, or about something
    /// else than one name of the Internet class.
    NotAnAnswer,
    /// The server says that it has no answer.
    Failed,
    /// Its name is no host name (RFC 1123 section 2.1; underscores may be there).
    NotAHostName,
    /// It tells no address of the name that was asked for.
    NoAddress,
    /// More aliases or records than are looked at.
    TooLong,
}

impl Unread {
    /// All of them.
    pub const ALL: [Unread; 6] = [
        Unread::Malformed,
        Unread::NotAnAnswer,
        Unread::Failed,
        Unread::NotAHostName,
        Unread::NoAddress,
        Unread::TooLong,
    ];

    /// Its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Unread::Malformed => "malformed",
            Unread::NotAnAnswer => "not_an_answer",
            Unread::Failed => "failed",
            Unread::NotAHostName => "not_a_host_name",
            Unread::NoAddress => "no_address",
            Unread::TooLong => "too_long",
        }
    }
}

type Name<'a> = ParsedName<&'a [u8]>;

/// Reads a DNS message: the addresses of the name that it answers for. Only
/// records count that the question leads to, by aliases (RFC 1034 section 3.6.2):
/// others of the answer, and the other sections, may say what they like.
///
/// # Errors
/// Why it says nothing.
pub fn read(message: &[u8]) -> Result<Reading, Unread> {
    let malformed = |_| Unread::Malformed;
    let message = Message::from_slice(message).map_err(|_| Unread::Malformed)?;
    let header = message.header();
    if !header.qr() || header.opcode() != Opcode::QUERY {
        return Err(Unread::NotAnAnswer);
    }
    if header.rcode() != Rcode::NOERROR {
        return Err(Unread::Failed);
    }
    if message.header_counts().qdcount() != 1 {
        return Err(Unread::NotAnAnswer);
    }
    let question = message.sole_question().map_err(malformed)?;
    if question.qclass() != Class::IN
        || !matches!(question.qtype(), Rtype::A | Rtype::AAAA | Rtype::ANY)
    {
        return Err(Unread::NotAnAnswer);
    }
    let mut records = Records::default();
    for (number, record) in message.answer().map_err(malformed)?.enumerate() {
        let record = record.map_err(malformed)?;
        if number >= RECORDS_MAX {
            return Err(Unread::TooLong);
        }
        if record.class() == Class::IN {
            records.take(&record).map_err(malformed)?;
        }
    }
    records.follow(*question.qname())
}

/// The records of an answer that matter.
#[derive(Default)]
struct Records<'a> {
    aliases: Vec<(Name<'a>, Name<'a>, Duration)>,
    addresses: Vec<(Name<'a>, IpAddr, Duration)>,
}

impl<'a> Records<'a> {
    fn take(
        &mut self,
        record: &domain::base::ParsedRecord<'a, [u8]>,
    ) -> Result<(), domain::base::wire::ParseError> {
        // RFC 2181 section 8: a TTL with its first bit set counts as zero.
        let ttl = i32::try_from(record.ttl().as_secs()).unwrap_or(0);
        let ttl = Duration::from_secs(u64::try_from(ttl).unwrap_or(0));
        let owner = record.owner();
        match record.rtype() {
            Rtype::A => {
                if let Some(record) = record.to_record::<A>()? {
                    self.addresses.push((owner, record.data().addr().into(), ttl));
                }
            }
            Rtype::AAAA => {
                if let Some(record) = record.to_record::<Aaaa>()? {
                    self.addresses.push((owner, record.data().addr().into(), ttl));
                }
            }
            Rtype::CNAME => {
                if let Some(record) = record.to_record::<Cname<_>>()? {
                    self.aliases.push((owner, *record.data().cname(), ttl));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The addresses that a name leads to.
    fn follow(self, name: Name<'a>) -> Result<Reading, Unread> {
        let mut reading = Reading::default();
        let mut at = name;
        let mut least = Duration::MAX;
        loop {
            reading.names.push(host_name(&at).ok_or(Unread::NotAHostName)?);
            for (owner, addr, ttl) in &self.addresses {
                if owner.name_eq(&at) && is_usable(*addr) {
                    let ttl = (*ttl).min(least);
                    let known = reading.addresses.entry(*addr).or_insert(ttl);
                    *known = (*known).max(ttl);
                }
            }
            let next = self.aliases.iter().find(|(owner, ..)| owner.name_eq(&at));
            // Where there are addresses there is no alias (RFC 1034 section 3.6.2).
            match next.filter(|_| reading.addresses.is_empty()) {
                // Circles end here, too.
                Some(_) if reading.names.len() > ALIASES_MAX => return Err(Unread::TooLong),
                Some((_, target, ttl)) => {
                    least = least.min(*ttl);
                    at = *target;
                }
                None if reading.addresses.is_empty() => return Err(Unread::NoAddress),
                None => return Ok(reading),
            }
        }
    }
}

/// An address that a peer outside may have: an answer with another one, as those
/// that block names give, names nobody. Link-local ones are the nodes' own: the cloud
/// tells them secrets there.
fn is_usable(addr: IpAddr) -> bool {
    let is_of_a_host = match addr {
        // RFC 6890: "this network", and what is reserved, the broadcast address included.
        IpAddr::V4(addr) => !addr.is_link_local() && !matches!(addr.octets()[0], 0 | 240..),
        IpAddr::V6(addr) => !addr.is_unicast_link_local() && addr.to_ipv4_mapped().is_none(),
    };
    is_of_a_host && !addr.is_unspecified() && !addr.is_loopback() && !addr.is_multicast()
}

/// A name as policies write it: in lower case and without the final dot. `None`
/// where a label has other characters than those of host names: in a text, a dot
/// within a label would make it another name.
fn host_name(name: &Name<'_>) -> Option<String> {
    let mut text = String::new();
    for label in name.iter() {
        if label.is_root() {
            break;
        }
        if !text.is_empty() {
            text.push('.');
        }
        for byte in label.as_slice() {
            let is_usual = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            text.push(char::from(is_usual.then_some(byte.to_ascii_lowercase())?));
        }
    }
    (!text.is_empty()).then_some(text)
}
