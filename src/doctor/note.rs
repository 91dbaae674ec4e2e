//! What a start says of the adapter that it opens.

use std::fmt;

use crate::error::{Remedy, Speller};

/// A line for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// What is said.
    pub text: String,
    /// What uses the adapter with all that it offers, where something is left unused.
    pub remedy: Option<Remedy>,
}

impl Note {
    /// The line with the remedy in the words of `spell`.
    pub fn message(&self, spell: &Speller) -> String {
        match &self.remedy {
            Some(remedy) => format!("{}, or {} to use it", self.text, spell(std::slice::from_ref(remedy))),
            None => self.text.clone(),
        }
    }
}

impl From<String> for Note {
    fn from(text: String) -> Self {
        Note { text, remedy: None }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message(&|remedies| remedies.iter().map(Remedy::to_string).collect()))
    }
}
