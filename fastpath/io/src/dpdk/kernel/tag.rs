use crate::frame::Frame;

/// Where a tag stands: behind both MACs.
const AT: usize = 12;
/// IEEE 802.1Q.
const ETHERTYPE: [u8; 2] = [0x81, 0x00];
/// The bits of a tag that are the VLAN's number.
pub(super) const VLAN_BITS: u16 = 0x0fff;

/// Takes a port's own tag off a frame for the kernel, whose device of the port has none.
/// Frames of other VLANs stay as they are.
pub(super) fn take_off(frame: &mut Frame, vlan: Option<u16>) {
    let Some(vlan) = vlan else { return };
    let data = frame.data_mut();
    let Some(tag) = data.get(AT..AT + 4) else { return };
    if tag[..2] == ETHERTYPE && u16::from_be_bytes([tag[2], tag[3]]) & VLAN_BITS == vlan {
        data.copy_within(..AT, 4);
        let is_longer = frame.pull_head(4);
        debug_assert!(is_longer);
    }
}

/// Puts a port's tag on a frame of the kernel's. False, and no change, where there is no room
/// or the frame is none.
pub(super) fn put_on(frame: &mut Frame, vlan: Option<u16>) -> bool {
    let Some(vlan) = vlan else { return true };
    if frame.len() < AT || frame.push_head(4).is_none() {
        return false;
    }
    let data = frame.data_mut();
    data.copy_within(4..4 + AT, 0);
    data[AT..AT + 2].copy_from_slice(&ETHERTYPE);
    data[AT + 2..AT + 4].copy_from_slice(&vlan.to_be_bytes());
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::umem::{FrameCache, Umem};

    #[test]
    fn a_ports_tag_is_put_on_and_taken_off() {
        let umem = Umem::new(64).unwrap();
        let mut cache = FrameCache::new(&umem, 64);
        let mut frame = cache.alloc().unwrap();
        let bytes: Vec<u8> = (0..60).collect();
        assert!(frame.fill(&bytes));
        assert!(put_on(&mut frame, None) && frame.data() == bytes);
        assert!(put_on(&mut frame, Some(100)));
        assert_eq!(frame.data()[..12], bytes[..12]);
        assert_eq!(frame.data()[12..16], [0x81, 0, 0, 100]);
        assert_eq!(frame.data()[16..], bytes[12..]);
        let tagged = frame.data().to_vec();
        for other in [None, Some(101)] {
            take_off(&mut frame, other);
            assert_eq!(frame.data(), tagged, "{other:?}");
        }
        // A priority is no part of the VLAN's number.
        frame.data_mut()[14] |= 0xe0;
        take_off(&mut frame, Some(100));
        assert_eq!(frame.data(), bytes);
        for len in 0..16 {
            assert!(frame.fill(&tagged[..len]));
            take_off(&mut frame, Some(100));
            assert_eq!(frame.data(), &tagged[..len]);
            assert_eq!(put_on(&mut frame, Some(100)), len >= 12);
        }
        cache.free(frame);
    }
}
