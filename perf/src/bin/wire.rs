//! A wire between two devices that delays and loses frames: the kernel here has
//! no netem. `perf/http/lossy` puts it between clients and a proxy.

use anyhow::{Context, Result, bail};
use arrayvec::ArrayVec;
use clap::Parser;
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;
use sluice_io::decorate::{FaultCounts, FaultTotals};
use sluice_io::{
    AfXdp, AfXdpOptions, AfXdpPortOptions, BURST, FaultPort, Faults, Frame, FrameCache, Port,
    PortId, PortStats, RxBurst, SharedClock,
};
use sluice_perf::cpu;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

/// Frames that are in rings, beside those that are on their way.
const RING_FRAMES: usize = 16 << 10;
/// How exact times are while frames are on their way.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000 };
/// How long nothing may come before the end is looked for.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Forwards frames between two devices, delayed, and not all of them. Ends with its
/// standard input, and prints what it has done.
#[derive(Parser)]
struct Args {
    /// The device towards clients.
    #[arg(long)]
    near: String,
    /// The device towards the proxy.
    #[arg(long)]
    far: String,
    /// The core to run on.
    #[arg(long)]
    cpu: usize,
    /// What the wire adds to a round trip, half of it each way, in microseconds.
    #[arg(long, default_value_t = 0)]
    rtt_us: u64,
    /// Frames that are lost in each direction, in millionths.
    #[arg(long, default_value_t = 0)]
    loss_ppm: u32,
    /// Which ones.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Loses the first segment with data of each TCP connection that comes from the
    /// proxy, once.
    #[arg(long)]
    drop_first_data: bool,
    /// Frames on their way at most, in each direction.
    #[arg(long, default_value_t = 16 << 10)]
    held_max: usize,
}

/// What has become of frames of one direction.
#[derive(Serialize)]
struct Told {
    forwarded: u64,
    /// By chance.
    lost: u64,
    /// As the first with data.
    first_data: u64,
    /// For want of room.
    refused: u64,
    /// Before the wire has seen them: it was not fast enough.
    missed: u64,
}

/// One direction.
struct Way {
    from: usize,
    forwarded: u64,
    refused: u64,
    first_data: Option<FirstData>,
    counts: FaultCounts,
}

impl Way {
    fn told(&self, from: PortStats) -> Told {
        let FaultTotals { lost, overflowed, .. } = self.counts.totals();
        Told {
            forwarded: self.forwarded,
            lost,
            first_data: self.first_data.as_ref().map_or(0, |first| first.seen.len() as u64),
            refused: self.refused + overflowed,
            missed: from.rx_dropped + from.rx_ring_full + from.rx_fill_ring_empty,
        }
    }
}

/// Knows which connections have lost their first segment with data.
#[derive(Default)]
struct FirstData {
    seen: HashSet<(SocketAddr, SocketAddr)>,
}

