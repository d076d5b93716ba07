use super::simulation::{DURATION, GROUPS, World, ms, one_in};
use crate::election::{member_name, rank};
use proptest::prelude::*;

/// Time for everybody to agree when nothing is in the way: a membership that has
/// to be fenced, and some turns.
const SETTLE_MS: u64 = 6000;

/// Two may announce the same VIP for as long as it takes to hear the other and to
/// make it so.
const DOUBLE_MAX_MS: u64 = 200;

fn settled(gateways: usize, seed: u64) -> World {
    let mut world = World::new(gateways, seed);
    world.run(ms(SETTLE_MS));
    assert_shares(&world);
    world
}

/// Every group is announced by the one that should, and one is the leader.
fn assert_shares(world: &World) {
    let nodes: Vec<&str> = world
        .gateways
        .iter()
        .filter(|gateway| gateway.machine.is_some())
        .map(|gateway| &*gateway.node)
        .collect();
    for (group, announcer) in world.announcers().into_iter().enumerate() {
        let should = rank(group as u16, nodes.iter().copied());
        assert_eq!(announcer.as_deref(), should, "group {group} of {nodes:?}");
    }
    let leader = rank(GROUPS, nodes.iter().copied()).map(str::to_owned);
    assert_eq!(world.leaders(), Vec::from_iter(leader));
}

/// One whose control has failed keeps what its workers announce; the rest of its
/// share is others'.
#[test]
fn one_without_control_keeps_what_it_has_and_is_given_nothing() {
    for seed in 0..20 {
        let mut world = settled(3, seed);
        let before = world.announcers();
        let lost = Some("gateway-1".to_owned());
        world.gateways[1].is_uncontrolled = true;
        world.gateways[1].machine.as_mut().unwrap().set_eligible(false);
        world.run(ms(SETTLE_MS));
        assert_eq!(world.announcers(), before);
        assert!(!world.leaders().contains(&"gateway-1".to_owned()) && world.leaders().len() == 1);
        world.kill(0);
        world.run(ms(SETTLE_MS));
        for (before, after) in before.iter().zip(world.announcers()) {
            let keeps = *before == lost;
            assert_eq!(after.as_deref(), Some(if keeps { "gateway-1" } else { "gateway-2" }));
        }
        world.start(0);
        world.gateways[1].is_uncontrolled = false;
        world.gateways[1].machine.as_mut().unwrap().set_eligible(true);
        world.run(ms(SETTLE_MS));
        assert_shares(&world);
        assert_eq!(world.double_max, ms(0));
    }
}

/// One that was the only one announces everything though the API is away when it
/// starts, and goes on while the API comes back and others do.
#[test]
fn one_that_was_alone_announces_without_the_api() {
    for seed in 0..20 {
        let mut world = World::new(2, seed);
        world.kill(1);
        world.run(ms(SETTLE_MS));
        let now = world.gateways[0].local(world.now);
        let machine = world.gateways[0].machine.as_ref().unwrap();
        assert_eq!(machine.is_alone(now), Some(true));
        world.kill(0);
        world.gateways[0].is_cut = true;
        world.start(0);
        world.gateways[0].machine.as_mut().unwrap().set_alone();
        world.run(DURATION / 2);
        assert!(world.announcers().iter().all(Option::is_none), "the API gets some time");
        world.run(DURATION);
        let all = vec![Some("gateway-0".to_owned()); usize::from(GROUPS)];
        assert_eq!(world.announcers(), all);
        assert!(world.leaders().is_empty());
        world.gateways[0].is_cut = false;
        world.relist(0);
        for _ in 0..SETTLE_MS / 10 {
            world.step();
            assert_eq!(world.announcers(), all, "{:?}", world.now);
        }
        assert_eq!(world.leaders(), ["gateway-0"]);
        world.start(1);
        world.run(ms(SETTLE_MS));
        assert_shares(&world);
        assert_eq!(world.double_max, ms(0));
    }
}

/// One that wrongly takes itself for the only one ends when it hears another.
#[test]
fn one_that_is_not_alone_after_all_gives_way() {
    for seed in 0..20 {
        let mut world = settled(2, seed);
        world.kill(0);
        world.run(ms(SETTLE_MS));
        world.gateways[0].is_cut = true;
        world.start(0);
        world.gateways[0].machine.as_mut().unwrap().set_alone();
        world.run(ms(SETTLE_MS));
        let all = vec![Some("gateway-1".to_owned()); usize::from(GROUPS)];
        assert_eq!(world.announcers(), all);
        assert!(world.double_max <= ms(DOUBLE_MAX_MS), "{:?}", world.double_max);
    }
}

#[test]
fn the_groups_of_one_that_is_killed_are_announced_by_others_in_time() {
    for seed in 0..20 {
        let mut world = settled(3, seed);
        let before = world.announcers();
        world.run(ms(seed * 37));
        world.kill(1);
        let killed = world.now;
        while world.announcers().contains(&None) {
            world.step();
        }
        let took = world.now - killed;
        // Clocks run up to 2 % fast or slow.
        assert!(took < DURATION + ms(300), "{took:?}");
        for (before, after) in before.into_iter().zip(world.announcers()) {
            assert!(before.as_deref() == Some("gateway-1") || before == after);
        }
        world.run(ms(SETTLE_MS));
        assert_shares(&world);
        world.start(1);
        world.run(ms(SETTLE_MS));
        assert_shares(&world);
        assert_eq!(world.double_max, ms(0));
    }
}

