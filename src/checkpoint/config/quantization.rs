//! `quantization_config`: what the JSON says about matrices that have a `qweight`. Which matrices those are is read
//! from the files' headers, and everything that the tensors show themselves is checked against them.

use serde_json::Value;

use super::super::json::Keys;
use crate::quant::gptq::ZeroPoints;

/// How a checkpoint is quantized.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizationConfig {
    /// `gptq` or `auto-round`.
    pub quant_method: String,
    /// Bits of a code.
    pub bits: u32,
    /// Input features of a group; `None` for one group a row (`-1` in the file).
    pub group_size: Option<usize>,
    /// The file's claim that all zero points are `2^(bits - 1)`; a hint, the loader looks at `qzeros`.
    pub sym: bool,
    /// Whether input features were sorted by importance (`g_idx`); a hint too.
    pub desc_act: bool,
    /// How `qzeros` are stored.
    pub zero_points: ZeroPoints,
    overrides: Vec<Override>,
}

/// A matrix, or a pattern of names, with values of its own.
#[derive(Debug, Clone, PartialEq)]
struct Override {
    name: Name,
    bits: Option<u32>,
    sym: Option<bool>,
    /// `Some(None)` is one group a row.
    group_size: Option<Option<usize>>,
}

#[derive(Debug, Clone, PartialEq)]
enum Name {
    Exact(String),
    /// A regular expression. Not evaluated: of the group sizes in the file, the one that fits the tensor is taken.
    Pattern,
}

impl QuantizationConfig {
    /// The group size of the matrix `name` (its full name in the file, without suffix) with `in_features` and `groups`,
    /// or the sizes that the file offers and that do not fit.
    pub(in crate::checkpoint) fn group_size(
        &self,
        name: &str,
        in_features: usize,
        groups: usize,
    ) -> Result<usize, Vec<Option<usize>>> {
        let offered = self.offered(name, self.group_size, |over| over.group_size);
        let sizes = offered.iter().map(|size| size.unwrap_or(in_features));
        sizes.into_iter().find(|&size| in_features.div_ceil(size) == groups).ok_or(offered)
    }

    /// The widths that the file offers for the matrix `name`: its own, or the general one and those of patterns. 16 and
    /// more stand for dense.
    pub(in crate::checkpoint) fn bits(&self, name: &str) -> Vec<u32> {
        self.offered(name, self.bits, |over| over.bits)
    }

    /// Whether the file says that the matrix `name` is symmetric; with patterns in the way, what it says in general.
    pub(in crate::checkpoint) fn is_symmetric(&self, name: &str) -> bool {
        self.offered(name, self.sym, |over| over.sym)[0]
    }

    /// What an entry of its own says of `name`, or else what the file says in general and for any pattern.
    fn offered<T>(&self, name: &str, general: T, value: impl Fn(&Override) -> Option<T>) -> Vec<T> {
        let exact = self.overrides.iter().find(|over| matches!(&over.name, Name::Exact(own) if own == name));
        if let Some(own) = exact.and_then(&value) {
            return vec![own];
        }
        let patterns = self.overrides.iter().filter(|over| over.name == Name::Pattern);
        std::iter::once(general).chain(patterns.filter_map(value)).collect()
    }
}

/// `quantization_config` of the top level or of `text_config`.
pub(super) fn read(top: &Keys, text: &Keys) -> Option<QuantizationConfig> {
    if let Some(keys) = [top, text].into_iter().find(|keys| keys.value("compression_config").is_some()) {
        keys.fault("compression_config", SUPPORTED);
        return None;
    }
    let keys = top.object("quantization_config").or_else(|| text.object("quantization_config"))?;
    let method_key = if keys.value("quant_method").is_some() { "quant_method" } else { "method" };
    let method = keys.text(method_key);
    let zero_points = match method {
        Some("gptq") => read_format(&keys),
        Some("auto-round" | "auto_round" | "intel/auto-round") => read_packing(&keys),
        _ => {
            keys.fault(if method.is_some() { method_key } else { "quant_method" }, SUPPORTED);
            return None;
        }
    };
    let bits = read_bits(&keys, "bits");
    if keys.value("data_type").is_some_and(|kind| kind.as_str() != Some("int")) {
        keys.fault("data_type", "\"int\"");
    }
    Some(QuantizationConfig {
        quant_method: method.unwrap_or_default().to_owned(),
        bits,
        group_size: read_group_size(&keys).unwrap_or_else(|| {
            if keys.value("group_size").is_none() {
                keys.fault("group_size", GROUP_SIZE);
            }
            None
        }),
        sym: keys.flag("sym").unwrap_or(true),
        desc_act: keys.flag("desc_act").unwrap_or(false),
        zero_points,
        overrides: read_overrides(&keys),
    })
}

