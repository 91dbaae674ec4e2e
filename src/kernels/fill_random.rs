//! `fill_random.wgsl`: `words[i] = (hash(seed + i) & keep) | base`, weights that no file holds.

use super::{Planned, Planner, flat_grid, word};
use crate::Result;
use crate::quant::Dtype;

super::params! {
    /// `shaders/fill_random.wgsl`.
    pub struct Params {
        n_words: u32,
        seed: u32,
        keep: u32,
        base: u32,
    }
}

/// What random words are: which bits are random, and what the others are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bits {
    /// Random where set.
    pub keep: u32,
    /// The others.
    pub base: u32,
}

impl Bits {
    /// Whole words: codes.
    pub const ALL: Bits = Bits { keep: u32::MAX, base: 0 };

    /// Numbers of magnitude `2^exponent` to twice that, two to a word if they have 16 bits. `exponent` is brought into
    /// the range of normal numbers, so that all of them are finite.
    pub fn binade(dtype: Dtype, exponent: i32, signed: bool) -> Bits {
        let (mantissa_bits, exponent_bits) = match dtype {
            Dtype::F16 => (10, 5),
            Dtype::BF16 => (7, 8),
            Dtype::F32 => (23, 8),
        };
        let bias = (1 << (exponent_bits - 1)) - 1;
        let biased = (exponent + bias).clamp(1, 2 * bias) as u32;
        let width = 1 + exponent_bits + mantissa_bits;
        let (sign, mantissa) = (u32::from(signed) << (width - 1), (1 << mantissa_bits) - 1);
        let twice = |bits: u32| if width == 16 { bits << 16 | bits } else { bits };
        Bits { keep: twice(sign | mantissa), base: twice(biased << mantissa_bits) }
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
    planner.plan(label, key, &params, vec![(1, buffer.into())], flat_grid(planner, n_words))
}
