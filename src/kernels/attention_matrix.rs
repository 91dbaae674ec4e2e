//! `attention_matrix.wgsl`: attention of many rows by cooperative matrices.

use super::attention::KvSource;
use super::attention_tile::Buffers;
use super::head_norm_rope::Heads;
use super::{Planned, Planner, kv, word};
use crate::Result;
use crate::gpu::Grid;

super::params! {
    /// `shaders/attention_matrix.wgsl`.
    pub struct Params {
        n_heads: u32,
        heads_per_kv: u32,
        first_head: u32,
        window: u32,
        capacity: u32,
        q_rows: u32,
        out_stride: u32,
        kv_stride: u32,
    }
}

/// Rows of the matrices, and lanes of the subgroups that multiply them, as in the shader.
const SIDE: u32 = 16;
const SUBGROUP_LANES: u32 = 32;

/// Rows times heads of a workgroup, where planner and heads are such that this shader serves them.
pub(super) fn lines(planner: &Planner, heads: Heads) -> Option<usize> {
    // Results on NVIDIA are not right yet: NaN.
    const IS_RIGHT: bool = false;
    let fits = IS_RIGHT && planner.matrix_side() == Some(SIDE) && planner.gpu.subgroup_lanes() == SUBGROUP_LANES;
    let lines = match heads.head_dim {
        256 => 64,
        512 => 32,
        _ => return None,
    };
    (fits && heads.heads_per_kv <= lines).then_some(lines)
}

/// Plans attention of all query heads; queries have room for `q_rows` rows.
pub(super) fn plan(
    planner: &Planner,
    label: &str,
    heads: Heads,
    (b, q_rows): (Buffers, usize),
    source: KvSource,
) -> Result<Planned> {
    let lines = lines(planner, heads).expect("asked before");
    let params = Params {
        n_heads: word(heads.n_heads),
        heads_per_kv: word(heads.heads_per_kv),
        first_head: word(heads.first_head),
        window: source.window.map_or(u32::MAX, word),
        capacity: word(source.capacity),
        q_rows: word(q_rows),
        out_stride: word(b.out.stride),
        kv_stride: kv::row_quads(source.cache.0.stride),
    };
    let mut constants = source.dtype.constants(heads.head_dim);
    constants.extend([
        ("FROM_CACHE", u32::from(b.new.is_none())),
        ("HEADS", word(heads.heads_per_kv)),
        ("LINES", word(lines)),
    ]);
    let new = b.new.unwrap_or(source.cache);
    let buffers = vec![
        (1, b.q.into()),
        (2, source.cache.0.into()),
        (3, source.cache.1.into()),
        (4, new.0.into()),
        (5, new.1.into()),
        (6, b.rows.into()),
        (7, b.row_count.into()),
        (8, b.out.into()),
    ];
    let grid = Grid { rows_per_group: word(lines / heads.heads_per_kv), ..Grid::per_row(heads.n_kv_heads) };
    let key = crate::gpu::PipelineKey { stem: "attention_matrix", variant: "matrix16", constants };
    planner.plan(label, key, &params, buffers, grid)
}
