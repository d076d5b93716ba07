use sluice_config::{Config, IdleMode};
use sluice_fastpath::flow::{FlowLimits, State, Timeouts};
use sluice_fastpath::idle::IdleMode as FastpathIdleMode;
use sluice_fastpath::{FragmentOptions, NeighborOptions, WorkerOptions};
use sluice_io::af_xdp::{Attach, CopyMode};
use sluice_io::{AfXdpOptions, AfXdpPortOptions, PortId};
use std::time::Duration;

/// What to open.
pub fn af_xdp(config: &Config) -> AfXdpOptions {
    let ports = config.ports.iter().enumerate().map(|(index, port)| {
        let overlay = config.overlay.as_ref().filter(|overlay| overlay.vxlan.port.0 == index);
        AfXdpPortOptions {
            id: PortId(index as u8),
            name: port.name.to_string(),
            device: port.device.clone(),
            kernel_addresses: port.kernel_addresses.clone(),
            vteps: overlay.iter().flat_map(|overlay| overlay.vxlan.addresses.iter()).collect(),
            vxlan_udp_port: overlay.map_or(4789, |overlay| overlay.vxlan.udp_port),
        }
    });
    let io = &config.io;
    AfXdpOptions {
        frames: io.frames as usize,
        ring_len: io.ring_len,
        attach: match io.attach {
            sluice_config::Attach::Auto => Attach::Auto,
            sluice_config::Attach::Native => Attach::Native,
            sluice_config::Attach::Generic => Attach::Generic,
        },
        copy: match io.copy {
            sluice_config::CopyMode::Auto => CopyMode::Auto,
            sluice_config::CopyMode::ZeroCopy => CopyMode::ZeroCopy,
            sluice_config::CopyMode::Copy => CopyMode::Copy,
        },
        ..AfXdpOptions::new(ports.collect(), config.workers.count)
    }
}

/// What to open with DPDK.
#[cfg(feature = "dpdk")]
pub fn dpdk(config: &Config) -> sluice_io::DpdkOptions {
    use ipnet::IpNet;
    use std::net::IpAddr;
    let ports = config.ports.iter().enumerate().map(|(index, port)| {
        let overlay = config.overlay.as_ref().filter(|overlay| overlay.vxlan.port.0 == index);
        let with_len = |address: &IpAddr| {
            let network = port.addresses.iter().find(|network| network.contains(address));
            let alone = if address.is_ipv4() { 32 } else { 128 };
            (*address, network.map_or(alone, IpNet::prefix_len))
        };
        sluice_io::DpdkPortOptions {
            id: PortId(index as u8),
            name: port.name.to_string(),
            device: port.device.clone(),
            kernel_device: config.kernel_device(sluice_config::PortIndex(index)).map(str::to_owned),
            mtu: port.mtu,
            kernel_addresses: port.kernel_addresses.iter().map(with_len).collect(),
            vteps: overlay.iter().flat_map(|overlay| overlay.vxlan.addresses.iter()).collect(),
            vxlan_udp_port: overlay.map_or(4789, |overlay| overlay.vxlan.udp_port),
            vlan: port.vlan,
        }
    });
    let io = &config.io;
    sluice_io::DpdkOptions {
        ports: ports.collect(),
        workers: config.workers.count,
        frames: io.frames,
        ring_len: u16::try_from(io.ring_len).unwrap_or(u16::MAX),
        huge_pages: io.dpdk.huge_pages,
        arguments: io.dpdk.arguments.clone(),
    }
}

/// Clients that each worker remembers for Services with session affinity: 3.5
/// MiB.
const AFFINITIES_MAX: usize = 65_536;

/// How worker `id` is set up. What the configuration bounds over all workers
/// is split among them.
pub fn worker(config: &Config, id: usize, seed: u64) -> WorkerOptions {
    let workers = config.workers.count as u32;
    let neighbors = &config.neighbors;
    WorkerOptions {
        id,
        flows_max: config.flows.max.div_ceil(workers) as usize,
        timeouts: timeouts(config),
        limits: limits(config),
        neighbors: NeighborOptions {
            neighbors_max: neighbors.max as usize,
            queue_len: neighbors.queue_len as usize,
            reachable_ns: nanos(neighbors.reachable),
            probes_max: neighbors.retries as u8,
        },
        syn_gate: config.flows.syn_gate,
        affinities_max: AFFINITIES_MAX,
        fragments: FragmentOptions {
            datagrams_max: config.fragments.max as usize,
            held_max: config.fragments.held as usize,
            timeout_ns: nanos(config.fragments.timeout),
        },
        errors_per_second: config.icmp.errors_per_second.div_ceil(workers),
        seed,
    }
}

