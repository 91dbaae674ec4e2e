//! How a checkpoint is quantized: `quantization_config` of `config.json`, or a file beside it. Which matrices are quantized
//! is read from the files' headers, and everything that the tensors show themselves is checked against what is said here.

mod beside;
mod groups;
mod known;
mod names;

use std::cell::RefCell;

use serde_json::Value;

use super::super::json::Keys;
use crate::Faults;
use crate::error::harmless;
use crate::quant::gptq::ZeroPoints;
pub(in crate::checkpoint) use beside::FILES;
use names::Name;
pub(in crate::checkpoint) use names::{Rules, Said};

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
    pub(in crate::checkpoint) sym_claim: Option<bool>,
    sym_text: &'static str,
    /// Which tensors a quantized matrix has.
    pub(in crate::checkpoint) packing: Packing,
    /// The key that says how zero points are stored, with its value, for messages.
    pub(in crate::checkpoint) format: String,
    /// Keys that nobody knows.
    unknown: Vec<String>,
    /// Files that differ.
    notes: Vec<String>,
    /// The file that says all this, if it is not `config.json`.
    file: Option<&'static str>,
    /// Whether entries cover all matrices, so that one that none fits may be of any.
    has_rules_for_all: bool,
    entries: Vec<Entry>,
}

/// A family of tensors that hold a quantized matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::checkpoint) enum Packing {
    /// `qweight`, `qzeros`, `scales`, `g_idx`, with codes packed along the input features.
    Gptq(ZeroPoints),
    /// `qweight`, `qzeros`, `scales`, with codes packed along the output features.
    Awq,
    /// `weight_packed`, `weight_scale`, `weight_zero_point`, `weight_shape`, `weight_g_idx`.
    Compressed,
}

/// A matrix, or some, with values of their own.
#[derive(Debug, Clone, PartialEq)]
struct Entry {
    name: Name,
    /// The key that it stands under, and how it is written there.
    key: &'static str,
    text: String,
    /// Of entries that fit a matrix those of the lowest rank count, and of these the first.
    rank: u8,
    /// The matrices are not quantized.
    left_out: bool,
    bits: Option<u32>,
    sym: Option<bool>,
    /// `Some(None)` is one group a row.
    group_size: Option<Option<usize>>,
}

impl Entry {
    fn new(key: &'static str, text: &str, rank: u8) -> Self {
        let text = text.to_owned();
        Entry { name: Name::Unknown, key, text, rank, left_out: false, bits: None, sym: None, group_size: None }
    }

    fn values(&self) -> (Option<u32>, Option<bool>, Option<Option<usize>>) {
        (self.bits, self.sym, self.group_size)
    }
}

impl QuantizationConfig {
    /// `key` with where it stands, for messages.
    pub(in crate::checkpoint) fn key(&self, key: &str) -> String {
        match self.file {
            None => format!("quantization_config.{key}"),
            Some(file) => format!("{file}: {key}"),
        }
    }

    /// What the file calls the width of a code, for messages.
    pub(in crate::checkpoint) fn bits_key(&self) -> String {
        self.key(if self.packing == Packing::Compressed { "config_groups: num_bits" } else { "bits" })
    }

    /// What the file calls the claim that zero points are all alike, for messages.
    pub(in crate::checkpoint) fn sym_claim_text(&self) -> String {
        match (self.sym_claim, self.entries.iter().find(|entry| entry.sym == Some(true))) {
            (Some(false) | None, Some(entry)) => format!("{} says so of it", self.key(entry.key)),
            _ => self.key(self.sym_text),
        }
    }

