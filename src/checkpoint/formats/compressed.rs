//! Matrices of compressed-tensors: `weight_packed` and its company, and the fused 3-D tensors of all experts.

use std::ops::Range;

use super::matrix_info::MatrixInfo;
use super::numbers::{CompressedNumbers, Numbers, Slice};
use crate::Result;
use crate::checkpoint::Checkpoint;
use crate::checkpoint::claimed::{Claim, Reader};
use crate::checkpoint::resolve::{Claims, GroupCount, Resolver, is_missing_beside};
use crate::checkpoint::verify;
use crate::gemma4::tensors::Role;
use crate::quant::compressed_tensors::{self, Raw};
use crate::quant::{Format, Grouped, Matrix, Order, Shift, Values};

/// What stands behind `weight_`, or behind the name of a fused tensor and `_`.
const PARTS: [&str; 5] = ["packed", "scale", "shape", "zero_point", "g_idx"];

/// A matrix, or a stack of them, whose tensors fit together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Compressed {
    packed: usize,
    scales: usize,
    zero_points: Option<usize>,
    g_idx: Option<usize>,
    shape: Option<usize>,
    shape_bytes: u64,
    /// In the stack, 1 for a matrix of its own.
    n_matrices: usize,
    /// Of a matrix.
    out_features: usize,
    in_features: usize,
    format: Grouped,
    claim: Claim,
}

impl Resolver<'_> {
    /// Whether any tensor of compressed-tensors begins with `stem`.
    pub(crate) fn is_compressed(&self, stem: &str) -> bool {
        PARTS.iter().any(|part| self.index.find(&format!("{stem}_{part}")).is_some())
    }

    /// The tensors `{stem}_packed` and so on of the matrix `base` of `shape`, with `stack` matrices in a leading dimension.
    pub(crate) fn compressed(
        &mut self,
        base: &str,
        stem: &str,
        stack: Option<usize>,
        shape: [usize; 2],
    ) -> Option<Compressed> {
        let [packed, scales, shape_tensor, zero_points, g_idx] = PARTS.map(|part| self.find(&format!("{stem}_{part}")));
        for (part, _) in PARTS.iter().zip([packed, scales]).filter(|(_, id)| id.is_none()) {
            self.fault(&format!("{stem}_{part}"), is_missing_beside);
        }
        let (packed, scales) = (packed?, scales?);
        let is_right = |reader| reader == Reader::Compressed;
        let Claims { quantization, said } = self.quantization(base, &format!("{stem}_packed"), is_right)?;
        let [out_features, in_features] = shape;
        let stacked = |dimensions: &[usize]| stack.iter().chain(dimensions).copied().collect::<Vec<usize>>();
        if zero_points.is_none() && !said.may_be_symmetric(quantization.sym) {
            let why = format!("{} says symmetric false", quantization.key("config_groups"));
            self.fault(&format!("{stem}_zero_point"), |fault| fault.missing("missing").because(why));
        }
        if quantization.desc_act && g_idx.is_none() && quantization.group_size.is_some() {
            let why = format!("{} says actorder \"group\"", quantization.key("config_groups"));
            self.fault(&format!("{stem}_g_idx"), |fault| fault.missing("missing").because(why));
        }
        let words = |bits: u32| (in_features * bits as usize).div_ceil(32);
        let bits = self.find_bits(&said, packed, |bits| stacked(&[out_features, words(bits)]))?;
        self.check_i32(packed, &stacked(&[out_features, words(bits)]))?;
        let groups = self.tensor(scales).shape.last().copied();
        let groups = self.check_groups(&said, scales, in_features, groups, |groups| stacked(&[out_features, groups]));
        let GroupCount { groups, group_size } = groups?;
        let scale_dtype = self.check_float(scales);
        let zero_words = (out_features * bits as usize).div_ceil(32);
        let zeros = zero_points.map_or(Some(()), |id| self.check_i32(id, &stacked(&[zero_words, groups])));
        let table = g_idx.map_or(Some(()), |id| self.check_i32(id, &stacked(&[in_features])));
        let numbers = shape_tensor.map_or(Some(()), |id| self.check_shape_tensor(id, stack.is_some()));
        zeros?;
        table?;
        numbers?;
        Some(Compressed {
            packed,
            scales,
            zero_points,
            g_idx,
            shape: shape_tensor,
            shape_bytes: shape_tensor.map_or(0, |id| self.tensor(id).size_bytes),
            n_matrices: stack.unwrap_or(1),
            out_features,
            in_features,
            format: Grouped {
                bits,
                group: group_size,
                order: if g_idx.is_some() { Order::PerRow } else { Order::Consecutive },
                scale: scale_dtype?,
                shift: if zero_points.is_some() { Shift::Zero } else { Shift::None },
                values: Values::Linear,
            },
            claim: said.claim(),
        })
    }

    /// `weight_shape` must hold two whole numbers, or that of a stack three; which ones is compared with the other
    /// contents.
    fn check_shape_tensor(&mut self, id: usize, stacked: bool) -> Option<()> {
        let tensor = self.tensor(id);
        if !matches!(tensor.dtype, safetensors::Dtype::I64 | safetensors::Dtype::I32) {
            let (name, dtype) = (tensor.name.clone(), tensor.dtype);
            self.fault(&name, |fault| fault.found(format!("dtype {dtype}")).expected("I64 or I32"));
            return None;
        }
        let count = if stacked && tensor.shape == [3] { 3 } else { 2 };
        self.check_shape(id, &[count])
    }
}

