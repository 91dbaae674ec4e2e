//! What devices cannot do, and what fails while a model runs.

use super::remedy::{Remedy, Speller, any_of};

/// No usable adapter, or something that the device lacks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// The system offers no adapter at all.
    #[error("no GPU adapter found; {help}")]
    NoAdapter {
        /// What brings one on this system.
        help: String,
    },
    /// No adapter is like the one that was asked for.
    #[error("no adapter matches {wanted:?}; there are: {}{}", known.join(", "), more(trouble))]
    NoMatch {
        /// What was asked for.
        wanted: String,
        /// The adapters that there are.
        known: Vec<String>,
        /// Why some may be missing.
        trouble: Option<String>,
    },
    /// An adapter with too little of something.
    #[error("adapter \"{device}\" cannot be used{}: {found}", without.as_ref().map_or(String::new(), |off| format!(" without {off}")))]
    Adapter {
        /// Its name.
        device: String,
        /// What was to be left unused.
        without: Option<String>,
        /// What it has too little of, and what is needed.
        found: String,
    },
    /// The driver does not open the adapter.
    #[error("adapter \"{device}\" could not be opened: {why}")]
    NotOpened {
        /// Its name.
        device: String,
        /// What the driver says.
        why: String,
    },
    /// The device rejects a shader.
    #[error("shader {shader} was rejected by \"{device}\": {why}")]
    Shader {
        /// Its name.
        device: String,
        /// The shader and its constants.
        shader: String,
        /// What the driver says.
        why: String,
    },
    /// The device cannot time kernels.
    #[error("\"{device}\" has no timestamps{}", kind.as_ref().map_or(", expected them to time kernels".into(), |kind| format!(" of the kind {kind}")))]
    Timestamps {
        /// Its name.
        device: String,
        /// The kind that was asked for.
        kind: Option<String>,
    },
    /// Nothing can be rehearsed: wgpu has no adapter that does nothing.
    #[error("no rehearsal: {why}")]
    Rehearsal {
        /// What wgpu says.
        why: String,
    },
    /// What waits for a device was called where nothing can wait: in a browser.
    #[error("{0}")]
    NoWaiting(&'static str),
}

fn more(trouble: &Option<String>) -> String {
    trouble.as_ref().map_or(String::new(), |trouble| format!("; {trouble}"))
}

impl Unfit {
    /// The code of this kind.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Unfit::NoAdapter { .. } => "E-NO-ADAPTER",
            Unfit::NoMatch { .. } => "E-NO-MATCH",
            Unfit::Adapter { .. } => "E-ADAPTER",
            Unfit::NotOpened { .. } => "E-NOT-OPENED",
            Unfit::Shader { .. } => "E-SHADER",
            Unfit::Timestamps { .. } => "E-TIMESTAMPS",
            Unfit::Rehearsal { .. } => "E-REHEARSAL",
            Unfit::NoWaiting(_) => "E-NO-WAITING",
        }
    }
}

/// What fails while a model runs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The device, which takes no more work: an error of the driver's, or a wait that took too long.
    #[error("{message}")]
    Device {
        /// Its name.
        device: String,
        /// What failed.
        message: String,
    },
    /// No token can be chosen: all logits are minus infinity.
    #[error("all logits are minus infinity, expected at least one finite number")]
    NoChoice,
    /// An answer of reserved tokens, which no model means.
    #[error(
        "the last {} tokens are reserved ones (ids {}), which no answer has: kernels or weights are wrong",
        ids.len(),
        ids.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
    )]
    Reserved {
        /// The tokens.
        ids: Vec<u32>,
    },
    /// Something else, in its own words.
    #[error("{0}")]
    Other(String),
}

/// What tells kernels and weights apart.
const TELL_APART: [Remedy; 2] = [Remedy::Examine, Remedy::ExactPrecision];

impl Failure {
    /// The code of this kind.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Failure::Device { .. } => "E-DEVICE",
            Failure::NoChoice => "E-NO-CHOICE",
            Failure::Reserved { .. } => "E-RESERVED",
            Failure::Other(_) => "E-RUN",
        }
    }

    pub(super) fn remedies(&self) -> &[Remedy] {
        if let Failure::Reserved { .. } = self { &TELL_APART } else { &[] }
    }

    pub(super) fn message(&self, spell: &Speller) -> String {
        match self.remedies() {
            [] => self.to_string(),
            remedies => format!("{self}; what tells which: {}", any_of(remedies, spell)),
        }
    }
}

/// A result that is NaN or infinite.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NotFinite {
    /// A logit, of no particular token.
    #[error("a logit is NaN or infinite, expected finite numbers")]
    Logits,
    /// The logit of one token.
    #[error("the logit of token {token} is {found}, expected a finite number")]
    Logit {
        /// The token.
        token: usize,
        /// Its logit.
        found: f32,
    },
    /// What a kernel made, the first of all.
    #[error("{place}, expected finite numbers: no token is chosen from such logits")]
    Kernel {
        /// The kernel, and where in its result.
        place: String,
    },
    /// A logit of a run whose repetition makes finite numbers.
    #[error(
        "a logit was NaN or infinite, but the same tokens make finite numbers when they are run again: \"{device}\" does not \
         compute the same twice"
    )]
    Unsteady {
        /// The device's name.
        device: String,
    },
    /// A logit, and the search for what made it failed.
    #[error("a logit is NaN or infinite, and looking for the kernel that made it failed: {why}")]
    Unknown {
        /// Why.
        why: String,
    },
}

impl NotFinite {
    /// The code of this kind.
    pub(super) fn code(&self) -> &'static str {
        match self {
            NotFinite::Unsteady { .. } => "E-UNSTEADY",
            _ => "E-NOT-FINITE",
        }
    }
}

/// A device that is gone: a driver's reset, a card that was pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lost {
    /// Its name.
    pub device: String,
    /// What the driver says.
    pub message: String,
    /// How many times it was lost within a minute, where that is why it is not opened again.
    pub losses: Option<usize>,
    /// Why no device can be opened any more, where that was tried.
    pub not_opened: Option<String>,
}

impl Lost {
    /// The loss of `device` for the reason `message`.
    pub fn new(device: impl Into<String>, message: impl Into<String>) -> Self {
        Lost { device: device.into(), message: message.into(), losses: None, not_opened: None }
    }
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the device was lost: {}", self.message)?;
        if let Some(losses) = self.losses {
            write!(
                f,
                "; that was the {} time within a minute: a newer driver, a shorter context or another adapter may help",
                ordinal(losses)
            )?;
        }
        self.not_opened.as_ref().map_or(Ok(()), |why| write!(f, "; it cannot be opened again: {why}"))
    }
}

/// `count` as the number of one in a row: 1st, 2nd, 3rd, 4th.
fn ordinal(count: usize) -> String {
    let end = match (count % 10, count % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{count}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_counted_in_words() {
        let counts = [1, 2, 3, 4, 11, 12, 13, 21, 102, 113];
        assert_eq!(counts.map(ordinal), ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "102nd", "113th"]);
        let lost = Lost { losses: Some(3), ..Lost::new("a GPU", "gone") };
        assert!(lost.to_string().starts_with("the device was lost: gone; that was the 3rd time within a minute: a"));
    }
}
