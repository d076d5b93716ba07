use super::message::{ALIASES_MAX, RECORDS_MAX, Reading, Unread, read};
use super::*;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

/// A DNS message by hand (RFC 1035 section 4), its names not compressed.
#[derive(Clone)]
struct Dns {
    flags: u16,
    counts: [u16; 4],
    body: Vec<u8>,
}

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;
const RESPONSE: u16 = 0x8180;

fn wire(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter(|label| !label.is_empty());
    let mut out: Vec<u8> =
        labels.flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat()).collect();
    out.push(0);
    out
}

impl Dns {
    fn answer_to(name: &str, qtype: u16) -> Dns {
        let mut body = wire(name);
        body.extend(qtype.to_be_bytes());
        body.extend([0, 1]);
        Dns { flags: RESPONSE, counts: [1, 0, 0, 0], body }
    }

    fn record(mut self, owner: &[u8], rtype: u16, ttl: u32, data: &[u8]) -> Dns {
        self.counts[1] += 1;
        self.body.extend(owner);
        self.body.extend(rtype.to_be_bytes());
        self.body.extend([0, 1]);
        self.body.extend(ttl.to_be_bytes());
        self.body.extend((data.len() as u16).to_be_bytes());
        self.body.extend(data);
        self
    }

    fn address(self, owner: &str, ttl: u32, addr: &str) -> Dns {
        match addr.parse().unwrap() {
            IpAddr::V4(addr) => self.record(&wire(owner), A, ttl, &addr.octets()),
            IpAddr::V6(addr) => self.record(&wire(owner), AAAA, ttl, &addr.octets()),
        }
    }

    fn alias(self, owner: &str, ttl: u32, target: &str) -> Dns {
        self.record(&wire(owner), CNAME, ttl, &wire(target))
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = vec![0x12, 0x34];
        out.extend(self.flags.to_be_bytes());
        out.extend(self.counts.iter().flat_map(|count| count.to_be_bytes()));
        out.extend(&self.body);
        out
    }

    fn read(&self) -> Result<Reading, Unread> {
        read(&self.bytes())
    }
}

const S: fn(u64) -> Duration = Duration::from_secs;

fn reading(names: &[&str], addresses: &[(&str, u64)]) -> Reading {
    Reading {
        names: names.iter().map(|&name| name.to_owned()).collect(),
        addresses: addresses.iter().map(|(addr, ttl)| (addr.parse().unwrap(), S(*ttl))).collect(),
    }
}

#[test]
fn addresses_of_the_name_that_was_asked_for_are_read() {
    let answer = Dns::answer_to("WWW.Example.com", A)
        .address("www.EXAMPLE.com", 60, "203.0.113.1")
        .address("other.example.com", 60, "203.0.113.66")
        .address("www.example.com", 30, "203.0.113.2");
    let expected = reading(&["www.example.com"], &[("203.0.113.1", 60), ("203.0.113.2", 30)]);
    assert_eq!(answer.read(), Ok(expected));
    let answer =
        Dns::answer_to("www.example.com", AAAA).address("www.example.com", 9, "2001:db8::1");
    assert_eq!(answer.read(), Ok(reading(&["www.example.com"], &[("2001:db8::1", 9)])));
}

#[test]
fn aliases_are_followed_in_any_order_and_the_least_ttl_counts() {
    let answer = Dns::answer_to("www.example.com", A)
        .address("c.cdn.net", 300, "203.0.113.1")
        .alias("b.cdn.net", 20, "c.cdn.net")
        .alias("www.example.com", 60, "b.cdn.net")
        .alias("x.example.com", 1, "y.example.com");
    let names = ["www.example.com", "b.cdn.net", "c.cdn.net"];
    assert_eq!(answer.read(), Ok(reading(&names, &[("203.0.113.1", 20)])));
}

