use crate::frames::{ethernet, nd, numbered, udp4};
use crate::lab::{Lab, eventually};
use crate::steering_cases::{
    ALL_NODES, KERNEL_V4, KERNEL_V6, LINK_LOCAL, OTHER_V4, OTHER_V6, VTEP_V4, VXLAN_PORT, Whose,
    cases,
};
use crate::worker::{Opened, options};
use sluice_io::AfXdpOptions;
use sluice_io::af_xdp::{Attach, XdpCounters};
use std::net::IpAddr;

/// The kernel has an address of each family, both of which are VTEPs too.
fn steering_options(attach: Attach) -> AfXdpOptions {
    let mut options = AfXdpOptions { attach, ..options(1, 1) };
    let kernel: [IpAddr; 2] = [KERNEL_V4.into(), KERNEL_V6.into()];
    options.ports[0].kernel_addresses = kernel.to_vec();
    options.ports[0].vteps = [&kernel[..], &[VTEP_V4.into()]].concat();
    options.ports[0].vxlan_udp_port = VXLAN_PORT;
    options
}

/// The counter of a reason.
fn counter(counters: &mut XdpCounters, whose: Whose) -> &mut u64 {
    match whose {
        Whose::Sluice => &mut counters.redirected,
        Whose::Address => &mut counters.passed_kernel_address,
        Whose::Arp => &mut counters.passed_arp,
        Whose::Nd => &mut counters.passed_nd,
        Whose::Control => &mut counters.passed_control,
    }
}

/// Each frame goes where it belongs, and exactly one counter says so.
fn each_frame_goes_where_it_belongs(attach: Attach) {
    let Some(lab) = Lab::new(1, 1) else { return };
    let mut opened = Opened::new(&lab, &steering_options(attach));
    let (far, kernel) = (lab.packet_socket("e0"), lab.kernel_socket("p0"));
    for (name, frame, whose) in cases() {
        let before = opened.counters(0);
        let mut expected = before;
        *counter(&mut expected, whose) += 1;
        far.send(&frame);
        let counters = eventually(name, || {
            let counters = opened.counters(0);
            (counters != before).then_some(counters)
        });
        assert_eq!(counters, expected, "{name}");
        if expected.redirected > before.redirected {
            assert_eq!(opened.workers[0].receive_bytes(0), frame, "{name}");
        } else {
            let seen = eventually(name, || kernel.try_receive());
            // Packet sockets show tags beside the frame.
            assert_eq!(seen[..12], frame[..12], "{name}");
            assert!(frame.ends_with(&seen[14..]), "{name}");
        }
        assert_eq!(kernel.try_receive(), None, "{name} went both ways");
    }
    opened.close();
}

#[test]
fn each_frame_goes_where_it_belongs_in_the_driver() {
    each_frame_goes_where_it_belongs(Attach::Native);
}

#[test]
fn each_frame_goes_where_it_belongs_on_socket_buffers() {
    each_frame_goes_where_it_belongs(Attach::Generic);
}

/// The kernel's own addresses go on working, and nothing else does.
#[test]
fn the_kernel_answers_pings_to_its_addresses() {
    let Some(lab) = Lab::new(1, 1) else { return };
    lab.add_address(&lab.gateway, "p0", "10.0.0.1/24");
    lab.add_address(&lab.gateway, "p0", "fd00::1/64");
    lab.add_address(&lab.gateway, "p0", "10.0.0.3/24");
    lab.add_address(&lab.far, "e0", "10.0.0.2/24");
    lab.add_address(&lab.far, "e0", "fd00::2/64");
    let opened = Opened::new(&lab, &steering_options(Attach::Native));
    for address in ["10.0.0.1", "fd00::1"] {
        let ping = lab.far_command(&["ping", "-n", "-c", "3", "-i", "0.2", "-W", "10", address]);
        assert!(ping.status.success(), "{}", String::from_utf8_lossy(&ping.stdout));
    }
    let counters = opened.counters(0);
    assert!(counters.passed_arp >= 1 && counters.passed_nd >= 1, "{counters:?}");
    assert!(counters.passed_kernel_address >= 6, "{counters:?}");
    // An address of the kernel that is not listed is Sluice's.
    let ping = lab.far_command(&["ping", "-n", "-c", "1", "-W", "1", "10.0.0.3"]);
    assert!(!ping.status.success());
    assert_eq!(opened.counters(0).passed_arp, counters.passed_arp);
    drop(opened);
}

