//! Faults of tensors, gathered so that one cause is one line.

use std::collections::HashMap;

use super::files::folder::list;
use crate::Faults;

/// Up to so many alike stand each on its own line.
const SINGLE: usize = 4;
/// Most kinds of faults that are told apart; a hostile file could have any number.
const KINDS: usize = 4096;

/// Faults of tensors: those that say the same of the same tensor of several layers or experts become one.
#[derive(Debug, Default)]
pub(super) struct Alike {
    kinds: Vec<Kind>,
    /// By the name's pattern and the reason.
    by_pattern: HashMap<(String, String), usize>,
    others: Faults,
}

/// A tensor, and what is said of it.
#[derive(Debug)]
struct Named {
    name: String,
    what: String,
}

#[derive(Debug)]
struct Kind {
    reason: String,
    count: usize,
    /// The first few names with what is said of each, and the last name.
    named: Vec<Named>,
    last: String,
}

impl Kind {
    fn add(&mut self, name: &str, what: &str) {
        self.count += 1;
        if self.named.len() < SINGLE {
            self.named.push(Named { name: name.to_owned(), what: what.to_owned() });
        }
        name.clone_into(&mut self.last);
    }
}

impl Alike {
    /// Adds a fault of the tensor `name`.
    pub(super) fn push(&mut self, name: &str, what: &str) {
        self.push_for(what, name, what);
    }

    /// Adds a fault of the tensor `name` that others have for the same `reason`, whatever is said of each.
    pub(super) fn push_for(&mut self, reason: &str, name: &str, what: &str) {
        let key = (pattern(name), reason.to_owned());
        if let Some(&kind) = self.by_pattern.get(&key) {
            self.kinds[kind].add(name, what);
        } else if self.kinds.len() < KINDS {
            self.by_pattern.insert(key, self.kinds.len());
            let mut kind = Kind { reason: reason.to_owned(), count: 0, named: Vec::new(), last: String::new() };
            kind.add(name, what);
            self.kinds.push(kind);
        } else {
            self.others.push(format!("tensor {name:?}: {what}"));
        }
    }

    /// Adds a fault that is like no other.
    pub(super) fn push_other(&mut self, fault: &str) {
        self.others.push(fault);
    }

    /// All of them: what is wrong with many tensors first, else in the order in which they were found.
    pub(super) fn into_faults(self) -> Faults {
        let mut causes: Vec<Vec<Kind>> = Vec::new();
        let mut by_reason: HashMap<String, usize> = HashMap::new();
        for kind in self.kinds {
            // What is missing is named by what it is; whatever else many tensors share has one cause, and so has what is
            // missing because of something.
            let is_missing = kind.reason.starts_with("missing") && !kind.reason.contains("because");
            let known = (!is_missing).then(|| by_reason.get(&kind.reason)).flatten().copied();
            let cause = known.unwrap_or_else(|| {
                by_reason.insert(kind.reason.clone(), causes.len());
                causes.push(Vec::new());
                causes.len() - 1
            });
            causes[cause].push(kind);
        }
        let count = |kinds: &Vec<Kind>| kinds.iter().map(|kind| kind.count).sum::<usize>();
        // What is wrong with many tensors is the likelier reason why others are.
        causes.sort_by_key(|kinds| count(kinds) <= SINGLE);
        let mut faults = Faults::default();
        for kinds in causes {
            let count = count(&kinds);
            if count <= SINGLE {
                let named = kinds.iter().flat_map(|kind| &kind.named);
                named.for_each(|Named { name, what }| faults.push(format!("tensor {name:?}: {what}")));
                continue;
            }
            let others = match kinds.as_slice() {
                [one] => format!("the last {:?}", one.last),
                many => format!("such as {}", list(many[1..].iter().map(|kind| kind.named[0].name.as_str()))),
            };
            let Named { name: first, what } = &kinds[0].named[0];
            faults.push(format!("tensor {first:?}: {what}; the same of {} others, {others}", count - 1));
        }
        faults.append(self.others);
        faults
    }
}

/// `name` without the numbers of layer and expert.
fn pattern(name: &str) -> String {
    let is_number = |segment: &str| !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit());
    name.split('.').map(|segment| if is_number(segment) { "*" } else { segment }).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cause_is_one_line() {
        let mut alike = Alike::default();
        for layer in 0..30 {
            alike.push(&format!("layers.{layer}.q_norm.weight"), "missing, expected [16]");
            alike.push(&format!("layers.{layer}.q_proj.qweight"), "is quantized");
            alike.push(&format!("layers.{layer}.k_proj.qweight"), "is quantized");
        }
        alike.push("norm.weight", "missing, expected [16]");
        alike.push_other("file: gone");
        let faults = alike.into_faults();
        assert_eq!(
            faults.list(),
            [
                "tensor \"layers.0.q_norm.weight\": missing, expected [16]; the same of 29 others, the last \
                 \"layers.29.q_norm.weight\"",
                "tensor \"layers.0.q_proj.qweight\": is quantized; the same of 59 others, such as \
                 \"layers.0.k_proj.qweight\"",
                "tensor \"norm.weight\": missing, expected [16]",
                "file: gone",
            ]
        );
    }

    #[test]
    fn few_faults_are_named_one_by_one() {
        let mut alike = Alike::default();
        (0..4).for_each(|layer| alike.push(&format!("layers.{layer}.x"), "missing"));
        assert_eq!(alike.into_faults().count(), 4);
        let mut alike = Alike::default();
        (0..100_000).for_each(|number| alike.push(&format!("x{number}"), "missing"));
        assert_eq!(alike.into_faults().count(), 100_000);
    }
}