#[test]
fn compressed_names_are_read() {
    // The owner points at the question's name, the target at its second label.
    let mut answer = Dns::answer_to("www.example.com", A);
    let target = [&[1, b'b'][..], &[0xc0, 16]].concat();
    answer = answer.record(&[0xc0, 12], CNAME, 60, &target);
    answer = answer.record(&target, A, 60, &[203, 0, 113, 1]);
    let names = ["www.example.com", "b.example.com"];
    assert_eq!(answer.read(), Ok(reading(&names, &[("203.0.113.1", 60)])));
    for loops in [[0xc0, 33], [0xc0, 34], [0xff, 0xff]] {
        let answer = Dns::answer_to("www.example.com", A).record(&loops, A, 60, &[1, 2, 3, 4]);
        assert_eq!(answer.read(), Err(Unread::Malformed), "{loops:?}");
    }
}

#[test]
fn chains_and_answers_are_bounded() {
    let chain = |links: usize| {
        let mut answer = Dns::answer_to("n0.example.com", A);
        for link in 0..links {
            let (from, to) = (format!("n{link}.example.com"), format!("n{}.example.com", link + 1));
            answer = answer.alias(&from, 60, &to);
        }
        answer.address(&format!("n{links}.example.com"), 60, "203.0.113.1")
    };
    assert_eq!(chain(ALIASES_MAX).read().unwrap().names.len(), ALIASES_MAX + 1);
    assert_eq!(chain(ALIASES_MAX + 1).read(), Err(Unread::TooLong));
    let circle = Dns::answer_to("a.b", A).alias("a.b", 60, "b.b").alias("b.b", 60, "a.b");
    assert_eq!(circle.read(), Err(Unread::TooLong));
    let mut many = Dns::answer_to("a.b", A);
    for _ in 0..=RECORDS_MAX {
        many = many.address("a.b", 60, "203.0.113.1");
    }
    assert_eq!(many.read(), Err(Unread::TooLong));
}

#[test]
fn what_says_no_address_of_the_name_teaches_nothing() {
    let good = Dns::answer_to("a.example", A).address("a.example", 60, "203.0.113.1");
    assert!(good.read().is_ok());
    let with_flags = |flags| Dns { flags, ..good.clone() }.read();
    assert_eq!(with_flags(RESPONSE & 0x7fff), Err(Unread::NotAnAnswer), "a question");
    assert_eq!(with_flags(RESPONSE | 5 << 11), Err(Unread::NotAnAnswer), "an update");
    assert_eq!(with_flags(RESPONSE | 3), Err(Unread::Failed), "NXDOMAIN");
    let twice = Dns { counts: [2, 1, 0, 0], ..good.clone() };
    assert_eq!(twice.read(), Err(Unread::NotAnAnswer));
    let other = Dns::answer_to("a.example", 16).address("a.example", 60, "203.0.113.1");
    assert_eq!(other.read(), Err(Unread::NotAnAnswer), "TXT was asked for");
    let empty = Dns::answer_to("a.example", A);
    assert_eq!(empty.read(), Err(Unread::NoAddress));
    for nobody in [
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "169.254.169.254",
        "::",
        "::1",
        "ff02::1",
        "fe80::1",
        "::ffff:203.0.113.1",
    ] {
        let answer = Dns::answer_to("a.example", A).address("a.example", 60, nobody);
        assert_eq!(answer.read(), Err(Unread::NoAddress), "{nobody}");
    }
    let cut = good.bytes();
    for len in 0..cut.len() {
        assert_eq!(read(&cut[..len]), Err(Unread::Malformed), "{len} bytes");
    }
}

