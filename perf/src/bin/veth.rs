//! The two ends of a comparison on veth pairs, and the simplest thing that can
//! stand between them: a generator, a sink that counts and checks, and layer 2
//! forwarding over the same ports as Sluice's. `perf/race` puts them together.

use anyhow::{Context, Result, bail, ensure};
use arrayvec::ArrayVec;
use clap::{Parser, Subcommand};
use sluice_io::{
    AfXdp, AfXdpOptions, AfXdpPortOptions, BURST, Frame, FrameCache, Port, PortId, RxBurst,
};
use sluice_perf::cluster::Cluster;
use sluice_perf::cpu;
use sluice_perf::frames::Builder;
use sluice_perf::packet_socket::PacketSocket;
use sluice_perf::race::expect::Expected;
use sluice_perf::site::{self, Family, VXLAN_PORT, Who};
use sluice_perf::traffic::Flow;
use std::net::IpAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Frames that the sink looks at.
const CHECKED: usize = 512;
/// Time before the sink begins to count.
const WARM_UP: Duration = Duration::from_secs(1);

/// Generator, sink and layer 2 forwarding for comparisons on veth pairs.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sends requests of many flows by a device, as fast as it takes them.
    Generate {
        /// The device.
        #[arg(long)]
        device: String,
        /// The core to run on.
        #[arg(long)]
        cpu: usize,
        /// Flows, in random order.
        #[arg(long, default_value_t = 4096)]
        flows: u32,
        /// Services, among which flows are spread.
        #[arg(long, default_value_t = 1)]
        services: u32,
        /// Asks endpoints instead of Services.
        #[arg(long)]
        direct: bool,
        /// Seconds to run.
        #[arg(long)]
        seconds: u64,
    },
    /// Counts what arrives on a device, and checks a sample of it.
    Sink {
        /// The device.
        #[arg(long)]
        device: String,
        /// What should arrive.
        #[arg(long)]
        expect: Expected,
        /// Services, as of the generator.
        #[arg(long, default_value_t = 1)]
        services: u32,
        /// Seconds to count.
        #[arg(long)]
        seconds: u64,
    },
    /// Forwards frames from one device to another, their MACs replaced.
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
        /// Seconds to run.
        #[arg(long)]
        seconds: u64,
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
        Command::Generate { device, cpu, flows, services, direct, seconds } => {
            cpu::pin(cpu)?;
            let cluster = cluster(services);
            generate(&device, &cluster, flows, direct, Duration::from_secs(seconds))
        }
        Command::Sink { device, expect, services, seconds } => {
            sink(&device, &cluster(services), expect, seconds)
        }
        Command::Forward { from, to, cpu, seconds } => {
            cpu::pin(cpu)?;
            forward(&from, &to, Duration::from_secs(seconds))
        }
        Command::Probe { device, services, seconds } => probe(&device, &cluster(services), seconds),
        Command::Arrival { device, services, backends, nodes, seconds } => {
            let cluster = Cluster { backends, nodes, ..cluster(services) };
            arrival(&device, &cluster, Duration::from_secs(seconds))
        }
    }
}

/// Opens devices for one thread; the kernel keeps its own addresses.
fn open(devices: &[(&str, Vec<IpAddr>)]) -> Result<AfXdp> {
    let port = |(number, (device, kernel)): (usize, &(&str, Vec<IpAddr>))| AfXdpPortOptions {
        id: PortId(number as u8),
        name: (*device).to_owned(),
        device: (*device).to_owned(),
        kernel_addresses: kernel.clone(),
        vteps: Vec::new(),
        vxlan_udp_port: VXLAN_PORT,
    };
    let ports = devices.iter().enumerate().map(port).collect();
    AfXdp::open(&AfXdpOptions::new(ports, 1)).context("cannot open the devices")
}

/// The ports of the only worker.
fn take_ports(io: &mut AfXdp) -> Vec<Box<dyn Port>> {
    io.ports.pop().unwrap_or_default()
}