    /// What to tell the user, a line each.
    pub(in crate::checkpoint) fn notes(&self) -> Vec<String> {
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
    fn plain() -> Self {
        QuantizationConfig {
            quant_method: "gptq".to_owned(),
            bits: 4,
            group_size: None,
            sym: true,
            desc_act: false,
            sym_claim: None,
            sym_text: "sym is true",
            packing: Packing::Gptq(ZeroPoints::MinusOne),
            format: String::new(),
            unknown: Vec::new(),
            notes: Vec::new(),
            file: None,
            has_rules_for_all: false,
            entries: Vec::new(),
        }
    }
}

/// `quantization_config` of the top level or of `text_config`; where there is none, the first of the files `beside`, each
/// with its name.
pub(super) fn read(
    top: &Keys,
    text: &Keys,
    faults: &RefCell<Faults>,
    beside: &[(&'static str, Vec<u8>)],
) -> Option<QuantizationConfig> {
    known::check_rotations(top);
    if !std::ptr::eq(top, text) {
        known::check_rotations(text);
    }
    if let Some(keys) = [top, text].into_iter().find(|keys| keys.value("compression_config").is_some()) {
        keys.fault("compression_config", SUPPORTED);
        return None;
    }
    let is_there = |keys: &&Keys| keys.value("quantization_config").is_some();
    match [top, text].into_iter().find(is_there) {
        Some(outer) => {
            let mut config = read_method(&outer.object("quantization_config")?, None)?;
            beside::compare(&mut config, faults, beside);
            Some(config)
        }
        None => beside::read(faults, beside),
    }
}

const SUPPORTED: &str =
    "\"gptq\", \"auto-round\", \"awq\" or \"compressed-tensors\" (other methods are not supported yet)";
const GROUP_SIZE: &str = "-1 or an integer from 1 to 16777216";

/// What `keys` say, of `config.json` or of the `file` beside it.
fn read_method(keys: &Keys, file: Option<&'static str>) -> Option<QuantizationConfig> {
    let method_key = if keys.value("quant_method").is_some() { "quant_method" } else { "method" };
    let method = match (keys.value(method_key), file) {
        (None, Some(_)) => Some(beside::guess_method(keys).to_owned()),
        _ => keys.text(method_key).map(str::to_ascii_lowercase),
    };
    let mut config = match method.as_deref() {
        Some("awq") => read_plain(keys, "awq", (read_version(keys), String::new())),
        Some("compressed-tensors") => groups::read(keys)?,
        Some("gptq") => read_plain(keys, "gptq", read_format(keys)),
        Some("auto-round" | "auto_round" | "autoround" | "intel/auto-round") => {
            read_plain(keys, "auto-round", read_packing(keys))
        }
        _ => {
            keys.fault(if method.is_some() { method_key } else { "quant_method" }, SUPPORTED);
            return None;
        }
    };
    config.file = file;
    Some(config)
}

/// GPTQ, AutoRound and AWQ.
fn read_plain(keys: &Keys, method: &str, (packing, format): (Packing, String)) -> QuantizationConfig {
    let bits_key = one_of(keys, ["bits", "w_bit", "wbits"]);
    let bits = read_bits(keys, bits_key);
    if packing == Packing::Awq && bits == 8 {
        keys.fault(bits_key, "4, the only width of AWQ");
    }
    check_data_type(keys, bits);
    let group_key = one_of(keys, ["group_size", "q_group_size", "groupsize"]);
    let group_size = read_group_size(keys, group_key).unwrap_or_else(|| {
        if keys.value(group_key).is_none() {
            keys.fault(group_key, GROUP_SIZE);
        }
        None
    });
    // AWQ says the opposite.
    let zero_point = keys.flag("zero_point");
    let sym_claim = keys.flag("sym").or(zero_point.map(|zero_point| !zero_point));
    if let (Some(sym), Some(true)) = (sym_claim, zero_point.zip(sym_claim).map(|(zero_point, sym)| zero_point == sym)) {
        keys.fault("zero_point", &format!("{} as sym is {sym}", !sym));
    }
    let mut unknown = Vec::new();
    known::check(keys, "", known::PLAIN, &mut unknown);
    QuantizationConfig {
        quant_method: method.to_owned(),
        bits,
        group_size,
        sym: sym_claim.unwrap_or(packing != Packing::Awq),
        desc_act: keys.flag("desc_act").unwrap_or(false),
        sym_claim,
        sym_text: if keys.value("sym").is_some() { "sym is true" } else { "zero_point is false" },
        packing,
        format,
        file: None,
        has_rules_for_all: false,
        entries: read_entries(keys, &mut unknown),
        unknown,
        notes: Vec::new(),
    }
}

/// The first of `spellings` that is there; two that say different things are a fault.
fn one_of<const N: usize>(keys: &Keys, spellings: [&'static str; N]) -> &'static str {
    let mut there = spellings.into_iter().filter(|key| keys.value(key).is_some());
    let Some(first) = there.next() else { return spellings[0] };
    for other in there.filter(|other| keys.value(other) != keys.value(first)) {
        keys.fault(other, &format!("the same as {first}"));
    }
    first
}

/// The general width; a wrong one is noted and replaced.
fn read_bits(keys: &Keys, key: &str) -> u32 {
    match keys.value(key).and_then(Value::as_u64) {
        Some(4) => 4,
        Some(8) => 8,
        _ => {
            keys.fault(key, "4 or 8 (other widths are not supported yet)");
            4
        }
    }
}

/// Codes are whole numbers, unless there are none.
fn check_data_type(keys: &Keys, bits: u32) {
    if bits < 16 && keys.value("data_type").is_some_and(|kind| kind.as_str() != Some("int")) {
        keys.fault("data_type", "\"int\"");
    }
}

/// AWQ: `version`.
fn read_version(keys: &Keys) -> Packing {
    if keys.text("version").is_some_and(|version| !version.eq_ignore_ascii_case("gemm")) {
        keys.fault("version", "\"gemm\" (others are not supported yet)");
    }
    if keys.value("backend").and_then(Value::as_str).is_some_and(|backend| backend.eq_ignore_ascii_case("llm-awq")) {
        keys.fault("backend", "\"autoawq\" (the packing of others is not supported yet)");
    }
    Packing::Awq
}

/// GPTQ: `checkpoint_format`, which newer files call `format`.
fn read_format(keys: &Keys) -> (Packing, String) {
    let key = if keys.value("checkpoint_format").is_some() { "checkpoint_format" } else { "format" };
    if let (Some(found), Some(other)) = (keys.text(key), keys.text("format"))
        && !found.eq_ignore_ascii_case(other)
        && keys.value("sym") != Some(&Value::Bool(true))
    {
        keys.fault("format", &format!("{found:?} as {key} is (zero points tell the two apart only where sym is true)"));
    }
    let zero_points = match keys.text(key).map(str::to_ascii_lowercase).as_deref() {
        None | Some("gptq") => ZeroPoints::MinusOne,
        Some("gptq_v2") => ZeroPoints::AsStored,
        Some(_) => {
            keys.fault(key, "\"gptq\" or \"gptq_v2\" (others are not supported yet)");
            ZeroPoints::MinusOne
        }
    };
    (Packing::Gptq(zero_points), described(keys, key))
}

/// `key` as messages name it, with its value.
fn described(keys: &Keys, key: &str) -> String {
    match keys.value(key).and_then(Value::as_str) {
        Some(value) => format!("{key} {value:?}"),
        None => format!("{key}, which is absent"),
    }
}

/// AutoRound: `packing_format`, which old files call `backend`: `auto_round`, a colon and whose packing it is, and perhaps
/// the kernels that the tool would use.
fn read_packing(keys: &Keys) -> (Packing, String) {
    let old = keys.value("packing_format").is_none() && keys.value("backend").is_some();
    let key = if old { "backend" } else { "packing_format" };
    let Some(text) = keys.text(key) else {
        return (Packing::Gptq(ZeroPoints::MinusOne), described(keys, key));
    };
    let lower = text.to_ascii_lowercase().replace('-', "_");
    let bare = lower.strip_prefix("intel/").unwrap_or(&lower);
    let own = ["auto_round", "autoround"].into_iter().find_map(|own| bare.strip_prefix(own));
    let first = own.unwrap_or(bare).split(':').find(|part| !part.is_empty());
    let packing = match first {
        Some("auto_gptq" | "autogptq" | "gptq") => Packing::Gptq(ZeroPoints::MinusOne),
        Some("auto_awq" | "autoawq" | "awq") => Packing::Awq,
        // As a backend, kernels for the packing that is usual.
        Some(_) if old && own.is_none() => Packing::Gptq(ZeroPoints::MinusOne),
        None => Packing::Gptq(ZeroPoints::AsStored),
        Some(kernels) if kernels == "gptqmodel" || kernels.starts_with("exllama") || kernels.starts_with("triton") => {
            Packing::Gptq(ZeroPoints::AsStored)
        }
        Some(_) => {
            let expected = "\"auto_round:auto_gptq\", \"auto_round:gptq\", \"auto_round:gptqmodel\", \
                            \"auto_round:auto_awq\", \"auto_round:awq\" or \"auto_round\" (others are not supported yet)";
            keys.fault(key, expected);
            Packing::Gptq(ZeroPoints::MinusOne)
        }
    };
    (packing, described(keys, key))
}

/// `None` where it is absent or wrong, `Some(None)` for -1.
fn read_group_size(keys: &Keys, key: &str) -> Option<Option<usize>> {
    match keys.value(key)?.as_i64() {
        Some(-1) => Some(None),
        Some(size @ 1..=16_777_216) => Some(Some(size as usize)),
        _ => {
            keys.fault(key, GROUP_SIZE);
            None
        }
    }
}

/// `extra_config` of AutoRound (names or regular expressions, names first) and `dynamic` of GPTQModel (`+:` or `-:` and a
/// regular expression, the first counts).
fn read_entries(keys: &Keys, unknown: &mut Vec<String>) -> Vec<Entry> {
    let mut all = Vec::new();
    for key in ["extra_config", "dynamic"] {
        // GPTQModel writes `"dynamic": false` for none.
        if keys.value(key).is_none_or(|value| *value == Value::Bool(false)) {
            continue;
        }
        let Some(entries) = keys.object(key) else { continue };
        for (text, value) in entries.entries() {
            let mut entry = Entry::new(key, text, 0);
            let (bare, left_out) = match (text.strip_prefix("+:"), text.strip_prefix("-:")) {
                (Some(bare), _) => (bare, false),
                (_, Some(bare)) => (bare, true),
                _ => (text.as_str(), false),
            };
            entry.left_out = left_out && key == "dynamic";
            entry.name = if key == "dynamic" { Name::matched(bare) } else { Name::found(text) };
            entry.rank = u8::from(key == "extra_config" && !matches!(entry.name, Name::Exact(_)));
            if value.is_null() || *value == Value::Bool(false) {
                continue;
            }
            let Some(values) = entries.object(text) else { continue };
            entry.bits = values.value("bits").map(|_| values.integer("bits", None, 1, 32) as u32);
            (entry.sym, entry.group_size) = (values.flag("sym"), read_group_size(&values, "group_size"));
            check_data_type(&values, entry.bits.unwrap_or(0));
            if entry.bits.is_none_or(|bits| bits < 16) {
                known::check(&values, &format!("{key}.{text}."), known::ENTRY, unknown);
            }
            all.push(entry);
        }
    }
    all
}
