//! Frames that a port receives, and whose each is: the same for every backend.

use crate::frames::{EXPERIMENTAL, arp, ethernet, nd, tagged, too_big4, too_big6, udp4, udp6};
use std::net::{Ipv4Addr, Ipv6Addr};

pub const KERNEL_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub const KERNEL_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
pub const OTHER_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);
pub const OTHER_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 3);
/// A VTEP that the kernel does not have.
pub const VTEP_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 4);
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
pub const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0xab, 0, 0, 1);
pub const VXLAN_PORT: u16 = 8472;

const VLAN: u16 = 0x8100;
const QINQ: u16 = 0x88a8;

/// Whose a frame is, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    Sluice,
    /// The kernel's: it is for one of its addresses.
    Address,
    /// ARP about one of them.
    Arp,
    /// Neighbor discovery of its own.
    Nd,
    /// A protocol of its daemons'.
    Control,
}

/// The IPv4 frame as a first fragment.
fn fragment(mut frame: Vec<u8>) -> Vec<u8> {
    frame[14 + 6] |= 0x20;
    frame
}

/// The IPv4 frame with four bytes of options, all "no operation".
fn with_ip_options(frame: &[u8]) -> Vec<u8> {
    let mut frame = [&frame[..34], &[1; 4], &frame[34..]].concat();
    frame[14] = 0x46;
    frame
}

/// The frame to a group's MAC.
fn to_group(mut frame: Vec<u8>) -> Vec<u8> {
    frame[..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 1]);
    frame
}

/// All cases. The kernel has [`KERNEL_V4`] and [`KERNEL_V6`], which are tunnel endpoints of
/// Sluice's too, as [`VTEP_V4`] is, with VXLAN on [`VXLAN_PORT`].
pub fn cases() -> Vec<(&'static str, Vec<u8>, Whose)> {
    use Whose::{Address, Arp, Control, Nd, Sluice};
    let to_kernel = udp4(KERNEL_V4, 1, 53);
    vec![
        ("UDP to a kernel address", to_kernel.clone(), Address),
        ("the same with a tag", tagged(&to_kernel, VLAN, 7), Address),
        ("the same with two", tagged(&tagged(&to_kernel, VLAN, 7), QINQ, 8), Address),
        ("UDP over IPv6 to a kernel address", udp6(KERNEL_V6, 53), Address),
        ("UDP to another address", udp4(OTHER_V4, 1, 53), Sluice),
        ("UDP over IPv6 to another address", udp6(OTHER_V6, 53), Sluice),
        ("VXLAN to a VTEP that is the kernel's too", udp4(KERNEL_V4, 1, VXLAN_PORT), Sluice),
        ("the same with IP options", with_ip_options(&udp4(KERNEL_V4, 1, VXLAN_PORT)), Sluice),
        ("the same with a tag", tagged(&udp4(KERNEL_V4, 1, VXLAN_PORT), VLAN, 7), Sluice),
        ("VXLAN over IPv6 to such a VTEP", udp6(KERNEL_V6, VXLAN_PORT), Sluice),
        ("a fragment of VXLAN", fragment(udp4(KERNEL_V4, 1, VXLAN_PORT)), Address),
        ("the usual VXLAN port where it is not ours", udp4(KERNEL_V4, 1, 4789), Address),
        ("an error about VXLAN of ours", too_big4(KERNEL_V4, VXLAN_PORT), Sluice),
        ("the same with a tag", tagged(&too_big4(KERNEL_V4, VXLAN_PORT), VLAN, 7), Sluice),
        ("an error about VXLAN of the kernel's", too_big4(KERNEL_V4, 4789), Address),
        ("the same cut short", too_big4(KERNEL_V4, VXLAN_PORT)[..69].to_vec(), Address),
        ("over IPv6 one about ours", too_big6(KERNEL_V6, VXLAN_PORT), Sluice),
        ("over IPv6 one about the kernel's", too_big6(KERNEL_V6, 4789), Address),
        ("UDP to a VTEP of ours alone", udp4(VTEP_V4, 1, 53), Sluice),
        ("ARP request for a kernel address", arp(1, KERNEL_V4), Arp),
        ("ARP reply to a kernel address", arp(2, KERNEL_V4), Arp),
        ("ARP request for another", arp(1, OTHER_V4), Sluice),
        ("ARP cut short", arp(1, KERNEL_V4)[..14 + 27].to_vec(), Sluice),
        ("solicitation of a kernel address", nd(135, ALL_NODES, KERNEL_V6), Nd),
        ("solicitation of another", nd(135, ALL_NODES, OTHER_V6), Sluice),
        ("advertisement to a kernel address", nd(136, KERNEL_V6, OTHER_V6), Nd),
        ("solicitation of a link-local address", nd(135, ALL_NODES, LINK_LOCAL), Nd),
        ("advertisement to a link-local address", nd(136, LINK_LOCAL, OTHER_V6), Nd),
        ("the same to a group", to_group(nd(136, LINK_LOCAL, OTHER_V6)), Sluice),
        ("UDP to a link-local address", udp6(LINK_LOCAL, 53), Address),
        ("advertisement to all", nd(136, ALL_NODES, OTHER_V6), Sluice),
        ("router solicitation", nd(133, ALL_NODES, OTHER_V6), Control),
        ("router advertisement", nd(134, ALL_NODES, OTHER_V6), Control),
        ("redirect", nd(137, OTHER_V6, OTHER_V6), Control),
        ("echo request to a kernel address", nd(128, KERNEL_V6, OTHER_V6), Address),
        ("LLDP", ethernet(0x88cc, &[0; 46]), Control),
        ("LACP", ethernet(0x8809, &[1; 46]), Control),
        ("EAPOL", ethernet(0x888e, &[1; 46]), Control),
        ("LLDP with a tag", tagged(&ethernet(0x88cc, &[0; 46]), VLAN, 7), Control),
        ("something unknown", ethernet(EXPERIMENTAL, &[0; 46]), Sluice),
        ("IPv4 cut short", to_kernel[..14 + 19].to_vec(), Sluice),
        ("IPv6 cut short", udp6(KERNEL_V6, 53)[..14 + 39].to_vec(), Sluice),
        ("an Ethernet header alone", to_kernel[..14].to_vec(), Sluice),
    ]
}
