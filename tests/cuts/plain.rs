//! A quantized matrix, an element an entry, and the tensors that each format makes of it. Nothing here goes through the
//! code under test.

use half::{bf16, f16};
use lapidary::quant::{Dtype, Grouped, PackedMatrix};
use lapidary::testing::quant::gptq::{self, ZeroPoints};
use lapidary::testing::quant::{awq, compressed_tensors};

use crate::common::random::Random;

/// The sources of a quantized matrix.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Format {
    GptqV1,
    GptqV2,
    Awq,
    Compressed,
}

impl Format {
    /// What the input and the output features must be multiples of.
    pub(crate) fn unit(self, bits: u32) -> usize {
        match self {
            Format::Compressed => 1,
            _ => 32 / bits as usize,
        }
    }
}

/// Which group an input feature is in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Order {
    /// One after the other; no `g_idx` in the file.
    Sequential,
    /// One after the other, and a `g_idx` that says so.
    SequentialTable,
    /// Act-order: full groups, scattered.
    Permuted,
    /// Any map that has each group at least once.
    Arbitrary,
}

/// What to make.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spec {
    pub(crate) format: Format,
    pub(crate) bits: u32,
    /// Output features.
    pub(crate) n: usize,
    /// Input features.
    pub(crate) k: usize,
    pub(crate) group_size: usize,
    pub(crate) order: Order,
    pub(crate) scale_dtype: Dtype,
    pub(crate) asymmetric: bool,
    pub(crate) seed: u64,
}

/// A quantized matrix.
#[derive(Debug, Clone)]
pub(crate) struct Plain {
    pub(crate) spec: Spec,
    pub(crate) groups: usize,
    /// `[k]`
    pub(crate) group: Vec<usize>,
    /// `[n, k]`
    codes: Vec<u32>,
    /// `[n, groups]`
    zeros: Vec<u32>,
    /// Bits of each scale, `[n, groups]`.
    scales: Vec<u32>,
}

impl Plain {
    pub(crate) fn random(spec: Spec) -> Self {
        let Spec { bits, n, k, group_size, scale_dtype, .. } = spec;
        let mut random = Random::new(spec.seed);
        let groups = k.div_ceil(group_size);
        let sequential = |k: usize| k / group_size;
        let group = match spec.order {
            Order::Sequential | Order::SequentialTable => (0..k).map(sequential).collect(),
            Order::Permuted => random.permutation(k).into_iter().map(sequential).collect(),
            Order::Arbitrary => {
                let places = random.permutation(k);
                let mut group: Vec<usize> = (0..k).map(|_| random.below(groups)).collect();
                (0..groups).for_each(|g| group[places[g]] = g);
                group
            }
        };
        let codes = (0..n * k).map(|_| random.below(1 << bits) as u32).collect();
        let zeros = (0..n * groups).map(|_| match spec.asymmetric {
            true => random.below(1 << bits) as u32,
            false => 1 << (bits - 1),
        });
        let zeros = zeros.collect();
        let scales = (0..n * groups).map(|_| scale(&mut random, scale_dtype)).collect();
        Plain { spec, groups, group, codes, zeros, scales }
    }

    /// Element `[n, k]`: the formula of every format.
    pub(crate) fn value(&self, n: usize, k: usize) -> f32 {
        let at = n * self.groups + self.group[k];
        let difference = self.codes[n * self.spec.k + k] as i32 - self.zeros[at] as i32;
        number(self.spec.scale_dtype, self.scales[at]) * difference as f32
    }

    /// Whether all zero points are in the middle.
    pub(crate) fn is_symmetric(&self) -> bool {
        self.zeros.iter().all(|&zero| zero == 1 << (self.spec.bits - 1))
    }

