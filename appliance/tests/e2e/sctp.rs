//! SCTP between two ends of usrsctp, a stack in user space: not every kernel
//! has one.

use crate::balancers::{balancer, serve};
use crate::gateway::Gateway;
use crate::lab::{FAMILIES, Lab, V4, eventually};
use rustix::process::{Pid, Signal, kill_process};
use std::process::{Child, Stdio};

/// Where Debian has the examples of usrsctp.
const SERVER: &str = "/usr/lib/usrsctp/echo_server";
const CLIENT: &str = "/usr/lib/usrsctp/client";

/// Seconds that a client may take: a talk of three, and its end.
const TALK_S_MAX: u8 = 8;

/// The Service's port, that of its pod, its node port, and one that nobody has.
const PORT: u16 = 9;
const TARGET_PORT: u16 = 7;
const NODE_PORT: u16 = 30009;
const UNUSED_PORT: u16 = 10;

#[test]
fn associations_pass_by_vip_and_by_node_port() {
    let Some(lab) = Lab::up(&[]) else { return };
    let gateway = Gateway::ready(&lab);
    // Another port behind, so that every packet gets a new checksum.
    let spec = format!(
        "  selector: {{pod: pod1a}}
  ports: [{{port: {PORT}, protocol: SCTP, targetPort: {TARGET_PORT}, nodePort: {NODE_PORT}}}]"
    );
    serve(&lab, &gateway, "sctp", &balancer("sctp", 40, &spec));
    let _server = Server::start(&lab);
    for family in FAMILIES {
        for (address, port) in [(family.extra, PORT), (family.uplink, NODE_PORT)] {
            let said = talk(&lab, "client", address, port, 2);
            for word in ["SCTP_COMM_UP", "hello", "SCTP_SHUTDOWN_COMP"] {
                assert!(said.contains(word), "{address} {port}: no {word} in\n{said}");
            }
            let flows = gateway.show(&["flows", "--service", "default/sctp"]);
            let destination = std::net::SocketAddr::new(address.parse().unwrap(), port).to_string();
            let mut flows = flows["flows"].as_array().unwrap().iter();
            let flow = flows.find(|flow| flow["destination"] == destination.as_str());
            let flow = flow.unwrap_or_else(|| panic!("no flow to {destination}"));
            assert_eq!(flow["protocol"], "SCTP", "{flow}");
            // The handshake, data and its acknowledgment, the shutdown.
            for direction in ["packets_in", "packets_out"] {
                assert!(flow[direction].as_u64() >= Some(4), "{flow}");
            }
        }
        let said = talk(&lab, "client", family.extra, UNUSED_PORT, 2);
        assert!(said.contains("Connection refused"), "{}: {said}", family.name);
    }
    assert_eq!(gateway.metric("sluice_drops_total", &["\"bad_sctp_checksum\""]), 0.0);
    gateway.stop();
}

/// What a client prints about an association over which it says hello after
/// `idle_s` seconds. One that is refused does not end by itself.
fn talk(lab: &Lab, namespace: &str, address: &str, port: u16, idle_s: u8) -> String {
    let client = format!("timeout {TALK_S_MAX} {CLIENT} {address} {port}");
    let script = format!("(sleep {idle_s}; echo hello; sleep 1) | {client} 2>&1");
    let output = lab.run(namespace, &["sh", "-c", &script]);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The echo server of pod1a; it ends when this does.
struct Server(Child);

impl Server {
    fn start(lab: &Lab) -> Server {
        let mut command = lab.command("pod1a", &[SERVER]);
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = Server(command.spawn().expect("ip netns exec runs"));
        // It does not say when it listens: another pod asks it, past the gateway.
        eventually("the SCTP server", || {
            let said = talk(lab, "pod2a", V4.pod1a, TARGET_PORT, 0);
            said.contains("SCTP_COMM_UP").then_some(())
        });
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // `timeout` passes it on.
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let _ = self.0.wait();
    }
}
