use super::cast::Cast;
use super::probe::{Line, inside};
use crate::events::{Watching, until_watched};
use crate::gateway::Gateway;
use crate::lab::{FAMILIES, Family, Lab, eventually};
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};

/// A gateway that tells of everything, between the pods of a cast and the hosts
/// outside.
pub struct Story<'a> {
    pub lab: &'a Lab,
    pub cast: &'a Cast,
    pub gateway: Gateway<'a>,
    drops: Watching,
    _outside: Outside,
}

impl<'a> Story<'a> {
    /// Starts the gateway with what manifests there are.
    pub fn begin(lab: &'a Lab, cast: &'a Cast) -> Self {
        if !fs::read_to_string(lab.config()).unwrap().contains("flow_log") {
            lab.add_config("observe: {flow_log: {path: flows.log}}");
        }
        let outside = Outside::start(lab);
        let gateway = Gateway::ready(lab);
        let follow = ["show", "drops", "--follow", "-o", "json"];
        let drops = Watching::start(lab, "drops", &follow);
        until_watched(&gateway, "follow", 1.0);
        Story { lab, cast, gateway, drops, _outside: outside }
    }

    /// Writes a manifest, and waits until every worker acts by it.
    pub fn act(&self, file: &str, text: &str) {
        self.until_live(|| self.lab.write_manifest(&format!("{file}.yaml"), text));
    }

    /// Takes a manifest away, and waits until every worker acts by that.
    pub fn withdraw(&self, file: &str) {
        self.until_live(|| self.lab.remove_manifest(&format!("{file}.yaml")));
    }

    fn until_live(&self, change: impl FnOnce()) {
        let live = || self.gateway.metric("sluice_event_to_live_seconds_count", &[]);
        let before = live();
        change();
        eventually("the change is live", || (live() > before).then_some(()));
    }

    /// Each line holds, in both families: `FROM -> TO PROTOCOL PORT: OUTCOME`. What
    /// comes is `passes`, `policy_egress` or `policy_ingress` (it is dropped for
    /// that reason) or `audited`, then after `; ` the rules that decided:
    /// `egress RULE`, `ingress RULE`.
    pub fn holds(&self, lines: &str) {
        let lines: Vec<Line<'_>> =
            lines.lines().filter(|line| !line.trim().is_empty()).map(Line::parse).collect();
        let dropped = |lines: &[Line<'_>], reason: &str| {
            FAMILIES.len() * lines.iter().filter(|line| line.outcome == reason).count()
        };
        let before = self.dropped();
        std::thread::scope(|scope| {
            for family in &FAMILIES {
                for line in &lines {
                    scope.spawn(move || self.check(family, line));
                }
            }
        });
        for ((reason, before), (_, after)) in before.into_iter().zip(self.dropped()) {
            // Who is dropped tries again.
            let expected = dropped(&lines, reason) as u64;
            assert!(after >= before + expected, "{reason}: {before} + {expected}, and {after}");
        }
    }

    /// What `sluice show drops` counts of policies.
    fn dropped(&self) -> [(&'static str, u64); 2] {
        let drops = self.gateway.show(&["drops"]);
        ["policy_egress", "policy_ingress"].map(|reason| {
            let row = drops.as_array().unwrap().iter().find(|row| row["reason"] == reason);
            (reason, row.map_or(0, |row| row["count"].as_u64().unwrap()))
        })
    }

    fn check(&self, family: &Family, line: &Line<'_>) {
        let mut probe = line.start(self, family);
        let (event, told) = match line.outcome {
            "passes" => ("begin", "flows.log"),
            "audited" => ("audit", "drops"),
            _ => ("drop", "drops"),
        };
        if event != "drop" {
            let player = self.cast.player(line.to.trim_start_matches("pod:"));
            let answer = probe.answer();
            assert!(answer.contains(player), "{}: {line}: answered {answer:?}", family.name);
        }
        let told = eventually(&format!("{}: {line}", family.name), || {
            self.told(told, event, probe.from, probe.to)
        });
        if event == "drop" {
            assert_eq!(probe.so_far(), "", "{}: {line}", family.name);
        }
        if event != "begin" {
            let reason = told["reason"].as_str().unwrap_or_default();
            assert!(reason == line.outcome || event == "audit", "{line}: {told}");
        }
        for (key, rule) in [("egress_rule", line.egress), ("ingress_rule", line.ingress)] {
            assert!(rule.is_none() || told[key].as_str() == rule, "{line}: {told}");
        }
    }

    /// What the gateway has told of a packet.
    pub fn told(&self, file: &str, event: &str, from: SocketAddr, to: SocketAddr) -> Option<Value> {
        let text = match file {
            "drops" => self.drops.printed(),
            _ => fs::read_to_string(self.lab.folder.join(file)).unwrap_or_default(),
        };
        let is_end = |end: &Value, of: SocketAddr| {
            end["address"] == of.ip().to_string() && end["port"] == of.port()
        };
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut lines = lines.filter(|line| line["event"] == event);
        lines.find(|line| is_end(&line["source"], from) && is_end(&line["destination"], to))
    }

    /// Ends it in order.
    pub fn end(self) {
        drop(self.drops);
        self.gateway.stop();
    }
}

/// Servers of the hosts outside: HTTP at port 80, an echo at 53.
struct Outside(Child);

impl Outside {
    fn start(lab: &Lab) -> Outside {
        let server = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/lib/pod_server.py");
        let server = server.to_str().unwrap();
        let server = ["python3", server, "--pod", "outside", "--node", "none"];
        let ports = ["--http-port", "80", "--udp-port", "53"];
        let child = inside(lab, "client", &[&server[..], &ports].concat())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("ip netns exec runs");
        let outside = Outside(child);
        eventually("the servers outside", || {
            let sockets = lab.ok("client", &["ss", "-Hltun", "( sport = :80 or sport = :53 )"]);
            (sockets.lines().count() >= 2).then_some(())
        });
        outside
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
