//! `attention_join.wgsl`: the shares of a row's positions become its result.

use super::heads::{Heads, Shares};
use crate::Result;
use crate::gpu::{Grid, Tensor};
use crate::kernels::rounding::int8_by_16::Outputs;
use crate::kernels::{Planned, Planner, word};

crate::kernels::params! {
    /// `shaders/attention/attention_join.wgsl`.
    pub struct Params {
        n_heads: u32,
        window: u32,
        q_stride: u32,
    }
}

/// Lanes of a workgroup, and vec4 that it makes, as in the shader.
const THREADS: u32 = 64;
const COLUMNS: usize = 8;

/// Whether each workgroup has a chunk of what is rounded.
pub(crate) fn can_round(head_dim: usize) -> bool {
    head_dim.is_multiple_of(4 * COLUMNS)
}

/// Plans the sum of what [`super::attention`] has made of `shares`, into `out`, and rounded too.
pub(crate) fn plan(
    planner: &Planner,
    label: &str,
    heads: Heads,
    rows: &Tensor,
    to: Outputs,
    shares: Shares,
) -> Result<Planned> {
    let Outputs { y: out, rounded } = to;
    let params = Params { n_heads: word(heads.n_heads), window: shares.window, q_stride: word(out.stride) };
    let constants = vec![
        ("BLOCK", planner.tuning.attention_few.block),
        ("HEAD_DIM", word(heads.head_dim)),
        ("SPLITS", word(shares.count)),
        ("THREADS", THREADS),
    ];
    let chunks = (heads.head_dim / 4).div_ceil(COLUMNS);
    let mut buffers = vec![("shares", shares.tensor.into()), ("rows", rows.into()), ("out", out.into())];
    let mut key = planner.key("attention_join", constants);
    if let Some(rounded) = rounded {
        assert!(can_round(heads.head_dim), "{label}: chunks of a head");
        key.variant = "rounded";
        buffers.push(("rounded", rounded.into()));
    }
    planner.plan(&format!("{label}_join"), key, &params, buffers, Grid::per_row(heads.n_heads * chunks))
}