impl Compressed {
    /// `n_rows` output features of matrix number `matrix` from `first_row` on.
    pub(crate) fn slice(&self, role: Role, matrix: usize, first_row: usize, n_rows: usize) -> MatrixInfo {
        let slice = Slice { n_matrices: self.n_matrices, matrix, n_rows: self.out_features, first_row };
        let (bits, groups) = (self.format.bits as usize, self.format.groups(self.in_features));
        let row_bytes = 4 * (self.in_features * bits).div_ceil(32);
        let scale_bytes = groups * self.format.scale.size_bytes();
        let mut size_bytes = n_rows * (row_bytes + scale_bytes);
        // What the slices of a matrix, or all matrices, share counts for the first.
        if first_row == 0 {
            let zero_words = (self.out_features * bits).div_ceil(32) * groups;
            size_bytes +=
                self.zero_points.map_or(0, |_| 4 * zero_words) + self.g_idx.map_or(0, |_| 4 * self.in_features);
        }
        MatrixInfo {
            out_features: n_rows,
            in_features: self.in_features,
            format: Format::Grouped(self.format),
            role,
            size_bytes: size_bytes as u64 + if slice.is_first() { self.shape_bytes } else { 0 },
            numbers: Numbers::Compressed(CompressedNumbers {
                packed: self.packed,
                scales: self.scales,
                zero_points: self.zero_points,
                g_idx: self.g_idx,
                shape: self.shape,
                slice,
                claim: self.claim,
            }),
        }
    }
}

impl Checkpoint {
    /// The output features `rows`, with zero points if `format` says so.
    pub(crate) fn read_compressed(
        &self,
        info: &MatrixInfo,
        format: Grouped,
        numbers: CompressedNumbers,
        rows: Range<usize>,
    ) -> Result<Matrix> {
        let (k, groups, slice) = (info.in_features, format.groups(info.in_features), numbers.slice);
        let own_rows = slice.first_row + rows.start..slice.first_row + rows.end;
        let first = (slice.matrix * slice.n_rows + own_rows.start) as u64;
        let row_bytes = 4 * k.div_ceil(format.codes_per_word());
        let packed = self.index.read_words_at(numbers.packed, first * row_bytes as u64, rows.len() * row_bytes)?;
        let row_bytes = groups * format.scale.size_bytes();
        let scales = self.index.read_words_at(numbers.scales, first * row_bytes as u64, rows.len() * row_bytes)?;
        let zero_points = numbers.zero_points.filter(|_| format.shift == Shift::Zero);
        let zero_points = zero_points.map(|id| self.read_zero_points(id, info, slice)).transpose()?;
        let g_idx = numbers.g_idx.map(|id| self.read_groups(id, slice.matrix, info)).transpose()?;
        // compressed-tensors fills a table that it does not use with -1.
        let g_idx = g_idx.filter(|table| !verify::is_unused(table));
        let raw = Raw {
            format,
            in_features: k,
            out_features: slice.n_rows,
            packed: &packed,
            scales: &scales,
            zero_points: zero_points.as_deref(),
            g_idx: g_idx.as_deref(),
        };
        Ok(Matrix::Packed(compressed_tensors::pack(&raw, own_rows)))
    }

    /// All zero points of one matrix of a stack.
    pub(crate) fn read_zero_points(&self, id: usize, info: &MatrixInfo, slice: Slice) -> Result<Vec<u32>> {
        let format = info.grouped();
        let bytes = 4 * slice.n_rows.div_ceil(format.codes_per_word()) * format.groups(info.in_features);
        self.index.read_words_at(id, (slice.matrix * bytes) as u64, bytes)
    }
}