const SUPPORTED: &str = "\"gptq\" or \"auto-round\" (other methods are not supported yet)";
const GROUP_SIZE: &str = "-1 or an integer from 1 to 16777216";

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

/// GPTQ: `checkpoint_format`, which newer files call `format`.
fn read_format(keys: &Keys) -> ZeroPoints {
    let key = if keys.value("checkpoint_format").is_some() { "checkpoint_format" } else { "format" };
    match keys.text(key) {
        None | Some("gptq") => ZeroPoints::MinusOne,
        Some("gptq_v2") => ZeroPoints::AsStored,
        Some(_) => {
            keys.fault(key, "\"gptq\" or \"gptq_v2\" (others are not supported yet)");
            ZeroPoints::MinusOne
        }
    }
}

/// AutoRound: `packing_format`.
fn read_packing(keys: &Keys) -> ZeroPoints {
    match keys.text("packing_format") {
        None | Some("auto_round:auto_gptq" | "auto_round:gptq") => ZeroPoints::MinusOne,
        Some("auto_round" | "auto_round:gptqmodel") => ZeroPoints::AsStored,
        Some(_) => {
            let expected = "\"auto_round:auto_gptq\", \"auto_round:gptq\", \"auto_round:gptqmodel\" or \"auto_round\" \
                            (others are not supported yet)";
            keys.fault("packing_format", expected);
            ZeroPoints::MinusOne
        }
    }
}

/// `None` where it is absent or wrong, `Some(None)` for -1.
fn read_group_size(keys: &Keys) -> Option<Option<usize>> {
    match keys.value("group_size")?.as_i64() {
        Some(-1) => Some(None),
        Some(size @ 1..=16_777_216) => Some(Some(size as usize)),
        _ => {
            keys.fault("group_size", GROUP_SIZE);
            None
        }
    }
}

/// `extra_config` of AutoRound (names or regular expressions) and `dynamic` of GPTQModel (`+:` or `-:` and a regular
/// expression).
fn read_overrides(keys: &Keys) -> Vec<Override> {
    let mut overrides = Vec::new();
    for key in ["extra_config", "dynamic"] {
        // GPTQModel writes `"dynamic": false` for none.
        if keys.value(key).is_none_or(|value| *value == Value::Bool(false)) {
            continue;
        }
        let Some(entries) = keys.object(key) else { continue };
        for (pattern, _) in entries.entries() {
            let Some(values) = entries.object(pattern) else { continue };
            let bits = values.value("bits").map(|_| values.integer("bits", None, 1, 32) as u32);
            let (sym, group_size) = (values.flag("sym"), read_group_size(&values));
            overrides.push(Override { name: name_of(pattern), bits, sym, group_size });
        }
    }
    overrides
}

/// A name that is written as a regular expression (`+:^model\.layers\.3\.q_proj$`) is an exact one.
fn name_of(pattern: &str) -> Name {
    let bare = pattern.strip_prefix("+:").or_else(|| pattern.strip_prefix("-:")).unwrap_or(pattern);
    let bare = bare.strip_prefix('^').unwrap_or(bare);
    let bare = bare.strip_suffix('$').unwrap_or(bare).replace("\\.", ".").replace("\\_", "_");
    match bare.contains(['*', '+', '?', '^', '$', '(', ')', '[', ']', '{', '}', '|', '\\']) {
        true => Name::Pattern,
        false => Name::Exact(bare),
    }
}
