//! DNS answers that wait until control has learned from them: what a client is
//! told, every worker knows before.

use crate::fragments::order::Order;
use crate::mesh::Handed;
use crate::time::Nanos;
use sluice_tables::answer::MESSAGE_MAX;
use sluice_tables::hash::endpoint;
use sluice_tables::{Answer, AnswerBuffers};
use std::net::{IpAddr, Ipv4Addr};

/// Answers that wait at once.
pub const HELD_MAX: usize = 256;

/// How long an answer waits, in nanoseconds.
pub const TIMEOUT_NS: u64 = Nanos::SECOND / 2;

/// Clients are counted by hash in so many classes.
const CLASSES: usize = 256;

/// Answers of one class of clients that wait at once: a client that asks much
/// takes no room from others.
const SHARE: u16 = (HELD_MAX / 4) as u16;

/// Bytes of a UDP header.
const UDP_HEADER_LEN: usize = 8;

/// The answers of one worker that wait.
pub struct Answers {
    slots: Vec<Slot>,
    free: Vec<u16>,
    /// Those that wait, and those of them that control has not been told of.
    waiting: Order,
    untold: Order,
    held: usize,
    by_class: Box<[u16; CLASSES]>,
    seed: u64,
    /// The place of the answer that is judged now, and its client.
    admitted: (u16, IpAddr),
    released: Option<u64>,
    is_releasing: bool,
    told_with: Option<AnswerBuffers>,
}

struct Slot {
    packet: Option<Handed>,
    client: IpAddr,
    since: Nanos,
    /// How often the slot was taken: an id is of one answer only.
    turn: u32,
    is_untold: bool,
}

impl Answers {
    /// Nothing waits. Classes of clients are keyed by `seed`.
    pub fn new(seed: u64) -> Self {
        let nobody = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let slot = |_| Slot {
            packet: None,
            client: nobody,
            since: Nanos::default(),
            turn: 0,
            is_untold: false,
        };
        Answers {
            slots: (0..HELD_MAX).map(slot).collect(),
            free: (0..HELD_MAX as u16).rev().collect(),
            waiting: Order::new(HELD_MAX),
            untold: Order::new(HELD_MAX),
            held: 0,
            by_class: Box::new([0; CLASSES]),
            seed,
            admitted: (0, nobody),
            released: None,
            is_releasing: false,
            told_with: None,
        }
    }

    /// Answers that wait.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Tells control in these from now on.
    pub fn tell_with(&mut self, buffers: AnswerBuffers) {
        self.told_with = Some(buffers);
    }

    /// Takes a place for the answer that is judged now, which goes there with
    /// [`Answers::hold`]; false when too many wait, or too many of its client.
    pub fn admit(&mut self, client: IpAddr) -> bool {
        let class = self.class(client);
        if self.by_class[class] >= SHARE {
            return false;
        }
        let Some(number) = self.free.pop() else { return false };
        self.by_class[class] += 1;
        self.admitted = (number, client);
        true
    }

    /// True while answers that have waited go on.
    pub fn is_releasing(&self) -> bool {
        self.is_releasing
    }

    /// Says whether answers that have waited go on now.
    pub fn set_releasing(&mut self, is_releasing: bool) {
        self.is_releasing = is_releasing;
    }

    /// Makes an answer wait, which [`Answers::admit`] has just said yes to.
    pub fn hold(&mut self, packet: Handed, now: Nanos) {
        let (number, client) = self.admitted;
        let slot = &mut self.slots[usize::from(number)];
        let turn = slot.turn.wrapping_add(1);
        *slot = Slot { packet: Some(packet), client, since: now, turn, is_untold: true };
        self.held += 1;
        self.waiting.push(number);
        self.untold.push(number);
    }

    /// True when control is to be told of something.
    #[inline]
    pub fn has_untold(&self) -> bool {
        self.untold.oldest().is_some()
    }

    /// The next answer that control is to be told of; `None` also while all
    /// buffers are with control.
    pub fn tell(&mut self) -> Option<Answer> {
        let number = self.untold.oldest()?;
        let mut message = self.told_with.as_mut()?.buffers.pop()?;
        self.untold.remove(number);
        let slot = &mut self.slots[usize::from(number)];
        slot.is_untold = false;
        message.clear();
        let (server, l4) = match slot.packet.as_ref()? {
            Handed::V4(packet) => (IpAddr::from(packet.key.src), packet.l4()),
            Handed::V6(packet) => (IpAddr::from(packet.key.src), packet.l4()),
        };
        let read = l4.get(UDP_HEADER_LEN..).unwrap_or_default();
        message.extend_from_slice(&read[..read.len().min(MESSAGE_MAX)]);
        Some(Answer { id: id(number, slot.turn), client: slot.client, server, message })
    }

    /// Rings for what was told.
    pub fn ring(&self) {
        if let Some(told_with) = &self.told_with {
            // Rung already: control will look.
            let _ = told_with.bell.try_send(());
        }
    }

    /// Control has learned from an answer. It goes on with
    /// [`Answers::take_released`], which is to be called before the next one.
    pub fn release(&mut self, id: u64, buffer: Vec<u8>) {
        self.released = Some(id);
        if let Some(told_with) = &mut self.told_with
            && told_with.buffers.len() < told_with.buffers.capacity()
        {
            told_with.buffers.push(buffer);
        }
    }

    /// The packet that goes on, if it still waits.
    pub fn take_released(&mut self) -> Option<Handed> {
        let released = self.released.take()?;
        let number = released as u16;
        let slot = self.slots.get(usize::from(number))?;
        if id(number, slot.turn) != released {
            return None;
        }
        self.take(number)
    }

    /// The next packet that has waited too long.
    pub fn expired(&mut self, now: Nanos) -> Option<Handed> {
        let oldest = self.waiting.oldest()?;
        let since = self.slots[usize::from(oldest)].since;
        if now.since(since) < TIMEOUT_NS {
            return None;
        }
        self.take(oldest)
    }

    /// Any packet that waits.
    pub fn take_any(&mut self) -> Option<Handed> {
        self.take(self.waiting.oldest()?)
    }

    fn take(&mut self, number: u16) -> Option<Handed> {
        let slot = &mut self.slots[usize::from(number)];
        let packet = slot.packet.take()?;
        let client = slot.client;
        if std::mem::take(&mut slot.is_untold) {
            self.untold.remove(number);
        }
        let class = self.class(client);
        self.by_class[class] -= 1;
        self.held -= 1;
        self.waiting.remove(number);
        self.free.push(number);
        Some(packet)
    }

    fn class(&self, client: IpAddr) -> usize {
        let hash = match client {
            IpAddr::V4(addr) => endpoint(self.seed, &addr.octets(), 0),
            IpAddr::V6(addr) => endpoint(self.seed, &addr.octets(), 0),
        };
        hash as usize % CLASSES
    }
}

fn id(number: u16, turn: u32) -> u64 {
    u64::from(turn) << 16 | u64::from(number)
}
