use super::*;

const BOUNDS: Bounds =
    Bounds { frame_len_max: 1792, mtus: [1600, 1500], line_bits: None, flows_max: 1 << 22 };

fn refused(change: impl FnOnce(&mut Profile)) -> String {
    let mut profile = Profile::default();
    profile.check(&BOUNDS).unwrap();
    change(&mut profile);
    format!("{:#}", profile.check(&BOUNDS).unwrap_err())
}

#[test]
fn a_file_is_read_and_what_nobody_knows_is_refused() {
    let text = "family: v6\nflows: 65536\nsize: imix\nrate: 2.5Gbit\ndirection: both\n\
                new_flows: 20k\nverify: all\n";
    let profile = Profile::read(text).unwrap();
    assert_eq!((profile.family, profile.flows), (Version::V6, 65_536));
    assert_eq!((profile.size, profile.rate), (Size::Imix, Pace::Bits(2.5e9)));
    assert_eq!((profile.direction, profile.new_flows), (Direction::Both, Count(20e3)));
    assert_eq!(Profile::read("size: 128").unwrap().size, Size::Fixed(128));
    assert_eq!(Profile::read("rate: 1.5").unwrap().rate, Pace::Packets(1.5));
    for (text, says) in [
        ("flow: 1", "flow"),
        ("size: small", "expected bytes, or imix"),
        ("rate: fast", "expected max, or a number"),
        ("rate: -1", "expected max, or a number"),
        ("flows: -1", "-1"),
        ("direction: up", "up"),
    ] {
        let error = format!("{:#}", Profile::read(text).unwrap_err());
        assert!(error.contains(says), "{text}: {error}");
    }
}

#[test]
fn rates_are_read() {
    for (text, pace) in [
        ("max", Pace::Max),
        ("1500", Pace::Packets(1500.0)),
        ("1.5Mpps", Pace::Packets(1.5e6)),
        ("200k", Pace::Packets(200e3)),
        ("10Gbit", Pace::Bits(10e9)),
    ] {
        assert_eq!(text.parse(), Ok(pace), "{text}");
    }
    for text in ["", "pps", "k", "0", "inf", "nan", "1T", "1 Mbps"] {
        assert!(text.parse::<Pace>().is_err(), "{text}");
    }
    let profile = Profile { rate: Pace::Bits(64.0 * 8.0 * 1e6), ..Profile::default() };
    assert_eq!(profile.packets(), Some(1e6));
}

#[test]
fn a_mix_is_7_to_4_to_1() {
    let turn = Size::Imix.turn(Family::V4);
    let of = |len| turn.iter().filter(|other| **other == len).count();
    assert_eq!((of(64), of(594), of(1518), turn.len()), (7, 4, 1, 12));
    assert!((Size::Imix.mean(Family::V4) - 361.8).abs() < 0.1);
    // IPv6 has larger headers.
    assert_eq!(Size::Imix.turn(Family::V6).iter().min(), Some(&84));
}

#[test]
fn what_cannot_be_is_refused() {
    for (says, error) in [
        ("something must be sent", refused(|p| p.flows = 0)),
        ("64512 that 1 client", refused(|p| (p.flows, p.clients) = (64_513, 1))),
        ("client addresses", refused(|p| p.new_flows = Count(1e9))),
        ("that the gateway may have", refused(|p| p.flows = (1 << 22) + 1)),
        ("of 1 to 65536", refused(|p| p.clients = 0)),
        ("have 64", refused(|p| p.size = Size::Fixed(63))),
        ("have 84", refused(|p| (p.family, p.size) = (Version::V6, Size::Fixed(83)))),
        ("an MTU of 1500", refused(|p| p.size = Size::Fixed(1519))),
        ("no core makes more", refused(|p| p.rate = Pace::Packets(1.1e8))),
        ("not one in", refused(|p| p.rate = Pace::Packets(0.01))),
        ("(an hour) at most", refused(|p| p.seconds = 0.0)),
        ("room for 4094 pods", refused(|p| p.services = 410)),
        ("no Services", refused(|p| p.services = 0)),
        ("not of bits", refused(|p| (p.traffic, p.rate) = (Traffic::Openings, Pace::Bits(1e9)))),
        (
            "clients begin",
            refused(|p| {
                (p.traffic, p.direction) = (Traffic::Openings, Direction::Replies);
            }),
        ),
        ("for UDP", refused(|p| (p.traffic, p.direction) = (Traffic::Handshakes, Direction::Both))),
    ] {
        assert!(error.contains(says), "{says}: {error}");
    }
    let profile =
        Profile { size: Size::Fixed(1518), rate: Pace::Packets(1e6), ..Profile::default() };
    profile.check(&BOUNDS).unwrap();
    let error = |bounds| format!("{:#}", profile.check(&bounds).unwrap_err());
    assert!(error(Bounds { mtus: [1500; 2], ..BOUNDS }).contains("the tunnel's 50 taken off"));
    assert!(error(Bounds { frame_len_max: 1560, ..BOUNDS }).contains("a chunk has 1560"));
    assert!(error(Bounds { line_bits: Some(10e9), ..BOUNDS }).contains("of a line of"));
    // Longer frames, where MTUs have room; then the chunk bounds.
    let long = Profile { size: Size::Fixed(1746), ..Profile::default() };
    let jumbo = Bounds { mtus: [9000; 2], ..BOUNDS };
    long.check(&jumbo).unwrap();
    let long = Profile { size: Size::Fixed(1747), ..long };
    assert!(format!("{:#}", long.check(&jumbo).unwrap_err()).contains("a chunk has 1792"));
}

#[test]
fn the_profiles_that_are_kept_can_be() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles/lab");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let profile = Profile::read(&std::fs::read_to_string(&path).unwrap()).unwrap();
        profile.check(&BOUNDS).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        count += 1;
    }
    assert!(count > 0);
}
