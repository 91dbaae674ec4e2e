//! Random weight matrices, kept unpacked beside the layout that kernels read: the value of each element is known without
//! the code under test.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::quant::{self, CHUNK, DenseMatrix, Dtype, GroupIndex, Grouped, PackedMatrix, RowShard, ShardGroups, Shift};
use half::{bf16, f16};

use super::random::Random;

/// Precisions of dense weights and of scales.
pub const DTYPES: [Dtype; 3] = [Dtype::F16, Dtype::BF16, Dtype::F32];

/// The nearest value that `dtype` holds.
pub fn round(dtype: Dtype, value: f32) -> f32 {
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
pub fn file_bytes(dtype: Dtype, values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|&v| bits(dtype, v).to_le_bytes()[..dtype.size_bytes()].to_vec()).collect()
}

/// A dense matrix whose values include zeros, subnormal f16 and the largest f16.
pub fn dense(random: &mut Random, out_features: usize, in_features: usize, dtype: Dtype) -> DenseMatrix {
    let values: Vec<f32> = (0..out_features * in_features)
        .map(|_| match random.below(64) {
            0 => 0.0,
            1 => -1e-5,
            2 => 5.960_464_5e-8,
            3 => 65504.0 * random.uniform().signum(),
            _ => random.normal(),
        })
        .collect();
    let bytes = file_bytes(dtype, &values);
    DenseMatrix::from_bytes(out_features, in_features, dtype, &bytes).expect("as many bytes as values have")
}

/// Scales that matter: ordinary ones of both signs, the smallest of AutoRound (subnormal in f16), the ends of f16, zero.
pub const EDGE_SCALES: [f32; 8] = [1e-5, -1e-5, 5.960_464_5e-8, 65504.0, -65504.0, 0.0, 6.103_515_6e-5, -1.0];

/// Which scales a matrix has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scales {
    /// 0.01 to 0.03, both signs.
    Ordinary,
    /// Ordinary, and one in four of [`EDGE_SCALES`].
    Edges,
}

/// Which group an input row belongs to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Order {
    /// Neighbours.
    Sequential,
    /// Act-order: `g_idx` in random order.
    Shuffled,
}

/// What to build.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// Of a code: 4 or 8.
    pub bits: u32,
    /// Rows.
    pub out_features: usize,
    /// Columns.
    pub in_features: usize,
    /// Input rows of a group.
    pub group_size: usize,
    /// Which rows these are.
    pub order: Order,
    /// Precision of the scales.
    pub scale_dtype: Dtype,
    /// Zero points of their own, not `2^(bits - 1)`.
    pub asymmetric: bool,
    /// Which scales.
    pub scales: Scales,
}

impl Spec {
    /// 4 bits, symmetric, sequential, f16 scales with edge values.
    pub fn new(out_features: usize, in_features: usize, group_size: usize) -> Self {
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
pub struct Unpacked {
    /// What was built.
    pub spec: Spec,
    /// `[out_features, in_features]`.
    pub codes: Vec<u32>,
    /// `[out_features, groups]`.
    pub scales: Vec<f32>,
    /// `[out_features, groups]`.
    pub zeros: Vec<u32>,
    /// Group of each input row.
    pub group: Vec<usize>,
    /// Groups of a row.
    pub groups: usize,
}

impl Unpacked {
    /// What `spec` says, with random codes, scales and zero points.
    pub fn random(random: &mut Random, spec: Spec) -> Self {
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
    pub fn value(&self, n: usize, k: usize) -> f32 {
        let at = n * self.groups + self.group[k];
        self.scales[at] * (self.codes[n * self.spec.in_features + k] as f32 - self.zeros[at] as f32)
    }

    /// The whole matrix as kernels read it.
    pub fn pack(&self) -> PackedMatrix {
        let RowShard { out_features, in_features, format, codes, groups, scales, zeros, addends, group_index } =
            self.shard(0..self.spec.in_features);
        let group_index = group_index.index;
        PackedMatrix { out_features, in_features, format, codes, groups, scales, zeros, addends, group_index }
    }

    /// The input rows `rows` as kernels read them, with the groups that they touch and no others.
    pub fn shard(&self, rows: Range<usize>) -> RowShard {
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
        let (order, index) = match self.spec.order {
            Order::Sequential => (quant::Order::Consecutive, GroupIndex::Sequential),
            Order::Shuffled => (quant::Order::PerRow, GroupIndex::PerRow(touched().map(|g| g as u32).collect())),
        };
        let shift = if self.spec.asymmetric { Shift::Zero } else { Shift::None };
        let format = Grouped { order, shift, ..Grouped::symmetric(self.spec.bits, self.spec.group_size, dtype) };
        let group_index = ShardGroups { first_row: rows.start, first_group: first, index };
        PackedMatrix {
            out_features,
            in_features,
            format,
            codes,
            groups,
            scales,
            zeros: self.spec.asymmetric.then_some(zeros),
            addends: Vec::new(),
            group_index,
        }
    }
}

/// Input features of a shard to probe: within 2 of each group edge and of the shard's own, and some at random.
pub fn interesting(random: &mut Random, full: &Unpacked, rows: &Range<usize>) -> Vec<usize> {
    let mut ks = BTreeSet::new();
    let edges = (0..=full.spec.in_features).step_by(full.spec.group_size);
    for edge in edges.chain([rows.start, rows.end]) {
        for k in edge.saturating_sub(2)..=edge + 2 {
            if rows.contains(&k) {
                ks.insert(k - rows.start);
            }
        }
    }
    for _ in 0..16 {
        ks.insert(random.below(rows.len()));
    }
    ks.into_iter().collect()
}

/// Rows of `width` with a one at each of `ks`: a product returns these columns of the weights.
pub fn one_hot(width: usize, ks: &[usize]) -> Vec<f32> {
    let mut x = vec![0.0; ks.len() * width];
    for (row, &k) in x.chunks_exact_mut(width).zip(ks) {
        row[k] = 1.0;
    }
    x
}

/// Columns `ks` of the shard `rows`, from the full matrix.
pub fn columns(full: &Unpacked, rows: &Range<usize>, ks: &[usize]) -> Vec<f32> {
    ks.iter().flat_map(|k| (0..full.spec.out_features).map(move |n| full.value(n, rows.start + k))).collect()
}
