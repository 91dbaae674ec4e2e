//! What a step must read and multiply at least, by the labels of its dispatches: what measured times are held against.
//!
//! Counted from shapes: weights once a step, of the experts those that the step chooses, keys and values once for each
//! slot. Norms, activations and what a cache saves or spoils are left out.

use crate::gemma4::{Config, LayerKind};
use crate::kernels::{KvDtype, Weights};
use crate::model::Gemma4;
use crate::model::load::share::Share;
use crate::model::load::weights::{GatedWeights, LayerWeights, MoeWeights};

/// Bytes and operations of all dispatches with one label, that of a layer without its number.
#[derive(Debug, Clone, PartialEq)]
pub struct Traffic {
    /// `q_proj`, `experts.gate_proj`, `lm_head`, …
    pub label: &'static str,
    /// Bytes of weights, or of keys and values.
    pub bytes: f64,
    /// Multiplications and additions.
    pub operations: f64,
}

/// A step, as far as its cost goes.
#[derive(Debug, Clone, Copy)]
pub struct StepShape {
    /// Rows, as many in each slot.
    pub rows: usize,
    /// Slots that they belong to.
    pub slots: usize,
    /// Positions that a row sees in a full layer, itself included; the mean over the rows.
    pub positions: usize,
    /// Rows whose logits are wanted.
    pub logits: usize,
}

impl Gemma4 {
    /// What a step of this shape reads and multiplies, a label at a time, all ranks together.
    pub fn traffic(&self, step: StepShape) -> Vec<Traffic> {
        let mut count = Count { step, kv: self.ranks[0].cache.dtype(), all: Vec::new() };
        for rank in &self.ranks {
            let weights = rank.weights();
            count.linear("lm_head", weights.lm_head.as_ref().unwrap_or(&weights.embed_tokens), step.logits);
            if let Some(per_layer) = &weights.per_layer {
                count.linear("per_layer_model_projection", &per_layer.per_layer_model_projection, step.rows);
            }
            for (l, layer) in weights.layers.iter().enumerate() {
                count.layer(&rank.share, l, layer);
            }
        }
        count.all
    }
}

struct Count {
    step: StepShape,
    kv: KvDtype,
    all: Vec<Traffic>,
}

impl Count {
    fn add(&mut self, label: &'static str, bytes: f64, operations: f64) {
        match self.all.iter_mut().find(|traffic| traffic.label == label) {
            Some(traffic) => {
                traffic.bytes += bytes;
                traffic.operations += operations;
            }
            None => self.all.push(Traffic { label, bytes, operations }),
        }
    }

    /// A product whose weights are read once for all of `rows`.
    fn linear(&mut self, label: &'static str, w: &Weights, rows: usize) {
        let operations = 2 * w.out_features * w.in_features * rows;
        let bytes = if rows == 0 { 0 } else { w.matrix_bytes() };
        self.add(label, bytes as f64, operations as f64);
    }

    fn layer(&mut self, share: &Share, l: usize, w: &LayerWeights) {
        let config = &share.config;
        let rows = self.step.rows;
        for projection in &w.qkv.0 {
            self.linear(projection.name, &projection.weights, rows);
        }
        self.attention(config, l);
        self.linear("o_proj", &w.o_proj, rows);
        for (label, w) in named("mlp", &w.mlp) {
            self.linear(label, w, rows);
        }
        if let Some(moe) = &w.moe {
            self.experts(share, moe);
        }
        if let Some((gate, projection)) = &w.per_layer {
            self.linear("per_layer_input_gate", gate, rows);
            self.linear("per_layer_projection", projection, rows);
        }
    }

    fn attention(&mut self, config: &Config, l: usize) {
        let layer = &config.layers[l];
        let seen = match layer.kind {
            LayerKind::Sliding => self.step.positions.min(config.sliding_window),
            LayerKind::Full => self.step.positions,
        };
        let words = layer.num_key_value_heads * self.kv.head_words(layer.head_dim);
        let bytes = 2 * 4 * words * seen * self.step.slots;
        let operations = 4 * config.num_attention_heads * layer.head_dim * seen * self.step.rows;
        self.add("attention", bytes as f64, operations as f64);
    }

    /// Each row chooses `top_k` experts. How many differ is what to expect of rows that choose evenly and on their own.
    fn experts(&mut self, share: &Share, w: &MoeWeights) {
        let config = &share.config;
        let held = share.experts.len() as f64 / config.num_experts as f64;
        let rows = self.step.rows;
        self.linear("router.proj", &w.router_proj, rows);
        let (all, top_k) = (config.num_experts as f64, config.top_k_experts as f64);
        let chosen = all * (1.0 - (1.0 - top_k / all).powi(rows as i32));
        for (label, w) in named("experts", &w.experts) {
            let operations = (2 * w.out_features * w.in_features * rows) as f64 * top_k * held;
            self.add(label, chosen * held * w.matrix_bytes() as f64, operations);
        }
    }
}

/// The stacks of an MLP, `mlp`, or of all experts, `experts`, with the labels of their dispatches.
fn named<'a>(what: &str, w: &'a GatedWeights) -> Vec<(&'static str, &'a Weights)> {
    let label = |name: &str| match (what, name) {
        ("mlp", "gate_up_proj") => "mlp.gate_up_proj",
        ("mlp", "gate_proj") => "mlp.gate_proj",
        ("mlp", "up_proj") => "mlp.up_proj",
        ("mlp", _) => "mlp.down_proj",
        (_, "gate_up_proj") => "experts.gate_up_proj",
        (_, "gate_proj") => "experts.gate_proj",
        (_, "up_proj") => "experts.up_proj",
        (_, _) => "experts.down_proj",
    };
    let gates = w.gate_up.0.iter().map(|gate| (label(gate.name), &gate.weights));
    gates.chain([(label("down_proj"), &w.down_proj)]).collect()
}
