use super::answer::Answer;
use super::conn::Conn;
use super::latency::Latencies;
use super::segment::{End, FIN, RST, Segment};
use super::wires::Wires;
use crate::flood::people::mix;
use crate::frames::Tcp;
use crate::site::{Family, Who};
use anyhow::Result;

/// Where the gateway takes requests: the Service next to the forwarded one.
pub const HTTP_PORT: u16 = 80;
/// The number of the first client among all.
const CLIENTS_FROM: u32 = 10_000;
const PORT_MIN: u16 = 20_000;
/// What fits the link, less the TCP header.
pub const LINK_TCP_MTU: u16 = 1500 - 20;
const REQUEST: &[u8] = b"GET /shop/cart HTTP/1.1\r\nhost: shop.example\r\n\
    user-agent: fair/1.0\r\naccept: */*\r\n\r\n";

/// The gateway's address for requests.
pub fn vip(family: Family) -> std::net::IpAddr {
    Who::Vip(1).addr(family)
}

/// Clients, each with a connection that is kept, on which one request follows the
/// other as soon as it is answered.
pub struct Clients {
    /// Requests that were answered with status 200 and all of the body.
    pub requests: u64,
    /// Those that were answered otherwise, and connections that broke.
    pub failed: u64,
    /// Times that a segment was lost or out of order, as they see it.
    pub lost: u64,
    /// From the request to all of the answer.
    pub latencies: Latencies,
    family: Family,
    clients: Vec<Client>,
    /// Requests that are still to be asked.
    left: u64,
    begun: u32,
    bytes: Vec<u8>,
}

struct Client {
    conn: Conn,
    answer: Answer,
    /// When it has asked, if it waits.
    asked_ns: Option<u64>,
}

impl Client {
    /// Asks, if a request is left to be asked.
    fn ask(&mut self, left: &mut u64, now_ns: u64) {
        if *left > 0 {
            *left -= 1;
            self.asked_ns = Some(now_ns);
            self.conn.write(REQUEST);
        }
    }
}

impl Clients {
    /// So many, whose connections are to be opened.
    pub fn new(family: Family, count: usize) -> Self {
        let mut clients = Clients {
            requests: 0,
            failed: 0,
            lost: 0,
            latencies: Latencies::default(),
            family,
            clients: Vec::new(),
            left: 0,
            begun: 0,
            bytes: Vec::new(),
        };
        for number in 0..count {
            let client = clients.client(number);
            clients.clients.push(client);
        }
        clients
    }

    fn client(&mut self, number: usize) -> Client {
        self.begun += 1;
        let local = (
            Who::Client(CLIENTS_FROM + number as u32).addr(self.family),
            PORT_MIN + (self.begun % 40_000) as u16,
        );
        let mss = LINK_TCP_MTU - self.family.header_len() as u16;
        let isn = mix(u64::from(self.begun) << 32) as u32;
        let conn = Conn::open(local, (vip(self.family), HTTP_PORT), isn, mss);
        Client { conn, answer: Answer::default(), asked_ns: None }
    }

    /// Those whose connection is not open.
    pub fn unopened(&self) -> usize {
        self.clients.iter().filter(|client| !client.conn.is_open()).count()
    }

    /// Requests under way.
    pub fn waiting(&self) -> usize {
        self.clients.iter().filter(|client| client.asked_ns.is_some()).count()
    }

    /// All begin to ask, until so many requests more have been asked.
    ///
    /// # Errors
    /// When there is no frame left.
    pub fn ask(&mut self, wires: &mut Wires, requests: u64, now_ns: u64) -> Result<()> {
        self.left = requests;
        for client in &mut self.clients {
            if client.asked_ns.is_none() {
                client.ask(&mut self.left, now_ns);
            }
            send(wires, &mut client.conn, now_ns)?;
        }
        Ok(())
    }

    /// Whether a segment is one of theirs.
    pub fn number(&self, end: End) -> Option<usize> {
        let first = Who::Client(CLIENTS_FROM).addr(self.family);
        let number = distance(first, end.0, self.family)?;
        (number < self.clients.len()).then_some(number)
    }

    /// Takes a segment to one of them.
    ///
    /// # Errors
    /// When there is no frame left.
    pub fn take(
        &mut self,
        wires: &mut Wires,
        number: usize,
        segment: &Segment<'_>,
        now_ns: u64,
    ) -> Result<()> {
        let client = &mut self.clients[number];
        if !client.conn.is_between(segment.dst, segment.src) {
            return refuse(wires, segment);
        }
        self.bytes.clear();
        let lost = client.conn.lost;
        client.conn.receive(segment, now_ns, &mut self.bytes);
        self.lost += client.conn.lost - lost;
        let mut is_over = false;
        if let Some(whole) = client.answer.take(&self.bytes) {
            match client.asked_ns.take() {
                Some(asked) if whole.is_good => {
                    self.latencies.record(now_ns.saturating_sub(asked));
                    self.requests += 1;
                }
                _ => self.failed += 1,
            }
            is_over = whole.is_last;
            if !is_over {
                client.ask(&mut self.left, now_ns);
            }
        }
        if client.conn.peer_is_done() {
            self.failed += u64::from(client.asked_ns.is_some());
            is_over = true;
        }
        if is_over {
            client.conn.close();
            send(wires, &mut client.conn, now_ns)?;
            let mut client = self.client(number);
            client.ask(&mut self.left, now_ns);
            self.clients[number] = client;
        }
        send(wires, &mut self.clients[number].conn, now_ns)
    }

    /// Sends again what was lost.
    ///
    /// # Errors
    /// When there is no frame left.
    pub fn on_time(&mut self, wires: &mut Wires, now_ns: u64) -> Result<()> {
        for Client { conn, .. } in &mut self.clients {
            let lost = conn.lost;
            conn.on_time(now_ns);
            self.lost += conn.lost - lost;
            send(wires, conn, now_ns)?;
        }
        Ok(())
    }
}

/// A client knows nothing of the connection (any more).
///
/// # Errors
/// When there is no frame left.
pub fn refuse(wires: &mut Wires, segment: &Segment<'_>) -> Result<()> {
    // What only ends it needs no answer: a connection is let go of when all has been said.
    if segment.has(RST) || segment.payload.is_empty() && !segment.has(FIN) {
        return Ok(());
    }
    let (src, dst, seq) = (segment.dst, segment.src, segment.ack);
    let (flags, window) = (RST, 0);
    wires.send_client(&Tcp { src, dst, seq, ack: 0, flags, window, mss: None, payload: &[] })
}

/// Sends what a connection of a client has to send.
///
/// # Errors
/// When there is no frame left.
pub fn send(wires: &mut Wires, conn: &mut Conn, now_ns: u64) -> Result<()> {
    let mut sent = Ok(());
    conn.send(now_ns, |tcp| sent = wires.send_client(tcp));
    sent
}

/// Which client an address is, counted from the first.
pub fn distance(first: std::net::IpAddr, addr: std::net::IpAddr, family: Family) -> Option<usize> {
    use crate::flood::shape::number;
    // In IPv6 each has a /64 of its own.
    let step = match family {
        Family::V4 => 0,
        Family::V6 => 64,
    };
    let from = number(addr).checked_sub(number(first))? >> step;
    usize::try_from(from).ok()
}
