use crate::lab::{Lab, eventually, within};
use sluice_io::{AllMulticast, Device};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Set for the child of the test that kills it: the namespace to work in.
const CHILD_NAMESPACE: &str = "SLUICE_IO_TEST_MULTICAST_NAMESPACE";
const CHILD_READY: &str = "child has joined";

/// `IFF_ALLMULTI` (<linux/if.h>).
const ALLMULTI: u32 = 1 << 9;

/// Whether the device's filter is open. `ip link` hides what sockets have
/// asked for; sysfs, of the namespace that it is mounted in, does not.
fn takes_all(lab: &Lab) -> bool {
    let cat = ["netns", "exec", &lab.gateway, "cat", "/sys/class/net/p0/flags"];
    let output = Command::new("ip").args(cat).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let flags = u32::from_str_radix(text.trim().trim_start_matches("0x"), 16);
    flags.unwrap_or_else(|error| panic!("{text:?}: {error}")) & ALLMULTI != 0
}

/// Not a test of its own: what the process does that the next test kills.
#[test]
fn child_that_joins() {
    let Ok(namespace) = std::env::var(CHILD_NAMESPACE) else { return };
    let joined = within(&namespace, || AllMulticast::join(&Device::inspect("p0").unwrap()));
    println!("{CHILD_READY}");
    std::thread::sleep(Duration::from_secs(60));
    drop(joined);
}

#[test]
fn a_device_takes_all_multicast_while_the_membership_lives() {
    let Some(lab) = Lab::new(1, 1) else { return };
    assert!(!takes_all(&lab));
    let join = || lab.in_gateway(|| AllMulticast::join(&Device::inspect("p0").unwrap()).unwrap());
    let (first, second) = (join(), join());
    assert!(takes_all(&lab));
    drop(first);
    assert!(takes_all(&lab), "one holder is enough");
    drop(second);
    // A process that another test is just starting has the socket until it
    // runs its program.
    eventually("the end of the membership", || (!takes_all(&lab)).then_some(()));
}

#[test]
fn a_killed_process_leaves_no_membership_behind() {
    let Some(lab) = Lab::new(1, 1) else { return };
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "multicast::child_that_joins", "--nocapture"])
        .env(CHILD_NAMESPACE, &lab.gateway)
        .stdout(Stdio::piped())
        .spawn();
    let mut child = child.unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = lines.map_while(Result::ok).any(|line| line.contains(CHILD_READY));
    let joined = takes_all(&lab);
    child.kill().unwrap(); // SIGKILL
    child.wait().unwrap();
    assert!(ready && joined, "the child did not join");
    eventually("the end of the membership", || (!takes_all(&lab)).then_some(()));
}

#[test]
fn a_device_that_is_gone_is_named() {
    let Some(lab) = Lab::new(1, 1) else { return };
    let error = lab.in_gateway(|| {
        let mut device = Device::inspect("p0").unwrap();
        device.ifindex = 9999;
        AllMulticast::join(&device).unwrap_err()
    });
    assert!(error.to_string().contains("device `p0`"), "{error}");
}
