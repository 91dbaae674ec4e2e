//! Precisions of stored numbers.

use half::{bf16, f16};

/// How a number is stored, in a file as on the GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dtype {
    /// IEEE binary16.
    F16,
    /// The upper half of an IEEE binary32.
    BF16,
    /// IEEE binary32.
    F32,
}

impl Dtype {
    /// The name in a word: `bf16`.
    pub fn label(self) -> &'static str {
        match self {
            Dtype::F16 => "f16",
            Dtype::BF16 => "bf16",
            Dtype::F32 => "f32",
        }
    }

    /// Bytes of one number.
    pub fn size_bytes(self) -> usize {
        match self {
            Dtype::F16 | Dtype::BF16 => 2,
            Dtype::F32 => 4,
        }
    }

    /// Words (u32) that hold `count` numbers; the last may be half used. More than can be counted are as many as can be.
    pub fn words(self, count: usize) -> usize {
        count.saturating_mul(self.size_bytes()).div_ceil(4)
    }

    /// Number `index` of a packed row of words, two 16-bit numbers a word, low half first.
    pub(crate) fn read(self, words: &[u32], index: usize) -> f32 {
        match self {
            Dtype::F32 => f32::from_bits(words[index]),
            Dtype::F16 => f16::from_bits(half_word(words, index)).to_f32(),
            Dtype::BF16 => bf16::from_bits(half_word(words, index)).to_f32(),
        }
    }
}

fn half_word(words: &[u32], index: usize) -> u16 {
    (words[index / 2] >> (16 * (index % 2))) as u16
}
