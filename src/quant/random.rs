//! Weights that say nothing: which bits of a word are random. Models without a checkpoint and checkpoints that are made up
//! have the same ones.

use super::dtype::Dtype;
use super::format::{Format, Grouped};

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

/// What the words of random weights are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RandomBits {
    /// Of weights or codes.
    pub data: Bits,
    /// Of scales; dense weights have none.
    pub scales: Bits,
}

impl RandomBits {
    /// Of a matrix of `format`: weights deviate from 0 by about `in_features^-0.5`.
    ///
    /// # Panics
    /// For a format with zero points, a table of groups or values of a table.
    pub fn of(format: &Format, in_features: usize) -> Self {
        // Numbers of a binade are 1.5 times its lower end; codes of -8 to 7 deviate from 0 by 4.6, of -128 to 127 by 74.
        let deviation = (in_features as f64).powf(-0.5);
        let exponent = |of: f64| (of / 1.5).log2().round() as i32;
        match *format {
            Format::Dense(dtype) => {
                RandomBits { data: Bits::binade(dtype, exponent(deviation), true), scales: Bits::ALL }
            }
            Format::Grouped(grouped) => {
                let symmetric = Grouped::symmetric(grouped.bits, grouped.group, grouped.scale);
                assert_eq!(grouped, symmetric, "random weights");
                let of_codes = 2f64.powi(grouped.bits as i32) / 12f64.sqrt();
                let scales = Bits::binade(grouped.scale, exponent(deviation / of_codes), false);
                RandomBits { data: Bits::ALL, scales }
            }
        }
    }
}
