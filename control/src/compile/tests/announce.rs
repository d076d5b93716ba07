//! Which VIPs are announced here.

use super::*;
use crate::announce::{Announce, Groups, group_of};
use std::net::Ipv4Addr;

const GROUPS: u16 = 16;

fn held(groups: impl IntoIterator<Item = u16>) -> Announce {
    let mut held = Groups::default();
    groups.into_iter().for_each(|group| held.insert(group));
    Announce::Held { held, groups: GROUPS }
}

fn vip(i: u8) -> IpAddr {
    IpAddr::from([198, 51, 100, i])
}

/// Announced ones of the 200 VIPs in the tables.
fn announced(tables: &Tables) -> BTreeSet<IpAddr> {
    let of = |(addr, vip): (&[u8; 4], &sluice_tables::Vip)| {
        vip.announce.then(|| IpAddr::from(Ipv4Addr::from(*addr)))
    };
    tables.v4.vips.iter().filter_map(of).collect()
}

fn world() -> World {
    let mut world = World::default();
    for i in 0..200 {
        let vips = [format!("10.96.0.{i}"), vip(i).to_string()];
        world.service(&format!("s{i}"), &vips, &[80]);
    }
    world
}

#[test]
fn only_vips_of_held_groups_are_announced_and_all_are_served() {
    let mut world = world();
    world.compiler.set_announce(held([3]));
    let tables = world.compile().unwrap();
    let of = |groups: &[u16]| -> BTreeSet<IpAddr> {
        (0..200).map(vip).filter(|vip| groups.contains(&group_of(*vip, GROUPS))).collect()
    };
    assert!(!of(&[3]).is_empty());
    assert_eq!(announced(&tables), of(&[3]));
    assert_eq!(*world.compiler.announced(), of(&[3]), "ClusterIPs are not announced");
    assert_eq!(tables.v4.vips.len(), 400);
    assert_eq!(tables.v4.frontends.len(), 400);

    // Another group comes and one goes: nothing else is touched.
    world.compiler.set_announce(held([4]));
    let next = world.compile().unwrap();
    assert_eq!(announced(&next), of(&[4]));
    assert_eq!(*world.compiler.announced(), of(&[4]));
    assert!(world.compiler.is_announced(*of(&[4]).first().unwrap()));
    assert!(!world.compiler.is_announced(*of(&[3]).first().unwrap()));
    assert_eq!(next.route_epoch, tables.route_epoch);
    assert_eq!(next.service_epochs, tables.service_epochs);
    let shards = sluice_tables::shards::SHARDS;
    let touched = shards - tables.v4.vips.shards_shared_with(&next.v4.vips);
    assert!(touched <= of(&[3, 4]).len(), "{touched}");

    // The same again is nothing new.
    world.compiler.set_announce(held([4]));
    assert!(world.compile().is_none());
    assert!(world.compiler.announced().is_empty());
}

#[test]
fn what_begins_to_be_announced_is_told_once() {
    let mut world = world();
    world.compile().unwrap();
    assert_eq!(world.compiler.announced().len(), 200);
    world.service("new", &["10.96.1.1".into(), "198.51.100.250".into()], &[80]);
    world.compile().unwrap();
    assert_eq!(*world.compiler.announced(), BTreeSet::from([vip(250)]));
    // A VIP that is shared was announced before.
    world.service("other", &["10.96.1.2".into(), "198.51.100.250".into()], &[81]);
    world.compile().unwrap();
    assert!(world.compiler.announced().is_empty());
    world.delete_service("new");
    world.delete_service("other");
    world.compile().unwrap();
    world.service("new", &["10.96.1.1".into(), "198.51.100.250".into()], &[80]);
    world.compile().unwrap();
    assert_eq!(*world.compiler.announced(), BTreeSet::from([vip(250)]));
}
