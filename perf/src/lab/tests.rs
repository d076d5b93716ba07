use super::memory::{Session, with_worker};
use super::profile::{Close, Count, Direction, Pace, Profile, Size, Traffic, Verify, Version};
use crate::flood::ring::RingPort;
use crate::tsc::Rate;
use anyhow::Result;
use sluice_io::Port;
use sluice_io::decorate::{FaultPort, Faults, SharedClock};
use std::time::Duration;

/// Slow enough for any machine.
const RATE: f64 = 20_000.0;
const MOMENT: Duration = Duration::from_millis(150);

fn profile(family: Version) -> Profile {
    Profile {
        family,
        flows: 500,
        services: 3,
        nodes: 5,
        size: Size::Imix,
        rate: Pace::Packets(RATE),
        verify: Verify::All,
        ..Profile::default()
    }
}

fn plain(port: RingPort) -> Box<dyn Port> {
    Box::new(port)
}

fn run<T>(profile: &Profile, f: impl FnOnce(&mut Session<'_>) -> Result<T>) -> Result<T> {
    with_worker(profile, None, Rate::calibrate(), plain, f)
}

#[test]
fn every_direction_of_both_families_loses_nothing() {
    for family in [Version::V4, Version::V6] {
        for direction in [Direction::Requests, Direction::Replies, Direction::Both] {
            let profile = Profile { direction, ..profile(family) };
            let trial = run(&profile, |session| session.run(Some(RATE), MOMENT, true)).unwrap();
            let outcome = &trial.outcome;
            let passed = match direction {
                Direction::Requests => [outcome.requests; 2],
                Direction::Replies => [outcome.replies; 2],
                Direction::Both => [outcome.requests, outcome.replies],
            };
            for passed in passed {
                assert!(passed.sent > 0 && passed.lost() == 0, "{direction:?} {trial:?}");
                assert_eq!((passed.duplicated, passed.out_of_order), (0, 0), "{trial:?}");
            }
            // Each byte of each frame was looked at.
            let came = outcome.requests.came + outcome.replies.came;
            assert_eq!((outcome.looked_at, outcome.moved), (came, 0), "{trial:?}");
            assert!(outcome.late.is_some_and(|late| late.count > 0), "{trial:?}");
            assert!(outcome.one_way.is_some(), "{trial:?}");
            assert_eq!(outcome.round_trip.is_some(), direction == Direction::Both, "{trial:?}");
            assert!(trial.more.drops.is_empty(), "{trial:?}");
        }
    }
}

#[test]
fn new_flows_and_connections_begin_and_end() {
    for family in [Version::V4, Version::V6] {
        let both = Profile { direction: Direction::Both, ..profile(family) };
        let besides = Profile { new_flows: Count(RATE / 2.0), ..both.clone() };
        let openings = Profile { traffic: Traffic::Openings, seconds: 1.0, ..both };
        for profile in [besides, openings] {
            let outcome = run(&profile, |session| {
                // Numbers of new flows go on from run to run.
                session.run(Some(RATE), MOMENT, false)?;
                Ok(session.run(Some(RATE), MOMENT, false)?.outcome)
            });
            let outcome = outcome.unwrap();
            assert!(outcome.requests.sent > 0 && outcome.lost() == 0, "{outcome:?}");
            assert_eq!(outcome.requests.duplicated + outcome.replies.out_of_order, 0);
        }
        for close in [Close::Fin, Close::Rst] {
            let profile = Profile { traffic: Traffic::Handshakes, close, ..profile(family) };
            let outcome = run(&profile, |session| {
                session.run(Some(RATE / 4.0), MOMENT, true)?;
                Ok(session.run(Some(RATE / 4.0), MOMENT, true)?.outcome)
            });
            let outcome = outcome.unwrap();
            assert!(outcome.requests.sent > 0 && outcome.lost() == 0, "{close:?} {outcome:?}");
            assert!(outcome.round_trip.is_some(), "{outcome:?}");
        }
    }
}

/// A run through ports that do so to what the generator receives.
fn with_faults(faults: Faults) -> Result<super::outcome::Outcome> {
    let clock = SharedClock::new();
    let wrap = |port: RingPort| -> Box<dyn Port> {
        Box::new(FaultPort::new(Box::new(port), faults, Faults::NONE, 5, clock.clone()))
    };
    let profile = Profile { flows: 20, size: Size::Fixed(128), ..profile(Version::V4) };
    with_worker(&profile, None, Rate::calibrate(), wrap, |session| {
        Ok(session.run(Some(RATE), MOMENT, false)?.outcome)
    })
}

#[test]
fn what_goes_wrong_on_the_way_is_seen() {
    let lost = with_faults(Faults { loss_ppm: 50_000, ..Faults::NONE }).unwrap();
    assert!(lost.requests.lost() > 0 && lost.requests.duplicated == 0, "{lost:?}");
    let twice = with_faults(Faults { duplicate_ppm: 50_000, ..Faults::NONE }).unwrap();
    assert!(twice.requests.duplicated > 0 && twice.lost() == 0, "{twice:?}");
    let error = with_faults(Faults { corrupt_ppm: 200_000, ..Faults::NONE }).unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains("a corrupt frame to a") && error.contains("0000"), "{error}");
}

#[test]
fn a_worker_that_keeps_a_frame_back_is_seen() {
    let clock = SharedClock::new();
    // In looks of the generator, of which there are some hundred between two frames.
    let late = Faults { reorder_ppm: 30_000, reorder_ns: 2_000, ..Faults::NONE };
    let wrap = |port: RingPort| -> Box<dyn Port> {
        let port = FaultPort::new(Box::new(port), late, Faults::NONE, 9, clock.clone());
        Box::new(Ticking { port, clock: clock.clone() })
    };
    let profile = Profile { flows: 1, ..profile(Version::V4) };
    let outcome = with_worker(&profile, None, Rate::calibrate(), wrap, |session| {
        Ok(session.run(Some(RATE), MOMENT, false)?.outcome)
    });
    let outcome = outcome.unwrap();
    assert!(outcome.requests.out_of_order > 0, "{outcome:?}");
    assert_eq!((outcome.lost(), outcome.requests.duplicated), (0, 0), "{outcome:?}");
}

/// A port whose clock goes on each time that somebody looks for frames.
struct Ticking {
    port: FaultPort,
    clock: SharedClock,
}

impl Port for Ticking {
    fn info(&self) -> &sluice_io::PortInfo {
        self.port.info()
    }

    fn rx(&mut self, cache: &mut sluice_io::FrameCache, burst: &mut sluice_io::RxBurst) -> usize {
        self.clock.set_now_ns(self.clock.now_ns() + 1);
        self.port.rx(cache, burst)
    }

    fn tx(
        &mut self,
        cache: &mut sluice_io::FrameCache,
        frames: &mut arrayvec::ArrayVec<sluice_io::Frame, { sluice_io::BURST }>,
    ) {
        self.port.tx(cache, frames);
    }

    fn flush(&mut self, cache: &mut sluice_io::FrameCache) {
        self.port.flush(cache);
    }

    fn wait_fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        self.port.wait_fd()
    }

    fn stats(&self) -> sluice_io::PortStats {
        self.port.stats()
    }

    fn close(&mut self, cache: &mut sluice_io::FrameCache) {
        self.port.close(cache);
    }
}
