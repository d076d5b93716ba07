//! When certificates begin and end.

use crate::cluster::Secret;
use crate::object::Name;
use std::collections::{BTreeMap, BTreeSet};

/// The first seconds since 1970 in which the certificate of a Secret is valid, and in which
/// it is not any more.
type Span = (i64, i64);

/// When certificates of Secrets begin and end, whoever uses them.
#[derive(Debug, Default)]
pub(super) struct Moments {
    spans: BTreeMap<Name, Span>,
    begins: BTreeSet<(i64, Name)>,
    ends: BTreeSet<(i64, Name)>,
}

impl Moments {
    /// Sets what a Secret is now; `None`: there is none.
    pub(super) fn set(&mut self, name: &Name, secret: Option<&Secret>) {
        if let Some((begin, end)) = self.spans.remove(name) {
            self.begins.remove(&(begin, name.clone()));
            self.ends.remove(&(end, name.clone()));
        }
        let span = secret.and_then(|secret| {
            let certificate = secret.certificate.as_ref()?;
            Some((secret.not_before, certificate.not_after.saturating_add(1)))
        });
        if let Some((begin, end)) = span {
            self.spans.insert(name.clone(), (begin, end));
            self.begins.insert((begin, name.clone()));
            self.ends.insert((end, name.clone()));
        }
    }

    /// The Secrets whose certificates begin or end between two times, whichever is the
    /// later one: clocks are set back, too.
    pub(super) fn between(&self, one: i64, other: i64) -> impl Iterator<Item = &Name> {
        let after = |time: i64| (time.saturating_add(1), Name::new("", ""));
        let range = after(one.min(other))..after(one.max(other));
        let begins = self.begins.range(range.clone());
        begins.chain(self.ends.range(range)).map(|(_, name)| name)
    }

    /// The Secrets, and the last second in which their certificates are valid, the first
    /// to end first.
    pub(super) fn last_seconds(&self) -> impl Iterator<Item = (&Name, i64)> {
        self.ends.iter().map(|(end, name)| (name, end.saturating_sub(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_tables::l7::{Certificate, PrivateKey};
    use std::sync::{Arc, OnceLock};

    fn secret(not_before: i64, not_after: i64) -> Secret {
        let certificate = Certificate {
            name: "a".into(),
            not_after,
            chain: Box::default(),
            key: PrivateKey::Pkcs8(Box::default()),
            prepared: OnceLock::new(),
        };
        let (certificate, authorities) = (Some(Arc::new(certificate)), Err("has no `ca.crt`"));
        Secret { certificate, not_before, error: None, authorities }
    }

    #[test]
    fn what_lies_between_two_times_is_found_whichever_way_the_clock_went() {
        let [a, b] = ["a", "b"].map(|name| Name::new("x", name));
        let mut moments = Moments::default();
        moments.set(&a, Some(&secret(10, 20)));
        moments.set(&b, Some(&secret(15, 30)));
        let between = |moments: &Moments, one, other| {
            let found: Vec<_> = moments.between(one, other).map(|name| name.to_string()).collect();
            let mut back: Vec<_> = moments.between(other, one).map(Name::to_string).collect();
            back.sort();
            assert_eq!(found.iter().collect::<BTreeSet<_>>(), back.iter().collect());
            found.join(" ")
        };
        for (one, other, expected) in [
            (0, 9, ""),
            (9, 10, "x/a"),
            (10, 10, ""),
            (10, 14, ""),
            // Valid in its last second, and no more in the next.
            (15, 20, ""),
            (20, 21, "x/a"),
            (0, 100, "x/a x/b x/a x/b"),
        ] {
            assert_eq!(between(&moments, one, other), expected, "{one} {other}");
        }
        let ends: Vec<_> = moments.last_seconds().collect();
        assert_eq!(ends, [(&a, 20), (&b, 30)]);
        moments.set(&a, Some(&secret(10, 40)));
        moments.set(&b, None);
        assert_eq!(between(&moments, 0, 100), "x/a x/a");
        assert_eq!(moments.last_seconds().collect::<Vec<_>>(), [(&a, 40)]);
    }
}