#[test]
fn a_dot_within_a_label_makes_no_other_name() {
    let mut name = vec![9];
    name.extend(b"a.example");
    name.extend([3]);
    name.extend(b"com\0");
    let mut answer = Dns { flags: RESPONSE, counts: [1, 0, 0, 0], body: name.clone() };
    answer.body.extend([0, 1, 0, 1]);
    let answer = answer.record(&name, A, 60, &[203, 0, 113, 1]);
    assert_eq!(answer.read(), Err(Unread::NotAHostName));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..600)) {
        let _ = read(&bytes);
    }

    #[test]
    fn no_changed_answer_panics(
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        len in any::<prop::sample::Index>(),
    ) {
        let mut bytes = Dns::answer_to("www.example.com", A)
            .alias("www.example.com", 60, "b.cdn.net")
            .record(&[0xc0, 45], A, 60, &[203, 0, 113, 1])
            .address("b.cdn.net", 60, "2001:db8::1")
            .bytes();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(len.index(bytes.len() + 1));
        if let Ok(reading) = read(&bytes) {
            prop_assert!(!reading.names.is_empty() && !reading.addresses.is_empty());
            prop_assert!(reading.names.iter().all(|name| !name.is_empty() && name.len() < 255));
        }
    }

    /// The store against a list of all that was ever said.
    #[test]
    fn an_address_lasts_as_long_as_the_answer_that_says_so_for_longest(
        steps in vec((0..4u8, btree_map(0..6u8, 0..100_000u64, 0..4), 0..200_000u64), 1..40),
    ) {
        let mut names = DomainNames::default();
        let mut said: Vec<(String, IpAddr, Duration)> = Vec::new();
        let mut now = Duration::ZERO;
        for (name, addresses, pause) in steps {
            let name = format!("n{name}");
            let addresses: BTreeMap<IpAddr, Duration> = addresses
                .into_iter()
                .map(|(last, ttl)| (IpAddr::from([192, 0, 2, last]), S(ttl)))
                .collect();
            let before = names.addresses(&name);
            let learned = names.learn(now, &name, "*", &addresses);
            let is_new = addresses.keys().any(|addr| !before.live.contains(addr));
            prop_assert_eq!(learned, Learned { is_new, ..Learned::default() });
            for (addr, ttl) in addresses {
                said.push((name.clone(), addr, now + ttl.max(S(300)).min(S(86_400))));
            }
            now += S(pause);
            names.expire(now);
            let (mut all, mut all_lapsed) = (0, 0);
            for number in 0..4 {
                let name = format!("n{number}");
                let of = |at: Duration| -> BTreeSet<IpAddr> {
                    let holds = said.iter().filter(|(of, _, until)| *of == name && *until > at);
                    holds.map(|(_, addr, _)| *addr).collect()
                };
                let found = names.addresses(&name);
                let live = of(now);
                prop_assert_eq!(&found.live, &live);
                // It lapses when time is looked at, so no earlier than its end.
                let ended: BTreeSet<IpAddr> = of(Duration::ZERO).difference(&live).copied().collect();
                prop_assert!(found.lapsed.is_subset(&ended));
                let lately: BTreeSet<IpAddr> = of(now.saturating_sub(LAPSED_FOR));
                let lately: BTreeSet<IpAddr> = lately.difference(&live).copied().collect();
                prop_assert!(lately.is_subset(&found.lapsed), "{:?} {:?}", lately, found);
                all += found.live.len();
                all_lapsed += found.lapsed.len();
            }
            check(&names);
            prop_assert_eq!(names.len().1, all);
            prop_assert_eq!(names.lapsed_len(), all_lapsed);
            prop_assert_eq!(names.iter().count(), names.len().0);
        }
    }
}

/// What is counted is what is there.
fn check(names: &DomainNames) {
    let all: usize = names.names.values().map(|known| known.addresses.len()).sum();
    assert_eq!((names.addresses, names.ends.len()), (all, all));
    let lapsed: usize = names.lapsed.values().map(BTreeMap::len).sum();
    assert_eq!(names.lapsed_ends.len(), lapsed);
    assert!(names.addresses <= TOTAL_MAX && names.names.len() <= NAMES_MAX && lapsed <= LAPSED_MAX);
    let mut patterns: BTreeMap<Arc<str>, Pattern> = BTreeMap::new();
    for (name, known) in &names.names {
        let pattern = patterns.entry(known.pattern.clone()).or_default();
        pattern.names.insert((known.told, name.clone()));
        pattern.addresses += known.addresses.len();
    }
    let sizes: BTreeSet<_> = patterns.iter().map(|(of, p)| (p.addresses, of.clone())).collect();
    assert_eq!(names.sizes, sizes);
    for (of, pattern) in &patterns {
        assert_eq!(names.patterns[of].names, pattern.names);
    }
    assert_eq!(names.patterns.len(), patterns.len());
}

fn addresses(count: usize) -> BTreeMap<IpAddr, Duration> {
    let addr = |i: usize| IpAddr::from((0x0a00_0000 + i as u32).to_be_bytes());
    (0..count).map(|i| (addr(i), S(60))).collect()
}

