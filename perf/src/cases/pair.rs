use super::steady::{Feed, Mix, Steady};
use super::{Case, Check};
use crate::cpu;
use crate::gateway::GatewayOptions;
use crate::site::{CLUSTER, UPLINK};
use crate::tsc::ticks;
use anyhow::{Result, ensure};
use std::sync::Barrier;

/// Packets that may be on their way between the two workers: less than the ring
/// holds, so that none is lost.
const IN_FLIGHT: u64 = 512;

/// Two workers on two cores; the first hands every packet to the second.
pub struct Pair {
    steady: Steady,
    cpus: [usize; 2],
}

impl Pair {
    /// `flows` flows, all of the second worker's.
    ///
    /// # Errors
    /// As [`Steady::new`].
    pub fn new(options: &GatewayOptions, flows: usize, cpus: [usize; 2]) -> Result<Self> {
        let steady = Steady::new(options, flows, Mix::Both, Feed::Handed)?;
        Ok(Pair { steady, cpus })
    }
}

impl Case for Pair {
    fn round(&mut self, check: Check) -> Result<u64> {
        let bursts = self.steady.load()?;
        let cpus = self.cpus;
        let gateway = self.steady.gateway();
        let now = gateway.now;
        let [from, to] = gateway.seats.as_mut_slice() else { anyhow::bail!("not two workers") };
        let handed_in = to.counters.clone();
        let packets = 2 * bursts * sluice_io::BURST;
        let start = Barrier::new(2);
        let took = std::thread::scope(|scope| {
            let second = scope.spawn(|| -> Result<u64> {
                cpu::pin(cpus[1])?;
                start.wait();
                let begin = ticks();
                let mut turns = 0u64;
                while to.peers[CLUSTER].sent_len() + to.peers[UPLINK].sent_len() < packets {
                    to.worker.poll(now);
                    turns += 1;
                    ensure!(turns < 100_000_000, "packets are missing");
                }
                Ok(ticks() - begin)
            });
            start.wait();
            for _ in 0..bursts {
                while from.counters.handed_out.get() > handed_in.handed_in.get() + IN_FLIGHT {
                    std::hint::spin_loop();
                }
                from.worker.poll(now);
            }
            second.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the second worker panicked")))
        })?;
        self.steady.unload(check)?;
        Ok(took)
    }
}
