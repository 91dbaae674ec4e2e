//! What a start says of the adapter that it opens.

use std::fmt;

use crate::error::{Remedy, Speller};

/// A line for people.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Note {
    /// What is said.
    pub text: String,
    /// What would help: all checks of the doctor, and what uses the adapter with all that it offers, where something is left
    /// unused.
    pub remedies: Vec<Remedy>,
    /// What the doctor does about it.
    examines: Examines,
}

/// What all checks of the doctor would do about what a note says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Examines {
    /// They say more of it.
    More,
    /// They run the check again that was left out.
    Again,
    /// They are more than those that were run.
    All,
}

impl Note {
    /// A line for which the doctor can do more.
    pub(super) fn with_doctor(text: String, examines: Examines) -> Self {
        Note { text, remedies: vec![Remedy::Examine], examines }
    }

    /// Also with what would use what is left unused.
    pub(super) fn or(mut self, remedy: Remedy) -> Self {
        self.remedies.push(remedy);
        self
    }

    /// The line with the remedies in the words of `spell`.
    pub fn message(&self, spell: &Speller) -> String {
        let mut line = self.text.clone();
        for remedy in &self.remedies {
            let name = spell(std::slice::from_ref(remedy));
            line.push_str(&match (remedy, self.examines) {
                (Remedy::Examine, Examines::More) => format!("; see {name}"),
                (Remedy::Examine, Examines::Again) => format!("; {name} runs it again"),
                (Remedy::Examine, Examines::All) => format!("; {name} runs them all"),
                _ => format!(", or {name} to use it"),
            });
        }
        line
    }
}

impl From<String> for Note {
    fn from(text: String) -> Self {
        Note { text, remedies: Vec::new(), examines: Examines::More }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message(&|remedies| remedies.iter().map(Remedy::to_string).collect()))
    }
}
