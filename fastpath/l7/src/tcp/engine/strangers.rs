//! Segments of no connection: SYNs, cookies that come back, TIME-WAIT, and the rest.

use super::connection::Connection;
use super::{TcpEngine, after};
use crate::tcp::config::ConnOptions;
use crate::tcp::cookie;
use crate::tcp::emit::Bare;
use crate::tcp::key::Key;
use crate::tcp::machine::{MSS_DEFAULT, Machine};
use crate::tcp::options::{Options, Stamps};
use crate::tcp::parse::{ACK, RST, SYN, Segment, before};
use crate::tcp::pressure::Pressure;
use crate::tcp::tombs::Tomb;
use crate::tcp::{Listeners, PacketSink};

impl TcpEngine {
    pub(super) fn for_stranger(
        &mut self,
        segment: &Segment<'_>,
        now_ns: u64,
        listeners: &mut dyn Listeners,
        sink: &mut dyn PacketSink,
    ) {
        let tomb = self.tombs.get(&segment.key, now_ns);
        let is_syn = segment.has(SYN) && !segment.has(ACK);
        match tomb {
            // Never an answer to an RST, and none ends TIME-WAIT (RFC 1337).
            _ if segment.has(RST) => {}
            Some(tomb) if is_syn && !before(segment.seq, tomb.rcv_nxt) => {
                self.syn(segment, Some(tomb), now_ns, listeners, sink);
            }
            Some(tomb) => self.for_tomb(segment, &tomb, now_ns, sink),
            None if is_syn => self.syn(segment, None, now_ns, listeners, sink),
            None if !segment.has(SYN) && segment.has(ACK) && self.cookies.are_out(now_ns) => {
                self.cookie(segment, now_ns, listeners, sink);
            }
            None => self.refuse(segment, now_ns, sink),
        }
    }

    fn syn(
        &mut self,
        segment: &Segment<'_>,
        tomb: Option<Tomb>,
        now_ns: u64,
        listeners: &mut dyn Listeners,
        sink: &mut dyn PacketSink,
    ) {
        let Some(options) = listens(listeners, &segment.key) else {
            self.counters.refused_closed += 1;
            self.refuse(segment, now_ns, sink);
            return;
        };
        if self.pool.pressure(options.share) >= Pressure::Connections {
            // The client may have another gateway to go to.
            self.counters.refused_pressure += 1;
            self.refuse(segment, now_ns, sink);
            return;
        }
        if self.connections() >= self.config.connections_max {
            self.counters.refused_connections += 1;
            return;
        }
        if self.half_open >= self.config.half_open_max {
            // A cookie's number need not be beyond those of the connection before.
            if self.config.syn_cookies && tomb.is_none() {
                self.send_cookie(segment, &options, now_ns, sink);
            } else {
                self.counters.refused_half_open += 1;
            }
            return;
        }
        let setup = self.setup(&segment.key, self.isn(&segment.key, now_ns), &options);
        let offered = Options::parse(segment.options);
        let machine = Machine::accept(&setup, segment.seq, segment.window, &offered, now_ns);
        self.begin(segment.key, machine, options.mtu, now_ns);
        if tomb.is_some() {
            self.tombs.remove(&segment.key);
            self.counters.time_wait_recycled += 1;
        }
    }

    /// A connection whose handshake is not over.
    fn begin(&mut self, key: Key, machine: Machine, mtu: u16, now_ns: u64) -> u32 {
        let until_ns = after(now_ns, self.config.half_open_timeout);
        self.add(Connection { until_ns, ..Connection::new(key, machine, mtu, now_ns) })
    }

