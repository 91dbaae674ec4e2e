//! Random weight matrices, kept unpacked beside the layout that kernels read: the value of each element is known without
//! the code under test.

use std::ops::Range;

use half::{bf16, f16};
use lapidary::quant::{CHUNK, DenseMatrix, Dtype, GroupIndex, PackedMatrix, RowShard, ShardGroups};

use super::random::Random;

pub(crate) const DTYPES: [Dtype; 3] = [Dtype::F16, Dtype::BF16, Dtype::F32];

/// The nearest value that `dtype` holds.
pub(crate) fn round(dtype: Dtype, value: f32) -> f32 {
    match dtype {
        Dtype::F16 => f16::from_f32(value).to_f32(),
        Dtype::BF16 => bf16::from_f32(value).to_f32(),
        Dtype::F32 => value,
    }
}

fn bits(dtype: Dtype, value: f32) -> u32 {
    match dtype {
        Dtype::F16 => f16::from_f32(value).to_bits().into(),
        Dtype::BF16 => bf16::from_f32(value).to_bits().into(),
        Dtype::F32 => value.to_bits(),
    }
}

/// `values` as little-endian file bytes.
pub(crate) fn file_bytes(dtype: Dtype, values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|&v| bits(dtype, v).to_le_bytes()[..dtype.size_bytes()].to_vec()).collect()
}

/// A dense matrix whose values include zeros, subnormal f16 and the largest f16.
pub(crate) fn dense(random: &mut Random, out_features: usize, in_features: usize, dtype: Dtype) -> DenseMatrix {
    let values: Vec<f32> = (0..out_features * in_features)
        .map(|_| match random.below(64) {
            0 => 0.0,
            1 => -1e-5,
            2 => 5.960_464_5e-8,
            3 => 65504.0 * random.uniform().signum(),
            _ => random.normal(),
        })
        .collect();
    DenseMatrix::from_bytes(out_features, in_features, dtype, &file_bytes(dtype, &values))
}

/// Scales that matter: ordinary ones of both signs, the smallest of AutoRound (subnormal in f16), the ends of f16, zero.
pub(crate) const EDGE_SCALES: [f32; 8] = [1e-5, -1e-5, 5.960_464_5e-8, 65504.0, -65504.0, 0.0, 6.103_515_6e-5, -1.0];

/// Which scales a matrix has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scales {
    /// 0.01 to 0.03, both signs.
    Ordinary,
    /// Ordinary, and one in four of [`EDGE_SCALES`].
    Edges,
}

/// Which group an input row belongs to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Order {
    Sequential,
    /// Act-order: `g_idx` in random order.
    Shuffled,
}

/// What to build.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spec {
    /// Of a code: 4 or 8.
    pub(crate) bits: u32,
    pub(crate) out_features: usize,
    pub(crate) in_features: usize,
    pub(crate) group_size: usize,
    pub(crate) order: Order,
    pub(crate) scale_dtype: Dtype,
    pub(crate) asymmetric: bool,
    pub(crate) scales: Scales,
}

impl Spec {
    /// 4 bits, symmetric, sequential, f16 scales with edge values.
    pub(crate) fn new(out_features: usize, in_features: usize, group_size: usize) -> Self {
        Spec {
            bits: 4,
            out_features,
            in_features,
            group_size,
            order: Order::Sequential,
            scale_dtype: Dtype::F16,
            asymmetric: false,
            scales: Scales::Edges,
        }
    }
}

/// A quantized matrix, an element an entry.
#[derive(Debug, Clone)]
pub(crate) struct Unpacked {
    pub(crate) spec: Spec,
    pub(crate) codes: Vec<u32>,
    pub(crate) scales: Vec<f32>,
    pub(crate) zeros: Vec<u32>,
    /// Group of each input row.
    pub(crate) group: Vec<usize>,
    pub(crate) groups: usize,
}

