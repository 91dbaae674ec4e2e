//! What a configuration says of quantized matrices: of all, and of single ones.

use super::name::Name;
use crate::error::harmless;
use crate::quant::gptq::ZeroPoints;

/// How a checkpoint is quantized.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizationConfig {
    /// `gptq`, `auto-round`, `awq` or `compressed-tensors`.
    pub quant_method: String,
    /// Bits of a code.
    pub bits: u32,
    /// Input features of a group; `None` for one group a row (`-1` in the file).
    pub group_size: Option<usize>,
    /// Whether all zero points are `2^(bits - 1)`. What the file says in so many words is compared with the zero points;
    /// where it says nothing this is a guess.
    pub sym: bool,
    /// Whether input features were sorted by importance (`g_idx`); a hint.
    pub desc_act: bool,
    /// What the file says of symmetry, if anything, and how: `sym is true`.
    pub(crate) sym_claim: Option<bool>,
    pub(super) sym_text: &'static str,
    /// Who reads the tensors of a quantized matrix.
    pub(crate) reader: Reader,
    /// The key that says how zero points are stored, with its value, for messages.
    pub(crate) format: String,
    /// Keys that nobody knows.
    pub(super) unknown: Vec<String>,
    /// Files that differ.
    pub(super) notes: Vec<String>,
    /// The file that says all this, if it is not `config.json`.
    pub(super) file: Option<&'static str>,
    /// Whether entries cover all matrices, so that one that none fits may be of any.
    pub(super) has_rules_for_all: bool,
    pub(super) entries: Vec<Entry>,
}

/// The reader of a family of tensors that hold a quantized matrix; each is a file of `formats`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// `qweight`, `qzeros`, `scales`, `g_idx`, with codes packed along the input features.
    Gptq(ZeroPoints),
    /// `qweight`, `qzeros`, `scales`, with codes packed along the output features.
    Awq,
    /// `weight_packed`, `weight_scale`, `weight_zero_point`, `weight_shape`, `weight_g_idx`.
    Compressed,
}

/// What the configuration says of a matrix's zero points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// In so many words, and beyond doubt, that all are `2^(bits - 1)`.
    Symmetric,
    /// Nothing.
    Silent,
    /// That they may be anything, or who knows.
    Open,
}

/// A matrix, or some, with values of their own.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) name: Name,
    /// The key that it stands under, and how it is written there.
    pub(super) key: &'static str,
    pub(super) text: String,
    /// Of entries that fit a matrix those of the lowest rank count, and of these the first.
    pub(super) rank: u8,
    /// The matrices are not quantized.
    pub(super) left_out: bool,
    pub(super) bits: Option<u32>,
    pub(super) sym: Option<bool>,
    /// `Some(None)` is one group a row.
    pub(super) group_size: Option<Option<usize>>,
}

impl Entry {
    pub(super) fn new(key: &'static str, text: &str, rank: u8) -> Self {
        let text = text.to_owned();
        Entry { name: Name::Unknown, key, text, rank, left_out: false, bits: None, sym: None, group_size: None }
    }

    /// Whether it says the same of its matrices as `other` does.
    pub(super) fn says_as(&self, other: &Entry) -> bool {
        self.bits == other.bits && self.sym == other.sym && self.group_size == other.group_size
    }
}

impl QuantizationConfig {
    /// `key` with where it stands, for messages.
    pub(crate) fn key(&self, key: &str) -> String {
        match self.file {
            None => format!("quantization_config.{key}"),
            Some(file) => format!("{file}: {key}"),
        }
    }

    /// What the file calls the width of a code, for messages.
    pub(crate) fn bits_key(&self) -> String {
        self.key(if self.reader == Reader::Compressed { "config_groups: num_bits" } else { "bits" })
    }

    /// What the file calls the claim that zero points are all alike, for messages.
    pub(crate) fn sym_claim_text(&self) -> String {
        match (self.sym_claim, self.entries.iter().find(|entry| entry.sym == Some(true))) {
            (Some(false) | None, Some(entry)) => format!("{} says so of it", self.key(entry.key)),
            _ => self.key(self.sym_text),
        }
    }

    /// What to tell the user, a line each.
    pub(crate) fn notes(&self) -> Vec<String> {
        const NAMED: usize = 8;
        let mut notes = self.notes.clone();
        if !self.unknown.is_empty() {
            let names: Vec<String> = self.unknown.iter().take(NAMED).map(|key| harmless(&self.key(key), 120)).collect();
            let more = self.unknown.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            notes.push(format!("unknown keys are not used: {}{more}", names.join(", ")));
        }
        notes
    }

    #[cfg(test)]
    pub(super) fn plain() -> Self {
        QuantizationConfig {
            quant_method: "gptq".to_owned(),
            bits: 4,
            group_size: None,
            sym: true,
            desc_act: false,
            sym_claim: None,
            sym_text: "sym is true",
            reader: Reader::Gptq(ZeroPoints::MinusOne),
            format: String::new(),
            unknown: Vec::new(),
            notes: Vec::new(),
            file: None,
            has_rules_for_all: false,
            entries: Vec::new(),
        }
    }
}
