use super::{Case, Check, PACKETS, drive};
use crate::frames::Builder;
use crate::gateway::{Gateway, GatewayOptions};
use crate::site::{CLUSTER, UPLINK};
use crate::traffic::Flow;
use crate::tsc::ticks;
use anyhow::{Context, Result, ensure};
use sluice_io::BURST;
use std::time::Duration;

/// Flows that begin in one round: a packet each way.
const FLOWS: usize = PACKETS / 2;
/// Simulated time of one round. Many of the timer wheel's seconds, so that
/// every round has its share of expiry.
const ROUND_MS: u64 = 8_192;
/// Turns of the loop in a round.
const TURNS: u64 = (2 * FLOWS / BURST) as u64;

/// Flows begin at the rate at which others expire.
pub struct Churn {
    gateway: Gateway,
    next: u32,
    builder: Builder,
    flows: Vec<Flow>,
    steady: usize,
}

impl Churn {
    /// Fills a table of `flows_max` to 70 %, at the pace of the rounds.
    ///
    /// # Errors
    /// As [`Gateway::start`], and what is wrong with a packet.
    pub fn new(options: &GatewayOptions) -> Result<Self> {
        let steady = options.flows_max * 7 / 10;
        let rounds = steady.div_ceil(FLOWS);
        let udp_timeout_ms = rounds as u32 * ROUND_MS as u32;
        let gateway = Gateway::start(&GatewayOptions { udp_timeout_ms, ..*options })?;
        let (builder, flows) = (Builder::default(), Vec::with_capacity(FLOWS));
        let mut churn = Churn { gateway, next: 0, builder, flows, steady };
        for _ in 0..rounds + 4 {
            churn.round(Check::Sample)?;
        }
        churn.gateway.police()?;
        churn.round(Check::Sample)?;
        Ok(churn)
    }

    fn run(&mut self) -> u64 {
        let step = Duration::from_millis(ROUND_MS / TURNS);
        let Gateway { seats, now, .. } = &mut self.gateway;
        let begin = ticks();
        drive(seats, &[0], FLOWS / BURST, now, step);
        ticks() - begin
    }
}

impl Case for Churn {
    fn round(&mut self, check: Check) -> Result<u64> {
        let cluster = self.gateway.cluster;
        self.flows.clear();
        for number in self.next..self.next + FLOWS as u32 {
            let flow = Flow { number, ..Flow::default() };
            self.flows.push(flow);
            self.gateway.load(0, UPLINK, flow.request(&cluster, &mut self.builder))?;
        }
        self.next += FLOWS as u32;
        let mut took = self.run();
        let flows = &mut self.flows;
        let mut at = 0;
        let sent = self.gateway.collect(0, CLUSTER, |frame| {
            let flow = flows.get_mut(at).context("more packets than were sent")?;
            // Where it went is needed for every flow's reply.
            *flow = flow.chosen(&cluster, frame)?;
            at += 1;
            Ok(())
        })?;
        let drops = self.gateway.drops();
        ensure!(sent == FLOWS, "{sent} of {FLOWS} flows began: {drops:?}");
        for flow in &self.flows {
            self.gateway.load(0, CLUSTER, flow.reply(&cluster, &mut self.builder))?;
        }
        took += self.run();
        let flows = &self.flows;
        let mut at = 0;
        let sent = self.gateway.collect(0, UPLINK, |frame| {
            let flow = flows.get(at).context("more packets than were sent")?;
            at += 1;
            if check.wants(at - 1) { flow.check_reply(&cluster, frame) } else { Ok(()) }
        })?;
        ensure!(sent == FLOWS, "{sent} of {FLOWS} replies came out");
        self.gateway.check_counters()?;
        let counters = &self.gateway.seats[0].counters;
        let flows: u64 = counters.flows.iter().map(|count| count.get()).sum();
        let excess = (flows as usize).saturating_sub(self.steady);
        ensure!(
            excess <= self.steady / 50 + FLOWS,
            "{flows} flows: they do not expire as they begin"
        );
        Ok(took)
    }

    fn units(&self) -> usize {
        FLOWS
    }
}
