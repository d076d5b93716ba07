use crate::lab::{Lab, eventually, succeeded};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Instant;

/// The binary under test.
pub const SLUICE: &str = env!("CARGO_BIN_EXE_sluice");

/// Where the labs' gateways serve metrics, each in its own namespace.
const METRICS: &str = "http://127.0.0.1:9090";

/// A gateway in a lab. It is killed, and its log shown if the test fails, when
/// this goes.
pub struct Gateway<'a> {
    lab: &'a Lab,
    child: Child,
    log: PathBuf,
}

impl<'a> Gateway<'a> {
    /// Starts it.
    pub fn start(lab: &'a Lab) -> Self {
        Self::start_by(lab, &[])
    }

    /// Starts it by commands that run the one after them.
    pub fn start_by(lab: &'a Lab, commands: &[&str]) -> Self {
        let log = lab.folder.join("log/gateway");
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let child = Command::new("ip")
            .args(["netns", "exec", &lab.namespace("gw")])
            .args(commands)
            .args([SLUICE, "run", "--config"])
            .arg(lab.config())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .expect("ip netns exec runs");
        Gateway { lab, child, log }
    }

    /// Starts it and waits until it is ready.
    pub fn ready(lab: &'a Lab) -> Self {
        Self::start(lab).until_ready()
    }

    /// Waits until it is ready.
    pub fn until_ready(self) -> Self {
        let mut gateway = self;
        eventually("readiness", || {
            let ended = gateway.child.try_wait().unwrap();
            assert_eq!(ended, None, "the gateway has ended: {}", gateway.log());
            (gateway.get("/readyz").0 == 200).then_some(())
        });
        gateway
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Status (0: no answer) and body of a GET of the metrics server.
    pub fn get(&self, path: &str) -> (u16, String) {
        self.fetch(&format!("{METRICS}{path}"))
    }

    /// Status (0: no answer) and body of a GET from the gateway's namespace.
    pub fn fetch(&self, url: &str) -> (u16, String) {
        let curl = ["curl", "-g", "-s", "--max-time", "10", "-w", "\n%{http_code}", url];
        let output = self.lab.run("gw", &curl);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, status) = text.rsplit_once('\n').unwrap_or(("", "0"));
        (status.parse().unwrap_or(0), body.to_owned())
    }

    /// The sum over the series of a metric that have these labels, written as
    /// in the text.
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let (status, text) = self.get("/metrics");
        assert_eq!(status, 200, "{text}");
        let series = text.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels.iter().all(|label| line.contains(label))
        });
        let values: Vec<f64> =
            series.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
        assert!(!values.is_empty(), "no metric {name} {labels:?}");
        values.iter().sum()
    }

    /// Runs `sluice ... --socket`.
    pub fn ask(&self, arguments: &[&str]) -> Output {
        let socket = self.lab.folder.join("sluice.sock");
        Command::new(SLUICE).args(arguments).arg("--socket").arg(socket).output().unwrap()
    }

    /// `sluice show WHAT ... -o json`.
    pub fn show(&self, what: &[&str]) -> Value {
        let arguments = [&["show"], what, &["-o", "json"]].concat();
        let text = succeeded(&self.ask(&arguments), &format!("{arguments:?}"));
        serde_json::from_str(&text).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        eventually("the gateway's end", || self.child.try_wait().unwrap())
    }

    /// Asks it to end; it must do so in order.
    pub fn stop(mut self) {
        let asked = Instant::now();
        self.signal(Signal::TERM);
        let status = self.wait();
        eprintln!("stopped after {:?}", asked.elapsed());
        assert!(status.success(), "{status}\n{}", self.log());
    }
}

impl Drop for Gateway<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the gateway's log:\n{}", self.log());
        }
    }
}
