//! compressed-tensors: `config_groups`, each with a rule for the matrices that its `targets` name.

use serde_json::Value;

use super::entry::{Entry, QuantizationConfig, Reader};
use super::known;
use super::name::Name;
use super::values::{GROUP_SIZE, read_bits, read_group_size};
use crate::gemma4::json::Keys;

/// The first group stands for all, and where there are more, each is a rule of its own.
pub(super) fn read(keys: &Keys) -> Option<QuantizationConfig> {
    let mut unknown = Vec::new();
    known::check(keys, "", known::COMPRESSED, &mut unknown);
    let Some(groups) = keys.object("config_groups") else {
        if keys.value("config_groups").is_none() {
            keys.fault("config_groups", "an object");
        }
        return None;
    };
    let mut rules: Vec<(Rule, Vec<&str>)> = Vec::new();
    for (name, _) in groups.entries() {
        let Some(group) = groups.object(name) else { continue };
        let general = if group.value("format").is_some() { &group } else { keys };
        if general.text("format") != Some("pack-quantized") {
            general.unsupported("format", "\"pack-quantized\" (others are not supported yet)");
        }
        for key in ["input_activations", "output_activations"] {
            if group.value(key).is_some() {
                group.unsupported(key, "null (quantized activations are not supported yet)");
            }
        }
        known::check(&group, &format!("config_groups.{name}."), known::GROUP, &mut unknown);
        match group.object("weights") {
            Some(weights) => {
                known::check(&weights, &format!("config_groups.{name}.weights."), known::WEIGHTS, &mut unknown);
                rules.push((read_rule(&weights), texts(group.value("targets"))));
            }
            None if group.value("weights").is_none() => group.fault("weights", "an object"),
            None => {}
        }
    }
    let Some((first, _)) = rules.first() else {
        keys.fault("config_groups", "at least one group with weights");
        return None;
    };
    let mut entries: Vec<Entry> = texts(keys.value("ignore"))
        .into_iter()
        .map(|text| Entry { left_out: true, ..entry("ignore", text) })
        .filter(|entry| matches!(entry.name, Name::Exact(_) | Name::Pattern { .. } | Name::Start(_)))
        .collect();
    for (rule, targets) in rules.iter().filter(|_| rules.len() > 1) {
        let Rule { bits, group_size, sym, .. } = *rule;
        let of_rule = |target: &&str| Entry {
            bits: Some(bits),
            sym,
            group_size: Some(group_size),
            ..entry("config_groups", target)
        };
        entries.extend(targets.iter().map(of_rule));
    }
    Some(QuantizationConfig {
        quant_method: "compressed-tensors".to_owned(),
        bits: first.bits,
        group_size: first.group_size,
        sym: first.sym.unwrap_or(true),
        desc_act: rules.iter().all(|(rule, _)| rule.by_group),
        sym_claim: first.sym,
        sym_text: "config_groups says symmetric true",
        reader: Reader::Compressed,
        format: String::new(),
        unknown,
        notes: Vec::new(),
        file: None,
        has_rules_for_all: rules.len() > 1,
        entries,
    })
}

/// The strings of a list, or a single one.
fn texts(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(text)) => vec![text],
        _ => Vec::new(),
    }
}

/// A name, `re:` and a regular expression, or a class of modules: names come before patterns, and patterns before classes.
fn entry(key: &'static str, text: &str) -> Entry {
    let (name, rank) = match text.strip_prefix("re:") {
        Some(pattern) => (Name::matched(pattern), 1),
        None if text.contains('.') || text == "lm_head" => (Name::exact(text), 0),
        None if text == "Linear" => (Name::Every, 2),
        None => (Name::Unknown, 2),
    };
    Entry { name, ..Entry::new(key, text, rank) }
}

/// What `weights` of a group say.
struct Rule {
    bits: u32,
    group_size: Option<usize>,
    sym: Option<bool>,
    /// `actorder` says that groups are out of order.
    by_group: bool,
}

fn read_rule(weights: &Keys) -> Rule {
    let is_int = |kind: &Value| kind.as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("int"));
    if weights.value("type").is_some_and(|kind| !is_int(kind)) {
        weights.unsupported("type", "\"int\" (others are not supported yet)");
    }
    if weights.value("dynamic").is_some_and(|dynamic| *dynamic != Value::Bool(false)) {
        weights.unsupported("dynamic", "false (weights that are quantized as the model runs are not supported)");
    }
    if weights.value("block_structure").is_some() {
        weights.unsupported("block_structure", "null (blocks are not supported yet)");
    }
    let by_group = match weights.value("actorder") {
        None | Some(Value::Bool(false)) => false,
        Some(Value::Bool(true)) => true,
        Some(order) => match order.as_str().map(str::to_ascii_lowercase).as_deref() {
            Some("group" | "dynamic") => true,
            Some("weight" | "static") => false,
            _ => {
                weights.fault("actorder", "null, \"group\", \"dynamic\", \"weight\" or \"static\"");
                false
            }
        },
    };
    Rule {
        bits: read_bits(weights, "num_bits"),
        group_size: read_groups(weights),
        sym: weights.flag("symmetric"),
        by_group,
    }
}

/// `strategy` and `group_size`.
fn read_groups(weights: &Keys) -> Option<usize> {
    match weights.text("strategy").map(str::to_ascii_lowercase).as_deref() {
        Some("channel") => None,
        Some("group") => read_group_size(weights, "group_size").unwrap_or_else(|| {
            if weights.value("group_size").is_none() {
                weights.fault("group_size", GROUP_SIZE);
            }
            None
        }),
        None if weights.value("strategy").is_none() && weights.value("group_size").is_some() => {
            read_group_size(weights, "group_size").flatten()
        }
        _ => {
            weights.unsupported("strategy", "\"group\" or \"channel\" (others are not supported yet)");
            None
        }
    }
}
