//! `quantization_config`: what the JSON says about quantized matrices. Which matrices those are is read
//! from the files' headers, and everything that the tensors show themselves is checked against them.

use serde_json::Value;

use super::super::json::Keys;
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
    /// The file's claim that all zero points are `2^(bits - 1)`; a hint, the loader looks at the zero points.
    pub sym: bool,
    /// Whether input features were sorted by importance (`g_idx`); a hint too.
    pub desc_act: bool,
    /// Which tensors a quantized matrix has.
    pub(in crate::checkpoint) packing: Packing,
    overrides: Vec<Override>,
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

    /// Whether the file says so of the matrix `name`, or of some that may include it.
    pub(in crate::checkpoint) fn may_be_symmetric(&self, name: &str) -> bool {
        self.offered(name, self.sym, |over| over.sym).contains(&true)
    }

    /// What the file calls the width of a code, for messages.
    pub(in crate::checkpoint) fn bits_key(&self) -> &'static str {
        if self.packing == Packing::Compressed { "config_groups: num_bits" } else { "bits" }
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
    let packing = match method {
        Some("awq") => {
            if keys.text("version").is_some_and(|version| !version.eq_ignore_ascii_case("gemm")) {
                keys.fault("version", "\"gemm\" (others are not supported yet)");
            }
            Packing::Awq
        }
        Some("compressed-tensors") => return read_groups(&keys),
        Some("gptq") => read_format(&keys),
        Some("auto-round" | "auto_round" | "intel/auto-round") => read_packing(&keys),
        _ => {
            keys.fault(if method.is_some() { method_key } else { "quant_method" }, SUPPORTED);
            return None;
        }
    };
    let bits = read_bits(&keys, "bits");
    if packing == Packing::Awq && bits == 8 {
        keys.fault("bits", "4, the only width of AWQ");
    }
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
        // AWQ says the opposite.
        sym: keys.flag("sym").or_else(|| Some(!keys.flag("zero_point")?)).unwrap_or(packing != Packing::Awq),
        desc_act: keys.flag("desc_act").unwrap_or(false),
        packing,
        overrides: read_overrides(&keys),
    })
}

const SUPPORTED: &str =
    "\"gptq\", \"auto-round\", \"awq\" or \"compressed-tensors\" (other methods are not supported yet)";
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

/// compressed-tensors: `config_groups`, each with a rule for the matrices that its `targets` name. The first stands for
/// all, and where there are more, each is a rule of its own.
fn read_groups(keys: &Keys) -> Option<QuantizationConfig> {
    let Some(groups) = keys.object("config_groups") else {
        if keys.value("config_groups").is_none() {
            keys.fault("config_groups", "an object");
        }
        return None;
    };
    let mut rules: Vec<(Rule, Option<&Value>)> = Vec::new();
    for (name, _) in groups.entries() {
        let Some(group) = groups.object(name) else { continue };
        let general = if group.value("format").is_some() { &group } else { keys };
        if general.text("format") != Some("pack-quantized") {
            general.fault("format", "\"pack-quantized\" (others are not supported yet)");
        }
        if group.value("input_activations").is_some() {
            group.fault("input_activations", "null (quantized activations are not supported yet)");
        }
        match group.object("weights") {
            Some(weights) => rules.push((read_rule(&weights), group.value("targets"))),
            None if group.value("weights").is_none() => group.fault("weights", "an object"),
            None => {}
        }
    }
    let Some((first, _)) = rules.first() else {
        keys.fault("config_groups", "at least one group with weights");
        return None;
    };
    let mut overrides = Vec::new();
    for (rule, targets) in rules.iter().filter(|_| rules.len() > 1) {
        let targets = targets.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for target in targets.iter().filter_map(Value::as_str) {
            // A name without a dot is a class of modules, like "Linear".
            let name = match target.strip_prefix("re:") {
                Some(pattern) => name_of(pattern),
                None if target.contains('.') => Name::Exact(target.to_owned()),
                None => Name::Pattern,
            };
            let Rule { bits, group_size, sym, .. } = *rule;
            overrides.push(Override { name, bits: Some(bits), sym: Some(sym), group_size: Some(group_size) });
        }
    }
    Some(QuantizationConfig {
        quant_method: "compressed-tensors".to_owned(),
        bits: first.bits,
        group_size: first.group_size,
        sym: first.sym,
        desc_act: rules.iter().all(|(rule, _)| rule.by_group),
        packing: Packing::Compressed,
        overrides,
    })
}

/// What `weights` of a group of compressed-tensors say.
struct Rule {
    bits: u32,
    group_size: Option<usize>,
    sym: bool,
    /// `actorder` says that groups are out of order.
    by_group: bool,
}

fn read_rule(weights: &Keys) -> Rule {
    if weights.value("type").is_some_and(|kind| kind.as_str() != Some("int")) {
        weights.fault("type", "\"int\" (others are not supported yet)");
    }
    let group_size = match weights.text("strategy") {
        Some("channel") => None,
        Some("group") => read_group_size(weights).unwrap_or_else(|| {
            if weights.value("group_size").is_none() {
                weights.fault("group_size", GROUP_SIZE);
            }
            None
        }),
        _ => {
            weights.fault("strategy", "\"group\" or \"channel\" (others are not supported yet)");
            None
        }
    };
    Rule {
        bits: read_bits(weights, "num_bits"),
        group_size,
        sym: weights.flag("symmetric").unwrap_or(true),
        by_group: weights.value("actorder").and_then(Value::as_str) == Some("group"),
    }
}

/// GPTQ: `checkpoint_format`, which newer files call `format`.
fn read_format(keys: &Keys) -> Packing {
    let key = if keys.value("checkpoint_format").is_some() { "checkpoint_format" } else { "format" };
    match keys.text(key) {
        None | Some("gptq") => Packing::Gptq(ZeroPoints::MinusOne),
        Some("gptq_v2") => Packing::Gptq(ZeroPoints::AsStored),
        Some(_) => {
            keys.fault(key, "\"gptq\" or \"gptq_v2\" (others are not supported yet)");
            Packing::Gptq(ZeroPoints::MinusOne)
        }
    }
}

/// AutoRound: `packing_format`.
fn read_packing(keys: &Keys) -> Packing {
    match keys.text("packing_format") {
        None | Some("auto_round:auto_gptq" | "auto_round:gptq") => Packing::Gptq(ZeroPoints::MinusOne),
        Some("auto_round:auto_awq") => Packing::Awq,
        Some("auto_round" | "auto_round:gptqmodel") => Packing::Gptq(ZeroPoints::AsStored),
        Some(_) => {
            let expected = "\"auto_round:auto_gptq\", \"auto_round:gptq\", \"auto_round:gptqmodel\", \
                            \"auto_round:auto_awq\" or \"auto_round\" (others are not supported yet)";
            keys.fault("packing_format", expected);
            Packing::Gptq(ZeroPoints::MinusOne)
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
