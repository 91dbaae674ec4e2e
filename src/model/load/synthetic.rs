//! Models without a checkpoint: random weights of a configuration's shapes, made on the device.
//!
//! Layers are int4 in groups of 128, the router is f32, embedding and head are one bf16 matrix: what a checkpoint of the
//! usual kind is in memory. What they say means nothing; what they take and how long they run is real.

use std::cell::Cell;
use std::sync::Arc;

use super::advice::{self, Advisor};
use super::layout::{ModelLayout, RankLayout};
use super::memory::{Rehearsal, rehearse};
use super::options::{Head, Options, Progress};
use super::pipelines::PlannedPipeline;
use super::prepared::Reserved;
use super::share::Share;
use super::weights::{Held, HeldAs, ModelWeights, Norm, Stack, Stacked};
use crate::Result;
use crate::checkpoint::RowReader;
use crate::gemma4::Config;
use crate::gemma4::tensors::{AtPlace, Entry, Place, Role, Scope};
use crate::gpu::{Gpu, Tensor};
use crate::kernels::{Planner, Weights};
use crate::model::Gemma4;
use crate::model::gemma4::supported;
use crate::quant::{Dtype, Format, requantize};

/// Input rows of a quantization group.
const GROUP_SIZE: usize = 128;
/// How layers are stored.
const INT4: Format = Format::int(4, GROUP_SIZE);
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
    pub(crate) fn synthetic_pipelines(
        gpu: &Arc<Gpu>,
        config: &Config,
        linear: Option<Format>,
        options: &Options,
    ) -> Result<Vec<PlannedPipeline>> {
        supported(config)?;
        let layout = ModelLayout::synthetic(std::slice::from_ref(gpu), config, GROUP_SIZE, options)?;
        let made = MadeOf { linear: linear.unwrap_or(INT4), outliers: Outliers::NONE };
        let weights = |layout: &ModelLayout| make_weights(layout, config, made, &|_| ());
        Ok(PlannedPipeline::all(&Rehearsal::of(&layout, weights)?))
    }

    fn make(
        gpus: Vec<Arc<Gpu>>,
        config: Config,
        outliers: Outliers,
        options: &Options,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Self> {
        supported(&config)?;
        let resolve = |options: &Options| ModelLayout::synthetic(&gpus, &config, GROUP_SIZE, options);
        let layout = resolve(options)?;
        let make = |layout: &ModelLayout, progress: &dyn Fn(Progress)| {
            make_weights(layout, &config, MadeOf { linear: INT4, outliers }, progress)
        };
        let plan = |options: &Options| rehearse(&resolve(options)?, |layout| make(layout, &|_| ()));
        let advisor = Advisor { options, plan: &plan };
        advice::check(&config, advisor)?;
        let weights = |layout: &ModelLayout| make(layout, &|done| progress(done));
        Self::assemble(&config, &layout, advisor, progress, weights)
    }
}

/// What a model is made of.
#[derive(Clone, Copy)]
struct MadeOf {
    /// How layers are stored.
    linear: Format,
    outliers: Outliers,
}

/// Random weights of all ranks.
fn make_weights(
    layout: &ModelLayout,
    config: &Config,
    made: MadeOf,
    progress: &dyn Fn(Progress),
) -> Result<Reserved<'static>> {
    let counts = config.parameter_counts();
    // 4 bits and a share of an f16 scale; what little is dense beside that does not show on a bar.
    let int4 = (counts.text + counts.experts) * (4 * GROUP_SIZE as u64 + 16) / (8 * GROUP_SIZE as u64);
    let head = layout.head.bits().map_or(16, |bits| u64::from(bits) + 1);
    let total_bytes = int4 + (counts.embedding + counts.head) * head / 8;
    let done_bytes = &Cell::new(0);
    let rank = |rank: &RankLayout| {
        let (share, max_part_bytes) = (&rank.share, rank.max_part_bytes);
        let (head, planner) = (layout.head, &Planner::new(&rank.gpu).with_tuning(rank.tuning));
        Maker { planner, config, share, made, progress, max_part_bytes, head, done_bytes, total_bytes }.model()
    };
    let weights = layout.ranks.iter().map(rank).collect::<Result<_>>()?;
    Ok(Reserved { weights, uploads: None })
}

