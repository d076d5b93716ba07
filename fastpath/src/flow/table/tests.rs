use super::*;
use crate::flow::Handshake;
use crate::packet::Ingress;
use crate::reason::DropReason;
use crate::stages::policy::UNASKED;
use sluice_io::PortId;
use sluice_tables::{ServiceId, V4, V6};

fn table<F: Ip>(flows_max: usize, limits: FlowLimits) -> FlowTable<F> {
    FlowTable::new(flows_max, Timeouts::default(), limits, Arc::new(Loads::new(4, 4)), 7)
}

/// Begins a flow of a client to an endpoint of a Service.
fn begin(
    table: &mut FlowTable<V4>,
    client: [u8; 4],
    src_port: u16,
    (service, backend): (u32, u32),
) -> Result<u32, DropReason> {
    let key = Key { src: client, dst: [10, 96, 0, 1], src_port, dst_port: 80, protocol: 17 };
    let service = ServiceId(service);
    let source = table.source(&key.src, false);
    let admitted = table.admit(source, service, 0)?;
    let bits = Entry::<V4>::SNAT;
    let original = Entry { key, state: State::UdpNew, service, bits, ..Entry::free() };
    let reply = Entry { key: key.reversed(), state: State::UdpNew, bits, ..Entry::free() };
    let hashes = [table.hash(&original.key), table.hash(&reply.key)];
    let (handshake, rules) = (Handshake::UNSEEN, UNASKED);
    let aside = Aside { backend: BackendId(backend), handshake, admitted, rules, cut: None };
    table.create(original, reply, hashes, aside, 0)
}

fn answer(table: &mut FlowTable<V4>, flow: u32) {
    table.entry_mut(flow + 1).ingress = Ingress::port(PortId(1));
    table.answered(flow + 1);
}

#[test]
fn a_million_flows_of_ipv4_take_256_mib_at_most() {
    let v4 = table::<V4>(1_000_000, FlowLimits::default());
    assert!(v4.memory_bytes() <= 256 << 20, "{} bytes", v4.memory_bytes());
    // What the documentation says.
    assert_eq!(v4.memory_bytes() >> 20, 196);
    let v6 = table::<V6>(1_000_000, FlowLimits::default());
    assert_eq!(v6.memory_bytes() >> 20, 318);
}

#[test]
fn the_memory_is_that_of_every_vector() {
    let mut table = table::<V4>(1_000, FlowLimits::default());
    let said = table.memory_bytes();
    for port in 0..1_000 {
        begin(&mut table, [192, 0, 2, port as u8], port, (0, 0)).unwrap();
    }
    assert_eq!((table.len(), table.memory_bytes()), (1_000, said));
    let fixed = table.buckets.memory_bytes() + size_of_val(&*table.sources);
    let grown = table.entries.capacity() * size_of::<[Entry<V4>; 2]>()
        + table.asides.capacity() * size_of::<Aside>()
        + table.free.capacity() * size_of::<u32>();
    assert_eq!(said, fixed + grown + table.wheel.allocated_bytes());
}

#[test]
fn flows_are_counted_where_they_belong_and_out_again() {
    let mut table = table::<V4>(64, FlowLimits::default());
    let first = begin(&mut table, [192, 0, 2, 1], 1, (2, 3)).unwrap();
    let second = begin(&mut table, [192, 0, 2, 2], 2, (2, 1)).unwrap();
    // Beyond those that are counted.
    begin(&mut table, [192, 0, 2, 3], 3, (900, 900)).unwrap();
    let counts = |table: &FlowTable<V4>| {
        let service = table.loads().service(ServiceId(2)).unwrap();
        let backends = [1, 3].map(|id| table.connections(BackendId(id)));
        let snat = table.loads().backend(BackendId(3)).unwrap().snat.get();
        (service.flows.get(), service.half_open.get(), backends, snat)
    };
    assert_eq!(counts(&table), (2, 2, [1, 1], 1));
    assert!(table.loads().service(ServiceId(900)).is_none());
    assert_eq!(table.connections(BackendId(900)), 0);
    answer(&mut table, first);
    answer(&mut table, first);
    assert_eq!(counts(&table), (2, 1, [1, 1], 1));
    table.remove(first);
    assert_eq!(counts(&table), (1, 1, [1, 0], 0));
    table.remove(second);
    assert_eq!(counts(&table), (0, 0, [0, 0], 0));
    table.expire(10_000_000, 100);
    assert!(table.is_empty());
    assert!(table.sources.iter().all(|load| (load.flows, load.half_open) == (0, 0)));
    let rest = table.loads.of_service(ServiceId::NONE);
    assert_eq!((rest.flows.get(), rest.half_open.get()), (0, 0));
}

#[test]
fn a_flood_of_half_open_flows_takes_nothing_from_answered_ones() {
    let limits = FlowLimits { per_service_half_open: 300, ..FlowLimits::default() };
    let mut table = table::<V4>(1_000, limits);
    let honest: Vec<u32> = (0..500)
        .map(|port| {
            let flow = begin(&mut table, [198, 51, port as u8, 1], port, (1, 1)).unwrap();
            answer(&mut table, flow);
            flow
        })
        .collect();
    let mut refused = 0;
    for n in 0..20_000u32 {
        let [_, a, b, c] = n.wrapping_mul(0x9e37_79b1).to_be_bytes();
        refused += u32::from(begin(&mut table, [203, a, b, c], n as u16, (1, 1)).is_err());
        assert!(table.loads().service(ServiceId(1)).unwrap().half_open.get() <= 300);
    }
    assert!(honest.iter().all(|&flow| table.entry(flow).key.src[0] == 198));
    assert_eq!(table.len(), 800);
    assert!(refused < 20_000 / 10, "{refused} were refused");
}
