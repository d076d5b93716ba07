use crate::publish::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A domain name and what it stands for, from DNS answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainNameView {
    /// The name, in lower case and without the final dot.
    pub name: String,
    /// Whether a policy names it now.
    pub wanted: bool,
    /// Its addresses, and in how many seconds each is forgotten if no answer comes.
    pub addresses: BTreeMap<String, u64>,
}

/// Names and DNS answers, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamesMetrics {
    /// Names that are known.
    pub names: usize,
    /// Addresses of all of them.
    pub addresses: usize,
    /// Addresses that names have lost, and that count for flows that run.
    pub lapsed: usize,
    /// Answers that workers have held and told of, by what was learned from them:
    /// `learned`, `known`, `unwanted`, or why nothing was.
    pub answers: BTreeMap<String, u64>,
    /// Addresses that were not learned for want of room.
    pub addresses_left_out: u64,
    /// Addresses that no name may have, or not the one that an answer gave them to.
    pub addresses_refused: u64,
    /// Names that were forgotten before their time, for want of room.
    pub given_up: u64,
    /// Answers that wait for tables now.
    pub waiting: usize,
    /// How long control has held the answers that policies asked about.
    pub held: Histogram,
}
