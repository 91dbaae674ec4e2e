//! What is wrong with a checkpoint: everything that was found.

use std::fmt;

use super::fault::{Defect, Fault};
use super::remedy::{Remedy, Speller, plain};

/// Faults of a model's files, in the order in which they were found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Faults {
    list: Vec<Fault>,
    /// Faults beyond those that are kept.
    more: usize,
}

/// At most this many faults are printed; the rest is counted.
const SHOWN: usize = 20;
/// At most this many faults are kept: a hostile file can have a million.
const KEPT: usize = 1000;

impl Faults {
    /// Adds one fault.
    pub fn push(&mut self, fault: Fault) {
        if self.list.len() < KEPT {
            self.list.push(fault);
        } else {
            self.more += 1;
        }
    }

    /// Adds all faults of `other`.
    pub fn append(&mut self, other: Faults) {
        other.list.into_iter().for_each(|fault| self.push(fault));
        self.more += other.more;
    }

    /// All of them with something else of each.
    pub(crate) fn map(self, change: impl FnMut(Fault) -> Fault) -> Self {
        Faults { list: self.list.into_iter().map(change).collect(), more: self.more }
    }

    /// The first thousand faults.
    pub fn list(&self) -> &[Fault] {
        &self.list
    }

    /// Whether none of them is anything but not supported.
    pub(super) fn are_unsupported(&self) -> bool {
        !self.list.is_empty() && self.list.iter().all(|fault| fault.defect == Defect::Unsupported)
    }

    /// How many faults were found.
    pub fn count(&self) -> usize {
        self.list.len() + self.more
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// What would allow what is a fault without it.
    pub(super) fn remedies(&self) -> Vec<Remedy> {
        let mut remedies = Vec::new();
        for remedy in self.list.iter().filter_map(|fault| fault.remedy.as_ref()) {
            if !remedies.contains(remedy) {
                remedies.push(remedy.clone());
            }
        }
        remedies
    }

    pub(super) fn message(&self, spell: &Speller) -> String {
        let shown: Vec<String> = self.list.iter().take(SHOWN).map(|fault| fault.message(spell)).collect();
        if let ([one], 1) = (shown.as_slice(), self.count()) {
            return one.clone();
        }
        let mut text = format!("{} faults:", self.count());
        shown.iter().for_each(|fault| text.push_str(&format!("\n  {fault}")));
        if self.count() > SHOWN {
            text.push_str(&format!("\n  and {} more", self.count() - SHOWN));
        }
        text
    }
}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Self {
        Faults { list: vec![fault], more: 0 }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message(&plain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_of_several_faults_is_one_remedy() {
        let all = [Remedy::FollowLinks, Remedy::RawText, Remedy::FollowLinks];
        let mut faults = Faults::from(Fault::checkpoint().found("a fault without a remedy"));
        all.into_iter().for_each(|remedy| faults.push(Fault::checkpoint().found("a fault").remedy(remedy)));
        assert_eq!(faults.remedies(), [Remedy::FollowLinks, Remedy::RawText]);
    }

    #[test]
    fn a_million_faults_are_a_short_text() {
        let mut faults = Faults::default();
        (0..1_000_000).for_each(|i| faults.push(Fault::checkpoint().found(format!("fault \x1b {i}"))));
        let text = faults.to_string();
        assert!(
            text.starts_with("1000000 faults:\n  fault \\u{1b} 0\n") && text.ends_with("\n  and 999980 more"),
            "{text}"
        );
    }
}