#[test]
fn an_address_that_a_name_loses_lapses_until_it_is_told_again_or_forgotten() {
    let mut names = DomainNames::default();
    let set = |count| addresses(count).into_keys().collect::<BTreeSet<_>>();
    names.learn(S(0), "a", "a", &addresses(2));
    assert_eq!(names.expire(S(300)), BTreeSet::from(["a".into()]));
    let none = BTreeSet::new();
    assert_eq!(names.addresses("a"), Addresses { live: none.clone(), lapsed: set(2) });
    assert!(names.is_empty());
    assert!(names.learn(S(400), "a", "a", &addresses(1)).is_new);
    let lapsed = &set(2) - &set(1);
    assert_eq!(names.addresses("a"), Addresses { live: set(1), lapsed });
    assert_eq!(names.expire(S(700)).len(), 1);
    assert_eq!(names.expire(S(300) + LAPSED_FOR).len(), 1);
    assert_eq!(names.addresses("a"), Addresses { live: none, lapsed: set(1) });
    assert_eq!(names.expire(S(700) + LAPSED_FOR).len(), 1);
    assert_eq!((names.addresses("a"), names.lapsed_len()), (Addresses::default(), 0));
    check(&names);
}

#[test]
fn one_name_has_so_many_addresses() {
    let mut names = DomainNames::default();
    let learned = names.learn(S(0), "many", "many", &addresses(ADDRESSES_MAX + 7));
    let expected = Learned { is_new: true, left_out: 7, ..Learned::default() };
    assert_eq!((learned, names.len()), (expected, (1, ADDRESSES_MAX)));
}

#[test]
fn a_pattern_that_fills_the_room_takes_none_from_others() {
    let mut names = DomainNames::default();
    names.learn(S(0), "www.example.com", "www.example.com", &addresses(3));
    let flood = |names: &mut DomainNames, number: usize, count| {
        let name = format!("n{number}.evil.test");
        names.learn(S(1 + number as u64 / 1000), &name, "*.evil.test", &addresses(count))
    };
    for number in 0..NAMES_MAX - 1 {
        assert_eq!(flood(&mut names, number, 1).given_up.len(), 0);
    }
    // One that is told of again is younger than all others.
    flood(&mut names, 0, 1);
    names.learn(S(100), "n0.evil.test", "*.evil.test", &addresses(1));
    let learned = flood(&mut names, NAMES_MAX, 2);
    assert_eq!(learned.given_up, BTreeSet::from(["n1.evil.test".into()]));
    assert_eq!(names.addresses("n1.evil.test").lapsed.len(), 1);
    // Another pattern's name finds room, and so do its own ones.
    let learned = names.learn(S(200), "a.example.org", "*.example.org", &addresses(1));
    assert_eq!((learned.is_new, learned.given_up.len()), (true, 1));
    assert_eq!(names.addresses("www.example.com").live.len(), 3);
    assert_eq!(names.addresses("n0.evil.test").live.len(), 1);
    assert_eq!(names.len().0, NAMES_MAX);
    check(&names);
}

#[test]
fn all_names_together_have_so_many_addresses() {
    let mut names = DomainNames::default();
    for number in 0..TOTAL_MAX / ADDRESSES_MAX {
        names.learn(S(0), &format!("n{number}"), &format!("n{number}"), &addresses(ADDRESSES_MAX));
    }
    assert_eq!(names.len().1, TOTAL_MAX);
    // It may have as many as any other, and no more.
    let learned = names.learn(S(1), "more", "more", &addresses(ADDRESSES_MAX));
    assert_eq!((learned.left_out, learned.given_up.len()), (0, 1));
    check(&names);
    let ours = names.learn(S(2), "more", "more", &addresses(ADDRESSES_MAX));
    assert_eq!(ours, Learned::default());
}

#[test]
fn nobody_gives_way_to_one_that_has_as_much() {
    let mut names = DomainNames::default();
    for number in 0..NAMES_MAX {
        names.learn(S(0), &format!("n{number}"), &format!("n{number}"), &addresses(1));
    }
    let learned = names.learn(S(1), "more", "more", &addresses(2));
    assert_eq!(learned, Learned { left_out: 2, ..Learned::default() });
    check(&names);
    assert_eq!(names.expire(S(300)).len(), NAMES_MAX);
    assert!(names.learn(S(301), "more", "more", &addresses(3)).is_new);
}
