use super::clients::{LINK_TCP_MTU, distance, refuse, send, vip};
use super::conn::Conn;
use super::latency::Latencies;
use super::segment::{End, Segment};
use super::shakers::{Said, Shakers};
use super::wires::Wires;
use crate::flood::people::mix;
use crate::site::{Family, Who};
use anyhow::Result;

/// Where the gateway takes TLS.
pub const HTTPS_PORT: u16 = 443;
/// The number of the first client among all.
const CLIENTS_FROM: u32 = 20_000;
/// Clients, each an address of its own: no one of them is many.
const CLIENTS: u32 = 8192;
const PORT_MIN: u32 = 1024;
/// Connections on their way to an end, at most.
const LEAVING_MAX: usize = 4096;

/// Clients that make full handshakes, and leave.
pub struct Tls {
    /// Handshakes that clients have seen to the end.
    pub done: u64,
    /// Those that failed.
    pub failed: u64,
    /// Times that a segment was lost or out of order, as clients see it.
    pub lost: u64,
    /// From the SYN to the client's last word in the handshake.
    pub latencies: Latencies,
    family: Family,
    shakers: Shakers,
    /// By client.
    conns: Vec<Option<Shaking>>,
    under_way: usize,
    leaving: usize,
    /// Handshakes that are to be under way.
    at_once: usize,
    begun: u32,
    bytes: Vec<u8>,
}

struct Shaking {
    conn: Conn,
    /// The number of the connection, which `Shakers` know it by.
    number: u32,
    begun_ns: u64,
    was_open: bool,
    is_leaving: bool,
}

impl Tls {
    /// Without any handshake.
    pub fn new(family: Family, shakers: Shakers) -> Self {
        Tls {
            done: 0,
            failed: 0,
            lost: 0,
            latencies: Latencies::default(),
            family,
            shakers,
            conns: (0..CLIENTS).map(|_| None).collect(),
            under_way: 0,
            leaving: 0,
            at_once: 0,
            begun: 0,
            bytes: Vec::new(),
        }
    }

    /// Has so many handshakes under way from now on.
    pub fn keep(&mut self, at_once: usize) {
        self.at_once = at_once;
    }

    /// Handshakes under way.
    pub fn under_way(&self) -> usize {
        self.under_way
    }

    /// Which client has an address.
    pub fn number(&self, end: End) -> Option<usize> {
        let first = Who::Client(CLIENTS_FROM).addr(self.family);
        distance(first, end.0, self.family).filter(|number| *number < CLIENTS as usize)
    }

    /// Begins handshakes, and passes on what clients say.
    ///
    /// # Errors
    /// When there is no frame left.
    pub fn turn(&mut self, wires: &mut Wires, now_ns: u64) -> Result<()> {
        while self.under_way < self.at_once && self.leaving < LEAVING_MAX {
            self.begin(wires, now_ns)?;
        }
        while let Some((number, said)) = self.shakers.said() {
            self.say(wires, number, said, now_ns)?;
        }
        Ok(())
    }

    fn begin(&mut self, wires: &mut Wires, now_ns: u64) -> Result<()> {
        let number = self.begun;
        self.begun += 1;
        let client = number % CLIENTS;
        if let Some(old) = self.conns[client as usize].take() {
            // Thousands of others later: it has come to no end.
            self.forget(&old);
        }
        let port = PORT_MIN + number / CLIENTS;
        let local = (Who::Client(CLIENTS_FROM + client).addr(self.family), port as u16);
        let mss = LINK_TCP_MTU - self.family.header_len() as u16;
        let isn = mix(u64::from(number) ^ 7 << 40) as u32;
        let mut conn = Conn::open(local, (vip(self.family), HTTPS_PORT), isn, mss);
        send(wires, &mut conn, now_ns)?;
        let shaking =
            Shaking { conn, number, begun_ns: now_ns, was_open: false, is_leaving: false };
        self.conns[client as usize] = Some(shaking);
        self.under_way += 1;
        Ok(())
    }

    fn forget(&mut self, shaking: &Shaking) {
        if shaking.is_leaving {
            self.leaving -= 1;
        } else {
            self.under_way -= 1;
            self.failed += 1;
            self.shakers.forget(shaking.number);
        }
    }

    fn say(&mut self, wires: &mut Wires, number: u32, said: Said, now_ns: u64) -> Result<()> {
        let client = (number % CLIENTS) as usize;
        let Some(shaking) = self.conns[client].as_mut() else { return Ok(()) };
        if shaking.number != number || shaking.is_leaving {
            return Ok(());
        }
        shaking.conn.write(&said.bytes);
        if let Some(is_done) = said.is_over {
            if is_done {
                self.done += 1;
                self.latencies.record(now_ns.saturating_sub(shaking.begun_ns));
            } else {
                self.failed += 1;
            }
            shaking.conn.close();
            shaking.is_leaving = true;
            self.under_way -= 1;
            self.leaving += 1;
        }
        send(wires, &mut shaking.conn, now_ns)
    }

    /// Takes a segment to a client.
    ///
    /// # Errors
    /// When there is no frame left.
    pub fn take(
        &mut self,
        wires: &mut Wires,
        client: usize,
        segment: &Segment<'_>,
        now_ns: u64,
    ) -> Result<()> {
        let known = |shaking: &&mut Shaking| shaking.conn.is_between(segment.dst, segment.src);
        let Some(shaking) = self.conns[client].as_mut().filter(known) else {
            return refuse(wires, segment);
        };
        self.bytes.clear();
        let lost = shaking.conn.lost;
        shaking.conn.receive(segment, now_ns, &mut self.bytes);
        self.lost += shaking.conn.lost - lost;
        if shaking.conn.is_open() && !shaking.was_open {
            shaking.was_open = true;
            self.shakers.begin(shaking.number);
        }
        // What comes after the handshake is read, and that is all.
        if !self.bytes.is_empty() && !shaking.is_leaving {
            self.shakers.hear(shaking.number, self.bytes.clone());
        }
        send(wires, &mut shaking.conn, now_ns)?;
        let is_broken = shaking.conn.peer_is_done() && !shaking.is_leaving;
        if (shaking.conn.is_over() || is_broken)
            && let Some(old) = self.conns[client].take()
        {
            self.forget(&old);
        }
        Ok(())
    }

    /// Sends again what was lost.
    ///
    /// # Errors
    /// When there is no frame left.
    pub fn on_time(&mut self, wires: &mut Wires, now_ns: u64) -> Result<()> {
        for Shaking { conn, .. } in self.conns.iter_mut().flatten() {
            let lost = conn.lost;
            conn.on_time(now_ns);
            self.lost += conn.lost - lost;
            send(wires, conn, now_ns)?;
        }
        Ok(())
    }
}