/// Makes the weights of a rank; the twin of [`super::loader`].
struct Maker<'a> {
    planner: &'a Planner<'a>,
    /// Of the whole model.
    config: &'a Config,
    share: &'a Share,
    made: MadeOf,
    progress: &'a dyn Fn(Progress),
    max_part_bytes: u64,
    head: Head,
    /// Of all ranks.
    done_bytes: &'a Cell<u64>,
    total_bytes: u64,
}

impl Maker<'_> {
    fn model(self) -> Result<ModelWeights> {
        let norms = self.norms()?;
        let mut held = Vec::new();
        for at in self.config.places() {
            let held_as = match at.place {
                Place::Norm(_) => continue, // They are in one tensor, which is there.
                Place::Stack(label) => self.matrices(&at, label)?,
                Place::Rows(_) => HeldAs::Rows(self.ones(&at)?),
                Place::Number => HeldAs::Number(LAYER_SCALAR),
                Place::File => {
                    let [rows, width] = at.tensors[0].matrix();
                    HeldAs::File(RowReader::random(rows, width))
                }
            };
            held.push(Held::new(&at, held_as));
        }
        self.planner.gpu.wait()?;
        Ok(ModelWeights::new(held, self.config.num_hidden_layers, norms, Vec::new()))
    }

    /// The rank's part of the matrices of a place, one behind the other in one stack.
    fn matrices(&self, at: &AtPlace, label: &'static str) -> Result<HeldAs> {
        let first = &at.tensors[0];
        let shapes: Vec<[usize; 2]> = at.tensors.iter().map(|tensor| self.share.shape_of(tensor)).collect();
        let n_matrices = if first.is_of_experts() { self.share.experts.len() } else { 1 };
        let shape = [n_matrices, shapes.iter().map(|shape| shape[0]).sum(), shapes[0][1]];
        let weights = self.stack(&at.name(), shape, self.kind(first.entry))?;
        Ok(HeldAs::Stack(Stack { matrices: vec![Stacked { label, weights }], hosted: Vec::new() }))
    }

    /// How a matrix is stored.
    fn kind(&self, entry: &Entry) -> Format {
        let head = if self.config.tie_word_embeddings { Role::Embedding } else { Role::Head };
        match (entry.role, self.head.bits()) {
            (Role::Router, _) => Format::Dense(Dtype::F32),
            (role, Some(bits)) if role == head => Format::int(bits, requantize::GROUP_SIZE),
            _ if entry.scope == Scope::Model => Format::Dense(Dtype::BF16),
            _ => self.made.linear,
        }
    }

    fn stack(&self, label: &str, shape: [usize; 3], format: Format) -> Result<Weights> {
        let weights = Weights::random(self.planner, label, shape, format, self.max_part_bytes)?;
        self.done_bytes.set(self.done_bytes.get() + weights.matrix_bytes() * shape[0] as u64);
        let (done, total) = (self.done_bytes.get().min(self.total_bytes), self.total_bytes);
        (self.progress)(Progress::Weights { done, total });
        Ok(weights)
    }

    /// The table of all norms: weights of 1, save for outliers in the two whose output enters the residual stream. Also
    /// the router's are 1: without outliers its logits deviate by 1, and every expert is chosen about as often as the others.
    fn norms(&self) -> Result<Tensor> {
        let c = self.config;
        let mut weights = vec![1.0; (c.num_hidden_layers * Norm::COUNT + 1) * c.hidden_size];
        let outliers = self.made.outliers.norm(c.hidden_size);
        for tensor in c.tensors() {
            let (Place::Norm(Norm::PostAttention | Norm::PostFeedforward), Some(row)) =
                (tensor.entry.place, tensor.norm_row())
            else {
                continue;
            };
            weights[row * c.hidden_size..][..c.hidden_size].copy_from_slice(&outliers);
        }
        Tensor::from_rows(self.planner.gpu, "norms", c.hidden_size, &weights)
    }

    /// Rows of 1; without padding, as the loader has them.
    fn ones(&self, at: &AtPlace) -> Result<Tensor> {
        let gpu = self.planner.gpu;
        let [rows, width] = at.rows();
        let tensor = Tensor::compact(gpu, &at.name(), rows, width)?;
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
