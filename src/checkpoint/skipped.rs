//! Tensors that the text model does not use. Nothing is ignored silently: each is counted under its reason, and one that
//! contradicts the configuration is a fault.

use std::collections::BTreeMap;

use super::files::index::Index;
use crate::gemma4::Config;
use crate::gemma4::tensors::{Entry, Scope, When};
use crate::{Fault, Faults};

/// What a head outside the text prefix has before its name.
pub(super) const BEFORE_HEADS: [&str; 3] = ["", "model.", "language_model."];

/// What the loader leaves in the files.
#[derive(Debug, Clone, Default)]
pub struct Skipped {
    /// Sorted by reason.
    pub groups: Vec<SkippedGroup>,
}

/// Tensors that are skipped for one reason.
#[derive(Debug, Clone)]
pub struct SkippedGroup {
    /// Why.
    pub reason: String,
    /// How many.
    pub tensors: usize,
    /// Their bytes.
    pub size_bytes: u64,
    /// Their names.
    pub names: Vec<String>,
    /// False for tensors that this program knows nothing about.
    pub known: bool,
}

impl Skipped {
    /// All skipped tensors.
    pub fn tensors(&self) -> usize {
        self.groups.iter().map(|group| group.tensors).sum()
    }

    /// Tensors that this program knows nothing about.
    pub fn unknown(&self) -> impl Iterator<Item = &SkippedGroup> {
        self.groups.iter().filter(|group| !group.known)
    }
}

/// Why a tensor is not used.
enum Reason {
    Known(String),
    Unknown,
    /// The configuration says that there is no such thing.
    Contradiction(String),
}

/// Sorts the tensors of `index` that are not `used`.
pub(super) fn sort(index: &Index, config: &Config, prefix: &str, used: &[bool], faults: &mut Faults) -> Skipped {
    let mut groups: BTreeMap<String, SkippedGroup> = BTreeMap::new();
    let mut contradictions: BTreeMap<String, &str> = BTreeMap::new();
    for (tensor, _) in index.tensors.iter().zip(used).filter(|(_, used)| !**used) {
        let (reason, known) = match classify(&tensor.name, config, prefix) {
            Reason::Known(reason) => (reason, true),
            Reason::Unknown => ("unknown".to_owned(), false),
            Reason::Contradiction(reason) => {
                contradictions.entry(reason).or_insert(&tensor.name);
                continue;
            }
        };
        let group = groups.entry(reason.clone()).or_insert_with(|| SkippedGroup {
            reason,
            tensors: 0,
            size_bytes: 0,
            names: Vec::new(),
            known,
        });
        group.tensors += 1;
        group.size_bytes += tensor.size_bytes;
        group.names.push(tensor.name.clone());
    }
    for (reason, name) in contradictions {
        faults.push(Fault::tensor(name).found("is there").but(format!("config.json {reason}")));
    }
    Skipped { groups: groups.into_values().collect() }
}

fn classify(name: &str, config: &Config, prefix: &str) -> Reason {
    let inside = name.strip_prefix(prefix);
    let heads = || config.tensors.entries().iter().filter(|row| row.when == When::UntiedHead);
    let head = |name: &str| {
        let begins = |before: &str, row: &Entry| {
            name.strip_prefix(before)?.strip_prefix(row.name).map(|rest| rest.starts_with('.'))
        };
        BEFORE_HEADS.iter().any(|before| heads().any(|row| begins(before, row) == Some(true)))
    };
    if config.tie_word_embeddings && (head(name) || inside.is_some_and(head)) {
        return lacking(When::UntiedHead, false);
    }
    if let Some(tower) = tower(name) {
        return Reason::Known(format!("{tower}*"));
    }
    match inside {
        Some(inside) => classify_text(inside, config),
        None => Reason::Unknown,
    }
}

/// The part of the name up to the tower or embedder of another modality.
fn tower(name: &str) -> Option<&str> {
    let mut end = 0;
    for segment in name.split('.').take(3) {
        end += segment.len() + 1;
        if is_tower(segment) {
            return name.get(..end);
        }
    }
    None
}

/// Whether a segment of a name is that of another modality.
pub(super) fn is_tower(segment: &str) -> bool {
    ["vision", "audio", "multi_modal", "image", "video"].iter().any(|word| segment.contains(word))
}

fn classify_text(name: &str, config: &Config) -> Reason {
    let (layer, rest) = match name.strip_prefix("layers.").and_then(|rest| rest.split_once('.')) {
        Some((layer, rest)) => {
            let Some(number) = layer.parse::<usize>().ok() else { return Reason::Unknown };
            if number >= config.layers.len() {
                return Reason::Contradiction(format!("has num_hidden_layers {}", config.num_hidden_layers));
            }
            (Some(number), rest.strip_prefix("moe.").unwrap_or(rest))
        }
        None => (None, name),
    };
    let Some(row) = row(config, layer, rest) else { return Reason::Unknown };
    if !config.has(row, layer) {
        return lacking(row.when, layer.is_some_and(|l| config.layers[l].kv_source.is_some()));
    }
    match row.scope {
        Scope::Expert => {
            Reason::Contradiction(format!("has num_experts {}, or it is stored in two layouts", config.num_experts))
        }
        Scope::Model | Scope::Layer => Reason::Unknown,
    }
}

/// The row of the table whose tensor `name` is or belongs to, else the first one in the same part of a layer.
fn row<'a>(config: &'a Config, layer: Option<usize>, name: &str) -> Option<&'a Entry> {
    let begins = |with: &str| name.strip_prefix(with).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    let rows = || config.tensors.entries().iter().filter(|row| (row.scope == Scope::Model) == layer.is_none());
    let part = |row: &&Entry| row.name.split_once('.').is_some_and(|(part, _)| begins(part));
    rows().find(|row| begins(row.name)).or_else(|| rows().find(part))
}

/// Why a tensor that is there `when` is left in the file of a model or layer where it is not.
fn lacking(when: When, reads_another: bool) -> Reason {
    match when {
        When::Always => Reason::Unknown,
        When::UntiedHead => Reason::Known("head that is tied to the embedding".to_owned()),
        When::PerLayerInputs => Reason::Contradiction("has hidden_size_per_layer_input 0".to_owned()),
        When::Experts => Reason::Contradiction("describes a model without experts".to_owned()),
        When::OwnValues if !reads_another => Reason::Known("V of layers where it is K".to_owned()),
        When::OwnKeys | When::OwnValues => Reason::Known("K and V of layers that read another layer's".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemma4::Cut;

    /// No tensor of the table is unknown where a model does without it.
    #[test]
    fn rows_that_a_model_lacks_have_a_reason() {
        let mut lacked = 0;
        let presets = Config::presets().map(|name| Config::preset(name, Cut::default()).expect("a preset"));
        for config in presets {
            for layer in [None].into_iter().chain((0..config.layers.len()).map(Some)) {
                let of_model = layer.is_none();
                let rows = config.tensors.entries().iter().filter(|row| (row.scope == Scope::Model) == of_model);
                for row in rows.filter(|row| !config.has(row, layer)) {
                    let name = layer.map_or_else(|| row.name.to_owned(), |l| format!("layers.{l}.{}", row.name));
                    let reason = classify(&format!("text.{name}.weight"), &config, "text.");
                    assert!(!matches!(reason, Reason::Unknown), "{name}");
                    lacked += 1;
                }
            }
        }
        assert!(lacked > 100, "{lacked}");
    }
}