/// The kernel doubts its neighbors from its link-local address, which is in no
/// list: their answers are its own.
#[test]
fn the_kernel_confirms_its_ipv6_neighbors() {
    let Some(lab) = Lab::new(1, 1) else { return };
    lab.add_address(&lab.gateway, "p0", "fd00::1/64");
    lab.add_address(&lab.far, "e0", "fd00::2/64");
    let opened = Opened::new(&lab, &steering_options(Attach::Native));
    let ping = lab.gateway_command(&["ping", "-n", "-c", "1", "-W", "10", "fd00::2"]);
    assert!(ping.status.success(), "{}", String::from_utf8_lossy(&ping.stdout));
    let neighbor = ["ip", "-6", "neigh", "show", "fd00::2", "dev", "p0"];
    let probe = ["ip", "-6", "neigh", "change", "fd00::2", "dev", "p0", "nud", "probe"];
    assert!(lab.gateway_command(&probe).status.success());
    eventually("an answer to the probe", || {
        let shown = lab.gateway_command(&neighbor).stdout;
        let shown = String::from_utf8_lossy(&shown);
        assert!(!shown.contains("FAILED"), "{shown}");
        shown.contains("REACHABLE").then_some(())
    });
    drop(opened);
}

/// Where the kernel has no address, what is link-local is Sluice's to drop.
#[test]
fn link_local_addresses_are_the_kernels_where_it_has_others() {
    let Some(lab) = Lab::new(1, 1) else { return };
    let mut opened = Opened::new(&lab, &options(1, 1));
    let far = lab.packet_socket("e0");
    for frame in [nd(135, ALL_NODES, LINK_LOCAL), nd(136, LINK_LOCAL, OTHER_V6)] {
        far.send(&frame);
        assert_eq!(opened.workers[0].receive_bytes(0), frame);
    }
    opened.close();
}

/// Frames on a queue that nobody serves are dropped and counted: the kernel
/// does not see them.
#[test]
fn a_queue_without_a_socket_drops_and_counts() {
    let Some(lab) = Lab::new(1, 2) else { return };
    let mut opened = Opened::new(&lab, &options(1, 1));
    let (far, kernel) = (lab.packet_socket("e0"), lab.kernel_socket("p0"));
    let sent = 64;
    for flow in 0..sent {
        far.send(&udp4(OTHER_V4, 20_000 + flow, 53));
    }
    let sent = u64::from(sent);
    let counters = eventually("every frame in a counter", || {
        let counters = opened.counters(0);
        (counters.redirected + counters.dropped_no_socket >= sent).then_some(counters)
    });
    assert!(counters.redirected > 0 && counters.dropped_no_socket > 0, "{counters:?}");
    assert_eq!(counters.redirected + counters.dropped_no_socket, sent, "{counters:?}");
    let worker = &mut opened.workers[0];
    for _ in 0..counters.redirected {
        worker.receive_bytes(0);
    }
    // The first frames that the kernel sees are those that it is meant to.
    let lldp = ethernet(0x88cc, &[0; 46]);
    far.send(&lldp);
    assert_eq!(eventually("LLDP at the kernel", || kernel.try_receive()), lldp);
    assert_eq!(kernel.try_receive(), None);
    opened.close();
}

/// A worker that sleeps is woken by the port's descriptor.
#[test]
fn the_descriptor_becomes_readable_when_a_frame_is_there() {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let Some(lab) = Lab::new(1, 1) else { return };
    let mut opened = Opened::new(&lab, &options(1, 1));
    let far = lab.packet_socket("e0");
    let readable = |opened: &Opened, timeout: &Timespec| {
        let fd = opened.workers[0].ports[0].wait_fd().unwrap();
        let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
        poll(&mut fds, Some(timeout)).unwrap() == 1 && fds[0].revents().contains(PollFlags::IN)
    };
    assert!(!readable(&opened, &Timespec { tv_sec: 0, tv_nsec: 0 }));
    let sent = numbered(1, 60);
    far.send(&sent);
    assert!(readable(&opened, &Timespec { tv_sec: 30, tv_nsec: 0 }));
    assert_eq!(opened.workers[0].receive_bytes(0), sent);
    assert!(!readable(&opened, &Timespec { tv_sec: 0, tv_nsec: 0 }));
    opened.close();
}