fn generate(
    device: &str,
    cluster: &Cluster,
    flows: u32,
    direct: bool,
    time: Duration,
) -> Result<()> {
    ensure!(flows > 0, "no flows");
    let mut io = open(&[(device, vec![Who::Router.addr(cluster.family)])])?;
    let mut ports = take_ports(&mut io);
    let mut cache = FrameCache::new(io.umem(), 1024);
    let mut builder = Builder::default();
    let mut numbers: Vec<u32> = (0..flows).collect();
    sluice_perf::traffic::Random::new(1).shuffle(&mut numbers);
    let packets: Vec<Vec<u8>> = numbers
        .into_iter()
        .map(|number| {
            let flow = Flow { number, ..Flow::default() };
            match direct {
                true => flow.direct(cluster, &mut builder).to_vec(),
                false => flow.request(cluster, &mut builder).to_vec(),
            }
        })
        .collect();
    let mut next = packets.iter().cycle();
    let mut out: ArrayVec<Frame, BURST> = ArrayVec::new();
    let began = Instant::now();
    let mut offered = 0u64;
    while began.elapsed() < time {
        while !out.is_full()
            && let Some(mut frame) = cache.alloc()
        {
            let fits = next.next().is_some_and(|packet| frame.fill(packet));
            ensure!(fits, "a packet does not fit");
            out.push(frame);
            offered += 1;
        }
        for port in &mut ports {
            port.tx(&mut cache, &mut out);
            port.flush(&mut cache);
        }
    }
    println!("{{\"offered\": {offered}}}");
    out.drain(..).for_each(|frame| cache.free(frame));
    ports.iter_mut().for_each(|port| port.close(&mut cache));
    Ok(())
}

fn received(device: &str) -> Result<u64> {
    let path = format!("/sys/class/net/{device}/statistics/rx_packets");
    let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    text.trim().parse().with_context(|| path)
}

fn sink(device: &str, cluster: &Cluster, expect: Expected, seconds: u64) -> Result<()> {
    sleep(WARM_UP);
    let (before, began) = (received(device)?, Instant::now());
    sleep(Duration::from_secs(seconds));
    let (after, took) = (received(device)?, began.elapsed());
    let socket = PacketSocket::open(device)?;
    let mut buffer = [0; 2048];
    let mut checked = 0;
    while checked < CHECKED {
        let len = socket.receive(&mut buffer, 1000).context("nothing arrives any more")?;
        // Hosts on a link speak ARP and ND, too.
        if buffer[12..14] == cluster.family.ethertype().to_be_bytes() {
            let frame = &buffer[..len];
            expect.check(cluster, frame).with_context(|| format!("sampled frame {checked}"))?;
            checked += 1;
        }
    }
    let rate = (after - before) as f64 / took.as_secs_f64();
    println!("{{\"packets_per_second\": {rate:.0}, \"checked\": {CHECKED}}}");
    Ok(())
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

fn forward(from: &str, to: &str, time: Duration) -> Result<()> {
    let family = Family::V4;
    let uplink = vec![Who::GatewayUplink.addr(family)];
    let mut io = open(&[(from, uplink), (to, vec![Who::GatewayCluster.addr(family)])])?;
    let Ok([mut rx, mut tx]) = <[Box<dyn Port>; 2]>::try_from(take_ports(&mut io)) else {
        bail!("not two ports");
    };
    let mut cache = FrameCache::new(io.umem(), 1024);
    let mut burst = RxBurst::new();
    let mut out: ArrayVec<Frame, BURST> = ArrayVec::new();
    let began = Instant::now();
    while began.elapsed() < time {
        rx.rx(&mut cache, &mut burst);
        burst.iter().for_each(Frame::prefetch);
        for mut frame in burst.drain(..) {
            if let Some(macs) = frame.data_mut().first_chunk_mut::<12>() {
                macs[..6].copy_from_slice(&site::node_mac(0));
                macs[6..].copy_from_slice(&site::PORT_MACS[site::CLUSTER]);
            }
            out.push(frame);
        }
        tx.tx(&mut cache, &mut out);
        out.drain(..).for_each(|frame| cache.free(frame));
        rx.flush(&mut cache);
        tx.flush(&mut cache);
    }
    rx.close(&mut cache);
    tx.close(&mut cache);
    Ok(())
}
