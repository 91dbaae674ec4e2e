//! `common/rounded.wgsl`: activations rounded to int8, as integer products read them.

use crate::Result;
use crate::gpu::{Constants, Gpu, Grid, PipelineKey, Tensor, Tier};
use crate::kernels::{NamedBuffers, Planned, Planner, Weights, word};
use crate::quant::CHUNK;

/// Words of a rounded chunk of [`CHUNK`] activations: 8 of codes, two scales, two scaled sums of codes.
const CHUNK_WORDS: usize = 12;
/// Activations that share a scale.
pub(crate) const BLOCK: usize = 16;

/// What a product reads: activations, and where they were rounded too what became of them.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// `[rows, in_features]`.
    pub x: &'a Tensor,
    /// As [`tensor`] has them.
    pub rounded: Option<&'a Tensor>,
}

/// Where a kernel's result goes.
#[derive(Debug, Clone, Copy)]
pub struct Outputs<'a> {
    /// The result as it is.
    pub y: &'a Tensor,
    /// Receives it rounded too, as [`tensor`] has it.
    pub rounded: Option<&'a Tensor>,
}

impl<'a> From<&'a Tensor> for Input<'a> {
    fn from(x: &'a Tensor) -> Self {
        Input { x, rounded: None }
    }
}

impl Input<'_> {
    /// What `weights` are multiplied with in the planner's tier: rounded activations where the step has them and
    /// the weights' groups do not cut a chunk.
    pub(crate) fn rounded_for(&self, planner: &Planner, weights: &Weights) -> Option<&Tensor> {
        self.rounded.filter(|_| is_read_in(planner.few_tier) && suits(weights))
    }
}

/// Whether products of few rows read rounded activations in `tier`.
pub(crate) fn is_read_in(tier: Tier) -> bool {
    tier >= Tier::Dot
}

/// Whether kernels can multiply `weights` by rounded activations, which then are worth making.
pub(crate) fn suits(weights: &Weights) -> bool {
    weights.has_whole_chunks()
}

/// Words of a row of `width` activations.
pub(crate) fn row_words(width: usize) -> usize {
    width.div_ceil(CHUNK) * CHUNK_WORDS
}

/// Rounded activations of `rows` rows of `width`: blocks beyond a row's end stay zero.
///
/// # Errors
/// [`crate::Error::Memory`] where there is no room.
pub fn tensor(gpu: &Gpu, label: &str, rows: usize, width: usize) -> Result<Tensor> {
    Tensor::compact(gpu, label, rows, row_words(width))
}

crate::kernels::params! {
    /// `shaders/rounding/int8_by_16.wgsl`.
    pub struct Params {
        stride: u32,
        blocks: u32,
        chunks: u32,
    }
}

/// Plans the rounding of `x` by itself, where no kernel that makes it can do that.
///
/// # Errors
/// [`crate::Error::Memory`] where parameters do not fit.
pub fn plan(planner: &Planner, label: &str, x: &Tensor, rounded: &Tensor) -> Result<Planned> {
    let (blocks, chunks) = (x.width.div_ceil(BLOCK), x.width.div_ceil(CHUNK));
    assert!(rounded.width == chunks * CHUNK_WORDS && x.stride.is_multiple_of(CHUNK), "{label}: shapes");
    let params = Params { stride: word(x.stride), blocks: word(blocks), chunks: word(chunks) };
    let buffers = vec![("x", x.into()), ("rounded", rounded.into())];
    planner.plan(label, planner.key("int8_by_16", Vec::new()), &params, buffers, Grid::per_row(blocks.div_ceil(64)))
}

/// The key of a norm's shader, whose first outputs are also rounded where there are tensors for that; adds these to its
/// buffers.
pub(crate) fn outputs(
    stem: &'static str,
    constants: Constants,
    buffers: &mut NamedBuffers,
    rounded: [Option<&Tensor>; 2],
) -> PipelineKey {
    let variant = match rounded {
        [None, _] => "",
        [Some(only), None] => {
            buffers.push(("rounded", only.into()));
            "rounded"
        }
        [Some(first), Some(second)] => {
            buffers.extend([("rounded0", first.into()), ("rounded1", second.into())]);
            "rounded twice"
        }
    };
    PipelineKey { stem, variant, constants }
}
