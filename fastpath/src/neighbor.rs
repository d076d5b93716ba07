use crate::adjacency::AdjacencyId;
use crate::time::Nanos;
use hashbrown::HashMap;
use sluice_io::{Frame, PortId};
use std::collections::VecDeque;
use std::net::IpAddr;

/// Number of a neighbor; rows of [`crate::adjacency::Adjacencies`] hold it.
pub type NeighborId = u32;

/// Nanoseconds between two probes of a neighbor (RFC 4861 section 10,
/// RETRANS_TIMER).
pub const PROBE_INTERVAL_NS: u64 = Nanos::SECOND;

/// What is known of a neighbor (RFC 4861 section 7.3.2; ARP is treated alike).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Asked for, no answer yet.
    Incomplete,
    /// Confirmed lately.
    Reachable,
    /// Confirmed long ago, in use or not.
    Stale,
    /// Stale, in use, and asked again.
    Probe,
    /// Did not answer; asked again when a packet wants it.
    Failed,
}

impl State {
    /// The state's name in output.
    pub fn label(self) -> &'static str {
        match self {
            State::Incomplete => "incomplete",
            State::Reachable => "reachable",
            State::Stale => "stale",
            State::Probe => "probe",
            State::Failed => "failed",
        }
    }
}

/// A neighbor on a port's link.
#[derive(Clone, Debug)]
pub struct Neighbor {
    /// The port.
    pub port: PortId,
    /// The address.
    pub addr: IpAddr,
    /// The MAC, once known.
    pub mac: Option<[u8; 6]>,
    /// What is known of it.
    pub state: State,
    /// When it was last confirmed.
    pub confirmed: Nanos,
    /// When it was last asked.
    pub probed: Nanos,
    /// Questions without an answer.
    pub probes: u8,
    /// Packets that wait for it.
    pub waiting: u32,
    /// Rows whose header has its MAC.
    pub rows: Vec<AdjacencyId>,
    /// It has been wanted as a [`Role::NextHop`].
    pub is_next_hop: bool,
}

/// Why a neighbor is wanted. When a table is nearly full, some come before
/// others (RFC 6583 section 7.1): whoever sends to many addresses that nobody
/// has, or speaks from many, does not keep the gateway from its next hops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Routes and tunnels lead to it: the whole table is for these, and they are
    /// never given up for others.
    NextHop,
    /// A packet's destination on the link. At most three quarters of the table
    /// are for neighbors without a MAC.
    Host,
    /// Nobody here has asked for it: it has spoken to the gateway.
    Stranger,
}

/// What has to give way when a table is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wanted {
    Nothing,
    /// Those that do not answer: too many are being asked.
    Unanswered,
    /// Those that nobody has spoken to for long, too.
    Idle,
}

/// A packet that waits for a neighbor: complete but for its header.
#[derive(Debug)]
pub struct Held {
    /// The neighbor.
    pub neighbor: NeighborId,
    /// The way out.
    pub adjacency: AdjacencyId,
    /// The IP packet.
    pub frame: Frame,
    /// Its type of service, for a tunnel's header.
    pub tos: u8,
    /// Its flow's hash, for a tunnel's source port.
    pub entropy: u64,
}

/// The neighbors of one worker, and the packets that wait for them. Bounded.
#[derive(Debug)]
pub struct Neighbors {
    list: Vec<Neighbor>,
    by_addr: HashMap<(PortId, IpAddr), NeighborId>,
    held: VecDeque<Held>,
    neighbors_max: usize,
    held_max: usize,
    /// Neighbors without a MAC.
    unresolved: usize,
    /// A neighbor found no room.
    wanted: Wanted,
    /// Where the aging goes on.
    hand: usize,
    /// Numbers to be used again.
    free: Vec<NeighborId>,
    /// When failed neighbors were last swept for [`Neighbors::sweep`].
    swept: Nanos,
}

impl Neighbors {
    /// A table of at most `neighbors_max` neighbors, for which at most
    /// `held_max` packets wait.
    pub fn new(neighbors_max: usize, held_max: usize) -> Self {
        Neighbors {
            list: Vec::new(),
            by_addr: HashMap::new(),
            held: VecDeque::with_capacity(held_max),
            neighbors_max,
            held_max,
            unresolved: 0,
            wanted: Wanted::Nothing,
            hand: 0,
            free: Vec::new(),
            swept: Nanos::default(),
        }
    }

    /// The number of a neighbor.
    pub fn find(&self, port: PortId, addr: IpAddr) -> Option<NeighborId> {
        self.by_addr.get(&(port, addr)).copied()
    }

