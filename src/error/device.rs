//! What devices cannot do, and what fails while a model runs.

use std::ops::RangeInclusive;

use super::remedy::{Remedy, Speller, any_of, plain};

/// No usable adapter, or something that the device lacks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// The system offers no adapter at all.
    #[error("{}", no_adapter(why, remedies, &plain))]
    NoAdapter {
        /// Why there is none, or none of one API.
        why: Option<String>,
        /// What brings one on this system.
        remedies: Vec<Remedy>,
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
    #[error(
        "adapter \"{device}\" cannot be used{}: {}",
        without.as_ref().map_or(String::new(), |off| format!(" without {off}")),
        lack(what, *found, *needed)
    )]
    Adapter {
        /// Its name.
        device: String,
        /// What was to be left unused.
        without: Option<String>,
        /// What it has too little of.
        what: &'static str,
        /// How much it has.
        found: u64,
        /// How much is needed, where any of it is not enough.
        needed: Option<u64>,
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
    /// Something was to be read back from a device that only counts bytes.
    #[error("nothing is read back from a device that only counts")]
    OnlyCounts {
        /// Its name.
        device: String,
    },
    /// What waits for a device was called where nothing can wait: in a browser.
    #[error("{0}")]
    NoWaiting(&'static str),
}

/// That there is no adapter, what brings one, and why there is none.
fn no_adapter(why: &Option<String>, remedies: &[Remedy], spell: &Speller) -> String {
    let brings = if remedies.is_empty() { String::new() } else { format!("; {}", any_of(remedies, spell)) };
    format!("no GPU adapter found{brings}{}", more(why))
}

/// That an adapter has `found` of `what`, where `needed` are needed, or any.
pub(crate) fn lack(what: &str, found: u64, needed: Option<u64>) -> String {
    match needed {
        Some(needed) => format!("{what}: it has {found}, needed are {needed}"),
        None => format!("it has no {what}"),
    }
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
            Unfit::OnlyCounts { .. } => "E-ONLY-COUNTS",
            Unfit::NoWaiting(_) => "E-NO-WAITING",
        }
    }

    /// What would help.
    pub(super) fn remedies(&self) -> &[Remedy] {
        match self {
            Unfit::NoAdapter { remedies, .. } => remedies,
            Unfit::Adapter { without: Some(_), .. } => &[Remedy::LeaveLessUnused, Remedy::OtherAdapter],
            Unfit::NoMatch { .. } | Unfit::Adapter { without: None, .. } | Unfit::Timestamps { .. } => {
                &[Remedy::OtherAdapter]
            }
            Unfit::NotOpened { .. } | Unfit::Shader { .. } => &[Remedy::NewerDriver, Remedy::OtherAdapter],
            Unfit::Rehearsal { .. } | Unfit::OnlyCounts { .. } | Unfit::NoWaiting(_) => &[],
        }
    }

    /// Only where there is nothing else to say are remedies part of the line: it was always so.
    pub(super) fn message(&self, spell: &Speller) -> String {
        match self {
            Unfit::NoAdapter { why, remedies } => no_adapter(why, remedies, spell),
            others => others.to_string(),
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
    #[error(
        "{} (kernel {}) made NaN or infinity at {}, expected finite numbers: no token is chosen from such logits",
        layer.map_or_else(|| label.clone(), |layer| format!("layer {layer}, {label}")),
        if variant.is_empty() { (*stem).to_owned() } else { format!("{stem}, {variant}") },
        spanned(positions)
    )]
    Kernel {
        /// The layer that it belongs to, counted from 0, where it belongs to one.
        layer: Option<usize>,
        /// What it is there: `o_proj` for instance.
        label: String,
        /// The name of its shader's file.
        stem: &'static str,
        /// Which of the texts that are made of it; empty where it is one.
        variant: &'static str,
        /// Positions of the step's rows.
        positions: RangeInclusive<usize>,
    },
    /// A logit that the head made of finite numbers, the first of all.
    #[error(
        "lm_head made the logit of token {token} at position {position} {found}, expected finite numbers: no token is chosen \
         from such logits"
    )]
    Head {
        /// The token.
        token: usize,
        /// The row's position.
        position: usize,
        /// The logit.
        found: f32,
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

/// `position 3`, or `positions 0 to 2`.
fn spanned(positions: &RangeInclusive<usize>) -> String {
    match (positions.start(), positions.end()) {
        (first, last) if first == last => format!("position {first}"),
        (first, last) => format!("positions {first} to {last}"),
    }
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

/// What ends losses that come again and again, as far as anything does.
const AGAINST_LOSSES: [Remedy; 3] = [Remedy::NewerDriver, Remedy::LessContext, Remedy::OtherAdapter];

impl Lost {
    /// What would help.
    pub(super) fn remedies(&self) -> &[Remedy] {
        if self.losses.is_some() { &AGAINST_LOSSES } else { &[] }
    }

    pub(super) fn message(&self, spell: &Speller) -> String {
        let mut text = format!("the device was lost: {}", self.message);
        if let Some(losses) = self.losses {
            let [driver, context, adapter] = AGAINST_LOSSES.map(|remedy| spell(&[remedy]));
            let time = ordinal(losses);
            text += &format!("; that was the {time} time within a minute: {driver}, {context} or {adapter} may help");
        }
        if let Some(why) = &self.not_opened {
            text += &format!("; it cannot be opened again: {why}");
        }
        text
    }
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message(&plain))
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
        assert_eq!(
            lost.to_string(),
            "the device was lost: gone; that was the 3rd time within a minute: a newer driver, a shorter context or another \
             adapter may help"
        );
        assert_eq!((lost.remedies().len(), Lost::new("a GPU", "gone").remedies()), (3, [].as_slice()));
    }

    #[test]
    fn where_there_is_no_adapter_remedies_are_told_in_any_words() {
        let none = |why: Option<&str>, remedies| Unfit::NoAdapter { why: why.map(str::to_owned), remedies };
        let none_here = none(Some("no DXC"), vec![Remedy::CardDriver]);
        let said = "no GPU adapter found; install the driver of your graphics card; no DXC";
        assert_eq!((none_here.to_string().as_str(), none_here.message(&plain).as_str()), (said, said));
        assert_eq!(none_here.message(&|_| "x".into()), "no GPU adapter found; x; no DXC");
        assert_eq!(none(Some("Metal offers none"), Vec::new()).to_string(), "no GPU adapter found; Metal offers none");
        let left = |without: Option<&str>| {
            let (device, without) = ("a GPU".into(), without.map(str::to_owned));
            Unfit::Adapter { device, without, what: "invocations a workgroup", found: 128, needed: Some(256) }
        };
        assert_eq!(left(None).remedies(), [Remedy::OtherAdapter]);
        assert_eq!(left(Some("f16")).remedies(), [Remedy::LeaveLessUnused, Remedy::OtherAdapter]);
        let said = "cannot be used without f16: invocations a workgroup: it has 128, needed are 256";
        assert_eq!(left(Some("f16")).to_string(), format!("adapter \"a GPU\" {said}"));
        assert_eq!(lack("compute shaders", 0, None), "it has no compute shaders");
    }

    #[test]
    fn where_numbers_end_is_said_in_words() {
        let kernel = |layer, variant, positions| {
            let label = "o_proj".to_owned();
            NotFinite::Kernel { layer, label, stem: "matvec", variant, positions }.to_string()
        };
        let expected = ", expected finite numbers: no token is chosen from such logits";
        let said =
            format!("layer 7, o_proj (kernel matvec, packed) made NaN or infinity at positions 0 to 2{expected}");
        assert_eq!(kernel(Some(7), "packed", 0..=2), said);
        assert_eq!(
            kernel(None, "", 3..=3),
            format!("o_proj (kernel matvec) made NaN or infinity at position 3{expected}")
        );
        let head = NotFinite::Head { token: 5, position: 0, found: f32::NAN }.to_string();
        assert_eq!(head, format!("lm_head made the logit of token 5 at position 0 NaN{expected}"));
    }
}
