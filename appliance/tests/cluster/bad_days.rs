//! Bad days of a gateway's API server, with traffic running: a proxy in between
//! is all that is not real.

use crate::deployment::{WEB, of_family};
use crate::gateway::Gateway;
use crate::lab::{FAMILIES, Family, eventually};
use crate::proxy::{Mode, Proxy};
use crate::stage::Stage;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// A Service that somebody asks about before he sends traffic.
const CHECKED: &str = "
apiVersion: v1
kind: Service
metadata: {name: checked}
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  healthCheckNodePort: 31010
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
";

/// A connection through the gateway that lives on, and asks again and again.
struct LongLived {
    stream: TcpStream,
    host: String,
}

impl LongLived {
    fn open(stage: &Stage, vip: &str) -> LongLived {
        let address = SocketAddr::new(vip.parse().unwrap(), 80);
        let open = || TcpStream::connect_timeout(&address, Duration::from_secs(10));
        let stream = stage.lab.within("client", open).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        LongLived { stream, host: vip.to_owned() }
    }

    /// Asks on the same connection; returns the pod's name.
    fn ask(&mut self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        write!(self.stream, "GET /hostname HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
        let mut text = String::new();
        let mut buffer = [0; 4096];
        while !text.contains("web-") {
            let read = self.stream.read(&mut buffer).unwrap();
            assert!(read > 0, "the connection was ended: {text:?}");
            text.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
        text.lines().last().unwrap_or_default().to_owned()
    }
}

struct Day<'a> {
    stage: &'a Stage,
    proxy: Proxy,
    addresses: Vec<String>,
}

impl<'a> Day<'a> {
    fn begin(stage: &'a Stage) -> Day<'a> {
        let server = stage.server();
        let proxy = stage.lab.within("gw", || Proxy::start(server));
        stage.configure(proxy.address);
        stage.cluster.apply(WEB);
        stage.cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"]);
        Day { stage, proxy, addresses: Vec::new() }
    }

    fn vip(&self, family: &Family) -> &str {
        of_family(&self.addresses, family)
    }

    fn long_lived(&self) -> Vec<LongLived> {
        FAMILIES.iter().map(|family| LongLived::open(self.stage, self.vip(family))).collect()
    }

    /// Waits until a client of the family is answered at this address.
    fn answers(&self, what: &str, family: &Family, address: &str) {
        let url = family.url(address, "/hostname");
        eventually(what, || {
            let curl = ["curl", "-g", "-s", "--max-time", "2", &url];
            self.stage.lab.run("client", &curl).status.success().then_some(())
        });
    }

    /// New connections work, in both families.
    fn new_connections_work(&self) {
        for family in FAMILIES {
            let url = family.url(self.vip(&family), "/hostname");
            assert!(self.stage.lab.curl("client", &url).starts_with("web-"));
        }
    }
}

#[test]
fn traffic_goes_on_while_the_api_is_away_and_after() {
    let Some(stage) = Stage::up(2) else { return };
    let mut day = Day::begin(&stage);
    let gateway = Gateway::ready(&stage.lab);
    day.addresses = stage.addresses("web", 2);
    day.answers("traffic", &FAMILIES[0], day.vip(&FAMILIES[0]));
    let mut flows = day.long_lived();
    let pods: Vec<String> = flows.iter_mut().map(LongLived::ask).collect();
    stage.cluster.apply(CHECKED);
    let is_checked = || gateway.fetch("http://127.0.0.1:31010/").0 == 200;
    eventually("the health check", || is_checked().then_some(()));

    for mode in [Mode::Refuse, Mode::Stall] {
        day.proxy.set(mode);
        if mode == Mode::Refuse {
            eventually("readyz tells", || {
                let (status, body) = gateway.get("/readyz");
                (status == 503 && body.contains("the API server has been away")).then_some(())
            });
            assert!(gateway.metric("sluice_api_away_seconds", &[]) >= 3.0);
            assert_eq!(gateway.get("/healthz").0, 200, "nothing is wrong with the gateway itself");
            assert_eq!(gateway.get("/readyz/traffic").0, 200, "traffic may come");
        }
        for _ in 0..10 {
            day.new_connections_work();
            for (flow, pod) in flows.iter_mut().zip(&pods) {
                assert_eq!(&flow.ask(), pod);
            }
            // It is looked at twice a second.
            std::thread::sleep(Duration::from_millis(100));
            assert!(is_checked(), "load balancers go on to send traffic");
        }
        // Missed meanwhile: a pod more, and a Service more.
        let name = format!("late-{}", mode as u32);
        let service =
            WEB.split("---").nth(1).unwrap().replace("name: web}", &format!("name: {name}}}"));
        stage.cluster.apply(&service);
        day.proxy.set(Mode::Pass);
        let late = stage.addresses(&name, 2);
        day.answers("what was missed", &FAMILIES[1], of_family(&late, &FAMILIES[1]));
        eventually("all is well", || (gateway.get("/readyz").0 == 200).then_some(()));
    }
    for (flow, pod) in flows.iter_mut().zip(&pods) {
        assert_eq!(&flow.ask(), pod, "an established flow goes on");
    }
    gateway.stop();
}

#[test]
fn a_gateway_starts_by_its_snapshot_and_converges() {
    let Some(stage) = Stage::up(2) else { return };
    let mut day = Day::begin(&stage);
    {
        let gateway = Gateway::ready(&stage.lab);
        day.addresses = stage.addresses("web", 2);
        day.answers("traffic", &FAMILIES[0], day.vip(&FAMILIES[0]));
        // The addresses are in the snapshot, too.
        let file = stage.lab.folder.join("snapshot/objects.jsonl");
        let kept = || std::fs::read_to_string(&file).is_ok_and(|t| t.contains("203.0.113.100"));
        eventually("the snapshot", || kept().then_some(()));
        gateway.stop();
    }
    day.proxy.set(Mode::Refuse);
    let began = Instant::now();
    let gateway = Gateway::start(&stage.lab);
    day.answers("traffic by the snapshot", &FAMILIES[0], day.vip(&FAMILIES[0]));
    eprintln!("traffic {:?} after a start without the API", began.elapsed());
    day.new_connections_work();
    // It was the only one when the API was last there.
    eventually("VIPs are announced", || {
        let held = gateway.metric("sluice_election_groups_held", &[]);
        (held > 0.0 && held == gateway.metric("sluice_election_groups", &[])).then_some(())
    });
    let services = gateway.show(&["services"]);
    let vips = services.as_array().unwrap().iter().find(|one| one["name"] == "web");
    let vips = vips.unwrap()["vips"].as_array().unwrap();
    let balancer: Vec<_> = vips.iter().filter(|vip| vip["kind"] == "balancer").collect();
    assert!(balancer.len() == 2 && balancer.iter().all(|vip| vip["announced"] == true), "{vips:?}");
    assert_eq!(gateway.metric("sluice_election_leader", &[]), 0.0);
    assert!(gateway.metric("sluice_api_snapshot_age_seconds", &[]) >= 0.0);
    assert_eq!(gateway.get("/readyz").0, 503);
    let mut flows = day.long_lived();
    let pods: Vec<String> = flows.iter_mut().map(LongLived::ask).collect();
    // Changed meanwhile: what the snapshot says of this Service is wrong.
    stage.cluster.kubectl(&[
        "patch",
        "service",
        "web",
        "--type=json",
        "-p",
        r#"[{"op": "replace", "path": "/spec/ports/1/port", "value": 82}]"#,
    ]);
    day.proxy.set(Mode::Pass);
    eventually("all is well", || (gateway.get("/readyz").0 == 200).then_some(()));
    for (flow, pod) in flows.iter_mut().zip(&pods) {
        assert_eq!(&flow.ask(), pod, "an established flow goes on");
    }
    for family in FAMILIES {
        let vip = day.vip(&family);
        eventually("the port that changed", || {
            let udp = format!("echo hostname | nc -u -w 1 {vip} 82");
            stage.lab.ok("client", &["bash", "-c", &udp]).contains("web-").then_some(())
        });
    }
    gateway.stop();
}
