use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use sluice_fastpath::DropReason;
use sluice_fastpath::events::SNAP_LEN_MAX;
use sluice_tables::observe::ReasonSet;
use sluice_tables::{Capture, PacketFilter};

/// Bytes of a packet that are copied if nothing else is asked for.
pub const SNAP_LEN: u16 = 256;

/// Which packets are meant; what is not told does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FilterQuery {
    /// Any of these drop reasons.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// The source lies in this prefix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub src: Option<IpNet>,
    /// The destination lies in this prefix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dst: Option<IpNet>,
    /// Either port is this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
}

/// A protocol that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
    /// ICMP and ICMPv6.
    Icmp,
}

impl Protocol {
    fn numbers(self) -> &'static [u8] {
        match self {
            Protocol::Tcp => &[6],
            Protocol::Udp => &[17],
            Protocol::Sctp => &[132],
            Protocol::Icmp => &[1, 58],
        }
    }
}

/// The name of a protocol: `TCP`, `UDP`, `SCTP`, `ICMP`, `ICMPv6`, or its number.
pub fn protocol_name(number: u8) -> String {
    match number {
        1 => "ICMP".to_owned(),
        6 => "TCP".to_owned(),
        17 => "UDP".to_owned(),
        58 => "ICMPv6".to_owned(),
        132 => "SCTP".to_owned(),
        other => other.to_string(),
    }
}

/// True for ICMP of either family: its packets have no ports, but identifiers.
pub fn is_icmp(protocol: u8) -> bool {
    Protocol::Icmp.numbers().contains(&protocol)
}

/// What somebody asks to watch, over the admin socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "follow", rename_all = "snake_case", deny_unknown_fields)]
pub enum Follow {
    /// Packets that are dropped, or would be: [`super::view::Line`]s.
    Drops {
        /// Which.
        #[serde(default)]
        filter: FilterQuery,
    },
    /// Copies of packets: pcapng.
    Packets {
        /// Which.
        #[serde(default)]
        filter: FilterQuery,
        /// Only those that are dropped.
        #[serde(default)]
        drops_only: bool,
        /// Bytes of each, at most [`SNAP_LEN_MAX`].
        #[serde(default = "snap_len")]
        snap_len: u16,
        /// The end comes after so many.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<u64>,
        /// The end comes after so many seconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seconds: Option<u64>,
    },
}

fn snap_len() -> u16 {
    SNAP_LEN
}

/// What one of those who watch is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// Dropped and audited packets, in words.
    Drops(PacketFilter),
    /// Copies of packets.
    Packets(Capture),
}

impl Follow {
    /// What that is to workers.
    ///
    /// # Errors
    /// In words, for what no worker can do.
    pub fn want(&self) -> Result<Want, String> {
        match self {
            Follow::Drops { filter } => Ok(Want::Drops(filter.packets()?)),
            Follow::Packets { filter, drops_only, snap_len, .. } => {
                if !(1..=SNAP_LEN_MAX).contains(&usize::from(*snap_len)) {
                    return Err(format!("snap_len {snap_len} is not from 1 to {SNAP_LEN_MAX}"));
                }
                let filter = filter.packets()?;
                let drops_only = *drops_only || filter.reasons.is_some();
                Ok(Want::Packets(Capture { filter, drops_only, snap_len: *snap_len }))
            }
        }
    }
}

impl FilterQuery {
    /// The filter as workers know it.
    ///
    /// # Errors
    /// In words, for a reason that there is not.
    fn packets(&self) -> Result<PacketFilter, String> {
        let mut reasons = ReasonSet::default();
        for label in &self.reasons {
            let found = DropReason::ALL.iter().find(|reason| reason.label() == label);
            let Some(reason) = found else {
                let labels = DropReason::ALL.iter().map(|reason| reason.label());
                let hint = sluice_config::closest(label, labels);
                let hint = hint.map_or_else(String::new, |hint| format!("; did you mean {hint}?"));
                return Err(format!("there is no drop reason {label:?}{hint}"));
            };
            reasons.insert(*reason as u8);
        }
        let prefix = |net: &IpNet| (net.addr(), net.prefix_len());
        Ok(PacketFilter {
            reasons: (!self.reasons.is_empty()).then_some(reasons),
            src: self.src.as_ref().map(prefix),
            dst: self.dst.as_ref().map(prefix),
            l4_port: self.port,
            protocols: self.protocol.map_or(&[][..], Protocol::numbers).to_vec(),
        })
    }
}

/// Reads a prefix, or an address, which stands for itself alone.
///
/// # Errors
/// In words.
pub fn prefix(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<std::net::IpAddr>().map(IpNet::from);
    let parsed = text.parse::<IpNet>().or_else(|_| address());
    parsed.map_err(|_| format!("{text:?} is neither an address nor a prefix such as 10.0.0.0/8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(text: &str) -> Follow {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn what_is_asked_over_the_socket_reads_as_documented() {
        let drops = follow(
            r#"{"follow":"drops","filter":{"reasons":["no_route"],"src":"10.0.0.0/8",
                "dst":"fd00::/8","port":80,"protocol":"icmp"}}"#,
        );
        let Want::Drops(filter) = drops.want().unwrap() else { panic!("{drops:?}") };
        assert!(filter.reasons.unwrap().contains(DropReason::NoRoute as u8));
        assert!(!filter.reasons.unwrap().contains(DropReason::Martian as u8));
        assert_eq!(filter.src, Some(("10.0.0.0".parse().unwrap(), 8)));
        assert_eq!((filter.l4_port, &filter.protocols[..]), (Some(80), &[1, 58][..]));
        assert_eq!(
            follow(r#"{"follow":"drops"}"#),
            Follow::Drops { filter: FilterQuery::default() }
        );
        let packets = follow(r#"{"follow":"packets","filter":{"reasons":["martian"]}}"#);
        let Want::Packets(capture) = packets.want().unwrap() else { panic!("{packets:?}") };
        assert_eq!((capture.drops_only, capture.snap_len), (true, SNAP_LEN));
        for wrong in [
            r#"{"follow":"weather"}"#,
            r#"{"follow":"drops","filter":{"colour":1}}"#,
            r#"{"follow":"drops","filter":{"src":"10.0.0.0/33"}}"#,
        ] {
            assert!(serde_json::from_str::<Follow>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_no_worker_can_do_is_refused_in_words() {
        let drops = follow(r#"{"follow":"drops","filter":{"reasons":["no_rout"]}}"#);
        let error = drops.want().unwrap_err();
        assert!(error.contains("\"no_rout\"") && error.contains("no_route?"), "{error}");
        for snap_len in [0, SNAP_LEN_MAX + 1] {
            let packets = follow(&format!(r#"{{"follow":"packets","snap_len":{snap_len}}}"#));
            assert!(packets.want().unwrap_err().contains("from 1 to 512"));
        }
        assert_eq!(prefix("10.0.0.2").unwrap().to_string(), "10.0.0.2/32");
        assert_eq!(prefix("fd00::/8").unwrap().to_string(), "fd00::/8");
        assert!(prefix("ten").unwrap_err().contains("neither"));
    }
}