    /// Answers a SYN without keeping anything.
    fn send_cookie(
        &mut self,
        segment: &Segment<'_>,
        options: &ConnOptions,
        now_ns: u64,
        sink: &mut dyn PacketSink,
    ) {
        let key = &segment.key;
        let offered = Options::parse(segment.options);
        let theirs = offered.mss.filter(|mss| *mss != 0).unwrap_or(MSS_DEFAULT);
        let seq = self.cookies.make(key, segment.seq, theirs, now_ns);
        let setup = self.setup(key, seq, options);
        let stamps = offered.stamps.map(|stamps| Stamps {
            value: cookie::stamp(Stamps::at(now_ns, setup.stamp_offset), &offered),
            echo: stamps.value,
        });
        // What there is no timestamp for could not be known again.
        let answer = Options {
            mss: Some(setup.mss),
            scale: offered.scale.and(stamps).map(|_| setup.scale()),
            may_sack: offered.may_sack && stamps.is_some(),
            stamps,
            ..Options::default()
        };
        let bare = Bare {
            seq,
            ack: segment.seq.wrapping_add(1),
            flags: SYN | ACK,
            window: u16::try_from(options.receive_buffer).unwrap_or(u16::MAX),
            ..Bare::default()
        };
        let is_sent = sink.has_room();
        if is_sent {
            bare.send_with(key, &answer.write(), 0, &|_| {}, sink);
        }
        self.counters.cookies_sent += u64::from(is_sent);
        self.counters.answers_lost += u64::from(!is_sent);
    }

    /// An ACK that may carry a cookie. The handshake is done over, this side of the
    /// wire, with the numbers that it had.
    fn cookie(
        &mut self,
        segment: &Segment<'_>,
        now_ns: u64,
        listeners: &mut dyn Listeners,
        sink: &mut dyn PacketSink,
    ) {
        let key = segment.key;
        let (isn, irs) = (segment.ack.wrapping_sub(1), segment.seq.wrapping_sub(1));
        let Some(options) = listens(listeners, &key) else {
            self.refuse(segment, now_ns, sink);
            return;
        };
        let Some(mss) = self.cookies.take(&key, irs, isn, now_ns) else {
            // Not reset: it may come after the one that was lost, which is sent again.
            self.counters.cookies_refused += 1;
            return;
        };
        if self.pool.pressure(options.share) >= Pressure::Connections {
            self.counters.refused_pressure += 1;
            self.refuse(segment, now_ns, sink);
            return;
        }
        if self.connections() >= self.config.connections_max {
            self.counters.refused_connections += 1;
            return;
        }
        let offered = cookie::offered(mss, Options::parse(segment.options).stamps);
        let setup = self.setup(&key, isn, &options);
        let machine = Machine::resume(&setup, irs, segment.window, &offered, now_ns);
        let slot = self.begin(key, machine, options.mtu, now_ns);
        self.counters.cookies_taken += 1;
        self.for_connection(slot, segment, now_ns, sink);
    }

    /// A late segment in TIME-WAIT. The peer may have lost our last ACK. Its time is
    /// not begun anew (RFC 9293 section 3.10.7.4 would): it is long enough, and who
    /// sends many FINs could make others' go.
    fn for_tomb(
        &mut self,
        segment: &Segment<'_>,
        tomb: &Tomb,
        now_ns: u64,
        sink: &mut dyn PacketSink,
    ) {
        if segment.len() == 0 && segment.seq == tomb.rcv_nxt {
            return;
        }
        if !self.answers.take(now_ns) {
            self.counters.answers_limited += 1;
            return;
        }
        let bare = Bare {
            seq: tomb.snd_nxt,
            ack: tomb.rcv_nxt,
            flags: ACK,
            stamps: tomb.stamps,
            ..Bare::default()
        };
        let is_sent = bare.send(&segment.key, sink);
        self.counters.challenges_sent += u64::from(is_sent);
        self.counters.answers_lost += u64::from(!is_sent);
    }

    /// Answers a segment of no connection (RFC 9293 section 3.10.7.1).
    fn refuse(&mut self, segment: &Segment<'_>, now_ns: u64, sink: &mut dyn PacketSink) {
        let bare = if segment.has(ACK) {
            Bare { seq: segment.ack, flags: RST, ..Bare::default() }
        } else {
            let ack = segment.seq.wrapping_add(segment.len());
            Bare { ack, flags: RST | ACK, ..Bare::default() }
        };
        self.reset(&segment.key, bare, now_ns, sink);
    }

    pub(super) fn reset(&mut self, key: &Key, bare: Bare, now_ns: u64, sink: &mut dyn PacketSink) {
        if !self.answers.take(now_ns) {
            self.counters.answers_limited += 1;
            return;
        }
        let is_sent = bare.send(key, sink);
        self.counters.resets_sent += u64::from(is_sent);
        self.counters.answers_lost += u64::from(!is_sent);
    }
}

fn listens(listeners: &mut dyn Listeners, key: &Key) -> Option<ConnOptions> {
    Some(listeners.listens(key.local(), key.remote())?.towards(&key.remote))
}
