use super::conn::Conn;
use super::segment::{ACK, RST, SYN, Segment};
use super::wires::Wires;
use crate::flood::people::mix;
use crate::frames::Tcp;
use crate::site::{Family, Who};
use anyhow::Result;
use hashbrown::HashMap;
use std::net::SocketAddr;

/// Bytes of an answer's body.
pub const BODY_LEN: usize = 1024;
/// Where pods serve HTTP.
const PORT: u16 = 8080;
/// Pods, each on a node of its own.
const PODS: u32 = 10;
/// What fits the overlay, less the TCP header.
const OVERLAY_TCP_MTU: u16 = 1430 - 20;

/// The ends of pods that serve HTTP.
pub fn endpoints(family: Family) -> impl Iterator<Item = SocketAddr> {
    (0..PODS).map(move |node| SocketAddr::new(Who::Pod(node, 100).addr(family), PORT))
}

/// Pods that answer each request with a KiB.
pub struct Pods {
    /// Requests that they have answered.
    pub requests: u64,
    /// Times that a segment was lost or out of order, as they see it.
    pub lost: u64,
    family: Family,
    answer: Vec<u8>,
    /// By the gateway's end and the pod's.
    conns: HashMap<[SocketAddr; 2], Served>,
    begun: u64,
    bytes: Vec<u8>,
}

struct Served {
    node: u32,
    conn: Conn,
    /// Bytes of the end of a head that have come.
    ended: usize,
}

const END_OF_HEAD: &[u8; 4] = b"\r\n\r\n";

impl Pods {
    /// Without connections.
    pub fn new(family: Family) -> Self {
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {BODY_LEN}\r\n\r\n"
        );
        let answer = [head.as_bytes(), &[b'x'; BODY_LEN]].concat();
        let (conns, bytes) = (HashMap::new(), Vec::new());
        Pods { requests: 0, lost: 0, family, answer, conns, begun: 0, bytes }
    }

    /// Takes a segment to a pod on a node.
    ///
    /// # Errors
    /// When there is no frame left.
    pub fn take(
        &mut self,
        wires: &mut Wires,
        node: u32,
        segment: &Segment<'_>,
        now_ns: u64,
    ) -> Result<()> {
        let key = [segment.src.into(), segment.dst.into()];
        if !self.conns.contains_key(&key) {
            if !segment.has(SYN) {
                return refuse(wires, node, segment);
            }
            self.begun += 1;
            let mss = OVERLAY_TCP_MTU - self.family.header_len() as u16;
            let conn = Conn::answer(segment, mix(self.begun) as u32, mss);
            self.conns.insert(key, Served { node, conn, ended: 0 });
        }
        let Some(served) = self.conns.get_mut(&key) else { return Ok(()) };
        self.bytes.clear();
        let conn = &mut served.conn;
        let lost = conn.lost;
        conn.receive(segment, now_ns, &mut self.bytes);
        // A request has no body.
        for byte in &self.bytes {
            let expected = END_OF_HEAD.get(served.ended) == Some(byte);
            served.ended = if expected { served.ended + 1 } else { usize::from(*byte == b'\r') };
            if served.ended == END_OF_HEAD.len() {
                served.ended = 0;
                self.requests += 1;
                conn.write(&self.answer);
            }
        }
        if conn.peer_is_done() {
            conn.close();
        }
        send(wires, node, conn, now_ns)?;
        self.lost += conn.lost - lost;
        if conn.is_over() {
            self.conns.remove(&key);
        }
        Ok(())
    }

    /// Sends again what was lost.
    ///
    /// # Errors
    /// When there is no frame left.
    pub fn on_time(&mut self, wires: &mut Wires, now_ns: u64) -> Result<()> {
        for Served { node, conn, .. } in self.conns.values_mut() {
            let lost = conn.lost;
            conn.on_time(now_ns);
            self.lost += conn.lost - lost;
            send(wires, *node, conn, now_ns)?;
        }
        Ok(())
    }
}

fn send(wires: &mut Wires, node: u32, conn: &mut Conn, now_ns: u64) -> Result<()> {
    let mut sent = Ok(());
    conn.send(now_ns, |tcp| sent = wires.send_pod(node, tcp));
    sent
}

/// Nobody knows the connection.
fn refuse(wires: &mut Wires, node: u32, segment: &Segment<'_>) -> Result<()> {
    if segment.has(RST) {
        return Ok(());
    }
    let (src, dst, seq, ack) = (segment.dst, segment.src, segment.ack, 0);
    let flags = if segment.has(ACK) { RST } else { RST | ACK };
    wires.send_pod(node, &Tcp { src, dst, seq, ack, flags, window: 0, mss: None, payload: &[] })
}
