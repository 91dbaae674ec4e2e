//! No room.

use std::fmt;

use super::remedy::{Remedy, Speller, any_of, plain};
use crate::Bytes;

/// A device, or the host, has no room for what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NoRoom {
    /// The device's name; `None` for the host's memory.
    pub device: Option<String>,
    /// What it was for: a buffer's label.
    pub what: String,
    /// Bytes that it takes.
    pub needed: u64,
    /// Bytes that there are, or that are taken already: [`Bound`] says which.
    pub found: u64,
    /// What it exceeds.
    pub bound: Bound,
    /// What the whole model takes on the device, where that was planned.
    pub plan: Option<Planned>,
    /// Bytes that the device gave before it had no more, where a load failed.
    pub room: Option<u64>,
    /// What of the options would have to change, where that was looked for.
    pub advice: Option<Advice>,
    /// To how many positions the context was cut, where a growing KV cache found no room.
    pub cut_to: Option<usize>,
}

/// What memory that was asked for exceeds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bound {
    /// What the device binds at once: `found` bytes.
    Binding,
    /// What the device binds at once, of which a matrix must not be cut further: `found` bytes.
    Matrix,
    /// What was left beside `found` bytes that are taken.
    Taken,
    /// The budget that was asked for: `found` bytes.
    Budget,
    /// The device ran out of memory by itself, with `found` bytes taken; the system's words.
    Reported(String),
    /// The system has no thread with a stack of `needed` bytes; its words.
    Stack(String),
}

/// What a model takes on one device.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Planned {
    /// Positions that a sequence can have.
    pub context: usize,
    /// The device's name.
    pub device: String,
    /// Bytes at most, at any time.
    pub bytes: u64,
    /// What they are for.
    pub parts: Vec<Part>,
}

/// Bytes for one purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Part {
    /// What they are for.
    pub name: &'static str,
    /// How many.
    pub bytes: u64,
}

/// What of the options would have to change for a model to fit. All of it was planned, so that it holds to the byte.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Advice {
    /// Each of these alone is enough.
    AnyOf(Vec<Remedy>),
    /// None alone, but these together.
    Together(Vec<Remedy>),
    /// Not even these together: they leave `needed` bytes.
    TooLarge {
        /// All that saves something.
        with: Vec<Remedy>,
        /// Bytes that the fullest device takes with them.
        needed: u64,
    },
    /// Nothing saves anything.
    Nothing,
}

impl NoRoom {
    /// `needed` bytes for `what`, on `device` or the host, where there are `found` by `bound`.
    pub fn new(device: Option<&str>, what: impl Into<String>, needed: u64, found: u64, bound: Bound) -> Self {
        NoRoom {
            device: device.map(str::to_owned),
            what: what.into(),
            needed,
            found,
            bound,
            plan: None,
            room: None,
            advice: None,
            cut_to: None,
        }
    }

    /// The code of this kind.
    pub(super) fn code(&self) -> &'static str {
        match self.bound {
            Bound::Binding | Bound::Matrix => "E-BINDING",
            Bound::Taken | Bound::Reported(_) => "E-MEMORY",
            Bound::Budget => "E-BUDGET",
            Bound::Stack(_) => "E-STACK",
        }
    }

    /// All that would help, alone or together.
    pub(super) fn remedies(&self) -> &[Remedy] {
        match &self.advice {
            Some(Advice::AnyOf(remedies) | Advice::Together(remedies) | Advice::TooLarge { with: remedies, .. }) => {
                remedies
            }
            _ if self.cut_to.is_some() => &LEAVE_MORE_ROOM,
            _ => &[],
        }
    }

    pub(super) fn message(&self, spell: &Speller) -> String {
        let (what, needed, found) = (&self.what, self.needed, self.found);
        let device = self.device.as_deref().unwrap_or("the host");
        let mut text = match &self.bound {
            Bound::Binding => format!("{what}: {needed} bytes, but \"{device}\" binds at most {found} at once"),
            Bound::Matrix => {
                format!("{what}: a matrix of {needed} bytes, but \"{device}\" binds at most {found} at once")
            }
            Bound::Taken => {
                format!("{what}: no room for {needed} bytes on \"{device}\" beside {found} bytes already taken")
            }
            Bound::Budget => format!("a budget of {}", Bytes(found)),
            Bound::Reported(why) => format!("the device is out of memory with {found} bytes taken: {why}"),
            Bound::Stack(why) => format!("{what}: no thread with {needed} bytes of stack: {why}"),
        };
        if let Some(plan) = &self.plan {
            let join = if self.bound == Bound::Budget { ", but" } else { ";" };
            text.push_str(&format!("{join} the plan for a context of {} is {plan}", plan.context));
        }
        if let Some(advice) = &self.advice {
            let room = self.room.map_or(String::new(), |room| format!("in the {} that were found, ", Bytes(room)));
            text.push_str(&format!("; {room}{}", advice.message(spell)));
        }
        if let Some(context) = self.cut_to {
            let more = any_of(&LEAVE_MORE_ROOM, spell);
            text.push_str(&format!("; the context is cut to {context} tokens; {more}, leave more room"));
        }
        text
    }
}

/// What leaves more room for a KV cache that grows.
const LEAVE_MORE_ROOM: [Remedy; 3] = [Remedy::SmallerCache { bits: 8 }, Remedy::Budget, Remedy::PlannedContext];

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message(&plain))
    }
}

impl Advice {
    fn message(&self, spell: &Speller) -> String {
        match self {
            Advice::AnyOf(remedies) => format!("what fits: {}", any_of(remedies, spell)),
            Advice::Together(remedies) => format!("what fits: {}", spell(remedies)),
            Advice::TooLarge { with, needed } => {
                format!("nothing fits: the least, with {}, is {}", spell(with), Bytes(*needed))
            }
            Advice::Nothing => "nothing fits: there is nothing left to save".to_owned(),
        }
    }
}

impl fmt::Display for Planned {
    /// The total and its parts in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.parts.iter().filter(|part| part.bytes > 0);
        let parts: Vec<_> = parts.map(|part| format!("{} {}", part.name, Bytes(part.bytes))).collect();
        write!(f, "{} on \"{}\" ({})", Bytes(self.bytes), self.device, parts.join(", "))
    }
}
