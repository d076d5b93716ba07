//! What frames cost in and out by DPDK's drivers: Sluice's ports, beside DPDK's own
//! `dpdk-testpmd` on the same devices and beside ports in memory.

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use rustix::process::{Pid, Signal, kill_process};
use sluice_io::{BURST, DpdkDevices, DpdkOptions, FrameCache, Port, RxBurst, Umem};
use sluice_perf::cpu;
use sluice_perf::port::{PreparedPeer, PreparedPort};
use sluice_perf::report::{Report, Row};
use sluice_perf::tsc::{Rate, ticks};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

/// Devices that give empty frames as fast as they are asked for, and take all.
const DEVICES: [&str; 2] = ["net_null0,size=64", "net_null1,size=64"];
/// Frames of the pool.
const FRAMES: u32 = 8192;
/// Frames of a round.
const ROUND: u64 = 32 << 20;
/// Frames that lie in memory at once.
const PREPARED: usize = 1024;
/// Periods of a second that testpmd runs; the last one counts.
const PERIODS: usize = 3;

/// Measures what frames cost by DPDK's drivers.
#[derive(Parser)]
struct Args {
    /// The core that forwards.
    #[arg(long, default_value_t = 1)]
    cpu: usize,
    /// The core of testpmd's main thread.
    #[arg(long, default_value_t = 0)]
    main_cpu: usize,
    /// Memory in huge pages, of which some 300 MiB must be free.
    #[arg(long)]
    huge_pages: bool,
    /// Rounds; all take turns in each.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// A file for the results as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let options = DpdkOptions::new(&DEVICES, FRAMES);
    let options = DpdkOptions { huge_pages: args.huge_pages, ..options };
    let opened = DpdkDevices::find(options, |_| {})?.open()?;
    cpu::pin(args.cpu)?;
    let rate = Rate::calibrate();
    let pool = opened.umem().clone();
    let mut dpdk = Forwarding::new(&pool, opened.ports.into_iter().flatten().collect())?;
    let umem = Umem::new(FRAMES as usize)?;
    let mut memory = Memory::new(&umem)?;
    let mut costs = [const { Vec::new() }; 3];
    for _ in 0..args.rounds {
        costs[0].push(rate.nanos(dpdk.round()?) / ROUND as f64);
        costs[1].push(testpmd(&args)?);
        costs[2].push(memory.round(rate)?);
    }
    drop(opened.handle);
    let [dpdk, testpmd, memory] = &mut costs;
    let rows = vec![
        Row::new("dpdk", "io-forward, Sluice's ports on net_null", "ns a packet", dpdk),
        Row::new("testpmd", "the same devices, dpdk-testpmd", "ns a packet", testpmd),
        Row::new("memory", "io-forward, ports in memory", "ns a packet", memory),
    ];
    let mut report = Report { cpu: cpu::model(), tsc_ghz: rate.ghz(), rows, aims: Vec::new() };
    let share = |costs: &[f64]| costs[0] / costs[1];
    report.aim("packets a second, of dpdk-testpmd's", 0.95, true, &["testpmd", "dpdk"], share);
    let more = |costs: &[f64]| costs[0] - costs[1];
    report.aim("more than by ports in memory, ns", 15.0, false, &["dpdk", "memory"], more);
    print!("{}", report.text());
    args.json.as_deref().map_or(Ok(()), |path| report.write(path))
}

/// Two ports, and a loop that sends by the other what comes by each, untouched.
struct Forwarding {
    ports: Vec<Box<dyn Port>>,
    cache: FrameCache,
    burst: RxBurst,
}

impl Forwarding {
    fn new(umem: &Umem, ports: Vec<Box<dyn Port>>) -> Result<Self> {
        ensure!(ports.len() == 2, "two ports, and not {}", ports.len());
        Ok(Forwarding { ports, cache: FrameCache::new(umem, 512), burst: RxBurst::new() })
    }

