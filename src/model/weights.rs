//! A checkpoint's weights on the device, with the checkpoint's names.

use super::options::Progress;
use crate::Result;
use crate::checkpoint::{Checkpoint, Projection, RowReader};
use crate::gpu::{Gpu, Tensor};
use crate::kernels::{Weights, WeightsBuilder};

/// Rows of the table of norm weights that each layer takes; the final norm follows the last layer's, so that the norm
/// after a layer is always the next row.
pub(super) const NORMS_PER_LAYER: usize = 9;

/// Rows of a layer's norms, by number in [`NORM_NAMES`]. The three that read the residual stream before the MLP stand
/// together, from `PreFeedforward` on; the router's is `router.scale * hidden^-0.5`, since its norm has no other weight.
#[derive(Debug, Clone, Copy)]
pub(super) enum Norm {
    Input = 0,
    PostAttention = 1,
    PreFeedforward = 2,
    PostFeedforward = 5,
    PostFeedforward1 = 6,
    PostFeedforward2 = 7,
    PostPerLayerInput = 8,
}

const NORM_NAMES: [&str; NORMS_PER_LAYER] = [
    "input_layernorm.weight",
    "post_attention_layernorm.weight",
    "pre_feedforward_layernorm.weight",
    "pre_feedforward_layernorm_2.weight",
    "router.scale",
    "post_feedforward_layernorm.weight",
    "post_feedforward_layernorm_1.weight",
    "post_feedforward_layernorm_2.weight",
    "post_per_layer_input_norm.weight",
];

/// The row of the norm table that holds `norm` of layer `l`.
pub(super) fn norm_row(l: usize, norm: Norm) -> usize {
    l * NORMS_PER_LAYER + norm as usize
}

/// All weights of a model.
#[derive(Debug)]
pub(super) struct ModelWeights {
    pub embed_tokens: Weights,
    /// `None` where the head is the embedding.
    pub lm_head: Option<Weights>,
    /// `[layers * NORMS_PER_LAYER + 1, hidden]`; the last row is `norm.weight`.
    pub norms: Tensor,
    pub per_layer: Option<PerLayerWeights>,
    pub layers: Vec<LayerWeights>,
}

/// What the per-layer inputs are made with.
#[derive(Debug)]
pub(super) struct PerLayerWeights {
    /// `embed_tokens_per_layer` stays in its file: a token needs one row of it.
    pub table: RowReader,
    pub per_layer_model_projection: Weights,
    /// `[1, n]` without padding.
    pub per_layer_projection_norm: Tensor,
}

/// The weights of one layer.
#[derive(Debug)]
pub(super) struct LayerWeights {
    pub q_proj: Weights,
    /// `None` where the layer reads another layer's keys and values.
    pub k_proj: Option<Weights>,
    /// `None` there, and where the layer has K = V.
    pub v_proj: Option<Weights>,
    pub o_proj: Weights,
    /// `q_norm` and `k_norm`, `[2, head_dim]` without padding.
    pub qk_norm: Tensor,
    pub mlp: GatedWeights,
    pub moe: Option<MoeWeights>,
    /// `per_layer_input_gate` and `per_layer_projection`.
    pub per_layer: Option<(Weights, Weights)>,
    pub layer_scalar: f32,
}

/// Gate, up and down projections of an MLP, or of all experts.
#[derive(Debug)]
pub(super) struct GatedWeights {
    pub gate_proj: Weights,
    pub up_proj: Weights,
    pub down_proj: Weights,
}

/// Router and experts of one layer.
#[derive(Debug)]
pub(super) struct MoeWeights {
    pub router_proj: Weights,
    /// `[1, num_experts]`.
    pub per_expert_scale: Tensor,
    pub experts: GatedWeights,
}

/// Bytes of a large dense matrix that are read at a time.
const BLOCK_BYTES: usize = 16 << 20;

/// Reads a checkpoint and uploads it.
pub(super) struct Loader<'a> {
    pub gpu: &'a Gpu,
    pub checkpoint: &'a Checkpoint,
    pub progress: &'a (dyn Fn(Progress) + Sync),
    pub max_part_bytes: u64,
    pub done_bytes: u64,
    pub total_bytes: u64,
}

