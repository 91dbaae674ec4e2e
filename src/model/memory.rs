//! How much device memory a model takes, without a device.

use super::activations::{FEW_ROWS, head_shapes, mlp_widths, rotations};
use super::kv_cache::{first_capacity, ring_capacity};
use super::weights::NORMS_PER_LAYER;
use crate::checkpoint::{Checkpoint, Config, LayerConfig, LayerKind, MatrixFormat, MatrixInfo, Projection};
use crate::kernels::moe_group::Groups;
use crate::kernels::{KvDtype, argmax, attention, sample, strip_max, suppress};
use crate::quant::{CHUNK, DenseMatrix, Dtype, PackedMatrix};

/// Bytes on the device, by what they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryPlan {
    /// Weights in the kernels' layout.
    pub weights: u64,
    /// Keys and values of a slot at the full context.
    pub kv_cache: u64,
    /// Keys and values of a slot as first allocated; full layers grow from here.
    pub kv_cache_at_start: u64,
    /// Intermediate values of a step.
    pub activations: u64,
}

impl MemoryPlan {
    /// The plan for `checkpoint` with one slot, `context` positions held as `kv`, and prefill chunks of `chunk_rows`.
    pub fn new(checkpoint: &Checkpoint, context: usize, chunk_rows: usize, kv: KvDtype) -> Self {
        let config = &checkpoint.config;
        MemoryPlan {
            weights: weights_bytes(checkpoint),
            kv_cache: kv_bytes(config, kv, context, context),
            kv_cache_at_start: kv_bytes(config, kv, context, first_capacity(context)),
            activations: activation_bytes(config, kv, chunk_rows.max(FEW_ROWS)),
        }
    }

    /// All of it at the full context.
    pub fn total(&self) -> u64 {
        self.weights + self.kv_cache + self.activations
    }

    /// Bytes of keys, or of values, of one position in the widest full layer.
    pub(super) fn largest_position_bytes(config: &Config, kv: KvDtype) -> u64 {
        let full = config.layers.iter().filter(|layer| layer.kind == LayerKind::Full);
        full.map(|layer| 4 * kv_words(layer, kv)).max().unwrap_or(0)
    }
}

fn padded(width: usize) -> u64 {
    width.next_multiple_of(CHUNK) as u64
}

/// Words of a position's keys, or of its values.
fn kv_words(layer: &LayerConfig, kv: KvDtype) -> u64 {
    padded(layer.num_key_value_heads * kv.head_words(layer.head_dim))
}

fn kv_bytes(config: &Config, kv: KvDtype, context: usize, full_capacity: usize) -> u64 {
    let own = config.layers.iter().filter(|layer| layer.kv_source.is_none());
    own.map(|layer| {
        let capacity = match layer.kind {
            LayerKind::Sliding => ring_capacity(config.sliding_window, context),
            LayerKind::Full => full_capacity,
        };
        2 * capacity as u64 * kv_words(layer, kv) * 4
    })
    .sum()
}

fn matrix_bytes(info: &MatrixInfo) -> u64 {
    let rows = info.out_features as u64;
    4 * match info.format {
        MatrixFormat::Dense(dtype) => rows * DenseMatrix::row_words(info.in_features, dtype) as u64,
        MatrixFormat::Packed { bits, groups, scale_dtype, symmetric, per_row, .. } => {
            let zeros = if symmetric { 0 } else { PackedMatrix::zero_words(groups, bits) };
            let table = if per_row { padded(info.in_features) } else { 0 };
            rows * (PackedMatrix::code_words(info.in_features, bits) + scale_dtype.words(groups) + zeros) as u64 + table
        }
    }
}

fn weights_bytes(checkpoint: &Checkpoint) -> u64 {
    let c = &checkpoint.config;
    let mut bytes = (c.num_hidden_layers * NORMS_PER_LAYER + 1) as u64 * padded(c.hidden_size) * 4;
    let mut add = |name: &str| {
        if checkpoint.has(name) {
            bytes += matrix_bytes(checkpoint.matrix_info(name));
        }
    };
    add("embed_tokens");
    add("lm_head");
    add("per_layer_model_projection"); // The per-layer embedding stays in its file.
    for l in 0..c.num_hidden_layers {
        for name in ["per_layer_input_gate", "per_layer_projection"] {
            add(&format!("layers.{l}.{name}"));
        }
        for name in ["q_proj", "k_proj", "v_proj", "o_proj"] {
            add(&format!("layers.{l}.self_attn.{name}"));
        }
        for name in ["gate_proj", "up_proj", "down_proj"] {
            add(&format!("layers.{l}.mlp.{name}"));
        }
    }
    for (l, layer) in c.layers.iter().enumerate() {
        bytes += 2 * layer.head_dim as u64 * 4;
        if c.is_moe() {
            // The router is dense in memory, whatever the file holds.
            let router = checkpoint.matrix_info(&format!("layers.{l}.router.proj"));
            let row_words = DenseMatrix::row_words(router.in_features, Dtype::F32);
            bytes += (router.out_features * row_words * 4 + c.num_experts * 4) as u64;
            for e in 0..c.num_experts {
                bytes += Projection::ALL.iter().map(|&p| matrix_bytes(checkpoint.expert_info(l, e, p))).sum::<u64>();
            }
        }
    }
    bytes
}

fn activation_bytes(config: &Config, kv: KvDtype, rows: usize) -> u64 {
    let (rows, hidden) = (rows as u64, padded(config.hidden_size));
    let pairs: usize = rotations(config).iter().map(|(_, rope)| rope.rotated_pairs).sum();
    let mut row = 8 + 2 * pairs as u64 + 4 * hidden;
    let mut shares = 0;
    for (head_dim, kv_heads) in head_shapes(config) {
        shares += attention::share_words(config.num_attention_heads, kv_heads, head_dim, FEW_ROWS) as u64;
        row += padded((config.num_attention_heads + 2 * kv_heads) * head_dim);
        row += 2 * padded(config.num_attention_heads * head_dim) + 2 * padded(kv_heads * kv.head_words(head_dim));
    }
    let n = config.hidden_size_per_layer_input;
    if n > 0 {
        row += 3 * padded(config.num_hidden_layers * n) + 2 * padded(n);
    }
    row += mlp_widths(config).into_iter().map(|width| padded(2 * width) + padded(width)).sum::<u64>();
    if config.is_moe() {
        row += 3 * hidden + padded(config.num_experts);
        row += config.top_k_experts as u64
            * (3 + padded(2 * config.moe_intermediate_size) + padded(config.moe_intermediate_size) + hidden);
    }
    let places = match config.is_moe() {
        true => Groups::places(rows as usize, config.top_k_experts, config.num_experts) as u64 * 4,
        false => 0,
    };
    // Logits stand twice: on the device and where the host reads them.
    let choice = argmax::SCRATCH_WIDTH + strip_max::strips(config.vocab_size) + sample::DRAW_WORDS;
    let head = FEW_ROWS as u64 * (hidden + 2 * padded(config.vocab_size) + choice as u64) + suppress::MAX_IDS as u64;
    4 * (rows * row + shares + places + head)
}
