//! Which address an owner may have now.

use super::pools::PoolIndex;
use super::waiting::{Queue, Wants};
use super::{Allocator, Family, Holds, Outcome, Refusal, Request};
use std::net::IpAddr;

/// What an owner should have, and where it waits for more.
pub(super) struct Plan {
    pub(super) holds: Holds,
    pub(super) outcome: Outcome,
    pub(super) queues: Vec<Queue>,
}

impl Allocator {
    /// What to give to whom has nothing at the moment, and had `before`.
    pub(super) fn plan(&self, request: &Request, before: Holds) -> Plan {
        let kept = before.map(|addr| addr.filter(|addr| self.is_open(*addr, request)));
        let pool = match &request.pool {
            None => Ok(None),
            Some(pool) => match self.pools.named(pool) {
                Some(index) => Ok(Some(index)),
                None => Err(Refusal::UnknownPool { pool: pool.clone() }),
            },
        };
        let mut holds = [None; 2];
        let mut refusals = Vec::new();
        let mut refused = [false; 2];
        for family in &request.families {
            let index = *family as usize;
            match self.choose(request, *family, &pool, kept[index]) {
                Ok(addr) => holds[index] = Some(addr),
                Err(refusal) => {
                    holds[index] = kept[index];
                    refused[index] = true;
                    // What is wrong with the request as a whole is said once.
                    if !refusals.contains(&refusal) {
                        refusals.push(refusal);
                    }
                }
            }
        }
        let has_none = |family: &Family| holds[*family as usize].is_none();
        let is_nothing = request.needs_all && request.families.iter().any(has_none);
        if is_nothing {
            holds = kept;
        }
        let asked = request.addresses.as_deref().unwrap_or_default();
        let is_other = |addr: &&IpAddr| !request.families.contains(&Family::of(**addr));
        let others = asked.iter().filter(is_other);
        refusals.extend(others.map(|addr| Refusal::OtherFamily { addr: *addr }));
        let waits_for = refused.map(|refused| refused || is_nothing);
        let queues = match (&pool, &request.addresses) {
            (Ok(pool), Ok(asked)) => queues(request, *pool, asked, holds, waits_for),
            _ => Vec::new(),
        };
        let addresses = request.families.iter().filter_map(|family| holds[*family as usize]);
        Plan { holds, outcome: Outcome { addresses: addresses.collect(), refusals }, queues }
    }

    /// The address of a family for a request whose owner has nothing, and may
    /// keep `kept`.
    fn choose(
        &self,
        request: &Request,
        family: Family,
        pool: &Result<Option<PoolIndex>, Refusal>,
        kept: Option<IpAddr>,
    ) -> Result<IpAddr, Refusal> {
        let asked = request.addresses.as_ref();
        let asked = asked.map_err(|message| Refusal::Invalid { message: message.clone() })?;
        let pool = pool.clone()?;
        if let Some(addr) = asked.iter().copied().find(|addr| Family::of(*addr) == family) {
            let lies_in = self.pools.of(addr);
            if lies_in.is_none() || pool.is_some_and(|pool| lies_in != Some(pool)) {
                let pool = request.pool.clone().filter(|_| lies_in.is_some());
                return Err(Refusal::NotInPool { addr, pool });
            }
            return match self.held.conflict(addr, request) {
                None => Ok(addr),
                Some(conflict) => {
                    Err(Refusal::Taken { addr, by: conflict.by, port: conflict.port })
                }
            };
        }
        // Who has an address of a pool that has stopped to assign by itself keeps it.
        let is_right = |addr: &IpAddr| pool.is_none() || self.pools.of(*addr) == pool;
        if let Some(addr) = kept.filter(is_right) {
            return Ok(addr);
        }
        let is_eligible = |addr: &IpAddr| match (self.pools.of(*addr), pool) {
            (Some(index), None) => self.pools.is_auto(index),
            (index, pool) => index == pool,
        };
        let shared = self.held.shareable(request, family).find(is_eligible);
        if let Some(addr) = shared.or_else(|| self.pools.first_free(pool, family)) {
            return Ok(addr);
        }
        let has_any = self.pools.has_family(pool, family);
        let pool = request.pool.clone();
        Err(match has_any {
            true => Refusal::Exhausted { family, pool },
            false => Refusal::NoFamily { family, pool },
        })
    }

    /// Whether an address is of a pool, and the owner of `request`, who has it
    /// not, may have it.
    pub(super) fn is_open(&self, addr: IpAddr, request: &Request) -> bool {
        self.pools.of(addr).is_some() && self.held.conflict(addr, request).is_none()
    }

    /// Whether a request says no more of an address than that one is wanted,
    /// or of which pool, and this is one.
    pub(super) fn is_free_choice(&self, addr: IpAddr, request: &Request) -> bool {
        let family = Family::of(addr);
        let asked = request.addresses.as_ref();
        let is_asked = |asked: &Vec<IpAddr>| asked.iter().any(|addr| Family::of(*addr) == family);
        let is_named =
            |name| self.pools.named(name).is_some_and(|pool| self.pools.of(addr) == Some(pool));
        asked.is_ok_and(|asked| !is_asked(asked)) && request.pool.as_deref().is_none_or(is_named)
    }
}

/// Where a request waits for the families that it lacks.
fn queues(
    request: &Request,
    pool: Option<PoolIndex>,
    asked: &[IpAddr],
    holds: Holds,
    waits_for: [bool; 2],
) -> Vec<Queue> {
    let needs_both = request.needs_all && request.families.len() == 2;
    let has_any = holds.into_iter().flatten().next().is_some();
    let wants = match needs_both {
        _ if request.sharing.is_some() => Wants::Special,
        true if has_any || !asked.is_empty() => Wants::Special,
        true => Wants::Both,
        false => Wants::One,
    };
    let mut queues = Vec::new();
    for family in request.families.iter().copied().filter(|f| waits_for[*f as usize]) {
        match asked.iter().copied().find(|addr| Family::of(*addr) == family) {
            Some(addr) => queues.push(Queue::Address(addr)),
            None => queues.push(Queue::Pool { pool, family, wants }),
        }
    }
    if let (Some(sharing), false) = (&request.sharing, queues.is_empty()) {
        queues.push(Queue::Shared(sharing.clone()));
    }
    queues
}
