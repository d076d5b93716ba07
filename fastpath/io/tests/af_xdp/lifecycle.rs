use crate::frames::numbered;
use crate::lab::{Lab, eventually, ip, within};
use crate::worker::{Opened, options};
use sluice_io::af_xdp::{AfXdpError, Attach, BusyPoll, CopyMode};
use sluice_io::{AfXdp, AfXdpOptions, Device};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Set for the child of the test that kills it: the namespace to work in.
const CHILD_NAMESPACE: &str = "SLUICE_IO_TEST_CHILD_NAMESPACE";
const CHILD_WITHOUT_PRIVILEGE: &str = "SLUICE_IO_TEST_CHILD_WITHOUT_PRIVILEGE";
const CHILD_READY: &str = "child has opened its port";

fn xdp_is_attached(lab: &Lab) -> bool {
    lab.in_gateway(|| Device::inspect("p0").unwrap().xdp.is_some())
}

fn open_error(lab: &Lab, options: &AfXdpOptions) -> AfXdpError {
    match lab.in_gateway(|| AfXdp::open(options)) {
        Ok(_) => panic!("it opened"),
        Err(error) => error,
    }
}

struct KilledOnDrop(Child);

impl Drop for KilledOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Not a test of its own: what the process does that the next test kills.
#[test]
fn child_that_is_killed() {
    let Ok(namespace) = std::env::var(CHILD_NAMESPACE) else { return };
    let opened = within(&namespace, || AfXdp::open(&options(1, 1)));
    let opened = opened.unwrap_or_else(|error| panic!("{error}"));
    println!("{CHILD_READY}");
    std::thread::sleep(Duration::from_secs(60));
    drop(opened);
}

/// Not a test of its own: what the process without capabilities does.
#[test]
fn child_without_privilege() {
    if std::env::var_os(CHILD_WITHOUT_PRIVILEGE).is_none() {
        return;
    }
    match AfXdp::open(&options(1, 1)) {
        Ok(_) => println!("it opened"),
        Err(error) => println!("refused: {error}"),
    }
}

#[test]
fn a_process_without_capabilities_is_told_which_it_needs() {
    let Some(lab) = Lab::new(1, 1) else { return };
    let output = lab.in_gateway(|| {
        Command::new("setpriv")
            .args(["--bounding-set=-all", "--inh-caps=-all"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "lifecycle::child_without_privilege", "--nocapture"])
            .env(CHILD_WITHOUT_PRIVILEGE, "1")
            .output()
            .unwrap()
    });
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("refused: no permission to"), "{text}");
    assert!(text.contains("device `p0`") && text.contains("CAP_NET_ADMIN"), "{text}");
}

#[test]
fn a_killed_process_leaves_no_program_behind() {
    let Some(lab) = Lab::new(1, 1) else { return };
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "lifecycle::child_that_is_killed", "--nocapture"])
        .env(CHILD_NAMESPACE, &lab.gateway)
        .stdout(Stdio::piped())
        .spawn();
    let mut child = KilledOnDrop(child.unwrap());
    let lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    let ready = lines.map_while(Result::ok).any(|line| line.contains(CHILD_READY));
    assert!(ready, "the child did not open its port");
    assert!(xdp_is_attached(&lab));
    child.0.kill().unwrap(); // SIGKILL
    child.0.wait().unwrap();
    // At once: the kernel may still be at it, and opening waits for it.
    let mut opened = Opened::new(&lab, &options(1, 1));
    let far = lab.packet_socket("e0");
    let sent = numbered(1, 60);
    far.send(&sent);
    assert_eq!(opened.workers[0].receive_bytes(0), sent);
    opened.close();
    eventually("the end of the program", || (!xdp_is_attached(&lab)).then_some(()));
}

#[test]
fn closing_frees_the_device_for_the_next_one() {
    let Some(lab) = Lab::new(1, 2) else { return };
    let far = lab.packet_socket("e0");
    for round in 0..3 {
        let mut opened = Opened::new(&lab, &options(1, 1 + round % 2));
        assert!(xdp_is_attached(&lab));
        let sent = numbered(round as u32, 60);
        // Whichever queue it takes.
        far.send(&sent);
        let counters = eventually("the frame in a counter", || {
            let counters = opened.counters(0);
            (counters.redirected + counters.dropped_no_socket > 0).then_some(counters)
        });
        if counters.redirected > 0 {
            eventually("the frame", || {
                opened.workers.iter_mut().find_map(|worker| {
                    let frame = worker.receive_now(0).pop()?;
                    assert_eq!(frame.data(), sent);
                    worker.cache.free(frame);
                    Some(())
                })
            });
        }
        opened.close();
        eventually("the end of the program", || (!xdp_is_attached(&lab)).then_some(()));
    }
}

