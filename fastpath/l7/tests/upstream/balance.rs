//! Which endpoint a request goes to.

use super::servers::{Server, answer, head, refusing, reset};
use super::{get, http, run, run_with, text, until};
use sluice_l7::L7Reason;
use sluice_l7::upstream::UpstreamConfig;
use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

#[test]
fn requests_spread_evenly() {
    run(|world| async move {
        let mut servers = Vec::new();
        for _ in 0..5 {
            servers.push(Server::named("x").await);
        }
        let addrs: Vec<_> = servers.iter().map(|server| server.addr).collect();
        let upstream = http(&addrs);
        let mut asked = HashMap::new();
        for _ in 0..1000 {
            let sent = world.send(&upstream, get()).await.unwrap();
            *asked.entry(sent.endpoint).or_insert(0) += 1;
            text(sent.response).await.unwrap();
        }
        for addr in addrs {
            assert!((140..260).contains(&asked[&addr]), "{asked:?}");
        }
    });
}

#[test]
fn who_has_less_to_do_is_given_more() {
    run(|world| async move {
        let mut servers = Vec::new();
        for _ in 0..4 {
            servers.push(Server::named("x").await);
        }
        let addrs: Vec<_> = servers.iter().map(|server| server.addr).collect();
        let upstream = http(&addrs);
        // None of them is over: by two random choices they differ by little.
        let mut held = Vec::new();
        for _ in 0..80 {
            held.push(world.send(&upstream, get()).await.unwrap());
        }
        for addr in &addrs {
            assert!((17..=23).contains(&world.state(*addr).outstanding));
        }
        // The second choice is always another endpoint: of two, the busy one is left alone.
        let busy = http(&addrs[..1]);
        let both = http(&addrs[..2]);
        drop(held);
        let _held = world.send(&busy, get()).await.unwrap();
        for _ in 0..50 {
            let sent = world.send(&both, get()).await.unwrap();
            assert_eq!(sent.endpoint, addrs[1]);
            text(sent.response).await.unwrap();
        }
    });
}

#[test]
fn who_fails_again_and_again_is_left_out_for_a_while() {
    run(|world| async move {
        let heals = Rc::new(Cell::new(false));
        let healed = heals.clone();
        let bad = Server::new(move |_, mut stream| {
            let healed = healed.clone();
            async move {
                while head(&mut stream).await.is_some() {
                    if !healed.get() {
                        return reset(stream);
                    }
                    answer(&mut stream, "bad").await;
                }
            }
        })
        .await;
        let good = Server::named("good").await;
        let upstream = http(&[bad.addr, good.addr]);
        let ejected = || {
            let states = world.upstreams.endpoints();
            states.iter().any(|state| state.ejected_until_ns.is_some())
        };
        let mut failures = 0;
        for ejected_s in [1, 2, 4, 8, 16, 30, 30] {
            let before = bad.accepted();
            while !ejected() {
                // Nobody sees it: the other endpoint answers.
                assert_eq!(world.get(&upstream).await.unwrap(), "good");
            }
            failures += bad.accepted() - before;
            for _ in 0..30 {
                assert_eq!(world.get(&upstream).await.unwrap(), "good");
            }
            world.net.pass(Duration::from_secs(ejected_s) - Duration::from_millis(1));
            assert!(ejected(), "{ejected_s}");
            world.net.pass(Duration::from_millis(1));
            assert!(!ejected(), "{ejected_s}");
        }
        // Five in a row at first, then each one.
        assert_eq!(failures, 5 + 6);
        assert_eq!((world.counters().ejections, world.counters().retries), (7, 11));
        // One success, and it has a clean sheet.
        heals.set(true);
        while world.get(&upstream).await.unwrap() != "bad" {}
        heals.set(false);
        let before = bad.accepted();
        while !ejected() {
            world.net.pass(Duration::from_secs(5));
            assert_eq!(world.get(&upstream).await.unwrap(), "good");
        }
        // The connection that was kept was too old when the next request came.
        assert_eq!(bad.accepted() - before, 5);
    });
}

#[test]
fn never_more_than_half_are_left_out() {
    let config = UpstreamConfig { failures_max: 1, retries_max: 0, ..Default::default() };
    run_with(config, |world| async move {
        for (count, left_out) in [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2)] {
            let mut addrs = Vec::new();
            for _ in 0..count {
                addrs.push(refusing().await);
            }
            let upstream = http(&addrs);
            for _ in 0..50 {
                let refusal = world.send(&upstream, get()).await.unwrap_err();
                assert_eq!(refusal.reason, L7Reason::ConnectFailed);
            }
            let states = world.upstreams.endpoints();
            let ejected = states.iter().filter(|state| state.ejected_until_ns.is_some());
            assert_eq!(ejected.count(), left_out, "of {count}");
        }
    });
}

