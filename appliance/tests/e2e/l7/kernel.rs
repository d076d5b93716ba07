//! Sockets of the kernel in the place of workers. The kernel of the gateway's namespace has no
//! way to the pods: the client stands for one.

use super::shop::{self, Shop};
use crate::lab::{V4, V6, io};

/// Addresses of the kernel's in the gateway's namespace.
pub const ADDRESSES: [&str; 2] = ["192.0.2.9", "2001:db8:1::9"];

/// Has the kernel serve, at addresses of its own.
pub fn give_to_the_kernel(shop: &Shop) {
    let lab = &shop.lab;
    if io() == "af_xdp" {
        lab.ok("gw", &["sysctl", "-qw", "net.ipv6.conf.uplink.disable_ipv6=0"]);
        for (address, len) in ADDRESSES.iter().zip(["24", "64"]) {
            let address = format!("{address}/{len}");
            lab.ok("gw", &["ip", "address", "add", &address, "dev", "uplink", "nodad"]);
        }
    } else {
        // The port's name is that of the kernel's device, and the lab's has it.
        let default =
            ["disable_ipv6=0", "accept_dad=1"].map(|to| format!("net.ipv6.conf.default.{to}"));
        lab.ok("gw", &["sysctl", "-qw", &default[0], &default[1]]);
        lab.edit_config("name: uplink", "name: outer");
    }
    let [v4, v6] = ADDRESSES;
    let own = "addresses: [192.0.2.1/24, \"2001:db8:1::1/64\"]";
    // More of them than are used.
    let all = format!("[{v4}, 192.0.2.8, \"{v6}\", \"2001:db8:1::8\"]");
    lab.edit_config(own, &format!("{own}\n    kernel_addresses: {all}"));
    let [vip4, vip6] = shop::ADDRESSES;
    lab.edit_config(
        &format!("l7:\n  ingress:\n    addresses: [{vip4}, \"{vip6}\"]"),
        &format!("l7:\n  io: kernel\n  ingress:\n    addresses: [{v4}, \"{v6}\"]"),
    );
}

/// A manifest with the client in the place of `pod1a`.
pub fn at_the_client(manifest: &str) -> String {
    manifest.replace(V4.pod1a, V4.client).replace(V6.pod1a, V6.client)
}
