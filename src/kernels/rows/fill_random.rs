//! `fill_random.wgsl`: `words[i] = (hash(seed + i) & keep) | base`, weights that no file holds.

use crate::Result;
use crate::kernels::{Planned, Planner, flat_grid, word};
pub use crate::quant::random::Bits;

crate::kernels::params! {
    /// `shaders/rows/fill_random.wgsl`.
    pub struct Params {
        n_words: u32,
        seed: u32,
        keep: u32,
        base: u32,
    }
}

/// Plans the filling of all of `buffer`.
///
/// # Errors
/// [`crate::Error::Memory`] where parameters do not fit.
pub fn plan(planner: &Planner, label: &str, buffer: &wgpu::Buffer, seed: u32, bits: Bits) -> Result<Planned> {
    let n_words = (buffer.size() / 4) as usize;
    let params = Params { n_words: word(n_words), seed, keep: bits.keep, base: bits.base };
    let key = planner.key("fill_random", vec![]);
    planner.plan(label, key, &params, vec![("words", buffer.into())], flat_grid(planner, n_words))
}
