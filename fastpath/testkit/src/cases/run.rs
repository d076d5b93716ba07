//! Runs one case.

use std::collections::VecDeque;
use std::net::IpAddr;

use sluice_tables::PortLocal;

use super::families::Family;
use super::file::Case;
use super::network::{defaults, defaults_of_output, introduce, through_tunnel};
use super::step::{self, PacketLine, Queue, Repeat, Step};
use super::{
    counts,
    directives::{self, Options},
};
use crate::gateway::told::everything;
use crate::gateway::topology::OVERLAY_MAC;
use crate::gateway::{Compiler, Counts, Gateway, Sent, Topology};
use crate::packet::{Bindings, Defaults, Line, Mac, Value, addresses, format_with};

/// Runs `case` as `family`.
///
/// # Errors
/// The line, and what is wrong there.
pub(super) fn run(case: &Case, family: Family) -> Result<(), (usize, String)> {
    run_as(case, family, false)?;
    let watched = |(line, message)| (line, format!("while everything is told of: {message}"));
    run_as(case, family, true).map_err(watched)
}

/// Runs it, with everything told of single packets if it `is_watched`: that changes
/// nothing, and what is told is what was counted.
fn run_as(case: &Case, family: Family, is_watched: bool) -> Result<(), (usize, String)> {
    let mut run = Run::new(family);
    run.is_watched = is_watched;
    for (number, line) in &case.lines {
        run.line(line).map_err(|message| (*number, message))?;
    }
    run.finish().map_err(|message| (case.lines.last().map_or(case.line, |(n, _)| *n), message))
}

struct Run {
    family: Family,
    options: Options,
    topology: Topology,
    /// The topology was changed and not yet published.
    unpublished: bool,
    /// Everything is told of.
    is_watched: bool,
    running: Option<Running>,
}

/// The part of a run that exists from its first step on.
struct Running {
    gateway: Gateway,
    compiler: Compiler,
    bindings: Bindings,
    /// Frames that left and that no line has expected yet, by port.
    left: Vec<VecDeque<Sent>>,
    /// Counts when the case began, and before its last step.
    start: Vec<Counts>,
    before: Counts,
    /// The last lines were expectations: what they left over is unexpected.
    was_expecting: bool,
    /// Nothing has happened since the last `counters` line.
    counted: bool,
}

impl Run {
    fn new(family: Family) -> Run {
        let mut topology = Topology::standard();
        if family == Family::V6 {
            topology.vxlan.v4 = None;
        }
        let options = Options::default();
        Run { family, options, topology, unpublished: true, is_watched: false, running: None }
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        if let Some(step) = step::parse(line)? {
            return self.step(&step);
        }
        let line = self.family.directive(line)?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut options = self.options.clone();
        if directives::option(&words, &mut options)? {
            if self.running.is_some() {
                return Err(format!("`{line}` must stand before the first step"));
            }
            self.options = options;
            return Ok(());
        }
        if !directives::topology(&words, &mut self.topology)? {
            return Err(format!("expected a step or a directive, found `{line}`"));
        }
        self.unpublished = true;
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        if self.running.is_none() {
            self.running = Some(Running::start(&self.options, &self.topology, self.is_watched)?);
            self.unpublished = false;
        }
        let Some(running) = &mut self.running else { return Ok(()) };
        let expects = matches!(step, Step::Expect(_) | Step::ExpectNothing);
        let sends = matches!(step, Step::Send { .. } | Step::Run);
        if !expects && (running.was_expecting || !sends) {
            running.nothing_left()?;
        }
        running.was_expecting = expects;
        if std::mem::take(&mut self.unpublished) {
            running.nothing_left()?;
            running.gateway.publish(running.compiler.compile(&self.topology))?;
            running.counted = false;
        }
        running.step(step, self.family, &self.topology)?;
        running.gateway.check_balance()?;
        if self.is_watched { running.gateway.check_told() } else { Ok(()) }
    }

