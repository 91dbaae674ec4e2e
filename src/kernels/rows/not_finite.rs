//! `not_finite.wgsl`: whether a buffer holds a NaN or an infinity, for finding the kernel that made it.

use crate::Result;
use crate::gpu::{Binding, Tensor};
use crate::kernels::{Planned, Planner, flat_grid, word};

crate::kernels::params! {
    /// `shaders/rows/not_finite.wgsl`.
    pub struct Params {
        n_words: u32,
        number: u32,
    }
}

/// Plans a look at all words of the buffer that `words` binds: word `number` of `flags` becomes 1 where one is not finite,
/// and stays where all are.
///
/// # Errors
/// [`crate::Error::Memory`] where parameters do not fit.
pub fn plan(planner: &Planner, label: &str, words: &Binding, flags: &Tensor, number: usize) -> Result<Planned> {
    assert!(number < flags.rows * flags.stride, "{label}: a flag");
    let n_words = (words.buffer().size() / 4) as usize;
    let params = Params { n_words: word(n_words), number: word(number) };
    let buffers = vec![("words", words.clone()), ("flags", flags.into())];
    planner.plan(label, planner.key("not_finite", vec![]), &params, buffers, flat_grid(planner, n_words))
}