#[test]
fn who_leaves_in_order_hands_over_at_once() {
    let mut world = settled(2, 7);
    let machine = world.gateways[0].machine.as_mut().unwrap();
    machine.set_eligible(false);
    let begun = world.now;
    while !world.gateways[0].machine.as_ref().unwrap().is_out()
        || world.announcers().contains(&None)
    {
        world.step();
    }
    assert!(world.now - begun < ms(400), "{:?}", world.now - begun);
    world.kill(0);
    world.run(ms(100));
    assert_shares(&world);
    assert_eq!(world.double_max, ms(0));
    // It may change its mind.
    world.start(0);
    world.run(ms(SETTLE_MS));
    world.gateways[0].machine.as_mut().unwrap().set_eligible(false);
    world.run(ms(30));
    world.gateways[0].machine.as_mut().unwrap().set_eligible(true);
    world.run(ms(SETTLE_MS));
    assert_shares(&world);
}

#[test]
fn nothing_changes_while_the_api_is_away_for_all_and_when_it_returns() {
    let mut world = settled(3, 3);
    let before = world.announcers();
    world.gateways.iter_mut().for_each(|gateway| gateway.is_cut = true);
    for _ in 0..300 {
        world.run(ms(100));
        assert_eq!(world.announcers(), before);
    }
    assert!(world.leaders().is_empty(), "who cannot write leads nobody");
    world.gateways.iter_mut().for_each(|gateway| gateway.is_cut = false);
    for i in 0..3 {
        world.relist(i);
        world.run(ms(700));
        assert_eq!(world.announcers(), before);
    }
    world.run(ms(SETTLE_MS));
    assert_shares(&world);
    let fenced = |g: &super::simulation::Gateway| g.machine.as_ref().unwrap().counts().fenced;
    assert_eq!(world.gateways.iter().map(fenced).sum::<u64>(), 0);
}

#[test]
fn who_alone_has_lost_the_api_ends_when_another_takes_over() {
    let mut world = settled(2, 5);
    world.gateways[0].is_cut = true;
    world.run(DURATION + ms(500));
    assert!(world.announcers().iter().all(|node| node.as_deref() == Some("gateway-1")));
    assert!(world.double_max <= ms(DOUBLE_MAX_MS), "{:?}", world.double_max);
    world.run(ms(20_000));
    assert!(world.announcers().iter().all(|node| node.as_deref() == Some("gateway-1")));
    world.gateways[0].is_cut = false;
    world.relist(0);
    world.run(ms(SETTLE_MS));
    assert_shares(&world);
}

#[test]
fn one_that_was_stopped_finds_that_it_is_over() {
    let mut world = settled(2, 9);
    world.gateways[0].stopped_until = world.now + ms(10_000);
    world.run(ms(10_000));
    assert!(world.gateways[1].announced.len() == u32::from(GROUPS));
    world.run(ms(SETTLE_MS));
    assert_shares(&world);
    assert!(world.double_max <= ms(DOUBLE_MAX_MS), "{:?}", world.double_max);
}

#[test]
fn a_membership_deleted_by_hand_is_made_anew() {
    let mut world = settled(2, 11);
    for _ in 0..10 {
        world.api.delete(&member_name("gateway-0"));
        world.run(ms(1370));
    }
    world.run(ms(SETTLE_MS));
    assert_shares(&world);
    assert_eq!(world.double_max, ms(0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever happens, no two hold the same ([`World::step`] looks after every
    /// step), two announce the same for a short time at most, and in the end each
    /// has its share.
    #[test]
    fn never_two_and_in_the_end_all(seed: u64, gateways in 2_usize..5) {
        let mut world = World::new(gateways, seed);
        world.is_rough = true;
        for _ in 0..600 {
            let i = world.random.u64(..gateways as u64) as usize;
            match world.random.u64(..60) {
                0 => world.kill(i),
                1 | 2 if world.gateways[i].machine.is_none() => world.start(i),
                3 => world.gateways[i].is_cut = true,
                4 | 5 if world.gateways[i].is_cut => {
                    world.gateways[i].is_cut = false;
                    world.relist(i);
                }
                6 => {
                    let time = ms(world.random.u64(..6000));
                    world.gateways[i].stopped_until = world.now + time;
                }
                7 => world.relist(i),
                8 => {
                    let name = member_name(&world.gateways[i].node.clone());
                    world.api.delete(&name);
                }
                9 | 10 => {
                    let is_eligible = one_in(&mut world.random, 2);
                    if let Some(machine) = &mut world.gateways[i].machine {
                        machine.set_eligible(is_eligible);
                    }
                }
                _ => {}
            }
            world.run(ms(100));
        }
        prop_assert!(world.double_max <= ms(DOUBLE_MAX_MS), "{:?}", world.double_max);
        world.is_rough = false;
        for i in 0..gateways {
            world.gateways[i].is_cut = false;
            match &mut world.gateways[i].machine {
                Some(machine) => machine.set_eligible(true),
                None => world.start(i),
            }
            world.relist(i);
        }
        // Those that are stopped go on within 6 s, and what is under way ends.
        world.run(ms(10_000 + 2 * SETTLE_MS));
        assert_shares(&world);
    }
}

/// An API server that refuses renewals for a while, as it does when it starts,
/// takes no VIPs away.
#[test]
fn a_refused_renewal_is_as_none() {
    let mut world = settled(1, 7);
    let all = world.announcers();
    world.gateways[0].is_refused = true;
    world.run(3 * DURATION);
    assert_eq!(world.announcers(), all);
    assert!(world.leaders().is_empty());
    world.gateways[0].is_refused = false;
    world.run(ms(SETTLE_MS));
    assert_shares(&world);
}