impl Unpacked {
    pub(crate) fn random(random: &mut Random, spec: Spec) -> Self {
        let groups = spec.in_features.div_ceil(spec.group_size);
        let mut group: Vec<usize> = (0..spec.in_features).map(|k| k / spec.group_size).collect();
        if spec.order == Order::Shuffled {
            group = random.permutation(spec.in_features).into_iter().map(|k| group[k]).collect();
        }
        let scale = |random: &mut Random| match spec.scales {
            Scales::Edges if random.below(4) == 0 => EDGE_SCALES[random.below(EDGE_SCALES.len())],
            _ => (0.02 + 0.01 * random.uniform()) * random.uniform().signum(),
        };
        let n_scales = spec.out_features * groups;
        let scales = (0..n_scales).map(|_| round(spec.scale_dtype, scale(random))).collect();
        let codes_end = 1 << spec.bits;
        let zeros = (0..n_scales).map(|_| match spec.asymmetric {
            true => random.below(codes_end) as u32,
            false => 1 << (spec.bits - 1),
        });
        let zeros = zeros.collect();
        let codes = (0..spec.out_features * spec.in_features).map(|_| random.below(codes_end) as u32).collect();
        Unpacked { spec, codes, scales, zeros, group, groups }
    }

    /// Element `[n, k]`: one rounding.
    pub(crate) fn value(&self, n: usize, k: usize) -> f32 {
        let at = n * self.groups + self.group[k];
        self.scales[at] * (self.codes[n * self.spec.in_features + k] as f32 - self.zeros[at] as f32)
    }

    /// The whole matrix as kernels read it.
    pub(crate) fn pack(&self) -> PackedMatrix {
        let RowShard { out_features, in_features, bits, codes, groups, scale_dtype, scales, zeros, group_index } =
            self.shard(0..self.spec.in_features);
        let group_index = group_index.index;
        PackedMatrix { out_features, in_features, bits, codes, groups, scale_dtype, scales, zeros, group_index }
    }

    /// The input rows `rows` as kernels read them, with the groups that they touch and no others.
    pub(crate) fn shard(&self, rows: Range<usize>) -> RowShard {
        let touched = || self.group[rows.clone()].iter().copied();
        let (first, last) = (touched().min().expect("rows"), touched().max().expect("rows"));
        let (groups, in_features) = (last - first + 1, rows.len());
        let (out_features, dtype) = (self.spec.out_features, self.spec.scale_dtype);
        let (bits_of_code, per_code_word) = (self.spec.bits as usize, 32 / self.spec.bits as usize);
        let code_words = in_features.next_multiple_of(CHUNK) / per_code_word;
        let zero_words = groups.div_ceil(per_code_word);
        let per_word = 4 / dtype.size_bytes();
        let scale_words = groups.div_ceil(per_word);
        let mut codes = vec![0u32; out_features * code_words];
        let mut scales = vec![0u32; out_features * scale_words];
        let mut zeros = vec![0u32; out_features * zero_words];
        for n in 0..out_features {
            for (i, k) in rows.clone().enumerate() {
                let code = self.codes[n * self.spec.in_features + k];
                codes[n * code_words + i / per_code_word] |= code << (bits_of_code * (i % per_code_word));
            }
            for g in 0..groups {
                let at = n * self.groups + first + g;
                scales[n * scale_words + g / per_word] |= bits(dtype, self.scales[at]) << (16 * (g % per_word));
                zeros[n * zero_words + g / per_code_word] |= self.zeros[at] << (bits_of_code * (g % per_code_word));
            }
        }
        let index = match self.spec.order {
            Order::Sequential => GroupIndex::Sequential { group_size: self.spec.group_size },
            Order::Shuffled => GroupIndex::PerRow(touched().map(|g| g as u32).collect()),
        };
        let group_index = ShardGroups { first_row: rows.start, first_group: first, index };
        PackedMatrix {
            out_features,
            in_features,
            bits: self.spec.bits,
            codes,
            groups,
            scale_dtype: dtype,
            scales,
            zeros: self.spec.asymmetric.then_some(zeros),
            group_index,
        }
    }
}
