//! Reads what differs from layer to layer: kind, head size, K/V heads, MLP width, shared K/V and rotation.

use std::collections::HashMap;

use serde_json::Value;

use super::fields::{Config, MAX_HEADS, MAX_SIZE};
use super::json::{Keys, show};
use super::layers::{LayerConfig, LayerKind, Rope};

/// Largest head size that is believed.
const MAX_HEAD_DIM: usize = 1 << 14;

/// All layers of `config`, whose other fields are read.
pub(crate) fn read(keys: &Keys, config: &Config) -> Vec<LayerConfig> {
    let kinds = read_kinds(keys, config.num_hidden_layers);
    let overrides = read_overrides(keys, config.num_hidden_layers);
    let sizes = Sizes::read(keys, config);
    let first_shared = config.num_hidden_layers - config.num_kv_shared_layers.min(config.num_hidden_layers);
    let mut layers = Vec::with_capacity(kinds.len());
    for (index, &kind) in kinds.iter().enumerate() {
        let mut layer = sizes.layer(kind, overrides.is_some());
        if let Some(change) = overrides.as_ref().and_then(|all| all.get(&index)) {
            change.apply(&mut layer);
        }
        if index >= first_shared {
            layer.kv_source = kinds[..first_shared].iter().rposition(|&source| source == kind);
            if layer.kv_source.is_none() {
                keys.fault("num_kv_shared_layers", &format!("an earlier {} layer for layer {index}", kind.key()));
            }
            if config.use_double_wide_mlp {
                layer.intermediate_size *= 2;
            }
        }
        layers.push(layer);
    }
    check(keys, config, &layers);
    read_ropes(keys, &mut layers);
    layers
}

fn read_kinds(keys: &Keys, count: usize) -> Vec<LayerKind> {
    let five_to_one = |layer: usize| if (layer + 1).is_multiple_of(6) { LayerKind::Full } else { LayerKind::Sliding };
    let mut kinds: Vec<LayerKind> = match keys.value("layer_types") {
        None => (0..count).map(five_to_one).collect(),
        Some(Value::Array(list)) if list.len() == count => {
            let kinds = list.iter().map(|kind| match kind.as_str() {
                Some("sliding_attention") => Some(LayerKind::Sliding),
                Some("full_attention") => Some(LayerKind::Full),
                _ => None,
            });
            kinds.collect::<Option<_>>().unwrap_or_else(|| {
                keys.fault("layer_types", "only \"sliding_attention\" and \"full_attention\"");
                vec![LayerKind::Full; count]
            })
        }
        Some(_) => {
            keys.fault("layer_types", &format!("a list of {count}, as num_hidden_layers says"));
            vec![LayerKind::Full; count]
        }
    };
    // The reference does the same, whatever the file says.
    if let Some(last) = kinds.last_mut()
        && *last != LayerKind::Full
    {
        if keys.value("layer_types").is_some() {
            log::warn!("config.json: the last of layer_types is taken as full_attention");
        }
        *last = LayerKind::Full;
    }
    kinds
}

/// Sizes that hold for all layers of a kind, in the old dialect.
struct Sizes {
    head_dim: usize,
    num_key_value_heads: usize,
    global_head_dim: Option<usize>,
    num_global_key_value_heads: Option<usize>,
    intermediate_size: usize,
    k_eq_v: bool,
}

impl Sizes {
    fn read(keys: &Keys, config: &Config) -> Self {
        let optional = |key, most| keys.value(key).map(|_| keys.size(key, most));
        Sizes {
            head_dim: keys.integer("head_dim", Some(256), 1, MAX_HEAD_DIM),
            num_key_value_heads: keys.size("num_key_value_heads", MAX_HEADS),
            global_head_dim: optional("global_head_dim", MAX_HEAD_DIM),
            num_global_key_value_heads: optional("num_global_key_value_heads", MAX_HEADS),
            intermediate_size: config.intermediate_size,
            k_eq_v: config.attention_k_eq_v,
        }
    }

    /// A layer of `kind`; the new dialect writes only what differs from `head_dim` and `num_key_value_heads`.
    fn layer(&self, kind: LayerKind, new_dialect: bool) -> LayerConfig {
        let full = kind == LayerKind::Full;
        let k_eq_v = full && self.k_eq_v;
        // The reference looks at the old keys only where there is no per_layer_config.
        let old_dialect = full && !new_dialect;
        let full_head_dim = self.global_head_dim.unwrap_or(512);
        LayerConfig {
            kind,
            head_dim: if old_dialect { full_head_dim } else { self.head_dim },
            num_key_value_heads: self
                .num_global_key_value_heads
                .filter(|_| old_dialect && k_eq_v)
                .unwrap_or(self.num_key_value_heads),
            intermediate_size: self.intermediate_size,
            kv_source: None,
            rope: Rope { theta: 1.0, rotated_pairs: 0, factor: 1.0 },
            k_eq_v,
        }
    }
}

/// An entry of `per_layer_config`, the new dialect.
#[derive(Default)]
struct Override {
    head_dim: Option<usize>,
    num_key_value_heads: Option<usize>,
    intermediate_size: Option<usize>,
}