impl FirstData {
    /// Whether a frame is such a segment.
    fn strikes(&mut self, frame: &[u8]) -> bool {
        let Ok(packet) = SlicedPacket::from_ethernet(frame) else { return false };
        let (source, destination) = match &packet.net {
            Some(NetSlice::Ipv4(ip)) => {
                let header = ip.header();
                (header.source_addr().into(), header.destination_addr().into())
            }
            Some(NetSlice::Ipv6(ip)) => {
                let header = ip.header();
                (header.source_addr().into(), header.destination_addr().into())
            }
            _ => return false,
        };
        let Some(TransportSlice::Tcp(tcp)) = &packet.transport else { return false };
        !tcp.payload().is_empty()
            && self.seen.insert((
                SocketAddr::new(source, tcp.source_port()),
                SocketAddr::new(destination, tcp.destination_port()),
            ))
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    cpu::pin(args.cpu)?;
    // Else the kernel wakes sleepers late on purpose.
    rustix::thread::set_current_timer_slack(NonZeroU64::new(1))?;
    let devices = [&args.near, &args.far];
    let port = |(number, device): (usize, &&String)| AfXdpPortOptions {
        id: PortId(number as u8),
        name: (*device).clone(),
        device: (*device).clone(),
        kernel_addresses: Vec::new(),
        vteps: Vec::new(),
        vxlan_udp_port: 4789,
    };
    let ports = devices.iter().enumerate().map(port).collect();
    let options = AfXdpOptions::new(ports, 1);
    let frames = 2 * args.held_max + RING_FRAMES.max(options.frames);
    let mut io =
        AfXdp::open(&AfXdpOptions { frames, ..options }).context("cannot open the devices")?;
    let cache = FrameCache::new(io.umem(), 1024);
    let Some(Ok(ports)) = io.ports.pop().map(<[Box<dyn Port>; 2]>::try_from) else {
        bail!("not two ports");
    };
    println!("{}", serde_json::to_string(&run(&args, ports, cache)?)?);
    Ok(())
}

/// Forwards until standard input ends; what went near, and what went far.
fn run(args: &Args, ports: [Box<dyn Port>; 2], mut cache: FrameCache) -> Result<[Told; 2]> {
    let clock = SharedClock::new();
    let faults = Faults {
        loss_ppm: args.loss_ppm,
        delay_ns: args.rtt_us * 1_000 / 2,
        held_max: args.held_max,
        ..Faults::NONE
    };
    // A port hides its descriptor while it holds frames.
    let descriptor = |port: &dyn Port| -> Result<OwnedFd> {
        Ok(port.wait_fd().context("a port without a descriptor")?.try_clone_to_owned()?)
    };
    let wakers = [descriptor(&*ports[0])?, descriptor(&*ports[1])?];
    let mut seed = args.seed;
    let mut ports = ports.map(|port| {
        seed = seed.wrapping_mul(2);
        FaultPort::new(port, Faults::NONE, faults, seed, clock.clone())
    });
    let way = |from: usize| Way {
        from,
        forwarded: 0,
        refused: 0,
        first_data: (args.drop_first_data && from == 1).then(FirstData::default),
        counts: ports[1 - from].tx_counts(),
    };
    // To the near port, and to the far one.
    let mut ways = [way(1), way(0)];
    let began = Instant::now();
    let input = std::io::stdin();
    loop {
        clock.set_now_ns(began.elapsed().as_nanos() as u64);
        let mut received = 0;
        for way in &mut ways {
            received += forward(way, &mut ports, &mut cache);
        }
        if received > 0 {
            continue;
        }
        let is_holding = ports.iter().any(|port| port.held() > 0);
        let mut awaited = [wakers[0].as_fd(), wakers[1].as_fd(), input.as_fd()]
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        poll(&mut awaited, Some(if is_holding { &TICK } else { &PAUSE }))?;
        if !awaited[2].revents().is_empty() {
            break;
        }
    }
    let told = ways.map(|way| way.told(ports[way.from].stats()));
    ports.iter_mut().for_each(|port| port.close(&mut cache));
    Ok(told)
}

/// Takes what has come by one port to the other, and sends what is due there.
fn forward(way: &mut Way, ports: &mut [FaultPort; 2], cache: &mut FrameCache) -> usize {
    let mut burst = RxBurst::new();
    let received = ports[way.from].rx(cache, &mut burst);
    let mut out: ArrayVec<Frame, BURST> = ArrayVec::new();
    for frame in burst {
        if way.first_data.as_mut().is_some_and(|first| first.strikes(frame.data())) {
            cache.free(frame);
        } else {
            out.push(frame);
        }
    }
    let offered = out.len();
    let to = &mut ports[1 - way.from];
    to.tx(cache, &mut out);
    way.forwarded += (offered - out.len()) as u64;
    way.refused += out.len() as u64;
    out.drain(..).for_each(|frame| cache.free(frame));
    to.flush(cache);
    received
}