    fn finish(self) -> Result<(), String> {
        let Some(mut running) = self.running else {
            return Err("the case does nothing: it has no step".to_owned());
        };
        running.nothing_left()?;
        if !running.counted {
            return Err(format!(
                "the case ends without a `counters` line; it would be\ncounters: {}",
                running.counts(None)?
            ));
        }
        running.gateway.close()
    }
}

impl Running {
    fn start(options: &Options, topology: &Topology, watched: bool) -> Result<Running, String> {
        let mut gateway = Gateway::new(&options.gateway)?;
        if watched {
            gateway.observe(everything())?;
        }
        let mut compiler = Compiler::new(options.gateway.workers);
        gateway.publish(compiler.compile(topology))?;
        if options.neighbors_known {
            for host in &topology.hosts {
                introduce(&mut gateway, topology, host)?;
            }
        }
        let mut running = Running {
            left: vec![VecDeque::new(); topology.ports.len()],
            start: vec![Counts::default(); options.gateway.workers],
            before: Counts::default(),
            gateway,
            compiler,
            bindings: Bindings::new(),
            was_expecting: false,
            counted: false,
        };
        for (worker, start) in running.start.iter_mut().enumerate() {
            if let Some(counters) = running.gateway.counters(worker) {
                start.add(counters);
            }
        }
        Ok(running)
    }

    fn step(&mut self, step: &Step, family: Family, topology: &Topology) -> Result<(), String> {
        match step {
            Step::Send { line, runs } => self.act(|run| {
                let packet = family.at(&line.packet, topology)?;
                run.send(line, &through_tunnel(line, packet, topology, true)?, topology)?;
                if *runs { run.gateway.settle() } else { Ok(()) }
            }),
            Step::Run => self.act(|run| run.gateway.settle()),
            Step::Release => self.act(|run| run.gateway.release()),
            Step::Advance(time) => self.act(|run| run.gateway.advance(*time)),
            Step::At(time) => self.act(|run| match time.checked_sub(run.gateway.elapsed()) {
                Some(ahead) => run.gateway.advance(ahead),
                None => Err(format!("it is {:?} already", run.gateway.elapsed())),
            }),
            Step::Announce(vips) => self.act(|run| {
                let vip = |text: &String| -> Result<IpAddr, String> {
                    let text = family.directive(text)?;
                    text.parse().map_err(|_| format!("expected an address, found `{text}`"))
                };
                run.gateway.announce(vips.iter().map(vip).collect::<Result<_, _>>()?)
            }),
            Step::Expect(line) => {
                let pattern = family.at(&line.packet, topology)?;
                let pattern = through_tunnel(line, pattern, topology, false)?;
                self.expect(line, &pattern, topology)
            }
            Step::ExpectNothing => self.nothing_left(),
            Step::Counters { worker, text } => self.check_counts(*worker, &family.counters(text)),
        }
    }

    /// Does something that makes the gateway run, and collects what leaves it.
    fn act(&mut self, act: impl FnOnce(&mut Self) -> Result<(), String>) -> Result<(), String> {
        self.before = self.gateway.counts();
        self.counted = false;
        act(self)?;
        for (port, left) in self.left.iter_mut().enumerate() {
            left.extend(std::iter::from_fn(|| self.gateway.sent(port)));
        }
        Ok(())
    }

    fn send(&mut self, step: &PacketLine, packet: &str, topology: &Topology) -> Result<(), String> {
        let PacketLine { queue, repeat, .. } = step;
        let line = Line::parse(packet).map_err(|e| format!("{e}\n{packet}"))?;
        let port = port_of(*queue, topology)?;
        for turn in 0..times(repeat) {
            bind(repeat, turn, &mut self.bindings);
            let build = |defaults: &Defaults| {
                line.build(defaults, &self.bindings).map_err(|e| format!("{e}\n{packet}"))
            };
            let mut defaults = defaults(topology);
            defaults.dst = Mac(port.mac);
            // Who sends it says which MACs it has.
            let sender = addresses(&build(&defaults)?, &defaults).map(|(src, _)| src);
            let sender = sender.or(topology.hosts.first().map(|host| host.addr));
            if let Some(mac) = sender.and_then(|src| topology.mac_of(queue.port, src)) {
                defaults.src = mac;
            }
            if let Some(mac) = sender.and_then(|src| topology.overlay_mac_of(src)) {
                (defaults.inner_src, defaults.inner_dst) = (mac, OVERLAY_MAC);
            }
            let frame = build(&defaults)?;
            self.gateway.inject(queue.port, queue.worker.unwrap_or(0), &frame)?;
        }
        Ok(())
    }