#[test]
fn endpoints_come_and_go_while_requests_run() {
    run(|world| async move {
        let mut servers = std::collections::VecDeque::new();
        for _ in 0..3 {
            servers.push_back(Server::named("x").await);
        }
        let done = Rc::new(Cell::new(0));
        let current = Rc::new(std::cell::RefCell::new(http(&[])));
        let addrs = |servers: &std::collections::VecDeque<Server>| {
            http(&servers.iter().map(|server| server.addr).collect::<Vec<_>>())
        };
        *current.borrow_mut() = addrs(&servers);
        let clients: Vec<_> = (0..20)
            .map(|_| {
                let (world, current, done) = (world.clone(), current.clone(), done.clone());
                tokio::task::spawn_local(async move {
                    for _ in 0..50 {
                        let upstream = current.borrow().clone();
                        assert_eq!(world.get(&upstream).await, Ok("x".to_string()));
                        done.set(done.get() + 1);
                    }
                })
            })
            .collect();
        let mut gone = Vec::new();
        for round in 1..=20 {
            until("some are done", || done.get() >= round * 45).await;
            servers.push_back(Server::named("x").await);
            // It serves on for those that are on their way.
            gone.push(servers.pop_front().unwrap());
            *current.borrow_mut() = addrs(&servers);
        }
        for client in clients {
            client.await.unwrap();
        }
        assert_eq!(done.get(), 1000);
        let last = current.borrow().clone();
        world.get(&last).await.unwrap();
        until("those of the others are closed", || {
            world.upstreams.connections()
                == world.upstreams.endpoints().iter().map(|state| state.idle).sum::<usize>()
        })
        .await;
        assert_eq!(world.upstreams.endpoints().len(), 3);
    });
}

#[test]
fn what_runs_at_an_endpoint_that_goes_ends_in_peace() {
    run(|world| async move {
        let (a, b) = (Server::named("a").await, Server::named("b").await);
        world.get(&http(&[a.addr])).await.unwrap();
        let held = world.send(&http(&[a.addr]), get()).await.unwrap();
        let second = world.send(&http(&[a.addr]), get()).await.unwrap();
        text(second.response).await.unwrap();
        assert_eq!((world.state(a.addr).outstanding, world.state(a.addr).idle), (1, 1));
        assert_eq!(world.get(&http(&[b.addr])).await.unwrap(), "b");
        assert_eq!(world.counters().idle_closed, 1);
        until("what was kept is closed", || world.upstreams.connections() == 2).await;
        assert_eq!(text(held.response).await.unwrap(), "a");
        until("so is the other", || world.upstreams.connections() == 1).await;
        assert_eq!(world.counters().idle_closed, 2);
    });
}

#[test]
fn what_runs_outlives_its_worker() {
    run(|world| async move {
        let server = Server::named("a").await;
        let short = super::World::new(UpstreamConfig::default());
        let upstream = http(&[server.addr]);
        short.get(&upstream).await.unwrap();
        let (net, sent) = (short.net.clone(), short.send(&upstream, get()).await.unwrap());
        drop(short);
        assert_eq!(text(sent.response).await.unwrap(), "a");
        until("all tasks are over", || {
            net.pass(Duration::from_secs(5));
            net.tasks() == 0
        })
        .await;
        drop(world);
    });
}

#[test]
fn an_upstream_that_changes_what_it_speaks_has_new_connections() {
    run(|world| async move {
        let server = Server::named("a").await;
        world.get(&http(&[server.addr])).await.unwrap();
        let upstream = super::upstream(sluice_tables::l7::BackendProtocol::Https, &[server.addr]);
        world.get(&upstream).await.unwrap();
        assert_eq!((server.accepted(), world.counters().idle_closed), (2, 1));
    });
}

#[test]
fn an_endpoint_that_is_there_twice_is_one() {
    run(|world| async move {
        let server = Server::named("a").await;
        let twice = http(&[server.addr, server.addr]);
        let held = world.send(&twice, get()).await.unwrap();
        text(world.send(&twice, get()).await.unwrap().response).await.unwrap();
        assert_eq!(world.upstreams.endpoints().len(), 1);
        assert_eq!((world.state(server.addr).outstanding, world.state(server.addr).idle), (1, 1));
        assert_eq!(text(held.response).await.unwrap(), "a");
    });
}
