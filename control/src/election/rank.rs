use crate::announce::stable_hash;

/// The node that should have a slot: the one with the highest hash of both
/// (rendezvous hashing). A node that comes or goes moves its own slots only.
pub fn rank<'a>(slot: u16, nodes: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let slot = slot.to_be_bytes();
    let weight = |node: &str| stable_hash(&[node.as_bytes(), &slot]);
    nodes.into_iter().max_by_key(|node| (weight(node), *node))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_spread_and_only_those_of_who_goes_move() {
        let nodes: Vec<String> = (0..4).map(|i| format!("gateway-{i}")).collect();
        let all = || nodes.iter().map(String::as_str);
        let mut counts = [0; 4];
        for slot in 0..64 {
            let has = rank(slot, all()).unwrap();
            counts[nodes.iter().position(|node| node == has).unwrap()] += 1;
            let left = rank(slot, all().filter(|node| *node != "gateway-2")).unwrap();
            assert!(has == "gateway-2" || has == left);
        }
        assert!(counts.iter().all(|count| (6..30).contains(count)), "{counts:?}");
        assert_eq!(rank(0, []), None);
    }
}