    fn expect(
        &mut self,
        step: &PacketLine,
        pattern: &str,
        topology: &Topology,
    ) -> Result<(), String> {
        let PacketLine { queue, repeat, .. } = step;
        let line = Line::parse(pattern).map_err(|e| format!("{e}\n{pattern}"))?;
        let port = port_of(*queue, topology)?;
        for turn in 0..times(repeat) {
            bind(repeat, turn, &mut self.bindings);
            let nth =
                if times(repeat) > 1 { format!(", packet {}", turn + 1) } else { String::new() };
            let sent = self.left.get_mut(queue.port).and_then(VecDeque::pop_front);
            let Some(Sent { worker, frame }) = sent else {
                let counted = self.counted_lately();
                return Err(format!(
                    "expected: {pattern}\nbut nothing left {}{nth}{counted}",
                    port.name
                ));
            };
            let defaults = defaults_of_output(topology, port, &frame);
            if let Err(mismatch) = line.compare(&frame, &defaults, &mut self.bindings) {
                let counted = self.counted_lately();
                return Err(format!("{mismatch}{nth}{counted}"));
            }
            if queue.worker.is_some_and(|wanted| wanted != worker) {
                return Err(format!("the packet left {}@{worker}{nth}", port.name));
            }
        }
        Ok(())
    }

    /// Fails if a frame left that no line expects.
    fn nothing_left(&mut self) -> Result<(), String> {
        let mut unexpected: Vec<String> = Vec::new();
        for (port, left) in self.left.iter_mut().enumerate() {
            for Sent { worker, frame } in left.drain(..) {
                let text = format_with(&frame, &Defaults::default());
                unexpected.push(format!("no line expects: p{port}@{worker}: {text}"));
            }
        }
        if unexpected.is_empty() {
            return Ok(());
        }
        Err(unexpected.join("\n") + &self.counted_lately())
    }

    fn check_counts(&mut self, worker: Option<usize>, text: &str) -> Result<(), String> {
        counts::check(text, &self.counts(worker)?, &mut self.bindings)?;
        self.counted |= worker.is_none();
        Ok(())
    }

    /// Counts since the case began, of one worker or all.
    fn counts(&self, worker: Option<usize>) -> Result<Counts, String> {
        let mut now = Counts::default();
        let Some(worker) = worker else {
            let mut start = Counts::default();
            self.start.iter().for_each(|counts| start.merge(counts));
            return Ok(self.gateway.counts().since(&start));
        };
        let counters = self.gateway.counters(worker);
        now.add(counters.ok_or_else(|| format!("there is no worker {worker}"))?);
        Ok(now.since(&self.start[worker]))
    }

    fn counted_lately(&self) -> String {
        let lately = self.gateway.counts().since(&self.before);
        format!("\ncounted by the last step: {lately}")
    }
}

impl Family {
    fn at(self, line: &str, topology: &Topology) -> Result<String, String> {
        self.packet(line, topology).map_err(|e| format!("{e}\n{line}"))
    }
}

fn port_of(queue: Queue, topology: &Topology) -> Result<&PortLocal, String> {
    topology.ports.get(queue.port).ok_or_else(|| format!("there is no port p{}", queue.port))
}

fn times(repeat: &Repeat) -> u64 {
    match repeat {
        Repeat::Times(times) => *times,
        Repeat::Each { low, high, .. } => (high + 1).saturating_sub(*low),
    }
}

fn bind(repeat: &Repeat, turn: u64, bindings: &mut Bindings) {
    if let Repeat::Each { name, low, .. } = repeat {
        bindings.set(name, Value::Num(low + turn));
    }
}
