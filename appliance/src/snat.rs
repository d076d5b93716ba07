use crate::cli::units;
use crate::gateway::Gateway;
use sluice_control::ServiceLabel;
use sluice_tables::ServiceId;
use std::collections::BTreeMap;

/// From here on an endpoint's SNAT ports are running out.
const MUCH: f64 = 0.8;

/// How many SNAT ports flows to one endpoint hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Used {
    /// The endpoint's number.
    pub backend: u32,
    /// Its Service's.
    pub service: ServiceId,
    /// Ports in use, over all workers.
    pub used: u64,
    /// Ports that there are, over all workers.
    pub capacity: u64,
    /// The share of them that is used at the worker that has the least left.
    pub ratio: f64,
}

/// All endpoints to which a SNAT port is in use, the fullest first.
pub fn used(gateway: &Gateway) -> Vec<Used> {
    let mut all: BTreeMap<u32, Used> = BTreeMap::new();
    for worker in &gateway.workers {
        let counters = &worker.counters;
        for (backend, load) in (0..).zip(counters.loads.backends()) {
            let used = u64::from(load.snat.get());
            let Some(of_family) = counters.snat_capacity.get(load.family()) else { continue };
            if used == 0 {
                continue;
            }
            let service = load.service();
            let none = Used { backend, service, used: 0, capacity: 0, ratio: 0.0 };
            let sum = all.entry(backend).or_insert(none);
            sum.used += used;
            // Flows of an earlier pool may be more than there is room for now.
            let capacity = of_family.get().max(1);
            sum.ratio = sum.ratio.max((used as f64 / capacity as f64).min(1.0));
        }
    }
    let mut all: Vec<Used> = all.into_values().collect();
    for used in &mut all {
        used.capacity = capacity(gateway, used.backend);
    }
    all.sort_by(|a, b| b.ratio.total_cmp(&a.ratio).then(a.backend.cmp(&b.backend)));
    all
}

/// Ports towards an endpoint, over all workers: by the family that any of them
/// knows it to have.
fn capacity(gateway: &Gateway, backend: u32) -> u64 {
    let loads = gateway.workers.iter().map(|worker| worker.counters.loads.backends());
    let of_endpoint = loads.filter_map(|loads| loads.get(backend as usize));
    let family = of_endpoint.map(|load| load.family()).max().unwrap_or(0);
    let of_worker = gateway.workers.iter().map(|worker| &worker.counters.snat_capacity[family]);
    of_worker.map(|capacity| capacity.get()).sum()
}

/// By the number of a Service's port, the share that is used towards its
/// fullest endpoint.
pub fn fullest(used: &[Used]) -> BTreeMap<u32, f64> {
    let mut fullest: BTreeMap<u32, f64> = BTreeMap::new();
    for of in used {
        let ratio = fullest.entry(of.service.0).or_default();
        *ratio = ratio.max(of.ratio);
    }
    fullest
}

/// What is wrong: Services whose endpoints run out of SNAT ports, and those
/// that have been refused some. `names` are theirs, by number.
pub fn problems(gateway: &Gateway, names: &[Option<ServiceLabel>]) -> Vec<String> {
    let fullest = fullest(&used(gateway));
    let mut problems = Vec::new();
    for (id, label) in (0..).zip(names) {
        let Some(ServiceLabel { namespace, name, port, protocol }) = label else { continue };
        let name = format!("Service {namespace}/{name}, port {port}/{protocol}");
        if let Some(ratio) = fullest.get(&id).filter(|ratio| **ratio > MUCH) {
            let used = units::percent(*ratio);
            problems.push(format!(
                "{name}: {used} of the SNAT ports towards an endpoint are in use: add to \
                 snat.addresses"
            ));
        }
        let refused = refused(gateway, ServiceId(id));
        if refused > 0 {
            let refused = units::count(refused);
            problems.push(format!(
                "{name}: no SNAT port was free {refused} times: add to snat.addresses"
            ));
        }
    }
    problems
}

fn refused(gateway: &Gateway, service: ServiceId) -> u64 {
    let workers = gateway.workers.iter();
    let loads = workers.filter_map(|worker| worker.counters.loads.service(service));
    loads.map(|load| u64::from(load.snat_refused.get())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use sluice_fastpath::flow::{Aside, Entry, FlowLimits, FlowTable, Handshake, Key, Timeouts};
    use sluice_tables::{BackendId, RuleId, V4};
    use std::sync::Arc;

    /// A gateway of two workers, with room for 100 flows to an endpoint each.
    fn gateway() -> Arc<Gateway> {
        let config = testing::config("workers: {count: 2}");
        let clock = Arc::new(testing::FakeClock::default());
        let (_control, handle, _taken) = testing::control(&config, Vec::new(), clock);
        let gateway = testing::gateway(&config, handle);
        for worker in &gateway.workers {
            worker.counters.snat_capacity[0].set(100);
        }
        gateway
    }

    /// So many flows of a worker to an endpoint of a Service.
    fn flows(gateway: &Gateway, worker: usize, service: u32, backend: u32, count: u16) {
        let loads = gateway.workers[worker].counters.loads.clone();
        let limits = FlowLimits::default();
        let mut table = FlowTable::<V4>::new(1024, Timeouts::default(), limits, loads, 7);
        for port in 0..count {
            let service = ServiceId(service);
            let key = Key { src_port: port, dst_port: 80, protocol: 6, ..Key::default() };
            let source = table.source(&key.src, false);
            let admitted = table.admit(source, service, 0).unwrap();
            let backend = BackendId(backend);
            let (handshake, rules) = (Handshake::UNSEEN, [RuleId::NONE; 2]);
            let aside = Aside { backend, handshake, admitted, rules, cut: None };
            let bits = Entry::<V4>::SNAT;
            let original = Entry { key, service, bits, ..Entry::free() };
            let reply = Entry { key: key.reversed(), service, bits, ..Entry::free() };
            let hashes = [table.hash(&original.key), table.hash(&reply.key)];
            table.create(original, reply, hashes, aside, 0).unwrap();
        }
    }

    #[test]
    fn the_fullest_endpoint_comes_first_by_its_fullest_worker() {
        let gateway = gateway();
        flows(&gateway, 0, 1, 5, 40);
        flows(&gateway, 1, 1, 5, 40);
        flows(&gateway, 1, 1, 6, 60);
        let used = used(&gateway);
        let of = |backend, used, ratio| {
            let service = ServiceId(1);
            Used { backend, service, used, capacity: 200, ratio }
        };
        assert_eq!(used, [of(6, 60, 0.6), of(5, 80, 0.4)]);
        assert_eq!(fullest(&used), [(1, 0.6)].into());
    }

    #[test]
    fn a_service_that_runs_out_of_ports_is_named() {
        let gateway = gateway();
        let label = |name: &str| ServiceLabel {
            namespace: "default".into(),
            name: name.into(),
            port: 80,
            protocol: "TCP",
        };
        let names = [None, Some(label("quiet")), Some(label("busy"))];
        flows(&gateway, 0, 1, 5, 80);
        assert_eq!(problems(&gateway, &names), [""; 0]);
        flows(&gateway, 1, 2, 6, 81);
        let expected = "Service default/busy, port 80/TCP: 81.0% of the SNAT ports towards an \
                        endpoint are in use: add to snat.addresses";
        assert_eq!(problems(&gateway, &names), [expected]);
    }
}