/// A worker's share of the limits: flows are spread evenly over workers. None
/// stays out of reach.
fn limits(config: &Config) -> FlowLimits {
    let share = |limit: u32| limit.div_ceil(config.workers.count as u32);
    let from = &config.flows.limits;
    FlowLimits {
        per_source: share(from.per_source),
        per_source_half_open: share(from.per_source_half_open),
        per_service: share(from.per_service),
        per_service_half_open: share(from.per_service_half_open),
    }
}

fn timeouts(config: &Config) -> Timeouts {
    let millis = |timeout: Duration| u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
    let from = &config.flows.timeouts;
    let mut timeouts = Timeouts::default();
    for (state, timeout) in [
        (State::SynSent, from.tcp_syn_sent),
        (State::SynRecv, from.tcp_syn_recv),
        (State::Established, from.tcp_established),
        (State::FinWait, from.tcp_fin_wait),
        (State::CloseWait, from.tcp_close_wait),
        (State::LastAck, from.tcp_last_ack),
        (State::TimeWait, from.tcp_time_wait),
        (State::Close, from.tcp_close),
        (State::SctpInit, from.sctp_init),
        (State::SctpCookie, from.sctp_cookie),
        (State::SctpEstablished, from.sctp_established),
        (State::SctpShutdown, from.sctp_shutdown),
        (State::SctpClosed, from.sctp_closed),
        (State::UdpNew, from.udp),
        (State::UdpStream, from.udp_stream),
        (State::Icmp, from.icmp),
        (State::Generic, from.generic),
    ] {
        timeouts.set(state, millis(timeout));
    }
    timeouts.unanswered_ms = millis(from.tcp_unanswered);
    timeouts
}

/// What a worker does when nothing comes.
pub fn idle(config: &Config) -> FastpathIdleMode {
    let idle = &config.workers.idle;
    let sleep_ns_max = nanos(idle.sleep_max);
    match idle.mode {
        IdleMode::BusyPoll => FastpathIdleMode::BusyPoll,
        IdleMode::Adaptive => {
            FastpathIdleMode::Adaptive { spin_ns: nanos(idle.spin), sleep_ns_max }
        }
        IdleMode::Sleep => FastpathIdleMode::Adaptive { spin_ns: 0, sleep_ns_max },
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(more: &str) -> Config {
        let text = format!(
            "
ports:
  - {{name: a, device: eth1, addresses: [192.0.2.1/24]}}
  - {{name: b, device: eth2, addresses: [10.10.0.1/24], kernel_addresses: [10.10.0.9]}}
snat: {{addresses: [10.244.255.0/28]}}
source: {{manifests: {{path: x}}}}
{more}"
        );
        sluice_config::parse("test.yaml", &text).unwrap().config
    }

    #[test]
    fn the_tunnels_port_alone_has_its_endpoints() {
        let config =
            config("overlay: {vxlan: {vni: 1, udp_port: 8472, port: b, addresses: [10.10.0.1]}}");
        let options = af_xdp(&config);
        assert!(options.ports[0].vteps.is_empty());
        assert_eq!(options.ports[1].vteps, ["10.10.0.1".parse::<std::net::IpAddr>().unwrap()]);
        assert_eq!(options.ports[1].vxlan_udp_port, 8472);
        assert_eq!(options.ports[1].kernel_addresses.len(), 1);
    }

    #[test]
    fn bounds_are_split_among_workers() {
        let config =
            config("workers: {count: 3}\nflows: {max: 3001}\nicmp: {errors_per_second: 4}");
        let worker = worker(&config, 1, 7);
        assert_eq!((worker.flows_max, worker.errors_per_second), (1001, 2));
    }

    #[test]
    fn limits_are_split_among_workers_too() {
        let config = config(
            "workers: {count: 2}\nflows: {max: 4096, limits: {per_source: 101, \
             per_source_half_open: 20, per_service: 1000, per_service_half_open: 301}}",
        );
        let limits = worker(&config, 0, 7).limits;
        let expected = FlowLimits {
            per_source: 51,
            per_source_half_open: 10,
            per_service: 500,
            per_service_half_open: 151,
        };
        assert_eq!(limits, expected);
    }

    #[test]
    fn timeouts_reach_their_states() {
        let config = config("flows: {timeouts: {udp_s: 7, tcp_established_s: 604800}}");
        let timeouts = timeouts(&config);
        assert_eq!(timeouts.of(State::UdpNew), 7_000);
        assert_eq!(timeouts.of(State::Established), 604_800_000);
        assert_eq!(timeouts.of(State::CloseWait), 3_600_000);
    }

    #[test]
    fn sleep_at_once_is_adaptive_without_spinning() {
        let config = config("workers: {idle: {mode: sleep, sleep_us_max: 500}}");
        let expected = FastpathIdleMode::Adaptive { spin_ns: 0, sleep_ns_max: 500_000 };
        assert_eq!(idle(&config), expected);
    }
}
