//! `sample.wgsl`: a token of each row, drawn by temperature, top-k and top-p.

use super::strip_max;
use crate::Result;
use crate::gpu::{Grid, Tensor};
use crate::kernels::{Planned, Planner, word};

pub use super::strip_max::Params;

/// The largest `top_k`: what a workgroup has room for.
pub const MAX_TOP_K: usize = 128;

/// How one row's token is drawn; `Draw` in the shader.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Draw {
    /// Only the so many largest logits stay: 1 to 128.
    pub top_k: u32,
    /// Of those, the fewest whose probabilities reach it together stay; 1 keeps all.
    pub top_p: f32,
    /// Multiplies the logits; finite.
    pub inverse_temperature: f32,
    /// From 0 to 1: which of the rest, by their summed probabilities.
    pub random: f32,
}

impl Draw {
    /// The largest logit, for a row beside rows that are drawn.
    pub const GREEDY: Draw = Draw { top_k: 1, top_p: 1.0, inverse_temperature: 1.0, random: 0.0 };
}

/// Name and byte offset of each field of [`Draw`].
pub const DRAW_FIELDS: &[(&str, usize)] = &[
    ("top_k", std::mem::offset_of!(Draw, top_k)),
    ("top_p", std::mem::offset_of!(Draw, top_p)),
    ("inverse_temperature", std::mem::offset_of!(Draw, inverse_temperature)),
    ("random", std::mem::offset_of!(Draw, random)),
];

/// Words of a row's [`Draw`].
pub const DRAW_WORDS: usize = size_of::<Draw>() / 4;

/// Plans the draws from `logits` and the maxima of its strips. Without padding are `maxima`, `[rows, strips]`, `draws`,
/// `[rows, DRAW_WORDS]`, and `ids`, `[rows, 1]`, which [`super::argmax::NOT_FINITE`] stands in where there is none.
///
/// # Errors
/// [`crate::Error::Memory`] where parameters do not fit.
pub fn plan(
    planner: &Planner,
    label: &str,
    logits: &Tensor,
    maxima: &Tensor,
    draws: &Tensor,
    ids: &Tensor,
) -> Result<Planned> {
    let strips = strip_max::strips(logits.width);
    assert!(maxima.stride == strips && draws.stride == DRAW_WORDS && ids.stride == 1, "{label}: strides");
    let place_bits = (strips * strip_max::STRIP - 1).ilog2() + 1;
    assert!(place_bits < 32, "{label}: a search has 64 rounds at most");
    let norms = planner.tuning.norms;
    let constants = vec![
        ("THREADS", norms.threads.max(2)),
        ("STRIPS", word(strips)),
        ("PLACE_BITS", place_bits),
        ("ROLLED", u32::from(norms.rolled)),
    ];
    let buffers =
        vec![("logits", logits.into()), ("maxima", maxima.into()), ("draws", draws.into()), ("ids", ids.into())];
    planner.plan(label, planner.key("sample", constants), &strip_max::params(logits), buffers, Grid::per_row(1))
}