#[test]
fn busy_polling_receives_and_sends() {
    let Some(lab) = Lab::new(1, 1) else { return };
    let busy_poll = Some(BusyPoll { time_us: 20, budget: 64 });
    let mut opened = Opened::new(&lab, &AfXdpOptions { busy_poll, ..options(1, 1) });
    let far = lab.packet_socket("e0");
    let worker = &mut opened.workers[0];
    for number in 0..100 {
        let sent = numbered(number, 60);
        far.send(&sent);
        let frame = worker.receive(0);
        worker.send(0, frame);
        assert_eq!(eventually("the answer", || far.try_receive()), sent);
    }
    let stats = worker.ports[0].stats();
    assert_eq!(stats.kick_errors, 0);
    worker.settle(&opened.umem);
    // It is the idle worker's calls that poll.
    let kicks = worker.ports[0].stats().rx_kicks;
    assert!(worker.receive_now(0).is_empty());
    assert_eq!(worker.ports[0].stats().rx_kicks, kicks + 1);
    opened.close();
}

#[test]
fn another_program_on_the_device_is_named_and_left_alone() {
    let Some(lab) = Lab::new(1, 1) else { return };
    let first = Opened::new(&lab, &options(1, 1));
    let before = lab.in_gateway(|| Device::inspect("p0").unwrap().xdp);
    for attach in [Attach::Auto, Attach::Native, Attach::Generic] {
        let error = open_error(&lab, &AfXdpOptions { attach, ..options(1, 1) });
        assert!(matches!(error, AfXdpError::ForeignProgram { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("`p0`") && text.contains("sluice_xdp"), "{text}");
    }
    assert_eq!(lab.in_gateway(|| Device::inspect("p0").unwrap().xdp), before);
    first.close();
}

#[test]
fn what_cannot_work_is_refused_with_the_way_out() {
    let Some(lab) = Lab::new(2, 1) else { return };
    let mut missing = options(1, 1);
    missing.ports[0].device = "absent0".to_owned();
    let error = open_error(&lab, &missing);
    assert!(matches!(error, AfXdpError::Device(_)), "{error}");
    assert!(error.to_string().contains("no network device `absent0`"), "{error}");

    let error = open_error(&lab, &options(1, 2));
    assert!(matches!(error, AfXdpError::Queues { queues: 1, workers: 2, .. }), "{error}");
    assert!(error.to_string().contains("numrxqueues 2"), "{error}");

    let error = open_error(&lab, &AfXdpOptions { copy: CopyMode::ZeroCopy, ..options(1, 1) });
    let refused = matches!(error, AfXdpError::Bind { zero_copy: true, queue: 0, .. });
    assert!(refused, "{error}");
    assert!(error.to_string().contains("`p0` queue 0"), "{error}");

    let error = open_error(
        &lab,
        &AfXdpOptions { copy: CopyMode::ZeroCopy, attach: Attach::Generic, ..options(1, 1) },
    );
    assert!(matches!(error, AfXdpError::ZeroCopyGeneric { .. }), "{error}");

    // The second port fails: the first is let go of.
    ip(&["-n", &lab.gateway, "link", "set", "p1", "mtu", "9000"]);
    let error = open_error(&lab, &options(2, 1));
    assert!(matches!(error, AfXdpError::Mtu { mtu: 9000, .. }), "{error}");
    assert!(error.to_string().contains("ip link set dev p1 mtu 1500"), "{error}");
    eventually("the end of the program", || (!xdp_is_attached(&lab)).then_some(()));
}

#[test]
fn a_driver_that_refuses_leads_to_socket_buffers_and_says_why() {
    let Some(lab) = Lab::new(1, 1) else { return };
    // veth refuses programs in the driver when its peer's frames are too long.
    ip(&["-n", &lab.far, "link", "set", "e0", "mtu", "9000"]);
    let error = open_error(&lab, &options(1, 1));
    assert!(matches!(error, AfXdpError::Attach { mode: "native", .. }), "{error}");
    assert!(error.to_string().contains("MTU too large"), "{error}");
    let opened = Opened::new(&lab, &AfXdpOptions { attach: Attach::Auto, ..options(1, 1) });
    let attachment = &opened.handle.attachments()[0];
    assert!(!attachment.native);
    assert!(attachment.native_refused.as_ref().unwrap().contains("MTU too large"));
    opened.close();
}

#[test]
fn a_device_is_described_as_it_is() {
    let Some(lab) = Lab::new(1, 3) else { return };
    lab.add_address(&lab.gateway, "p0", "10.0.0.1/24");
    let inspect = || lab.in_gateway(|| Device::inspect("p0").unwrap());
    let device = inspect();
    assert_eq!((device.rx_queues, device.tx_queues), (3, 3));
    assert_eq!(device.mtu, 1500);
    assert_eq!(device.driver.as_deref(), Some("veth"));
    assert!(device.admin_up && device.xdp.is_none() && !device.has_default_route);
    assert!(!device.strips_vlan_tags() && !device.merges_packets());
    assert!(!device.filters_vlans() && !device.offloads_tx_checksums());
    ip(&["-n", &lab.gateway, "route", "add", "default", "via", "10.0.0.2"]);
    assert!(inspect().has_default_route);
    ip(&["-n", &lab.gateway, "route", "delete", "default"]);
    lab.add_address(&lab.gateway, "p0", "fd00::1/64");
    assert!(!inspect().has_default_route);
    ip(&["-n", &lab.gateway, "-6", "route", "add", "default", "via", "fd00::2"]);
    assert!(inspect().has_default_route);
}
