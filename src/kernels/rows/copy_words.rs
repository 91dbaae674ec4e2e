//! `copy_words.wgsl`: `y[i] = x[i]`, the yardstick for every kernel that reads memory.

use crate::Result;
use crate::kernels::{Planned, Planner, flat_grid, word};

crate::kernels::params! {
    /// `shaders/rows/copy_words.wgsl`.
    pub struct Params {
        n_quads: u32,
    }
}

/// Plans the copy of all of `x` to the beginning of `y`.
///
/// # Errors
/// [`crate::Error::Memory`] where parameters do not fit.
pub fn plan(planner: &Planner, label: &str, x: &wgpu::Buffer, y: &wgpu::Buffer) -> Result<Planned> {
    assert!(x.size() <= y.size() && x.size().is_multiple_of(16), "{label}: sizes of the buffers");
    let n_quads = (x.size() / 16) as usize;
    let key = planner.key("copy_words", vec![]);
    let buffers = vec![("x", x.into()), ("y", y.into())];
    planner.plan(label, key, &Params { n_quads: word(n_quads) }, buffers, flat_grid(planner, n_quads))
}
