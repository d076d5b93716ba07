use super::{Case, Check, PACKETS, drive};
use crate::gateway::{Gateway, GatewayOptions};
use crate::site::{CLUSTER, UPLINK};
use crate::tsc::ticks;
use anyhow::{Result, ensure};
use sluice_fastpath::DropReason;
use sluice_io::BURST;
use std::time::Duration;

/// Simulated time between two turns.
const STEP: Duration = Duration::from_micros(10);

/// What must become of every frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// One frame leaves by this port for each.
    Leaves(usize),
    /// It is dropped.
    Dropped(DropReason),
}

/// The same few frames over and over, on one port.
pub struct Fixed {
    gateway: Gateway,
    port: usize,
    frames: Vec<Vec<u8>>,
    fate: Fate,
}

impl Fixed {
    /// Frames that arrive on `port`, and what must become of them.
    ///
    /// # Errors
    /// As [`Gateway::start`].
    pub fn new(
        options: &GatewayOptions,
        port: usize,
        frames: Vec<Vec<u8>>,
        fate: Fate,
    ) -> Result<Self> {
        Ok(Fixed { gateway: Gateway::start(options)?, port, frames, fate })
    }
}

impl Case for Fixed {
    fn round(&mut self, _check: Check) -> Result<u64> {
        for bytes in self.frames.iter().cycle().take(PACKETS) {
            self.gateway.load(0, self.port, bytes)?;
        }
        let dropped = |gateway: &Gateway| gateway.drops().iter().map(|drop| drop.1).sum::<u64>();
        let before = dropped(&self.gateway);
        let Gateway { seats, now, .. } = &mut self.gateway;
        let begin = ticks();
        drive(seats, &[0], PACKETS / BURST, now, STEP);
        let took = ticks() - begin;
        let mut sent = [0; 2];
        for port in [CLUSTER, UPLINK] {
            sent[port] = self.gateway.collect(0, port, |_| Ok(()))?;
        }
        self.gateway.check_balance()?;
        let dropped = (dropped(&self.gateway) - before) as usize;
        let drops = self.gateway.drops();
        match self.fate {
            Fate::Leaves(port) => {
                let right = dropped == 0 && sent[port] == PACKETS && sent[1 - port] == 0;
                ensure!(
                    right,
                    "{sent:?} of {PACKETS} frames left by port {port}, drops: {drops:?}"
                );
            }
            Fate::Dropped(reason) => {
                let right = dropped == PACKETS && drops.iter().all(|drop| drop.0 == reason);
                ensure!(right && sent == [0; 2], "not dropped as {}: {drops:?}", reason.label());
            }
        }
        // Frames that the worker dropped are in its cache and come back as
        // those that it sends; what it sent of its own is given back here.
        self.gateway.shrink_to(PACKETS);
        Ok(took)
    }
}