    /// One burst each way; the frames that went.
    fn turn(&mut self) -> usize {
        let mut went = 0;
        for from in 0..2 {
            self.ports[from].rx(&mut self.cache, &mut self.burst);
            let to = &mut self.ports[1 - from];
            went += self.burst.len();
            to.tx(&mut self.cache, &mut self.burst);
            went -= self.burst.len();
            self.burst.drain(..).for_each(|frame| self.cache.free(frame));
            to.flush(&mut self.cache);
        }
        went
    }

    /// Ticks that a round takes.
    fn round(&mut self) -> Result<u64> {
        let (mut went, begin) = (0, ticks());
        while went < ROUND {
            let more = self.turn() as u64;
            ensure!(more > 0, "nothing comes any more");
            went += more;
        }
        Ok(ticks() - begin)
    }
}

/// The same over ports whose frames lie there already.
struct Memory {
    forwarding: Forwarding,
    peers: [PreparedPeer; 2],
}

impl Memory {
    fn new(umem: &Umem) -> Result<Self> {
        let [(first, one), (second, other)] = [0, 1].map(|id| PreparedPort::new(id, PREPARED));
        let ports: Vec<Box<dyn Port>> = vec![Box::new(first), Box::new(second)];
        let mut memory = Memory { forwarding: Forwarding::new(umem, ports)?, peers: [one, other] };
        for index in 0..2 * PREPARED {
            let mut frame = memory.forwarding.cache.alloc().context("too few frames")?;
            ensure!(frame.fill(&[0; 64]), "64 bytes fit a chunk");
            memory.peers[index % 2].load(frame);
        }
        Ok(memory)
    }

    /// Nanoseconds of a frame; handing frames back to where they come from is not counted.
    fn round(&mut self, rate: Rate) -> Result<f64> {
        let (mut went, mut spent) = (0, 0);
        while went < ROUND {
            let begin = ticks();
            let mut batch = 0;
            while batch < 2 * PREPARED {
                let more = self.forwarding.turn();
                ensure!(more > 0, "nothing comes any more");
                batch += more;
            }
            spent += ticks() - begin;
            went += batch as u64;
            let mut sent = Vec::with_capacity(2 * PREPARED);
            for peer in &self.peers {
                peer.take_sent(&mut sent);
                sent.drain(..).for_each(|frame| peer.load(frame));
            }
        }
        Ok(rate.nanos(spent) / went as f64)
    }
}

/// Nanoseconds of a frame by dpdk-testpmd, between the same devices.
fn testpmd(args: &Args) -> Result<f64> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let mut command = Command::new("dpdk-testpmd");
    command.arg(format!("--lcores=0@{},1@{}", args.main_cpu, args.cpu));
    match args.huge_pages {
        true => command.arg("--in-memory"),
        false => command.args(["--no-huge", "--no-shconf", "-m256"]),
    };
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let prefix = format!("perf{}-{number}", std::process::id());
    command.arg(format!("--file-prefix={prefix}"));
    command.args(["--no-pci", "--no-telemetry"]);
    command.args(DEVICES.map(|device| format!("--vdev={device}")));
    command.args(["--", "--forward-mode=io", "--nb-cores=1", "--stats-period=1"]);
    command.args([format!("--burst={BURST}"), format!("--total-num-mbufs={FRAMES}")]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().context("cannot run dpdk-testpmd (package dpdk-dev)")?;
    let stdout = child.stdout.take().context("its output is piped")?;
    // A line for each of two ports in each period.
    let rates = BufReader::new(stdout).lines().map_while(Result::ok).filter_map(|line| {
        let rate = line.trim().strip_prefix("Rx-pps:")?.split_whitespace().next()?.parse();
        rate.ok()
    });
    let rates: Vec<f64> = rates.take(2 * PERIODS).collect();
    kill_process(Pid::from_child(&child), Signal::TERM).context("cannot end dpdk-testpmd")?;
    child.wait().context("dpdk-testpmd does not end")?;
    // What it leaves behind; that it leaves anything is not certain.
    let _ = std::fs::remove_dir_all(format!("/run/dpdk/{prefix}"));
    match rates.rchunks(2).next() {
        Some([one, other]) if rates.len() == 2 * PERIODS => Ok(1e9 / (one + other)),
        _ => bail!("dpdk-testpmd says nothing of its packets"),
    }
}
