use super::{AT_CLIENTS, AT_PODS, Generator};
use crate::check;
use crate::lab::packet::{self, Ends, Found, Kind, Stamp, Templates, tunnel_len};
use crate::lab::profile::{Direction, FCS_LEN, Verify};
use crate::lab::track::Arrival;
use crate::site::{CLUSTER, UPLINK};
use anyhow::{Context, Result, bail, ensure};
use sluice_io::Frame;

/// Of what is sampled, one frame in so many.
const SAMPLE: u64 = 64;

impl Generator {
    /// Takes what has come; `opening`: pods answer, whatever the profile says.
    #[inline]
    pub(super) fn receive(&mut self, now: u64, opening: bool) -> Result<()> {
        let mut burst = std::mem::take(&mut self.burst);
        self.lines.receive(CLUSTER, &mut burst);
        for frame in burst.drain(..) {
            self.at_pod(frame, now, opening)?;
        }
        self.lines.receive(UPLINK, &mut burst);
        for frame in burst.drain(..) {
            self.at_client(frame, now)?;
        }
        self.burst = burst;
        Ok(())
    }

    /// Takes a frame apart. `None`: it is none of this run's.
    #[inline]
    fn read(&mut self, data: &[u8], side: usize) -> Result<Option<(usize, Found)>> {
        self.counts.seen += 1;
        let whole = self.verify == Verify::All || self.counts.seen.is_multiple_of(SAMPLE);
        let tunnel = if side == AT_PODS { tunnel_len(self.family) } else { 0 };
        let of = |templates: &Templates| templates.to_client.frame_len() + tunnel == data.len();
        let Some(at) = self.templates.iter().position(of) else {
            if packet::is_other(data) {
                self.counts.others += 1;
                return Ok(None);
            }
            bail!("no frame of the lab has {} bytes", data.len());
        };
        let templates = &self.templates[at];
        let template = if side == AT_PODS { &templates.to_pod } else { &templates.to_client };
        let found = match template.read(data, whole) {
            Ok(found) => found,
            Err(_) if packet::is_other(data) => {
                self.counts.others += 1;
                return Ok(None);
            }
            Err(wrong) => bail!("{wrong}"),
        };
        if found.stamp.run != self.run {
            self.counts.stale += 1;
            return Ok(None);
        }
        if whole {
            look_at(data, side)?;
            self.counts.looked_at += 1;
        }
        Ok(Some((at, found)))
    }

    #[inline]
    fn at_pod(&mut self, frame: Frame, now: u64, opening: bool) -> Result<()> {
        let read = self.read(frame.data(), AT_PODS);
        let read = read.and_then(|read| {
            read.map(|(at, found)| Ok((at, found, self.note_request(&found, now)?))).transpose()
        });
        let (at, found, is_new) = match read {
            Ok(Some(read)) => read,
            Ok(None) => {
                self.lines.free(frame);
                return Ok(());
            }
            Err(error) => {
                let shown = show(frame.data(), "to a node");
                self.lines.free(frame);
                return Err(error.context(shown));
            }
        };
        if !is_new {
            self.counts.requests.duplicated += 1;
        } else {
            self.counts.requests.came += 1;
            self.counts.bytes[0] += (frame.len() - tunnel_len(self.family) + FCS_LEN) as u64;
        }
        if !opening && self.direction == Direction::Requests {
            self.lines.free(frame);
            return Ok(());
        }
        let kind = match found.stamp.kind {
            Kind::Opening => Kind::OpeningAnswer,
            _ => Kind::Answer,
        };
        // In the frame that has brought the question.
        let (mut frame, stamp) = (frame, Stamp { kind, ..found.stamp });
        let template = &self.templates[at].from_pod;
        let fits = template.write(&mut frame, &found.ends.back(), &stamp, found.node);
        ensure!(fits, "an answer does not fit");
        self.counts.replies.sent += 1;
        self.lines.queue(CLUSTER, frame);
        Ok(())
    }