    /// The output features `rows`, from the tensors of the format.
    pub(crate) fn read(&self, rows: std::ops::Range<usize>) -> PackedMatrix {
        let Spec { format, bits, n, k, group_size, scale_dtype, .. } = self.spec;
        let (groups, per_word) = (self.groups, 32 / bits as usize);
        let zero_points = if format == Format::GptqV1 { ZeroPoints::MinusOne } else { ZeroPoints::AsStored };
        let grouped = Grouped::symmetric(bits, group_size, scale_dtype);
        let table: Vec<u32> = self.group.iter().map(|&g| g as u32).collect();
        let g_idx = (self.spec.order != Order::Sequential).then_some(table.as_slice());
        let zeros = transposed(&self.zeros, groups);
        if format == Format::Compressed {
            // What a word holds beyond the last input feature is anything.
            let mut codes = Random::new(self.spec.seed ^ 1);
            let padded = k.next_multiple_of(per_word);
            let line = |n: usize| self.codes[n * k..(n + 1) * k].iter().copied();
            let mut filled =
                |n: usize| line(n).chain((k..padded).map(|_| codes.below(1 << bits) as u32)).collect::<Vec<u32>>();
            let packed: Vec<u32> = rows.clone().flat_map(|n| pack(&filled(n), padded, bits)).collect();
            let scales = joined(scale_dtype, &self.scales[rows.start * groups..rows.end * groups]);
            // [ceil(n / F), groups]: packed along the output features.
            let zero_points = transposed(&pack(&zeros, n, bits), n.div_ceil(per_word));
            // Symmetric files have none; some write them all the same.
            let is_there = self.spec.asymmetric || self.spec.seed.is_multiple_of(2);
            let zero_points = is_there.then_some(zero_points.as_slice());
            let (in_features, out_features, packed, scales) = (k, n, &packed[..], &scales[..]);
            let raw = compressed_tensors::Raw {
                format: grouped,
                in_features,
                out_features,
                packed,
                scales,
                zero_points,
                g_idx,
            };
            return compressed_tensors::pack(&raw, rows);
        }
        let scales = joined(scale_dtype, &transposed(&self.scales, groups));
        let codes = transposed(&self.codes, k);
        let (qweight, qzeros) = match format {
            Format::Awq => {
                let (codes, zeros) = (pack(&interleaved(&codes), n, 4), pack(&interleaved(&zeros), n, 4));
                (awq::repack_codes(&codes, n), awq::repack_zeros(&zeros))
            }
            _ => {
                // Fields along the input features: word (r, n) has features F r + i.
                let qweight = transposed(&pack(&self.codes, k, bits), k / per_word);
                let one = if format == Format::GptqV1 { u32::MAX / ((1 << bits) - 1) } else { 0 };
                // Minus one in each field, with borrows, as GPTQModel has it.
                (qweight, pack(&zeros, n, bits).into_iter().map(|word| word.wrapping_sub(one)).collect())
            }
        };
        let raw = gptq::Raw {
            format: grouped,
            in_features: k,
            out_features: n,
            zero_points,
            qweight: &qweight,
            qzeros: &qzeros,
            scales: &scales,
            g_idx,
        };
        gptq::pack(&raw, rows)
    }
}

/// Bits of a finite scale: of both signs, subnormal, zero, the largest, ordinary.
fn scale(random: &mut Random, dtype: Dtype) -> u32 {
    let sign = random.below(2) as u32;
    let (width, mantissa) = match dtype {
        Dtype::F16 => (16, 10),
        Dtype::BF16 => (16, 7),
        Dtype::F32 => (32, 23),
    };
    let infinity = (1 << (width - 1)) - (1 << mantissa);
    let magnitude = match random.below(8) {
        0 => random.below(1 << mantissa),
        1 => [0, 1, (1 << mantissa) - 1, 1 << mantissa, infinity - 1][random.below(5)],
        _ => random.below(infinity),
    };
    magnitude as u32 | sign << (width - 1)
}

/// The number that `bits` are.
pub(crate) fn number(dtype: Dtype, bits: u32) -> f32 {
    match dtype {
        Dtype::F16 => f16::from_bits(bits as u16).to_f32(),
        Dtype::BF16 => bf16::from_bits(bits as u16).to_f32(),
        Dtype::F32 => f32::from_bits(bits),
    }
}

/// Bits of `count` finite numbers.
pub(crate) fn numbers(random: &mut Random, dtype: Dtype, count: usize) -> Vec<u32> {
    (0..count).map(|_| scale(random, dtype)).collect()
}

/// 16-bit numbers two a word, without gaps.
fn joined(dtype: Dtype, bits: &[u32]) -> Vec<u32> {
    match dtype {
        Dtype::F32 => bits.to_vec(),
        _ => bits.chunks(2).map(|pair| pair[0] | pair.get(1).unwrap_or(&0) << 16).collect(),
    }
}

/// Fields of `bits`, a line of `width` after the other, each line from a new word on.
fn pack(values: &[u32], width: usize, bits: u32) -> Vec<u32> {
    let word = |fields: &[u32]| fields.iter().rev().fold(0u64, |word, &field| word << bits | u64::from(field)) as u32;
    values
        .chunks_exact(width)
        .flat_map(|line| line.chunks(32 / bits as usize).map(word).collect::<Vec<u32>>())
        .collect()
}

/// Columns as lines: `values` has lines of `width`.
fn transposed(values: &[u32], width: usize) -> Vec<u32> {
    (0..width).flat_map(|column| values.iter().skip(column).step_by(width).copied()).collect()
}

/// The order of AWQ: nibble i of a word is output feature 0, 2, 4, 6, 1, 3, 5, 7 of eight.
fn interleaved(values: &[u32]) -> Vec<u32> {
    values.chunks_exact(8).flat_map(|eight| [0, 2, 4, 6, 1, 3, 5, 7].map(|column| eight[column])).collect()
}
