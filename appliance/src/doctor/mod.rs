//! `sluice doctor`: whether this machine can run the gateway, and what to do
//! where it cannot.

use crate::cli::{DoctorArgs, check};
use crate::output;
use sluice_config::Config;
use std::fmt::Write as _;
use std::process::ExitCode;

/// Cores of the workers.
mod cores;
/// Devices of the ports.
mod device;
/// Kernel, privileges, memory.
mod host;
/// Where the interrupts of the devices come to.
mod interrupts;

/// How good a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Ok,
    /// Works, but slower or less safe than it could.
    Warn,
    /// Keeps the gateway from running.
    Bad,
}

impl Level {
    fn label(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Bad => "bad",
        }
    }
}

/// One finding.
#[derive(Clone, Debug)]
pub struct Finding {
    level: Level,
    topic: String,
    text: String,
    mend: Option<String>,
}

impl Finding {
    fn new(level: Level, topic: &str, text: impl Into<String>) -> Self {
        Finding { level, topic: topic.to_owned(), text: text.into(), mend: None }
    }

    fn ok(topic: &str, text: impl Into<String>) -> Self {
        Finding::new(Level::Ok, topic, text)
    }

    fn warn(topic: &str, text: impl Into<String>) -> Self {
        Finding::new(Level::Warn, topic, text)
    }

    fn bad(topic: &str, text: impl Into<String>) -> Self {
        Finding::new(Level::Bad, topic, text)
    }

    /// With the command that mends it.
    fn mend(mut self, command: impl Into<String>) -> Self {
        self.mend = Some(command.into());
        self
    }
}

/// Runs every check and prints what they found.
pub fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let loaded = match &args.config {
        None => None,
        Some(path) => match check::load(path) {
            Ok(loaded) => Some(loaded),
            Err(code) => return Ok(code),
        },
    };
    let config = loaded.as_ref().map(|loaded| &loaded.config);
    let mut sections = vec![("this machine".to_owned(), host::findings(config))];
    if let Some(loaded) = &loaded {
        for (index, port) in loaded.config.ports.iter().enumerate() {
            let place = loaded.places.refer(&format!("ports[{index}].device"));
            let title = format!("port {} (device {}, {place})", port.name, port.device);
            sections.push((title, device::findings(loaded, index)));
        }
    }
    output::print(&render(&sections, config))?;
    let worst = sections.iter().flat_map(|(_, findings)| findings).map(|finding| finding.level);
    Ok(if worst.max() == Some(Level::Bad) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn render(sections: &[(String, Vec<Finding>)], config: Option<&Config>) -> String {
    let mut out = String::new();
    let mut counts = [0usize; 3];
    for (title, findings) in sections {
        let _ = writeln!(out, "{title}");
        for finding in findings {
            counts[finding.level as usize] += 1;
            let Finding { level, topic, text, .. } = finding;
            let _ = writeln!(out, "  {:<4}  {topic:<16} {text}", level.label());
            if let Some(command) = &finding.mend {
                let _ = writeln!(out, "        {:<16} mend it with: {command}", "");
            }
        }
    }
    if config.is_none() {
        let _ = writeln!(out, "devices are checked with: sluice doctor --config FILE");
    }
    let [ok, warn, bad] = counts;
    let _ = writeln!(out, "{ok} ok, {warn} to look at, {bad} bad");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finding_has_a_line_and_its_command() {
        let findings = vec![
            Finding::ok("kernel", "6.12"),
            Finding::bad("MTU", "9000 is too large").mend("ip link set dev eth1 mtu 1500"),
        ];
        let text = render(&[("port a".to_owned(), findings)], None);
        assert!(text.contains("  ok    kernel           6.12\n"), "{text}");
        assert!(text.contains("mend it with: ip link set dev eth1 mtu 1500\n"), "{text}");
        assert!(text.ends_with("1 ok, 0 to look at, 1 bad\n"), "{text}");
    }
}
