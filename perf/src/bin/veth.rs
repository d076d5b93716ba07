//! The two ends of a comparison on veth pairs, and the simplest thing that can
//! stand between them: a generator that counts and checks what comes of its requests,
//! and layer 2 forwarding over the same ports as Sluice's. `perf/race` puts them together.

use anyhow::{Context, Result, bail, ensure};
use arrayvec::ArrayVec;
use clap::{Parser, Subcommand};
use sluice_io::{BURST, Frame, FrameCache, Port, RxBurst};
use sluice_perf::cluster::Cluster;
use sluice_perf::cpu;
use sluice_perf::frames::Builder;
use sluice_perf::packet_socket::PacketSocket;
use sluice_perf::race::answers::Begin;
use sluice_perf::race::expect::Expected;
use sluice_perf::race::flood::{Flood, open};
use sluice_perf::site::{self, Family, Who};
use sluice_perf::traffic::Flow;
use sluice_perf::tsc::{Rate, ticks};
use std::fs::File;
use std::net::IpAddr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often layer 2 forwarding tells how much it has worked.
const TELL: Duration = Duration::from_millis(50);

/// Generator and layer 2 forwarding for comparisons on veth pairs.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sends requests of many flows as fast as the device takes them, and counts what arrives
    /// behind the gateway. Prints nanoseconds for each packet, those of them in which the
    /// gateway's core was busy, and how many frames were checked.
    Flood {
        /// The device where clients are.
        #[arg(long)]
        clients_device: String,
        /// The device where nodes are.
        #[arg(long)]
        nodes_device: String,
        /// The core to run on.
        #[arg(long)]
        cpu: usize,
        /// The gateway's core.
        #[arg(long)]
        gateway_cpu: usize,
        /// Flows, in random order.
        #[arg(long, default_value_t = 4096)]
        flows: u32,
        /// What should arrive; `routed`: requests are for pods instead of Services.
        #[arg(long)]
        expect: Expected,
        /// Has each flow be answered once before.
        #[arg(long)]
        answer: bool,
        /// Seconds to count.
        #[arg(long)]
        seconds: u64,
        /// A file to make as soon as anything is counted.
        #[arg(long)]
        counting: PathBuf,
    },
    /// Forwards frames from one device to another, their MACs replaced, until it is ended.
    Forward {
        /// Where frames come from.
        #[arg(long)]
        from: String,
        /// Where they go.
        #[arg(long)]
        to: String,
        /// The core to run on.
        #[arg(long)]
        cpu: usize,
        /// A file that tells for how many nanoseconds it has worked, for how many packets, and
        /// in how many turns of its loop.
        #[arg(long)]
        work: PathBuf,
    },
    /// Sends a request for the last Service again and again, a millisecond apart.
    Probe {
        /// The device.
        #[arg(long)]
        device: String,
        /// Services.
        #[arg(long)]
        services: u32,
        /// Seconds to run.
        #[arg(long)]
        seconds: u64,
    },
    /// Waits until such a request arrives in VXLAN as it should, and prints the time in
    /// microseconds since 1970.
    Arrival {
        /// The device, which has the addresses of all nodes.
        #[arg(long)]
        device: String,
        /// Services.
        #[arg(long)]
        services: u32,
        /// Endpoints of each.
        #[arg(long)]
        backends: u32,
        /// Nodes.
        #[arg(long)]
        nodes: u32,
        /// Seconds to wait, at most.
        #[arg(long)]
        seconds: u64,
    },
}

fn cluster(services: u32) -> Cluster {
    Cluster { nodes: 1, ..Cluster::new(Family::V4, services) }
}

