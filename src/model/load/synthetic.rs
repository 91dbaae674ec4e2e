//! Models without a checkpoint: random weights of a configuration's shapes, made on the device.
//!
//! Layers are int4 in groups of 128, the router is f32, embedding and head are one bf16 matrix: what a checkpoint of the
//! usual kind is in memory. What they say means nothing; what they take and how long they run is real.

use std::cell::Cell;
use std::sync::Arc;

use super::advice;
use super::memory::{Rehearsal, rehearse};
use super::options::{Head, Options, Progress};
use super::pipelines::PlannedPipeline;
use super::share::{Share, place_uniform};
use super::weights::{
    GatedWeights, LayerWeights, ModelWeights, MoeWeights, NORMS_PER_LAYER, Norm, PerLayerWeights, norm_row,
};
use crate::Result;
use crate::checkpoint::RowReader;
use crate::error::Usage;
use crate::gemma4::Config;
use crate::gpu::{Gpu, Tensor};
use crate::kernels::product::joined::Joined;
use crate::kernels::{Planner, Random, Weights};
use crate::model::Gemma4;
use crate::model::gemma4::supported;
use crate::quant::{Dtype, requantize};

/// Input rows of a quantization group.
const GROUP_SIZE: usize = 128;
/// How layers are stored.
const INT4: Random = Random::Packed { bits: 4, group_size: GROUP_SIZE };
/// Keeps the residual stream at order 1, however many layers add to it.
const LAYER_SCALAR: f32 = 0.5;

/// Channels of the residual stream that are much larger than the others, the same in all layers, as trained transformers
/// have them: what makes rounding activations hard.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outliers {
    /// How many, spread evenly over the width.
    pub channels: usize,
    /// How many times larger than others the first of them is.
    pub smallest: f32,
    /// The same of the last; those between lie evenly between.
    pub largest: f32,
}

impl Outliers {
    /// All channels are alike.
    pub const NONE: Outliers = Outliers { channels: 0, smallest: 1.0, largest: 1.0 };

    /// Weights of a norm over `width` channels whose output has the outliers.
    fn norm(&self, width: usize) -> Vec<f32> {
        let mut weights = vec![1.0; width];
        let channels = self.channels.min(width);
        for i in 0..channels {
            let place = (2 * i + 1) * width / (2 * channels);
            weights[place] = self.smallest + (self.largest - self.smallest) * i as f32 / (channels - 1).max(1) as f32;
        }
        weights
    }
}