    /// Checks a request that has come to a node; whether it has not before.
    #[inline]
    fn note_request(&mut self, found: &Found, now: u64) -> Result<bool> {
        let Found { ends, stamp, node } = *found;
        ensure!(
            matches!(stamp.kind, Kind::Request | Kind::Opening),
            "no client has sent {stamp:?}"
        );
        let number = self.number(&stamp).with_context(|| format!("nobody's: {stamp:?}"))?;
        let chosen = self.people.chosen(number, node, ends.src, ends.dst)?;
        if stamp.kind == Kind::Request {
            let was = self.chosen[stamp.place as usize].replace(chosen);
            self.counts.moved += u64::from(was.is_some_and(|was| was != chosen));
        }
        if self.timed {
            self.one_way.record(self.nanos_since(stamp.due, now));
        }
        let arrival = self.track(AT_PODS, &stamp)?;
        self.counts.requests.out_of_order += u64::from(arrival == Arrival::OutOfOrder);
        Ok(arrival != Arrival::Duplicate)
    }

    #[inline]
    fn nanos_since(&self, due: u64, now: u64) -> f64 {
        self.rate.nanos(now.saturating_sub(due))
    }

    #[inline]
    fn track(&mut self, side: usize, stamp: &Stamp) -> Result<Arrival> {
        let tracks = match stamp.kind {
            Kind::Opening | Kind::OpeningAnswer => &mut self.openings[side],
            _ => &mut self.tracks[side],
        };
        let track = tracks.get_mut(stamp.place as usize);
        Ok(track.with_context(|| format!("nobody's: {stamp:?}"))?.note(stamp.seq))
    }

    #[inline]
    fn at_client(&mut self, frame: Frame, now: u64) -> Result<()> {
        let read = self.read(frame.data(), AT_CLIENTS);
        let read =
            read.and_then(|read| read.map(|(_, found)| self.note_reply(&found, now)).transpose());
        let shown = read.is_err().then(|| show(frame.data(), "to a client"));
        let len = frame.len() + FCS_LEN;
        self.lines.free(frame);
        match read {
            Ok(None) => {}
            Ok(Some(false)) => self.counts.replies.duplicated += 1,
            Ok(Some(true)) => {
                self.counts.replies.came += 1;
                self.counts.bytes[1] += len as u64;
            }
            Err(error) => return Err(error.context(shown.unwrap_or_default())),
        }
        Ok(())
    }

    #[inline]
    fn note_reply(&mut self, found: &Found, now: u64) -> Result<bool> {
        let Found { ends, stamp, .. } = *found;
        let number = self.number(&stamp).with_context(|| format!("nobody's: {stamp:?}"))?;
        let expected = Ends { src: self.people.vip(number), dst: self.people.client(number) };
        ensure!(ends == expected, "flow {number} is {expected:x?}, and not {ends:x?}");
        let arrival = self.track(AT_CLIENTS, &stamp)?;
        self.counts.replies.out_of_order += u64::from(arrival == Arrival::OutOfOrder);
        let times = match stamp.kind {
            Kind::Reply => &mut self.one_way,
            Kind::Answer | Kind::OpeningAnswer => &mut self.round_trip,
            Kind::Request | Kind::Opening => bail!("no pod has sent {stamp:?}"),
        };
        if self.timed {
            times.record(self.rate.nanos(now.saturating_sub(stamp.due)));
        }
        if stamp.kind == Kind::Answer {
            self.is_open[stamp.place as usize] = true;
        }
        Ok(arrival != Arrival::Duplicate)
    }
}

/// Takes a frame apart with a parser that is not ours.
fn look_at(data: &[u8], side: usize) -> Result<()> {
    if side == AT_PODS {
        let outer = check::parse(data, true).context("outer")?;
        let inner = outer.payload.get(8..).context("no VXLAN header")?;
        check::parse(inner, false).context("inner")?;
    } else {
        check::parse(data, false)?;
    }
    Ok(())
}

/// A frame, for who is to see what is wrong with it.
pub(in crate::lab) fn show(data: &[u8], to: &str) -> String {
    let mut text = format!("a corrupt frame {to}, {} bytes:", data.len());
    for (line, bytes) in data.chunks(16).enumerate() {
        let bytes = bytes.iter().map(|byte| format!(" {byte:02x}")).collect::<String>();
        text.push_str(&format!("\n  {:04x} {bytes}", line * 16));
    }
    text
}