/// The entries of `per_layer_config` by layer, if there is one. Its keys are numbers, often with leading zeros.
fn read_overrides(keys: &Keys, count: usize) -> Option<HashMap<usize, Override>> {
    let entries = keys.object("per_layer_config")?;
    let mut all = HashMap::new();
    for (name, _) in entries.entries() {
        let index = name.parse().ok().filter(|&index: &usize| index < count && !all.contains_key(&index));
        let Some(index) = index else {
            entries.fault(name, &format!("each layer index below {count} at most once"));
            continue;
        };
        let Some(entry) = entries.object(name) else { continue };
        let mut change = Override::default();
        for (key, _) in entry.entries().filter(|(_, value)| !value.is_null()) {
            match key.as_str() {
                "head_dim" => change.head_dim = Some(entry.size(key, MAX_HEAD_DIM)),
                "num_key_value_heads" => change.num_key_value_heads = Some(entry.size(key, MAX_HEADS)),
                "intermediate_size" => change.intermediate_size = Some(entry.size(key, MAX_SIZE)),
                _ => entry.fault(key, "only head_dim, num_key_value_heads and intermediate_size to differ by layer"),
            }
        }
        all.insert(index, change);
    }
    Some(all)
}

impl Override {
    fn apply(&self, layer: &mut LayerConfig) {
        layer.head_dim = self.head_dim.unwrap_or(layer.head_dim);
        layer.num_key_value_heads = self.num_key_value_heads.unwrap_or(layer.num_key_value_heads);
        layer.intermediate_size = self.intermediate_size.unwrap_or(layer.intermediate_size);
    }
}

fn check(keys: &Keys, config: &Config, layers: &[LayerConfig]) {
    let heads = config.num_attention_heads;
    for (index, layer) in layers.iter().enumerate() {
        if layer.head_dim % 2 != 0 {
            keys.fault("head_dim", &format!("an even size for layer {index}, which has {}", layer.head_dim));
            return;
        }
        if !heads.is_multiple_of(layer.num_key_value_heads) {
            let found = layer.num_key_value_heads;
            keys.fault("num_attention_heads", &format!("a multiple of the {found} key/value heads of layer {index}"));
            return;
        }
        if let Some(source) = layer.kv_source.map(|source| &layers[source])
            && (source.head_dim, source.num_key_value_heads) != (layer.head_dim, layer.num_key_value_heads)
        {
            keys.fault("num_kv_shared_layers", &format!("layer {index} to have the heads of its source"));
            return;
        }
    }
}

fn read_ropes(keys: &Keys, layers: &mut [LayerConfig]) {
    for kind in [LayerKind::Sliding, LayerKind::Full] {
        let Some(Rotation { theta, share, factor }) = read_rope(keys, kind) else { continue };
        for layer in layers.iter_mut().filter(|layer| layer.kind == kind) {
            let rotated_pairs = (share * layer.head_dim as f64 / 2.0) as usize;
            layer.rope = Rope { theta, rotated_pairs, factor };
        }
    }
}

/// How the heads of a kind of layers are rotated.
struct Rotation {
    theta: f64,
    /// Of the head, what turns.
    share: f64,
    factor: f64,
}

fn read_rope(keys: &Keys, kind: LayerKind) -> Option<Rotation> {
    let defaults = match kind {
        LayerKind::Sliding => Rotation { theta: 10_000.0, share: 1.0, factor: 1.0 },
        LayerKind::Full => Rotation { theta: 1_000_000.0, share: 0.25, factor: 1.0 },
    };
    let Some(parameters) = keys.object("rope_parameters") else {
        // Older families say it otherwise; to take the defaults then would be a guess.
        for old in ["rope_scaling", "rope_theta"].iter().filter(|old| keys.value(old).is_some()) {
            keys.fault(old, "rope_parameters instead");
        }
        return Some(defaults);
    };
    let Some(rope) = parameters.object(kind.key()) else {
        parameters.fault(kind.key(), "an object");
        return None;
    };
    let partial = rope.number("partial_rotary_factor", 1e-6, 1.0);
    let share = match rope.text("rope_type") {
        Some("default") => {
            if partial.is_some_and(|share| share != 1.0) {
                rope.fault("partial_rotary_factor", "1 for rope_type \"default\"");
            }
            1.0
        }
        Some("proportional") => partial.unwrap_or(1.0),
        _ => {
            rope.fault("rope_type", "\"default\" or \"proportional\"");
            1.0
        }
    };
    let theta = rope.number("rope_theta", 1.0, 1e9);
    if rope.value("rope_theta").is_none() {
        rope.fault("rope_theta", "a number from 1 to 1e9");
    }
    let known = ["rope_type", "rope_theta", "partial_rotary_factor", "factor"];
    for (key, value) in rope.entries().filter(|(key, value)| !known.contains(&key.as_str()) && !value.is_null()) {
        rope.fault(key, &format!("only {}, found {}", known.join(", "), show(value)));
    }
    let factor = rope.number("factor", 1e-3, 1e6).unwrap_or(1.0);
    Some(Rotation { theta: theta.unwrap_or(defaults.theta), share, factor })
}
