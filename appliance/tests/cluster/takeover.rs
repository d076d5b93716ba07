use crate::lab::{ControlPlane, eventually, succeeded};
use crate::link::{Link, Stop};
use std::collections::BTreeMap;
use std::time::Duration;

/// VIPs of each family.
const VIPS: usize = 12;

/// How long a VIP may be away when its holder is killed.
const OUTAGE_MAX: Duration = Duration::from_secs(3);

fn vips() -> Vec<String> {
    let v4 = (0..VIPS).map(|i| format!("192.0.2.{}", 100 + i));
    v4.chain((0..VIPS).map(|i| format!("2001:db8:1::{}", 100 + i))).collect()
}

/// A Service for each pair of VIPs. Nobody is behind them: the gateway itself
/// answers pings.
fn services() -> String {
    let service = |i: usize| {
        format!(
            "
apiVersion: v1
kind: Service
metadata: {{name: vip-{i}}}
spec:
  ipFamilyPolicy: PreferDualStack
  externalIPs: [192.0.2.{last}, '2001:db8:1::{last}']
  ports: [{{port: 80}}]
",
            last = 100 + i
        )
    };
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: sluice-system}\n".to_owned();
    let all: Vec<String> = [namespace].into_iter().chain((0..VIPS).map(service)).collect();
    all.join("\n---\n")
}

/// Who answers for each VIP, and how often that has changed; the capture must
/// not show that the one before goes on.
#[derive(Debug, Default)]
struct Holders(BTreeMap<String, Vec<String>>);

impl Holders {
    fn of(capture: &[(String, String)]) -> Self {
        let mut holders = Holders::default();
        for (vip, mac) in capture {
            let of = holders.0.entry(vip.clone()).or_default();
            if of.last() != Some(mac) {
                of.push(mac.clone());
            }
        }
        holders
    }

    /// VIPs that one gateway, and no other, answered for last.
    fn held_by(&self, mac: &str) -> Vec<String> {
        let is_last = |of: &Vec<String>| of.last().is_some_and(|last| last == mac);
        self.0.iter().filter(|(_, of)| is_last(of)).map(|(vip, _)| vip.clone()).collect()
    }
}

/// Starts two gateways, and waits until each answers for some of the VIPs.
fn both_share(link: &mut Link, all: &[String]) -> Holders {
    link.start(0);
    link.start(1);
    link.client_flushes_neighbors();
    eventually("both have a share", || {
        let holders = Holders::of(&link.captured());
        let known = holders.0.len() == all.len();
        let shared = (0..2).all(|i| !holders.held_by(&Link::mac(i)).is_empty());
        link.ping_once(all);
        (known && shared).then_some(holders)
    })
}

/// Two gateways on one link: the one is killed and its VIPs are announced by the
/// other in time, comes back, and hands over in order. Nobody answers for a VIP
/// that another one has.
#[test]
fn the_vips_of_a_gateway_that_is_killed_are_taken_over() {
    let cluster = ControlPlane::up(&[]);
    cluster.apply(&services());
    let Some(mut link) = Link::up(&cluster) else { return };
    let all = vips();
    let holders = both_share(&mut link, &all);
    // What was settled at the start does not count: the first had all.
    std::thread::sleep(Duration::from_secs(4));
    let shares = [0, 1].map(|i| holders.held_by(&Link::mac(i)));
    println!("shares: {} and {} VIPs", shares[0].len(), shares[1].len());

    link.forget_capture();
    let pings = link.ping(&all);
    std::thread::sleep(Duration::from_secs(2));
    link.stop(1, Stop::Kill);
    std::thread::sleep(Duration::from_secs(6));
    let gaps = pings.finish();
    let longest = gaps.values().max().copied().unwrap_or_default();
    println!("killed: longest outage of a VIP {longest:?}");
    assert_eq!(gaps.len(), all.len(), "{gaps:?}");
    assert!(longest <= OUTAGE_MAX, "{gaps:?}");
    for vip in &shares[0] {
        assert!(gaps[vip] < Duration::from_millis(1000), "{vip} of the other: {:?}", gaps[vip]);
    }
    let holders = Holders::of(&link.captured());
    for (vip, of) in &holders.0 {
        let moved = if shares[1].contains(vip) { 2 } else { 1 };
        assert_eq!(of.len(), moved, "{vip}: {of:?}");
        assert_eq!(*of.last().unwrap(), Link::mac(0), "{vip}: {of:?}");
    }

    // It comes back to its share, and then goes in order.
    link.forget_capture();
    let pings = link.ping(&all);
    link.start(1);
    eventually("its share is back", || {
        let held = Holders::of(&link.captured()).held_by(&Link::mac(1));
        (held.len() == shares[1].len()).then_some(())
    });
    std::thread::sleep(Duration::from_secs(3));
    link.stop(1, Stop::InOrder);
    std::thread::sleep(Duration::from_secs(3));
    let gaps = pings.finish();
    println!("handed over twice: longest outage of a VIP {:?}", gaps.values().max());
    let holders = Holders::of(&link.captured());
    for (vip, of) in &holders.0 {
        let moved = if shares[1].contains(vip) { 3 } else { 1 };
        assert_eq!(of.len(), moved, "{vip}: {of:?}");
    }
    succeeded(&link.client(&["ping", "-c", "1", "-W", "2", &all[0]]), "a ping in the end");
}

/// A gateway that alone has lost the API ends when another one takes over.
#[test]
fn a_gateway_that_has_lost_the_api_gives_way() {
    let cluster = ControlPlane::up(&[]);
    cluster.apply(&services());
    let Some(mut link) = Link::up(&cluster) else { return };
    let all = vips();
    both_share(&mut link, &all);
    let pings = link.ping(&all);
    link.cut_api(0);
    eventually("the other one has all", || {
        let holders = Holders::of(&link.captured());
        (holders.held_by(&Link::mac(1)).len() == all.len()).then_some(())
    });
    // Who has lost the API has heard that by now, and keeps silent.
    std::thread::sleep(Duration::from_secs(3));
    link.forget_capture();
    std::thread::sleep(Duration::from_secs(3));
    let holders = Holders::of(&link.captured());
    assert!(holders.held_by(&Link::mac(0)).is_empty(), "{holders:?}");
    let gaps = pings.finish();
    println!("API lost by one: longest outage of a VIP {:?}", gaps.values().max());
    assert!(gaps.values().all(|gap| *gap <= OUTAGE_MAX), "{gaps:?}");
    // With no API at all, the one that is left goes on.
    link.cut_api(1);
    std::thread::sleep(Duration::from_secs(5));
    succeeded(&link.client(&["ping", "-c", "1", "-W", "2", &all[0]]), "a ping without any API");
}