impl Gemma4 {
    /// A model of `config`'s shapes with random weights, which are made on the device: nothing is read or uploaded.
    ///
    /// # Errors
    /// As [`Gemma4::load`], save for what files can do.
    pub fn synthetic(
        gpu: Gpu,
        config: Config,
        options: &Options,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Self> {
        Self::synthetic_with_outliers(gpu, config, Outliers::NONE, options, progress)
    }

    /// As [`Gemma4::synthetic`] with ranks on several devices, as [`Gemma4::load_on`] spreads them.
    ///
    /// # Errors
    /// As [`Gemma4::synthetic`]; [`crate::Error::Usage`] also for more devices than ranks, or none.
    pub fn synthetic_on(
        gpus: Vec<impl Into<Arc<Gpu>>>,
        config: Config,
        options: &Options,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Self> {
        let gpus = gpus.into_iter().map(Into::into).collect();
        Self::make(gpus, config, Outliers::NONE, options, progress)
    }

    /// As [`Gemma4::synthetic`], with `outliers` in what attention and MLP add to the residual stream.
    ///
    /// # Errors
    /// As [`Gemma4::synthetic`].
    pub fn synthetic_with_outliers(
        gpu: Gpu,
        config: Config,
        outliers: Outliers,
        options: &Options,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Self> {
        Self::make(vec![Arc::new(gpu)], config, outliers, options, progress)
    }

    /// What the pipelines of a model of `config` are made from, whose layers are stored as `linear`; `None` for what
    /// [`Gemma4::synthetic`] makes. It is planned on a device that only counts: nothing is compiled and nothing is taken of
    /// `gpu`.
    ///
    /// # Errors
    /// Those of [`Gemma4::synthetic`] that a device does not tell.
    pub fn synthetic_pipelines(
        gpu: &Arc<Gpu>,
        config: &Config,
        linear: Option<Random>,
        options: &Options,
    ) -> Result<Vec<PlannedPipeline>> {
        supported(config)?;
        let ranks = place_uniform(std::slice::from_ref(gpu), config, GROUP_SIZE, &options.parallel)?;
        let kinds = (linear.unwrap_or(INT4), Outliers::NONE);
        let weights = |ranks: &[_]| Ok((make_weights(ranks, config, kinds, options, &|_| ())?, None));
        Ok(PlannedPipeline::all(&Rehearsal::of(&ranks, options, weights)?))
    }

    fn make(
        gpus: Vec<Arc<Gpu>>,
        config: Config,
        outliers: Outliers,
        options: &Options,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Self> {
        supported(&config)?;
        if options.host_experts > 0 {
            return Err(Usage::SyntheticHostExperts.into());
        }
        let ranks = place_uniform(&gpus, &config, GROUP_SIZE, &options.parallel)?;
        let make = |ranks: &[_], options: &Options, progress: &dyn Fn(Progress)| {
            Ok((make_weights(ranks, &config, (INT4, outliers), options, progress)?, None))
        };
        let plan = |options: &Options| rehearse(&ranks, options, |ranks| make(ranks, options, &|_| ()));
        advice::check(&plan, &config, options)?;
        let weights = |ranks: &[_]| make(ranks, options, &|done| progress(done));
        Self::assemble(config.clone(), ranks.clone(), options, (&plan, progress), weights)
    }
}

/// Random weights of all ranks, whose layers are `linear`.
fn make_weights(
    ranks: &[(Arc<Gpu>, Share)],
    config: &Config,
    (linear, outliers): (Random, Outliers),
    options: &Options,
    progress: &dyn Fn(Progress),
) -> Result<Vec<ModelWeights>> {
    let counts = config.parameter_counts();
    // 4 bits and a share of an f16 scale; what little is dense beside that does not show on a bar.
    let int4 = (counts.text + counts.experts) * (4 * GROUP_SIZE as u64 + 16) / (8 * GROUP_SIZE as u64);
    let head = options.head.bits().map_or(16, |bits| u64::from(bits) + 1);
    let total_bytes = int4 + (counts.embedding + counts.head) * head / 8;
    let done_bytes = &Cell::new(0);
    let rank = |(gpu, share): &(Arc<Gpu>, Share)| {
        let max_part_bytes = options.max_part_bytes.unwrap_or(gpu.max_binding_bytes());
        let (head, planner) = (options.head, &Planner::new(gpu));
        Maker { planner, share, linear, outliers, progress, max_part_bytes, head, done_bytes, total_bytes }.model()
    };
    ranks.iter().map(rank).collect()
}

/// Makes the weights of a rank; the twin of [`super::loader`].
struct Maker<'a> {
    planner: &'a Planner<'a>,
    share: &'a Share,
    linear: Random,
    outliers: Outliers,
    progress: &'a dyn Fn(Progress),
    max_part_bytes: u64,
    head: Head,
    /// Of all ranks.
    done_bytes: &'a Cell<u64>,
    total_bytes: u64,
}

impl Maker<'_> {
    fn model(self) -> Result<ModelWeights> {
        let (c, vocab) = (&self.share.config, self.share.vocab.len());
        let norms = self.norms()?;
        let bf16 = Random::Dense(Dtype::BF16);
        let head = match self.head.bits() {
            None => bf16,
            Some(bits) => Random::Packed { bits, group_size: requantize::GROUP_SIZE },
        };
        let embedding = if c.tie_word_embeddings { head } else { bf16 };
        let embed_tokens = self.stack("embed_tokens", [1, vocab, c.hidden_size], embedding)?;
        let lm_head = match c.tie_word_embeddings {
            true => None,
            false => Some(self.stack("lm_head", [1, vocab, c.hidden_size], head)?),
        };
        let per_layer = match c.hidden_size_per_layer_input {
            0 => None,
            n => Some(PerLayerWeights {
                table: RowReader::random(c.vocab_size_per_layer_input, c.num_hidden_layers * n),
                per_layer_model_projection: self.stack(
                    "per_layer_model_projection",
                    [1, self.share.per_layer_context.len(), c.hidden_size],
                    bf16,
                )?,
                per_layer_projection_norm: self.ones("per_layer_projection_norm", 1, n)?,
            }),
        };
        let layers = (0..c.num_hidden_layers).map(|l| self.layer(l)).collect::<Result<_>>()?;
        self.planner.gpu.wait()?;
        Ok(ModelWeights { embed_tokens, lm_head, norms, per_layer, layers, windows: Vec::new() })
    }

    fn layer(&self, l: usize) -> Result<LayerWeights> {
        let (c, layer) = (&self.share.config, &self.share.config.layers[l]);
        let at = |name: &str| format!("layers.{l}.{name}");
        let (q, kv) = (c.num_attention_heads * layer.head_dim, layer.num_key_value_heads * layer.head_dim);
        let own = match (layer.kv_source, layer.k_eq_v) {
            (Some(_), _) => 0,
            (None, true) => 1,
            (None, false) => 2,
        };
        let linear = |name: &str, n: usize, k: usize| self.stack(&at(name), [1, n, k], self.linear);
        Ok(LayerWeights {
            qkv: Joined::one("qkv_proj", linear("self_attn.qkv_proj", q + own * kv, c.hidden_size)?),
            o_proj: linear("self_attn.o_proj", c.hidden_size, q)?,
            qk_norm: self.ones(&at("qk_norm"), 2, layer.head_dim)?,
            mlp: self.gated(&at("mlp"), 1, layer.intermediate_size)?,
            moe: c.is_moe().then(|| self.moe(l)).transpose()?,
            per_layer: match c.hidden_size_per_layer_input {
                0 => None,
                _ => {
                    let n = self.share.per_layer.len();
                    Some((
                        self.stack(&at("per_layer_input_gate"), [1, n, c.hidden_size], self.linear)?,
                        self.stack(&at("per_layer_projection"), [1, c.hidden_size, n], self.linear)?,
                    ))
                }
            },
            layer_scalar: LAYER_SCALAR,
        })
    }

    fn moe(&self, l: usize) -> Result<MoeWeights> {
        let c = &self.share.config;
        let router = [1, c.num_experts, c.hidden_size];
        Ok(MoeWeights {
            router_proj: self.stack(&format!("layers.{l}.router.proj"), router, Random::Dense(Dtype::F32))?,
            per_expert_scale: self.ones("per_expert_scale", 1, c.num_experts)?,
            experts: self.gated(&format!("layers.{l}.experts"), self.share.experts.len(), c.moe_intermediate_size)?,
            hosted: Vec::new(),
        })
    }

    fn gated(&self, label: &str, n_matrices: usize, width: usize) -> Result<GatedWeights> {
        let hidden = self.share.config.hidden_size;
        let gate_up = self.stack(&format!("{label}.gate_up_proj"), [n_matrices, 2 * width, hidden], self.linear)?;
        Ok(GatedWeights {
            gate_up: Joined::one("gate_up_proj", gate_up),
            down_proj: self.stack(&format!("{label}.down_proj"), [n_matrices, hidden, width], self.linear)?,
        })
    }

    fn stack(&self, label: &str, shape: [usize; 3], random: Random) -> Result<Weights> {
        let weights = Weights::random(self.planner, label, shape, random, self.max_part_bytes)?;
        self.done_bytes.set(self.done_bytes.get() + weights.matrix_bytes() * shape[0] as u64);
        let (done, total) = (self.done_bytes.get().min(self.total_bytes), self.total_bytes);
        (self.progress)(Progress::Weights { done, total });
        Ok(weights)
    }

    /// The table of all norms: weights of 1, save for outliers in the two whose output enters the residual stream. Also
    /// the router's are 1: without outliers its logits deviate by 1, and every expert is chosen about as often as the others.
    fn norms(&self) -> Result<Tensor> {
        let c = &self.share.config;
        let mut weights = vec![1.0; (c.num_hidden_layers * NORMS_PER_LAYER + 1) * c.hidden_size];
        let outliers = self.outliers.norm(c.hidden_size);
        for l in 0..c.num_hidden_layers {
            for norm in [Norm::PostAttention, Norm::PostFeedforward] {
                weights[norm_row(l, norm) * c.hidden_size..][..c.hidden_size].copy_from_slice(&outliers);
            }
        }
        Tensor::from_rows(self.planner.gpu, "norms", c.hidden_size, &weights)
    }

    /// Norm weights of 1, one row or a pair; without padding, as the loader has them.
    fn ones(&self, label: &str, rows: usize, width: usize) -> Result<Tensor> {
        let gpu = self.planner.gpu;
        let tensor = Tensor::compact(gpu, label, rows, width)?;
        gpu.write(&tensor.buffer, 0, &vec![1.0f32; rows * width])?;
        Ok(tensor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outliers_are_as_many_and_as_large_as_asked() {
        let weights = Outliers { channels: 8, smallest: 20.0, largest: 50.0 }.norm(2816);
        let large: Vec<f32> = weights.iter().copied().filter(|w| *w != 1.0).collect();
        assert_eq!((weights.len(), large.len(), large[0], large[7]), (2816, 8, 20.0, 50.0));
        assert_eq!(Outliers::NONE.norm(3), [1.0; 3]);
        let more = Outliers { channels: 9, smallest: 2.0, largest: 2.0 };
        assert_eq!(more.norm(3), [2.0; 3], "no more than there are");
        assert_eq!(Outliers { channels: 1, ..more }.norm(3), [1.0, 2.0, 1.0]);
    }
}
