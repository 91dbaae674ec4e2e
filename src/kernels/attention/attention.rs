//! `attention.wgsl`: softmax attention over a slot's visible positions, windowed or whole, for steps of few rows. Norms,
//! rotation and the way into the KV cache are part of it; [`super::head_norm_rope`] and [`super::attention_tile`] do the
//! same for steps of many rows.

use super::heads::{Heads, Inputs, Kv, Shares};
use super::{attention_join, kv};
use crate::Result;
use crate::gpu::{Grid, Kind, Tensor};
use crate::kernels::rounding::int8_by_16;
use crate::kernels::rounding::int8_by_16::Outputs;
use crate::kernels::tuning::AttentionFew;
use crate::kernels::{Planned, Planner, word};

pub use super::heads::KvSource;

crate::kernels::params! {
    /// `shaders/attention/attention.wgsl`.
    pub struct Params {
        n_heads: u32,
        heads_per_kv: u32,
        first_head: u32,
        first_v: u32,
        window: u32,
        capacity: u32,
        qkv_stride: u32,
        q_stride: u32,
        kv_stride: u32,
        rotated_pairs: u32,
        rotary_stride: u32,
        rotary_offset: u32,
        eps: f32,
    }
}

/// Lanes of a workgroup at least: each holds up to three units of its heads.
const MIN_THREADS: u32 = 128;

/// What attention makes.
#[derive(Debug, Clone, Copy)]
pub struct Buffers<'a> {
    /// `[rows, heads * head_dim]`.
    pub out: &'a Tensor,
    /// Receives it rounded too.
    pub rounded: Option<&'a Tensor>,
    /// Room for [`share_words`], where several workgroups are to share a row's positions.
    pub shares: Option<&'a Tensor>,
}

/// Words of the shares' results of a step of up to `rows` rows with any tuning that there is.
pub fn share_words(n_heads: usize, n_kv_heads: usize, head_dim: usize, rows: usize) -> usize {
    // A rank's heads may begin and end inside a group: then groups are larger than this, and shares fewer.
    let heads_per_kv = n_heads.div_ceil(n_kv_heads);
    let counts = Kind::ALL.map(|kind| AttentionFew::of(kind).n_shares(n_kv_heads, heads_per_kv));
    let count = counts.into_iter().max().expect("a kind at least");
    // Several rows divide the shares of one row among them, and have at least one each.
    count.max(rows) * n_heads * (head_dim + 4)
}

/// Plans attention of all query heads for a step of few rows, whose keys and values enter the cache.
///
/// # Errors
/// [`crate::Error::Memory`] where parameters do not fit.
pub fn plan(
    planner: &Planner,
    label: &str,
    heads: Heads,
    inputs: &Inputs,
    b: Buffers,
    source: KvSource,
) -> Result<Vec<Planned>> {
    let Heads { n_heads, n_kv_heads, heads_per_kv, first_head, head_dim, .. } = heads;
    let tuning = planner.tuning.attention_few;
    let block = tuning.block;
    heads.check(label);
    inputs.check(label, heads);
    source.check(label, heads);
    let octets = kv::head_octets(head_dim);
    let threads = if head_dim > 256 { tuning.wide_threads } else { tuning.threads };
    assert!(threads >= MIN_THREADS && threads.is_multiple_of(block), "{label}: lanes");
    let (heads_here, parts) = tuning.heads_here(heads_per_kv);
    // A window has no more shares than blocks.
    let blocks = source.window.map_or(usize::MAX, |window| window.div_ceil(block as usize));
    let count = tuning.n_shares(n_kv_heads, heads_per_kv).min(blocks);
    let shares = b.shares.filter(|_| count > 1).map(|tensor| {
        assert!(tensor.width >= count * n_heads * (head_dim + 4), "{label}: room for shares");
        Shares { count, window: source.window.map_or(u32::MAX, word), tensor }
    });
    let params = Params {
        n_heads: word(n_heads),
        heads_per_kv: word(heads_per_kv),
        first_head: word(first_head),
        first_v: word(inputs.first_v(heads)),
        window: source.window.map_or(u32::MAX, word),
        capacity: word(source.capacity),
        qkv_stride: word(inputs.qkv.stride),
        q_stride: word(b.out.stride),
        kv_stride: kv::row_quads(source.cache.k.stride),
        rotated_pairs: word(heads.rotated_pairs),
        rotary_stride: word(inputs.rotary.stride / 2),
        rotary_offset: word(heads.rotary_offset),
        eps: heads.eps,
    };
    // Queries stand in workgroup memory, behind them the step's keys and values and then parts of scores; at the end all
    // sums, and the stripes' maxima and totals.
    let lanes = threads as usize;
    let while_scoring = heads_here * 2 * octets + (4 * octets).max(lanes);
    let units = (heads_here + 2) * head_dim / 8;
    // Octets of a key that a lane reads ahead: all of its own, as far as there is room.
    let held = word(octets).div_ceil(threads / block).min(tuning.held);
    let areas = if lanes <= 128 { 2 } else { 1 };
    let quads = tuning.quads as usize;
    let stripes = lanes / (2 * octets / quads);
    assert!(stripes > 0, "{label}: lanes for a value");
    let at_the_end = quads * areas * lanes + 2 * stripes;
    let mut constants = source.dtype.constants(head_dim);
    constants.extend([
        ("STORES", u32::from(inputs.kv != Kv::Shared)),
        ("WHOLE", u32::from(shares.is_none())),
        ("HEADS", word(heads_here)),
        ("ROUNDS", word(units.div_ceil(lanes))),
        ("EARLY", u32::from(tuning.early)),
        ("HELD", held),
        ("AHEAD", u32::from(tuning.ahead)),
        ("VALUES", tuning.values),
        ("QUADS", tuning.quads),
        ("UNITS", word(units)),
        ("ROOM", word(while_scoring.max(at_the_end))),
        ("THREADS", threads),
        ("BLOCK", block),
        ("SPLITS", shares.map_or(1, |shares| word(shares.count))),
    ]);
    let buffers = vec![
        ("qkv", inputs.qkv.into()),
        ("norms", inputs.norms.into()),
        ("rotary", inputs.rotary.into()),
        ("rows", inputs.rows.into()),
        ("k_cache", source.cache.k.into()),
        ("v_cache", source.cache.v.into()),
        ("out", shares.map_or(b.out, |shares| shares.tensor).into()),
    ];
    let grid = Grid { z: shares.map_or(1, |shares| word(shares.count)), ..Grid::per_row(n_kv_heads * parts) };
    let mut planned = vec![planner.plan(label, planner.key("attention", constants), &params, buffers, grid)?];
    let joins_rounded = shares.is_some() && attention_join::can_round(head_dim);
    if let Some(shares) = shares {
        let out = Outputs { y: b.out, rounded: b.rounded.filter(|_| joins_rounded) };
        planned.push(attention_join::plan(planner, label, heads, inputs.rows, out, shares)?);
    }
    if let (Some(rounded), false) = (b.rounded, joins_rounded) {
        planned.push(int8_by_16::plan(planner, &format!("{label}_round"), b.out, rounded)?);
    }
    Ok(planned)
}
