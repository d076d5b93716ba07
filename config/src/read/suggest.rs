//! "Did you mean ...?"

/// Names longer than this get no suggestion: no key is that long, and the search is quadratic.
const NAME_MAX: usize = 64;

/// The candidate that `name` is most likely a slip of, if any is close enough.
pub fn closest<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    if name.len() > NAME_MAX {
        return None;
    }
    let wanted = fold(name);
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let distance = distance(&wanted, &fold(candidate));
            let allowed = (candidate.len().max(name.len()) / 3).max(1);
            (distance <= allowed).then_some((distance, candidate))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Case and the kind of separator are slips that cost nothing.
fn fold(name: &str) -> Vec<char> {
    name.chars().filter(|c| !matches!(c, '-' | '_')).flat_map(char::to_lowercase).collect()
}

/// Edits from `a` to `b`: insert, delete, replace, swap neighbors (optimal string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::closest;

    #[test]
    fn slips_find_their_key() {
        let keys = ["addresses", "kernel_addresses", "device", "mtu", "vlan"];
        for (slip, expected) in [
            ("adresses", Some("addresses")),
            ("address", Some("addresses")),
            ("kernelAddresses", Some("kernel_addresses")),
            ("kernel-addresses", Some("kernel_addresses")),
            ("devcie", Some("device")),
            ("MTU", Some("mtu")),
            ("vlna", Some("vlan")),
            ("gateway", None),
            ("", None),
        ] {
            assert_eq!(closest(slip, keys), expected, "{slip}");
        }
    }
}
