use super::certificates::by_name;
use hashbrown::HashMap;
use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// What clients of a listener have to show, by the name that they ask for. `None`: they are
/// not asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientAuths {
    /// By a whole name, in lower case.
    pub exact: HashMap<Box<str>, Option<Arc<ClientAuth>>>,
    /// By what follows the asterisk of a wildcard, the point included: for names with one
    /// label before it.
    pub wildcards: HashMap<Box<str>, Option<Arc<ClientAuth>>>,
    /// For all other names, and for clients that tell none.
    pub default: Option<Arc<ClientAuth>>,
}

impl ClientAuths {
    /// What a client has to show that asks for a name.
    pub fn find(&self, name: Option<&str>) -> Option<&Arc<ClientAuth>> {
        let of_name = name.and_then(|name| by_name(&self.exact, &self.wildcards, name));
        of_name.unwrap_or(&self.default).as_ref()
    }
}

/// Which certificates of clients are taken.
pub struct ClientAuth {
    /// Whether there has to be one.
    pub mode: ClientAuthMode,
    /// Most certificates between a client's and the one of `roots` that vouches for it.
    pub depth_max: u8,
    /// Whose certificates are taken, each in DER: one at least that can be read, else no
    /// handshake succeeds.
    pub roots: Arc<[Box<[u8]>]>,
    /// What whoever uses it has made of it.
    pub prepared: OnceLock<Arc<dyn Any + Send + Sync>>,
}

/// Whether clients have to show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClientAuthMode {
    /// They may; one that is not to be trusted is refused all the same.
    Optional,
    /// They have to.
    Required,
}

impl PartialEq for ClientAuth {
    fn eq(&self, other: &Self) -> bool {
        let of = |auth: &ClientAuth| (auth.mode, auth.depth_max);
        of(self) == of(other)
            && (Arc::ptr_eq(&self.roots, &other.roots) || self.roots == other.roots)
    }
}

impl Eq for ClientAuth {}

impl fmt::Debug for ClientAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ClientAuth { mode, depth_max, .. } = self;
        f.debug_struct("ClientAuth")
            .field("mode", mode)
            .field("depth_max", depth_max)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth(depth_max: u8) -> Option<Arc<ClientAuth>> {
        let (mode, roots) = (ClientAuthMode::Required, Arc::from([]));
        Some(Arc::new(ClientAuth { mode, depth_max, roots, prepared: OnceLock::new() }))
    }

    #[test]
    fn a_name_that_is_not_asked_is_none_of_its_wildcard() {
        let all = ClientAuths {
            exact: [("open.example".into(), None), ("a.x.example".into(), auth(1))].into(),
            wildcards: [(".example".into(), auth(2)), (".open.example".into(), None)].into(),
            default: auth(3),
        };
        for (name, expected) in [
            (Some("a.x.example"), Some(1)),
            (Some("A.X.example."), Some(1)),
            (Some("b.example"), Some(2)),
            (Some("open.example"), None),
            (Some("a.open.example"), None),
            (Some("b.x.example"), Some(3)),
            (None, Some(3)),
        ] {
            assert_eq!(all.find(name).map(|auth| auth.depth_max), expected, "{name:?}");
        }
        assert_eq!(ClientAuths::default().find(Some("a")), None);
    }
}
