//! Faults of tensors, gathered so that one cause is one line.

use std::collections::HashMap;

use crate::error::{Defect, Fault, Faults, Others};

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

#[derive(Debug)]
struct Kind {
    reason: String,
    /// Whether all of them are not there, for no reason that is told.
    is_missing: bool,
    count: usize,
    /// The first few, and the last name.
    named: Vec<Named>,
    last: String,
}

/// A tensor and what is wrong with it.
#[derive(Debug)]
struct Named {
    name: String,
    fault: Fault,
}

impl Kind {
    fn add(&mut self, name: &str, fault: Fault) {
        self.count += 1;
        if self.named.len() < SINGLE {
            self.named.push(Named { name: name.to_owned(), fault });
        }
        name.clone_into(&mut self.last);
    }
}

impl Alike {
    /// Adds a fault of the tensor `name`.
    pub(super) fn push(&mut self, name: &str, fault: Fault) {
        self.push_for(&fault.what(), name, fault);
    }

    /// Adds a fault of the tensor `name` that others have for the same `reason`, whatever is said of each.
    pub(super) fn push_for(&mut self, reason: &str, name: &str, fault: Fault) {
        let key = (pattern(name), reason.to_owned());
        if let Some(&kind) = self.by_pattern.get(&key) {
            self.kinds[kind].add(name, fault);
        } else if self.kinds.len() < KINDS {
            self.by_pattern.insert(key, self.kinds.len());
            let is_missing = fault.defect == Defect::Missing && fault.because.is_none();
            let (reason, named, last) = (reason.to_owned(), Vec::new(), String::new());
            let mut kind = Kind { reason, is_missing, count: 0, named, last };
            kind.add(name, fault);
            self.kinds.push(kind);
        } else {
            self.others.push(fault);
        }
    }

    /// Adds a fault that is like no other.
    pub(super) fn push_other(&mut self, fault: Fault) {
        self.others.push(fault);
    }

    /// All of them: what is wrong with many tensors first, else in the order in which they were found.
    pub(super) fn into_faults(self) -> Faults {
        let mut causes: Vec<Vec<Kind>> = Vec::new();
        let mut by_reason: HashMap<String, usize> = HashMap::new();
        for kind in self.kinds {
            // What is missing is named by what it is; whatever else many tensors share has one cause, and so has what is
            // missing because of something.
            let known = (!kind.is_missing).then(|| by_reason.get(&kind.reason)).flatten().copied();
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
                kinds.into_iter().flat_map(|kind| kind.named).for_each(|named| faults.push(named.fault));
                continue;
            }
            let others = match kinds.as_slice() {
                [one] => Others::until(count - 1, &one.last),
                many => Others::such_as(count - 1, many[1..].iter().map(|kind| kind.named[0].name.as_str())),
            };
            let first = kinds.into_iter().flat_map(|kind| kind.named).next();
            faults.push(first.expect("a kind has a first one").fault.others(others));
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

    fn missing(name: &str) -> Fault {
        Fault::tensor(name).missing("missing")
    }

    #[test]
    fn one_cause_is_one_line() {
        let mut alike = Alike::default();
        for layer in 0..30 {
            let [norm, q, k] =
                ["q_norm.weight", "q_proj.qweight", "k_proj.qweight"].map(|part| format!("layers.{layer}.{part}"));
            alike.push(&norm, missing(&norm).expected("[16]"));
            alike.push(&q, Fault::tensor(&q).found("is quantized"));
            alike.push(&k, Fault::tensor(&k).found("is quantized"));
        }
        alike.push("norm.weight", missing("norm.weight").expected("[16]"));
        alike.push_other(Fault::file("a").missing("gone"));
        let faults = alike.into_faults();
        assert_eq!(
            faults.list().iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                "tensor \"layers.0.q_norm.weight\": missing, expected [16]; the same of 29 others, the last \
                 \"layers.29.q_norm.weight\"",
                "tensor \"layers.0.q_proj.qweight\": is quantized; the same of 59 others, such as \
                 \"layers.0.k_proj.qweight\"",
                "tensor \"norm.weight\": missing, expected [16]",
                "file \"a\": gone",
            ]
        );
        let others = faults.list()[1].others.as_ref().map(|others| (others.count, others.names.as_slice()));
        assert_eq!(others, Some((59, ["layers.0.k_proj.qweight".to_owned()].as_slice())));
    }

    /// What is missing for a reason has that one cause, whatever it is called.
    #[test]
    fn what_is_missing_is_one_line_a_name_unless_it_has_a_reason() {
        let count = |because: Option<&str>| {
            let mut alike = Alike::default();
            for name in (0..9).flat_map(|layer| ["a", "b"].map(|part| format!("layers.{layer}.{part}"))) {
                let fault = missing(&name);
                alike.push(&name, because.map_or(fault.clone(), |because| fault.because(because)));
            }
            alike.into_faults().count()
        };
        assert_eq!((count(None), count(Some("config.json says so"))), (2, 1));
    }

    #[test]
    fn few_faults_are_named_one_by_one() {
        let mut alike = Alike::default();
        (0..4).map(|layer| format!("layers.{layer}.x")).for_each(|name| alike.push(&name, missing(&name)));
        assert_eq!(alike.into_faults().count(), 4);
        let mut alike = Alike::default();
        (0..100_000).map(|number| format!("x{number}")).for_each(|name| alike.push(&name, missing(&name)));
        assert_eq!(alike.into_faults().count(), 100_000);
    }
}
