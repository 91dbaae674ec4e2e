//! What is wrong with a checkpoint: everything that was found.

use std::fmt;

use super::harmless::harmless;
use super::remedy::{Remedy, Speller, plain};

/// One fault, a whole sentence that names the tensor or file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fault {
    text: String,
    /// What would allow it.
    remedy: Option<Remedy>,
}

impl Fault {
    fn message(&self, spell: &Speller) -> String {
        let spelled = |remedy| spell(std::slice::from_ref(remedy));
        match &self.remedy {
            // The fault says which links are allowed.
            Some(remedy @ Remedy::FollowLinks) => format!("{} ({} allows others)", self.text, spelled(remedy)),
            Some(remedy) => format!("{} (what helps: {})", self.text, spelled(remedy)),
            None => self.text.clone(),
        }
    }
}

/// Faults of a checkpoint, each one a whole sentence that names the tensor or file.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Faults {
    list: Vec<Fault>,
    /// Faults beyond those that are kept.
    more: usize,
}

/// At most this many faults are printed; the rest is counted.
const SHOWN: usize = 20;
/// At most this many faults are kept, of so many characters each: a hostile file can have a million.
const KEPT: usize = 1000;
const FAULT_CHARACTERS: usize = 2000;

impl Faults {
    /// Adds one fault, whatever it quotes of a file made harmless.
    pub fn push(&mut self, fault: impl AsRef<str>) {
        self.add(harmless(fault.as_ref(), FAULT_CHARACTERS), None);
    }

    /// Adds a fault that would be none with `remedy`.
    pub(super) fn push_with(&mut self, fault: impl AsRef<str>, remedy: Remedy) {
        self.add(harmless(fault.as_ref(), FAULT_CHARACTERS), Some(remedy));
    }

    fn add(&mut self, text: String, remedy: Option<Remedy>) {
        if self.list.len() < KEPT {
            self.list.push(Fault { text, remedy });
        } else {
            self.more += 1;
        }
    }

    /// Adds all faults of `other`.
    pub fn append(&mut self, other: Faults) {
        for fault in other.list {
            self.add(harmless(&fault.text, FAULT_CHARACTERS), fault.remedy);
        }
        self.more += other.more;
    }

    /// The first thousand faults, in the order in which they were found.
    pub fn list(&self) -> Vec<String> {
        self.list_with(&plain)
    }

    /// As [`Faults::list`], with remedies in the words of `spell`.
    pub fn list_with(&self, spell: &Speller) -> Vec<String> {
        self.list.iter().map(|fault| fault.message(spell)).collect()
    }

    /// How many faults were found.
    pub fn count(&self) -> usize {
        self.list.len() + self.more
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// What would allow what is a fault without it.
    pub(super) fn remedies(&self) -> Vec<&Remedy> {
        let mut remedies: Vec<&Remedy> = self.list.iter().filter_map(|fault| fault.remedy.as_ref()).collect();
        remedies.dedup();
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

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message(&plain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_has_words_of_its_own() {
        let said = |remedy| {
            let mut faults = Faults::default();
            faults.push_with("a fault", remedy);
            faults.to_string()
        };
        assert_eq!(said(Remedy::FollowLinks), "a fault (following links allows others)");
        assert_eq!(said(Remedy::ExactPrecision), "a fault (what helps: exact precision)");
    }

    #[test]
    fn a_million_faults_are_a_short_text() {
        let mut faults = Faults::default();
        (0..1_000_000).for_each(|i| faults.push(format!("fault \x1b {i}")));
        let text = faults.to_string();
        assert!(
            text.starts_with("1000000 faults:\n  fault \\u{1b} 0\n") && text.ends_with("\n  and 999980 more"),
            "{text}"
        );
    }
}
