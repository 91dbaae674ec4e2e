//! `attention_matrix.wgsl`: attention of many rows by cooperative matrices.

use super::heads::{Heads, KvPair, KvSource};
use super::kv;
use crate::Result;
use crate::gpu::{Grid, PipelineKey, Tensor};
use crate::kernels::{KvDtype, NamedBuffers, Planned, Planner, word};

crate::kernels::params! {
    /// `shaders/attention/attention_matrix.wgsl`.
    pub struct Params {
        n_heads: u32,
        heads_per_kv: u32,
        first_head: u32,
        window: u32,
        capacity: u32,
        q_lines: u32,
        out_stride: u32,
        kv_stride: u32,
    }
}

/// The step's rows, their queries, and what attention makes of them.
#[derive(Debug, Clone, Copy)]
pub struct Buffers<'a> {
    /// Normed and rotated, as [`super::attention_tile::queries`] says.
    pub q: &'a Tensor,
    /// `[rows, heads * head_dim]`.
    pub out: &'a Tensor,
    /// The step's rows.
    pub rows: &'a Tensor,
    /// `[1, 1]`: how many rows the step has.
    pub row_count: &'a Tensor,
    /// Keys and values of this step's own rows, as the cache holds them; `None` where they are in the cache already.
    pub new: Option<KvPair<'a>>,
}

impl Buffers<'_> {
    /// By the names of both shaders of many rows.
    pub(crate) fn named(self, source: KvSource) -> NamedBuffers {
        // A binding must be filled also where nothing is read.
        let new = self.new.unwrap_or(source.cache);
        vec![
            ("q", self.q.into()),
            ("k_cache", source.cache.k.into()),
            ("v_cache", source.cache.v.into()),
            ("k_new", new.k.into()),
            ("v_new", new.v.into()),
            ("rows", self.rows.into()),
            ("row_count", self.row_count.into()),
            ("out", self.out.into()),
        ]
    }
}

/// Subgroups that a workgroup's matrices are made for, as in the shader.
const SUBGROUPS: u32 = 8;

/// What a workgroup works on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Rows of the matrices.
    pub side: u32,
    /// Rows of the step times query heads of a KV head.
    pub lines: usize,
    /// Lanes of a workgroup.
    lanes: u32,
}

/// What a workgroup works on, where planner, heads and cache are such that the shader serves them.
pub(crate) fn shape(planner: &Planner, heads: Heads, dtype: KvDtype) -> Option<Shape> {
    let (side, lanes) = (planner.matrix_side()?, planner.gpu.subgroup_lanes());
    // Smaller subgroups would leave a lane more octets and scores than it has room for.
    if lanes < if side == 16 { 32 } else { 8 } {
        return None;
    }
    let whole = side as usize;
    let lines = match heads.head_dim {
        d if d == 16 * whole => 4 * whole,
        d if d == 32 * whole => 2 * whole,
        _ => return None,
    };
    // Who keeps keys and values in f32 does not want them rounded here.
    let fits = dtype != KvDtype::F32 && lines.is_multiple_of(heads.heads_per_kv);
    fits.then_some(Shape { side, lines, lanes: SUBGROUPS * lanes })
}

/// Plans attention of all query heads; queries stand in squares, with room for `q_rows` rows.
pub(crate) fn plan(
    planner: &Planner,
    label: &str,
    heads: Heads,
    b: Buffers,
    q_rows: usize,
    source: KvSource,
) -> Result<Planned> {
    let Shape { side, lines, lanes } = shape(planner, heads, source.dtype).expect("asked before");
    let params = Params {
        n_heads: word(heads.n_heads),
        heads_per_kv: word(heads.heads_per_kv),
        first_head: word(heads.first_head),
        window: source.window.map_or(u32::MAX, word),
        capacity: word(source.capacity),
        q_lines: word(q_rows * heads.heads_per_kv),
        out_stride: word(b.out.stride),
        kv_stride: kv::row_quads(source.cache.k.stride),
    };
    let mut constants = source.dtype.constants(heads.head_dim);
    constants.extend([
        ("FROM_CACHE", u32::from(b.new.is_none())),
        ("LINES", word(lines)),
        ("MATRIX_LANES", lanes),
        ("AHEAD", u32::from(planner.tuning.attention_many.matrices_ahead)),
    ]);
    let grid = Grid { rows_per_group: word(lines / heads.heads_per_kv), ..Grid::per_row(heads.n_kv_heads) };
    let variant = if side == 16 { "matrix16" } else { "matrix8" };
    planner.plan(label, PipelineKey { stem: "attention_matrix", variant, constants }, &params, b.named(source), grid)
}
