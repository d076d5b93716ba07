//! One rtnetlink question: RTM_GETLINK for a name (rtnetlink(7)).

use super::{OperState, XdpAttachment};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink::SocketAddrNetlink, recv,
    sendto, socket_with,
};
use std::io;

const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;

/// Bytes of `struct nlmsghdr` and `struct ifinfomsg`.
const HEADER_LEN: usize = 16;
const IFINFO_LEN: usize = 16;

const IFF_UP: u32 = 1;

// Attributes of <linux/if_link.h>.
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NUM_TX_QUEUES: u16 = 31;
const IFLA_NUM_RX_QUEUES: u16 = 32;
const IFLA_XDP: u16 = 43;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;
const NLA_TYPE_MASK: u16 = 0x3fff;

const XDP_ATTACHED_NONE: u8 = 0;
const XDP_ATTACHED_SKB: u8 = 2;

/// The answer, as far as it is of use.
pub(super) struct Link {
    pub ifindex: u32,
    pub mac: Option<[u8; 6]>,
    pub mtu: u32,
    pub admin_up: bool,
    pub oper_state: OperState,
    pub rx_queues: u32,
    pub tx_queues: u32,
    /// Kind of a virtual device ("veth").
    pub kind: Option<String>,
    pub xdp: Option<XdpAttachment>,
}

/// Looks a link up by name. `None` when there is none.
pub(super) fn link(name: &str) -> io::Result<Option<Link>> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        None, // NETLINK_ROUTE
    )?;
    sendto(&socket, &request(name), SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut answer = vec![0; 64 << 10];
    let (len, _) = recv(&socket, &mut answer[..], RecvFlags::empty())?;
    parse(&answer[..len])
}

fn request(name: &str) -> Vec<u8> {
    let attribute_len = 4 + name.len() + 1;
    let len = HEADER_LEN + IFINFO_LEN + attribute_len.next_multiple_of(4);
    let mut message = Vec::with_capacity(len);
    message.extend((len as u32).to_ne_bytes());
    message.extend(RTM_GETLINK.to_ne_bytes());
    message.extend(NLM_F_REQUEST.to_ne_bytes());
    message.extend([0; 8]); // sequence and port id: one question, one answer
    message.extend([0; IFINFO_LEN]);
    message.extend((attribute_len as u16).to_ne_bytes());
    message.extend(IFLA_IFNAME.to_ne_bytes());
    message.extend(name.as_bytes());
    message.resize(len, 0);
    message
}

fn parse(message: &[u8]) -> io::Result<Option<Link>> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "malformed rtnetlink answer");
    let kind = u16_at(message, 4).ok_or_else(malformed)?;
    let body = message.get(HEADER_LEN..).ok_or_else(malformed)?;
    match kind {
        NLMSG_ERROR => {
            let errno = u32_at(body, 0).ok_or_else(malformed)?.cast_signed().wrapping_neg();
            if errno == libc::ENODEV {
                return Ok(None);
            }
            Err(io::Error::from_raw_os_error(errno))
        }
        RTM_NEWLINK => {
            let ifindex = u32_at(body, 4).ok_or_else(malformed)?;
            let flags = u32_at(body, 8).ok_or_else(malformed)?;
            let attributes = body.get(IFINFO_LEN..).ok_or_else(malformed)?;
            Ok(Some(link_of(ifindex, flags, attributes)))
        }
        _ => Err(malformed()),
    }
}

fn link_of(ifindex: u32, flags: u32, attributes: &[u8]) -> Link {
    let mut link = Link {
        ifindex,
        mac: None,
        mtu: 0,
        admin_up: flags & IFF_UP != 0,
        oper_state: OperState::Unknown,
        rx_queues: 1,
        tx_queues: 1,
        kind: None,
        xdp: None,
    };
    for (kind, value) in Attributes(attributes) {
        match kind {
            IFLA_ADDRESS => link.mac = value.try_into().ok(),
            IFLA_MTU => link.mtu = u32_at(value, 0).unwrap_or(0),
            IFLA_OPERSTATE => link.oper_state = oper_state(value.first().copied()),
            IFLA_NUM_RX_QUEUES => link.rx_queues = u32_at(value, 0).unwrap_or(1),
            IFLA_NUM_TX_QUEUES => link.tx_queues = u32_at(value, 0).unwrap_or(1),
            IFLA_LINKINFO => {
                link.kind = Attributes(value)
                    .find(|(kind, _)| *kind == IFLA_INFO_KIND)
                    .map(|(_, name)| text(name));
            }
            IFLA_XDP => link.xdp = xdp_attachment(value),
            _ => {}
        }
    }
    link
}

fn xdp_attachment(attributes: &[u8]) -> Option<XdpAttachment> {
    let mut mode = XDP_ATTACHED_NONE;
    let mut program_id = 0;
    for (kind, value) in Attributes(attributes) {
        match kind {
            IFLA_XDP_ATTACHED => mode = value.first().copied().unwrap_or(XDP_ATTACHED_NONE),
            IFLA_XDP_PROG_ID => program_id = u32_at(value, 0).unwrap_or(0),
            _ => {}
        }
    }
    (mode != XDP_ATTACHED_NONE)
        .then_some(XdpAttachment { program_id, native: mode != XDP_ATTACHED_SKB })
}

/// The states of RFC 2863, numbered as `IF_OPER_*` of <linux/if.h>.
fn oper_state(value: Option<u8>) -> OperState {
    match value {
        Some(1) => OperState::NotPresent,
        Some(2) => OperState::Down,
        Some(3) => OperState::LowerLayerDown,
        Some(4) => OperState::Testing,
        Some(5) => OperState::Dormant,
        Some(6) => OperState::Up,
        _ => OperState::Unknown,
    }
}

/// A list of `struct nlattr`: length, type, value, padding to four bytes.
struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let len = usize::from(u16_at(self.0, 0)?);
        let kind = u16_at(self.0, 2)? & NLA_TYPE_MASK;
        let value = self.0.get(4..len)?;
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    }
}

/// A string that the kernel ends with a zero.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let len = 4 + value.len();
        let mut bytes = (len as u16).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(len.next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn attributes_end_at_the_first_bad_length() {
        let mut list = attribute(7, b"abc");
        list.extend(attribute(NLA_TYPE_MASK + 1 + 8, b"de"));
        list.extend([3, 0, 1, 0]);
        let read: Vec<_> = Attributes(&list).collect();
        assert_eq!(read, [(7, &b"abc"[..]), (8, &b"de"[..])]);
        assert_eq!(Attributes(&[200, 0, 1, 0, 9]).count(), 0);
    }

    #[test]
    fn an_xdp_program_is_recognized_with_its_mode() {
        let id = 42u32.to_ne_bytes();
        let nested = |mode: u8| {
            [attribute(IFLA_XDP_ATTACHED, &[mode]), attribute(IFLA_XDP_PROG_ID, &id)].concat()
        };
        let program_id = 42;
        assert_eq!(xdp_attachment(&nested(0)), None);
        assert_eq!(xdp_attachment(&nested(1)), Some(XdpAttachment { program_id, native: true }));
        assert_eq!(xdp_attachment(&nested(2)), Some(XdpAttachment { program_id, native: false }));
    }

    #[test]
    fn answers_cut_short_are_errors() {
        assert!(parse(&[]).is_err());
        assert!(parse(&[0; HEADER_LEN]).is_err());
        let mut short = vec![0; HEADER_LEN + 6];
        short[4..6].copy_from_slice(&RTM_NEWLINK.to_ne_bytes());
        assert!(parse(&short).is_err());
    }
}
