use super::expect::{Expected, Sent};
use crate::cluster::Cluster;
use crate::frames::Builder;
use crate::site::{self, CLUSTER, DEVICE_MAC, Family, Who};
use crate::traffic::{Flow, Random};
use anyhow::{Context, Result, ensure};
use std::collections::HashMap;
use std::io::{self, Read, Write};

/// Magic number of a classic capture with microseconds (draft-ietf-opsawg-pcap).
const MAGIC: u32 = 0xa1b2_c3d4;
/// The same with nanoseconds, as DPDK writes it.
const MAGIC_NANOSECONDS: u32 = 0xa1b2_3c4d;
const VERSION: [u16; 2] = [2, 4];
const ETHERNET: u32 = 1;
/// Longest frame.
const SNAP_LEN: u32 = 2048;
const FILE_HEADER_LEN: usize = 24;
const RECORD_HEADER_LEN: usize = 16;

/// Requests in a capture, at least: what says who has the node's address is rare among them.
const REQUESTS_MIN: u32 = 2048;

/// Writes a capture that a device plays over and over: requests of so many flows in random
/// order, and the node's answer to who has its address. Everything comes by one device.
///
/// # Errors
/// When it cannot be written.
pub fn write(out: &mut impl Write, cluster: &Cluster, flows: u32) -> Result<()> {
    ensure!(flows > 0, "no flows");
    let mut builder = Builder::default();
    out.write_all(&MAGIC.to_le_bytes())?;
    VERSION.iter().try_for_each(|word| out.write_all(&word.to_le_bytes()))?;
    [0, 0, SNAP_LEN, ETHERNET]
        .iter()
        .try_for_each(|word: &u32| out.write_all(&word.to_le_bytes()))?;
    let node = Who::Node(0);
    record(out, builder.hello(cluster.family, CLUSTER, site::node_mac(0), node))?;
    let mut numbers: Vec<u32> = (0..flows.max(REQUESTS_MIN)).map(|n| n % flows).collect();
    Random::new(1).shuffle(&mut numbers);
    for number in numbers {
        record(out, Flow { number, ..Flow::default() }.request(cluster, &mut builder))?;
    }
    Ok(out.flush()?)
}

fn record(out: &mut impl Write, frame: &[u8]) -> io::Result<()> {
    let len = frame.len() as u32;
    [0, 0, len, len].iter().try_for_each(|word| out.write_all(&word.to_le_bytes()))?;
    out.write_all(&DEVICE_MAC)?;
    out.write_all(&frame[6..])
}

/// What a check has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Frames that were checked.
    pub frames: usize,
    /// Flows among them, as far as frames tell.
    pub flows: usize,
}

/// Checks the first `wanted` frames of a capture, and that each flow goes where its first
/// packet went, from where it came.
///
/// # Errors
/// What is wrong with one of them, or when there are not so many.
pub fn check(
    from: &mut impl Read,
    cluster: &Cluster,
    expected: Expected,
    wanted: usize,
) -> Result<Seen> {
    let mut header = [0; FILE_HEADER_LEN];
    from.read_exact(&mut header).context("no capture")?;
    let magic = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
    ensure!([MAGIC, MAGIC_NANOSECONDS].contains(&magic), "no capture");
    let (mut frames, mut flows) = (0, HashMap::new());
    let mut frame = vec![0; SNAP_LEN as usize];
    while frames < wanted {
        let mut header = [0; RECORD_HEADER_LEN];
        from.read_exact(&mut header).with_context(|| format!("only {frames} frames"))?;
        let len = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
        ensure!(len <= SNAP_LEN, "a frame of {len} bytes");
        let frame = &mut frame[..len as usize];
        from.read_exact(frame).context("half a frame")?;
        if is_neighbor(cluster.family, frame) {
            continue;
        }
        // One device has the part of both ports.
        ensure!(frame.get(6..12) == Some(&DEVICE_MAC[..]), "source MAC");
        frame[6..12].copy_from_slice(&site::PORT_MACS[CLUSTER]);
        let Sent { flow, ends } =
            expected.check(cluster, frame).with_context(|| format!("frame {frames}"))?;
        if let Some(flow) = flow {
            let first = *flows.entry(flow).or_insert(ends);
            ensure!(first == ends, "frame {frames}: flow {flow} was {first:?}, and is {ends:?}");
        }
        frames += 1;
    }
    Ok(Seen { frames, flows: flows.len() })
}

/// Whether a frame asks or tells who has an address: by ARP, or by Neighbor Discovery.
fn is_neighbor(family: Family, frame: &[u8]) -> bool {
    let ethertype = frame.get(12..14);
    match family {
        Family::V4 => ethertype == Some(&[0x08, 0x06]),
        Family::V6 => {
            ethertype == Some(&[0x86, 0xdd])
                && frame.get(20) == Some(&58)
                && frame.get(54).is_some_and(|kind| (133..=137).contains(kind))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(family: Family) -> Cluster {
        Cluster { nodes: 1, ..Cluster::new(family, 1) }
    }

    #[test]
    fn each_flow_is_in_a_capture() {
        let cluster = cluster(Family::V4);
        for flows in [1, 4096] {
            let mut file = Vec::new();
            write(&mut file, &cluster, flows).unwrap();
            let frames = flows.max(REQUESTS_MIN) as usize;
            let record = RECORD_HEADER_LEN + 60;
            // An answer of ARP has 42 bytes.
            assert_eq!(file.len(), FILE_HEADER_LEN + RECORD_HEADER_LEN + 42 + frames * record);
            // Requests as they came are not what should come out.
            let error = check(&mut &file[..], &cluster, Expected::Kept, 1).unwrap_err();
            assert!(format!("{error:#}").contains("source MAC"), "{error:#}");
        }
    }

    #[test]
    fn what_is_no_capture_is_refused() {
        let cluster = cluster(Family::V4);
        let check = |bytes: &[u8]| check(&mut &bytes[..], &cluster, Expected::Kept, 1);
        assert!(check(&[]).is_err());
        assert!(check(&[0; 64]).is_err());
        let mut file = Vec::new();
        write(&mut file, &cluster, 1).unwrap();
        assert!(check(&file[..FILE_HEADER_LEN + 8]).is_err());
        file[FILE_HEADER_LEN + 8..FILE_HEADER_LEN + 12].fill(0xff);
        assert!(check(&file).is_err());
    }

    #[test]
    fn neighbors_are_told_from_packets() {
        for family in [Family::V4, Family::V6] {
            let mut builder = Builder::default();
            let node = Who::Node(0);
            assert!(is_neighbor(family, builder.hello(family, CLUSTER, site::node_mac(0), node)));
            let flow = Flow::default();
            assert!(!is_neighbor(family, flow.request(&cluster(family), &mut builder)));
            assert!(!is_neighbor(family, &[]));
        }
    }
}
