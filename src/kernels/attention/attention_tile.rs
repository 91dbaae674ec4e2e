//! `attention_tile.wgsl`: attention of many rows, a tile of them at a time.

use super::heads::{Heads, KvPair, KvSource};
use super::{attention_matrix, kv};
use crate::Result;
use crate::gpu::{Grid, Tensor};
use crate::kernels::{KvDtype, Planned, Planner, word};

pub use super::attention_matrix::Buffers;

crate::kernels::params! {
    /// `shaders/attention/attention_tile.wgsl`.
    pub struct Params {
        n_heads: u32,
        heads_per_kv: u32,
        first_head: u32,
        window: u32,
        capacity: u32,
        q_stride: u32,
        kv_stride: u32,
    }
}

/// vec4 of a head that stand in workgroup memory at a time, as in the shader.
const STEP: usize = 8;

/// How the queries of a step of many rows stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queries {
    /// `[rows, heads * head_dim]` of f32.
    Rows,
    /// f16 for cooperative matrices: each KV head's lines, which are its query heads row by row, cut into squares of `side`
    /// lines and dimensions.
    Squares {
        /// Lines and dimensions of a square.
        side: u32,
        /// Rows that there is room for: whole tiles.
        rows: usize,
    },
}

/// How attention wants its queries in `q`, which has room for `[rows, heads * head_dim]` of f32, for a cache of `dtype`.
pub fn queries(planner: &Planner, heads: Heads, q: &Tensor, dtype: KvDtype) -> Queries {
    let Some(shape) = attention_matrix::shape(planner, heads, dtype) else { return Queries::Rows };
    let rows = q.rows.next_multiple_of(shape.lines / heads.heads_per_kv);
    let halves = heads.n_kv_heads * rows * heads.heads_per_kv * heads.head_dim;
    // A rank's heads may be few of the groups that they belong to.
    if halves <= 2 * q.rows * q.stride { Queries::Squares { side: shape.side, rows } } else { Queries::Rows }
}

/// Plans attention of all query heads for a step of many rows.
///
/// # Errors
/// [`crate::Error::Memory`] where parameters do not fit.
pub fn plan(planner: &Planner, label: &str, heads: Heads, b: Buffers, source: KvSource) -> Result<Planned> {
    let Heads { n_heads, heads_per_kv, first_head, head_dim, n_kv_heads, .. } = heads;
    heads.check(label);
    assert!(b.q.stride == b.out.stride, "{label}: strides");
    source.check(label, heads);
    let new_fits = |new: KvPair| [new.k, new.v].iter().all(|t| t.stride == source.cache.k.stride);
    assert!(b.new.is_none_or(new_fits), "{label}: strides of new rows");
    if let Queries::Squares { rows, .. } = queries(planner, heads, b.q, source.dtype) {
        return attention_matrix::plan(planner, label, heads, b, rows, source);
    }
    let octets = kv::head_octets(head_dim);
    let tuning = planner.tuning.attention_many;
    let lines = tuning.lines(octets);
    let (keys, lane_keys) = tuning.keys(lines);
    let parts = heads_per_kv.div_ceil(lines);
    let heads_here = heads_per_kv.div_ceil(parts);
    let params = Params {
        n_heads: word(n_heads),
        heads_per_kv: word(heads_per_kv),
        first_head: word(first_head),
        window: source.window.map_or(u32::MAX, word),
        capacity: word(source.capacity),
        q_stride: word(b.q.stride),
        kv_stride: kv::row_quads(source.cache.k.stride),
    };
    let mut constants = source.dtype.constants(head_dim);
    constants.extend([
        ("FROM_CACHE", u32::from(b.new.is_none())),
        ("HEADS", word(heads_here)),
        ("LINES", word(lines)),
        ("LANE_LINES", word(tuning.lane_lines)),
        ("KEYS", word(keys)),
        ("LANE_KEYS", lane_keys),
        ("STAGE", word((STEP * (lines + 1 + keys + 1)).max(lines * keys / 4))),
        ("AHEAD", u32::from(tuning.ahead)),
    ]);
    let grid = Grid { rows_per_group: word(lines / heads_here), ..Grid::per_row(n_kv_heads * parts) };
    planner.plan(label, planner.key("attention_tile", constants), &params, b.named(source), grid)
}