    /// The number of a neighbor, which is added if it is new; `None` when there is
    /// no room for one of its role: [`Neighbors::sweep`] then makes room between two bursts,
    /// when no packet in hand has a number that is about to change its meaning.
    pub fn find_or_add(
        &mut self,
        port: PortId,
        addr: IpAddr,
        role: Role,
        now: Nanos,
    ) -> Option<NeighborId> {
        let is_next_hop = role == Role::NextHop;
        if let Some(id) = self.find(port, addr) {
            self.list[id as usize].is_next_hop |= is_next_hop;
            return Some(id);
        }
        let max = self.neighbors_max;
        if role == Role::Host && self.unresolved >= max - max / 4 {
            self.wanted = self.wanted.max(Wanted::Unanswered);
            return None;
        }
        if self.by_addr.len() >= if is_next_hop { max } else { max - max / 8 } {
            self.wanted = Wanted::Idle;
            return None;
        }
        let neighbor = Neighbor {
            port,
            addr,
            mac: None,
            state: State::Failed,
            confirmed: now,
            probed: Nanos::default(),
            probes: 0,
            waiting: 0,
            rows: Vec::new(),
            is_next_hop,
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.list[id as usize] = neighbor;
                id
            }
            None => {
                self.list.push(neighbor);
                (self.list.len() - 1) as NeighborId
            }
        };
        self.unresolved += 1;
        self.by_addr.insert((port, addr), id);
        Some(id)
    }

    /// Takes nobody for a next hop any more until packets say so: routes have
    /// changed.
    pub fn forget_next_hops(&mut self) {
        for neighbor in &mut self.list {
            neighbor.is_next_hop = false;
        }
    }

    /// Sets or forgets a neighbor's MAC.
    pub fn set_mac(&mut self, id: NeighborId, mac: Option<[u8; 6]>) {
        let old = std::mem::replace(&mut self.list[id as usize].mac, mac);
        self.unresolved += usize::from(mac.is_none());
        self.unresolved -= usize::from(old.is_none());
    }

    /// Makes room in a table that was too small: frees every neighbor that has
    /// failed to answer, and, unless too many are being asked and that is all,
    /// every stale one that `is_idle`; next hops stay. True if there were any: the caller then makes all flows look for their way out again, since
    /// numbers change their meaning. At most once a second, so that a scan of a
    /// subnet cannot keep a gateway busy with it.
    pub fn sweep(&mut self, now: Nanos, is_idle: impl Fn(NeighborId, &Neighbor) -> bool) -> bool {
        if self.wanted == Wanted::Nothing || now.since(self.swept) < Nanos::SECOND {
            return false;
        }
        self.swept = now;
        let wanted = std::mem::replace(&mut self.wanted, Wanted::Nothing);
        let before = self.by_addr.len();
        let list = &self.list;
        let free = &mut self.free;
        let unresolved = &mut self.unresolved;
        self.by_addr.retain(|_, &mut id| {
            let neighbor = &list[id as usize];
            let idle = match neighbor.state {
                State::Failed => true,
                State::Stale => wanted == Wanted::Idle && is_idle(id, neighbor),
                _ => false,
            };
            let keep = !idle || neighbor.waiting > 0 || neighbor.is_next_hop;
            if !keep {
                free.push(id);
                *unresolved -= usize::from(neighbor.mac.is_none());
            }
            keep
        });
        self.by_addr.len() < before
    }

    /// A neighbor.
    ///
    /// # Panics
    /// When there is none of that number.
    pub fn get(&self, id: NeighborId) -> &Neighbor {
        &self.list[id as usize]
    }

    /// A neighbor, to be changed.
    ///
    /// # Panics
    /// As [`Neighbors::get`].
    pub fn get_mut(&mut self, id: NeighborId) -> &mut Neighbor {
        &mut self.list[id as usize]
    }

    /// All neighbors.
    pub fn iter(&self) -> impl Iterator<Item = &Neighbor> {
        self.by_addr.values().map(|&id| &self.list[id as usize])
    }

    /// Neighbors known.
    pub fn len(&self) -> usize {
        self.by_addr.len()
    }

    /// True when no neighbor is known.
    pub fn is_empty(&self) -> bool {
        self.by_addr.is_empty()
    }

    /// Packets waiting, over all.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Makes a packet wait for its neighbor, and returns the one that has to
    /// give way if too many wait: the oldest of the same neighbor once those
    /// are a quarter of all, else the oldest of all (RFC 4861 section 7.2.2).
    /// So neighbors that never answer do not keep others from being waited for.
    pub fn hold(&mut self, held: Held) -> Option<Frame> {
        if self.held_max == 0 {
            return Some(held.frame);
        }
        let own_max = (self.held_max / 4).max(1);
        let gives_way = if self.list[held.neighbor as usize].waiting as usize >= own_max {
            self.release(held.neighbor)
        } else if self.held.len() >= self.held_max {
            self.release_any()
        } else {
            None
        };
        self.list[held.neighbor as usize].waiting += 1;
        self.held.push_back(held);
        gives_way.map(|held| held.frame)
    }

    /// Takes the oldest packet that waits for a neighbor.
    pub fn release(&mut self, id: NeighborId) -> Option<Held> {
        if self.list[id as usize].waiting == 0 {
            return None;
        }
        let at = self.held.iter().position(|held| held.neighbor == id)?;
        self.list[id as usize].waiting -= 1;
        self.held.remove(at)
    }

    /// Takes the oldest packet that waits for anyone.
    pub fn release_any(&mut self) -> Option<Held> {
        let held = self.held.pop_front()?;
        self.list[held.neighbor as usize].waiting -= 1;
        Some(held)
    }

    /// The next neighbor to look at for aging.
    pub fn next_to_age(&mut self) -> Option<NeighborId> {
        if self.list.is_empty() {
            return None;
        }
        self.hand = (self.hand + 1) % self.list.len();
        Some(self.hand as NeighborId)
    }
}