impl Loader<'_> {
    pub(super) fn model(mut self) -> Result<ModelWeights> {
        let c = &self.checkpoint.config;
        let layers = c.num_hidden_layers;
        let mut norms = vec![0.0f32; (layers * NORMS_PER_LAYER + 1) * c.hidden_size];
        let mut rows = norms.chunks_exact_mut(c.hidden_size);
        for l in 0..layers {
            for (name, row) in NORM_NAMES.iter().zip(rows.by_ref()) {
                let name_in_layer = format!("layers.{l}.{name}");
                if !self.checkpoint.has(&name_in_layer) {
                    continue; // What a layer does not have, nothing reads.
                }
                row.copy_from_slice(&self.checkpoint.vector(&name_in_layer)?);
                if *name == "router.scale" {
                    let root = (c.hidden_size as f32).powf(-0.5);
                    row.iter_mut().for_each(|v| *v *= root);
                }
            }
        }
        rows.next().expect("one row more").copy_from_slice(&self.checkpoint.vector("norm.weight")?);
        let norms = Tensor::from_rows(self.gpu, "norms", c.hidden_size, &norms)?;
        let embed_tokens = self.linear("embed_tokens")?;
        let lm_head = self.checkpoint.has("lm_head").then(|| self.linear("lm_head")).transpose()?;
        let per_layer = self.per_layer()?;
        let layers = (0..layers).map(|l| self.layer(l)).collect::<Result<_>>()?;
        self.gpu.wait()?;
        Ok(ModelWeights { embed_tokens, lm_head, norms, per_layer, layers })
    }

    fn layer(&mut self, l: usize) -> Result<LayerWeights> {
        let layer = self.checkpoint.config.layers[l].clone();
        let at = |name: &str| format!("layers.{l}.{name}");
        let mut qk_norm = self.checkpoint.vector(&at("self_attn.q_norm.weight"))?;
        let own_kv = layer.kv_source.is_none();
        if own_kv {
            qk_norm.extend(self.checkpoint.vector(&at("self_attn.k_norm.weight"))?);
        }
        let qk_norm_tensor = Tensor::compact(self.gpu, &at("qk_norm"), 2, layer.head_dim)?;
        self.gpu.write(&qk_norm_tensor.buffer, 0, &qk_norm)?;
        Ok(LayerWeights {
            q_proj: self.linear(&at("self_attn.q_proj"))?,
            k_proj: own_kv.then(|| self.linear(&at("self_attn.k_proj"))).transpose()?,
            v_proj: (own_kv && !layer.k_eq_v).then(|| self.linear(&at("self_attn.v_proj"))).transpose()?,
            o_proj: self.linear(&at("self_attn.o_proj"))?,
            qk_norm: qk_norm_tensor,
            mlp: GatedWeights {
                gate_proj: self.linear(&at("mlp.gate_proj"))?,
                up_proj: self.linear(&at("mlp.up_proj"))?,
                down_proj: self.linear(&at("mlp.down_proj"))?,
            },
            moe: self.checkpoint.config.is_moe().then(|| self.moe(l)).transpose()?,
            per_layer: match self.checkpoint.config.hidden_size_per_layer_input {
                0 => None,
                _ => Some((self.linear(&at("per_layer_input_gate"))?, self.linear(&at("per_layer_projection"))?)),
            },
            layer_scalar: self.checkpoint.vector(&at("layer_scalar"))?[0],
        })
    }

    fn per_layer(&mut self) -> Result<Option<PerLayerWeights>> {
        if self.checkpoint.config.hidden_size_per_layer_input == 0 {
            return Ok(None);
        }
        let norm = self.checkpoint.vector("per_layer_projection_norm.weight")?;
        let per_layer_projection_norm = Tensor::compact(self.gpu, "per_layer_projection_norm", 1, norm.len())?;
        self.gpu.write(&per_layer_projection_norm.buffer, 0, &norm)?;
        Ok(Some(PerLayerWeights {
            table: self.checkpoint.row_reader("embed_tokens_per_layer")?,
            per_layer_model_projection: self.linear("per_layer_model_projection")?,
            per_layer_projection_norm,
        }))
    }

    fn moe(&mut self, l: usize) -> Result<MoeWeights> {
        let scales = self.checkpoint.vector(&format!("layers.{l}.router.per_expert_scale"))?;
        let per_expert_scale = Tensor::compact(self.gpu, "per_expert_scale", 1, scales.len())?;
        self.gpu.write(&per_expert_scale.buffer, 0, &scales)?;
        Ok(MoeWeights {
            router_proj: self.linear(&format!("layers.{l}.router.proj"))?,
            per_expert_scale,
            experts: GatedWeights {
                gate_proj: self.experts(l, Projection::Gate)?,
                up_proj: self.experts(l, Projection::Up)?,
                down_proj: self.experts(l, Projection::Down)?,
            },
        })
    }

    /// One matrix, in blocks of rows where it is large and dense.
    fn linear(&mut self, name: &str) -> Result<Weights> {
        let info = self.checkpoint.matrix_info(name);
        let (n, k, size_bytes) = (info.out_features, info.in_features, info.size_bytes);
        let mut builder = WeightsBuilder::new(self.gpu, name, 1, n, k).max_part_bytes(self.max_part_bytes);
        let block = (BLOCK_BYTES * n / size_bytes.max(1) as usize).clamp(1, n);
        // Only a dense matrix can be read by rows without reading all of it.
        let block = if matches!(info.format, crate::checkpoint::MatrixFormat::Dense(_)) { block } else { n };
        for first in (0..n).step_by(block) {
            let rows = first..n.min(first + block);
            let bytes = size_bytes * rows.len() as u64 / n as u64;
            builder.add(0, first, &self.checkpoint.load_rows(name, rows)?)?;
            self.report(bytes);
        }
        builder.finish()
    }

    /// One projection of all experts of a layer.
    fn experts(&mut self, l: usize, projection: Projection) -> Result<Weights> {
        let (n, k) = {
            let info = self.checkpoint.expert_info(l, 0, projection);
            (info.out_features, info.in_features)
        };
        let count = self.checkpoint.config.num_experts;
        let label = format!("layers.{l}.experts.{}", projection.name());
        let mut builder = WeightsBuilder::new(self.gpu, &label, count, n, k).max_part_bytes(self.max_part_bytes);
        for e in 0..count {
            builder.add(e, 0, &self.checkpoint.expert(l, e, projection)?)?;
            self.report(self.checkpoint.expert_info(l, e, projection).size_bytes);
        }
        builder.finish()
    }

    fn report(&mut self, bytes: u64) {
        self.done_bytes += bytes;
        (self.progress)(Progress::Weights { done: self.done_bytes, total: self.total_bytes });
    }
}