fn main() -> Result<()> {
    match Args::parse().command {
        Command::Flood {
            clients_device,
            nodes_device,
            cpu,
            gateway_cpu,
            flows,
            expect,
            answer,
            seconds,
            counting,
        } => {
            ensure!(flows > 0, "no flows");
            let flood = Flood {
                begin: Begin { cluster: &cluster(1), expected: expect, flows },
                answer,
                clients: clients_device,
                nodes: nodes_device,
                cpu,
                gateway_cpu,
                time: Duration::from_secs(seconds),
                counting,
            };
            let came = flood.run()?;
            println!("{:.1} {:.1} {}", came.packet_ns, came.core_ns, came.looked_at);
            Ok(())
        }
        Command::Forward { from, to, cpu, work } => {
            let rate = Rate::calibrate();
            cpu::pin(cpu)?;
            forward(&from, &to, &work, rate)
        }
        Command::Probe { device, services, seconds } => probe(&device, &cluster(services), seconds),
        Command::Arrival { device, services, backends, nodes, seconds } => {
            let cluster = Cluster { backends, nodes, ..cluster(services) };
            arrival(&device, &cluster, Duration::from_secs(seconds))
        }
    }
}

/// A request for the last Service.
fn last(cluster: &Cluster) -> Flow {
    Flow { number: cluster.services - 1, ..Flow::default() }
}

fn probe(device: &str, cluster: &Cluster, seconds: u64) -> Result<()> {
    let socket = PacketSocket::open(device)?;
    let mut builder = Builder::default();
    let frame = last(cluster).request(cluster, &mut builder);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(seconds) {
        socket.send(frame)?;
        sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn arrival(device: &str, cluster: &Cluster, time: Duration) -> Result<()> {
    let socket = PacketSocket::open(device)?;
    let IpAddr::V4(first) = Who::Node(0).addr(cluster.family) else { bail!("IPv4 alone") };
    let mut buffer = [0; 2048];
    let began = Instant::now();
    while began.elapsed() < time {
        let Ok(len) = socket.receive(&mut buffer, 100) else { continue };
        let frame = &mut buffer[..len];
        let addr = frame.get(30..34).and_then(|bytes| bytes.first_chunk::<4>());
        let Some(addr) = addr.filter(|_| frame[12..14] == [8, 0]) else { continue };
        // One device stands for all nodes.
        let node = u32::from_be_bytes(*addr).wrapping_sub(first.to_bits());
        ensure!(frame[..6] == site::node_mac(0), "destination MAC");
        frame[..6].copy_from_slice(&site::node_mac(node));
        let number = Expected::Service.check(cluster, frame)?.flow;
        ensure!(number == Some(last(cluster).number), "flow {number:?}");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
        println!("{}", now.as_micros());
        return Ok(());
    }
    bail!("nothing arrives")
}

fn forward(from: &str, to: &str, work: &Path, rate: Rate) -> Result<()> {
    let family = Family::V4;
    let uplink = vec![Who::GatewayUplink.addr(family)];
    let devices = [(from, uplink), (to, vec![Who::GatewayCluster.addr(family)])];
    let (io, ports) = open(&devices)?;
    let Ok([mut rx, mut tx]) = <[Box<dyn Port>; 2]>::try_from(ports) else {
        bail!("not two ports");
    };
    let mut cache = FrameCache::new(io.umem(), 1024);
    let mut burst = RxBurst::new();
    let mut out: ArrayVec<Frame, BURST> = ArrayVec::new();
    let file = File::create(work).with_context(|| work.display().to_string())?;
    let (mut busy, mut packets, mut turns, mut told) = (0, 0, 0u64, 0);
    let mut turn = ticks();
    loop {
        let received = rx.rx(&mut cache, &mut burst);
        burst.iter().for_each(Frame::prefetch);
        for mut frame in burst.drain(..) {
            if let Some(macs) = frame.data_mut().first_chunk_mut::<12>() {
                macs[..6].copy_from_slice(&site::node_mac(0));
                macs[6..].copy_from_slice(&site::PORT_MACS[site::CLUSTER]);
            }
            out.push(frame);
        }
        tx.tx(&mut cache, &mut out);
        packets += received - out.len();
        out.drain(..).for_each(|frame| cache.free(frame));
        rx.flush(&mut cache);
        tx.flush(&mut cache);
        let now = ticks();
        if received > 0 {
            busy += now - turn;
            turns += 1;
        }
        turn = now;
        if rate.nanos(now - told) > TELL.as_nanos() as f64 {
            told = now;
            // Always as long as before: who reads it reads all of it.
            let line = format!("{:>20.0} {packets:>20} {turns:>20}\n", rate.nanos(busy));
            file.write_all_at(line.as_bytes(), 0)?;
        }
    }
}
