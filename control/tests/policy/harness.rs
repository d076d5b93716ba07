//! Two evaluators side by side: the same objects, the same changes, the same
//! questions; the first disagreement is shrunk to what is needed for it.

#[cfg(test)]
mod tests;

use crate::object::Key;
use crate::random::{Objects, Step, shrink, steps, to_manifest};
use crate::reference::{Answer, Question, Verdict, judge};
use serde_json::Value;
use std::fmt;
use std::net::IpAddr;

/// What is held against the reference.
pub trait Subject {
    /// Takes a new or changed object, as it is in a manifest.
    fn apply(&mut self, object: &Value);
    /// Forgets an object.
    fn delete(&mut self, key: &Key);
    /// Hears that a name has these addresses now, and no others.
    fn learn(&mut self, name: &str, addresses: &[IpAddr]);
    /// Makes everything so far count: one more turn of what is incremental.
    fn settle(&mut self);
    /// Answers by what has settled.
    fn judge(&mut self, question: Question) -> Said;
}

/// What a subject answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub verdict: Verdict,
    /// The rule that decided at the source.
    pub egress: String,
    /// The rule that decided at the destination.
    pub ingress: String,
}

impl Said {
    /// True for the reference's verdict, for a reason that it knows.
    pub fn agrees(&self, answer: &Answer) -> bool {
        self.verdict == answer.verdict
            && answer.egress.accepts(&self.egress)
            && answer.ingress.accepts(&self.ingress)
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}; egress: {}; ingress: {}", self.verdict, self.egress, self.ingress)
    }
}

/// A new subject that knows nothing yet.
pub type Make<'a> = &'a dyn Fn() -> Box<dyn Subject>;

/// What two evaluators do not agree about.
pub struct Disagreement {
    pub seed: u64,
    /// The fewest steps that were found, the last of them a question.
    pub steps: Vec<Step>,
    pub answer: Answer,
    pub said: Said,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Disagreement { seed, steps, answer, said } = self;
        let Answer { verdict, egress, ingress } = answer;
        writeln!(f, "{}# seed {seed}", to_manifest(steps))?;
        writeln!(f, "# reference: {verdict:?}; egress: {egress}; ingress: {ingress}")?;
        writeln!(f, "# subject:   {said}")
    }
}

/// Builds the cluster of a seed, changes it, and asks; how many questions there
/// were, or the first of them that the two answer differently.
pub fn check_world(seed: u64, make: Make<'_>) -> Result<usize, Box<Disagreement>> {
    let steps = steps(seed);
    let Some((at, ..)) = first_disagreement(&steps, make) else {
        return Ok(steps.iter().filter(|step| matches!(step, Step::Ask(_))).count());
    };
    // Of the questions only the one that was answered differently is needed.
    let history = steps[..at].iter().filter(|step| !matches!(step, Step::Ask(_)));
    let steps: Vec<_> = history.chain([&steps[at]]).cloned().collect();
    let steps = shrink(steps, |steps| first_disagreement(steps, make).is_some());
    let (_, answer, said) = first_disagreement(&steps, make).expect("it still fails");
    Err(Box::new(Disagreement { seed, steps, answer, said }))
}

fn first_disagreement(steps: &[Step], make: Make<'_>) -> Option<(usize, Answer, Said)> {
    let (mut objects, mut subject) = (Objects::default(), make());
    let mut world = objects.world();
    for (at, step) in steps.iter().enumerate() {
        objects.take(step);
        match step {
            Step::Put(object) => subject.apply(object),
            Step::Delete(key) => subject.delete(key),
            Step::Learn(name, addresses) => subject.learn(name, addresses),
            Step::Settle => {
                subject.settle();
                world = objects.world();
            }
            Step::Ask(question) => {
                let (answer, said) = (judge(&world, *question), subject.judge(*question));
                if !said.agrees(&answer) {
                    return Some((at, answer, said));
                }
            }
        }
    }
    None
}
