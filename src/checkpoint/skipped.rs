//! Tensors that the text model does not use. Nothing is ignored silently: each is counted under its reason, and one that
//! contradicts the configuration is a fault.

use std::collections::BTreeMap;

use super::files::index::Index;
use crate::Faults;
use crate::gemma4::Config;

/// Names of a head outside the text prefix, without suffix.
pub(super) const HEADS: [&str; 3] = ["lm_head", "model.lm_head", "language_model.lm_head"];

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
        faults.push(format!("tensor {name:?}: is there, but config.json {reason}"));
    }
    Skipped { groups: groups.into_values().collect() }
}

fn classify(name: &str, config: &Config, prefix: &str) -> Reason {
    let inside = name.strip_prefix(prefix);
    let head = |name: &str| HEADS.iter().any(|head| name.strip_prefix(head).is_some_and(|rest| rest.starts_with('.')));
    if config.tie_word_embeddings && (head(name) || inside.is_some_and(head)) {
        return Reason::Known("head that is tied to the embedding".to_owned());
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
    let no_per_layer = config.hidden_size_per_layer_input == 0;
    let contradiction = |what: &str| Reason::Contradiction(what.to_owned());
    if no_per_layer && (name.starts_with("embed_tokens_per_layer.") || name.starts_with("per_layer_")) {
        return contradiction("has hidden_size_per_layer_input 0");
    }
    let Some((layer, rest)) = name.strip_prefix("layers.").and_then(|rest| rest.split_once('.')) else {
        return Reason::Unknown;
    };
    let Some(number) = layer.parse::<usize>().ok() else { return Reason::Unknown };
    let Some(layer) = config.layers.get(number) else {
        return Reason::Contradiction(format!("has num_hidden_layers {}", config.num_hidden_layers));
    };
    let starts = |names: &[&str]| names.iter().any(|start| rest.starts_with(start));
    if layer.kv_source.is_some() && starts(&["self_attn.k_proj.", "self_attn.v_proj.", "self_attn.k_norm."]) {
        return Reason::Known("K and V of layers that read another layer's".to_owned());
    }
    if layer.k_eq_v && starts(&["self_attn.v_proj."]) {
        return Reason::Known("V of layers where it is K".to_owned());
    }
    if no_per_layer && rest.contains("per_layer_") {
        return contradiction("has hidden_size_per_layer_input 0");
    }
    if !config.is_moe() && starts(&["experts.", "moe.", "router."]) {
        return contradiction("describes a model without experts");
    }
    if config.is_moe() && starts(&["experts.", "moe.experts."]) {
        return Reason::Contradiction(format!(
            "has num_experts {}, or it is stored in two layouts",
            config.num_experts
        ));
    }
    Reason::Unknown
}
