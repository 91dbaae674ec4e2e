//! What a step must read and multiply at least, by the labels of its dispatches: what measured times are held against.
//!
//! Counted from shapes: weights once a step, of the experts those that the step chooses, keys and values once for each
//! slot. Norms, activations and what a cache saves or spoils are left out.

use crate::gemma4::tensors::{Role, Scope};
use crate::gemma4::{Config, LayerKind};
use crate::kernels::{KvDtype, Weights};
use crate::model::Gemma4;
use crate::model::load::share::Share;
use crate::model::load::weights::Held;

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
            for held in &rank.weights().all {
                count.held(&rank.share, held);
            }
            (0..rank.share.config.num_hidden_layers).for_each(|l| count.attention(&rank.share.config, l));
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
        let operations = 2.0 * w.out_features as f64 * w.in_features as f64 * rows as f64;
        let bytes = if rows == 0 { 0 } else { w.matrix_bytes() };
        self.add(label, bytes as f64, operations);
    }

    /// The products of what a rank holds in one place.
    fn held(&mut self, share: &Share, held: &Held) {
        for stacked in held.matrices() {
            let (label, weights) = (stacked.dispatch(), &stacked.weights);
            match held.role {
                // Of the embedding itself, a row is read for each token.
                Role::Embedding if share.config.tie_word_embeddings => {
                    self.linear("lm_head", weights, self.step.logits)
                }
                Role::Embedding => {}
                Role::Head => self.linear(label, weights, self.step.logits),
                _ if held.scope == Scope::Expert => self.experts(share, label, weights),
                _ => self.linear(label, weights, self.step.rows),
            }
        }
    }

    fn attention(&mut self, config: &Config, l: usize) {
        let layer = &config.layers[l];
        let seen = match layer.kind {
            LayerKind::Sliding => self.step.positions.min(config.sliding_window),
            LayerKind::Full => self.step.positions,
        };
        let words = layer.num_key_value_heads * self.kv.head_words(layer.head_dim);
        // Asked for are any numbers; as f64 they do not overflow.
        let [seen, slots, rows] = [seen, self.step.slots, self.step.rows].map(|number| number as f64);
        let bytes = (2 * 4 * words) as f64 * seen * slots;
        let operations = (4 * config.num_attention_heads * layer.head_dim) as f64 * seen * rows;
        self.add("attention", bytes, operations);
    }

    /// Each row chooses `top_k` experts. How many differ is what to expect of rows that choose evenly and on their own.
    fn experts(&mut self, share: &Share, label: &'static str, w: &Weights) {
        let config = &share.config;
        let held = share.experts.len() as f64 / config.num_experts as f64;
        let rows = self.step.rows;
        let (all, top_k) = (config.num_experts as f64, config.top_k_experts as f64);
        let chosen = all * (1.0 - (1.0 - top_k / all).powf(rows as f64));
        let operations = 2.0 * w.out_features as f64 * w.in_features as f64 * rows as f64 * top_k * held;
        self.add(label, chosen * held * w.matrix_bytes() as f64, operations);
    }
}
