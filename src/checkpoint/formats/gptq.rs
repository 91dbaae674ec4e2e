//! GPTQ and AutoRound: `qweight`, `qzeros`, `scales`, `g_idx`, with codes packed along the input features. AWQ has tensors of the
//! same names, which are found together.

use std::ops::Range;

use super::matrix_info::MatrixInfo;
use super::numbers::{AwqNumbers, GptqNumbers, Numbers};
use crate::Result;
use crate::checkpoint::Checkpoint;
use crate::checkpoint::claimed::Reader;
use crate::checkpoint::resolve::{Claims, GroupCount, Resolver, is_missing_beside};
use crate::gemma4::tensors::Role;
use crate::quant::gptq::{self, Raw};
use crate::quant::{Format, Grouped, Matrix, Order, Shift, Values};

impl Resolver<'_> {
    /// A matrix of GPTQ or AWQ, whose tensors have the same names.
    pub(crate) fn gptq_or_awq(&mut self, base: &str, role: Role, shape: [usize; 2]) -> Option<MatrixInfo> {
        let parts = ["qweight", "qzeros", "scales"].map(|part| self.find(&format!("{base}.{part}")));
        let g_idx = self.find(&format!("{base}.g_idx"));
        for (part, _) in ["qweight", "qzeros", "scales"].iter().zip(parts).filter(|(_, id)| id.is_none()) {
            self.fault(&format!("{base}.{part}"), is_missing_beside);
        }
        let [Some(qweight), Some(qzeros), Some(scales)] = parts else { return None };
        let is_right = |reader| reader != Reader::Compressed;
        let Claims { quantization, said } = self.quantization(base, &format!("{base}.qweight"), is_right)?;
        let [out_features, in_features] = shape;
        if quantization.desc_act && g_idx.is_none() && quantization.group_size.is_some() {
            let why = format!("{} is true", quantization.key("desc_act"));
            self.fault(&format!("{base}.g_idx"), |fault| fault.missing("missing").because(why));
        }
        let (symmetric, is_awq) = (said.is_symmetric(quantization.sym), quantization.reader == Reader::Awq);
        let words = |features: usize, bits: u32| (features * bits as usize).div_ceil(32);
        let bits = self.find_bits(&said, qweight, |bits| match is_awq {
            true => vec![in_features, words(out_features, bits)],
            false => vec![words(in_features, bits), out_features],
        })?;
        let per_word = 32 / bits as usize;
        if !in_features.is_multiple_of(per_word) || !out_features.is_multiple_of(per_word) {
            let (found, expected) = (format!("is a quantized {shape:?}"), format!("multiples of {per_word}"));
            self.fault(&format!("{base}.qweight"), |fault| fault.found(found).expected(expected));
            return None;
        }
        self.check_i32(qweight, &self.tensor(qweight).shape.clone())?;
        let groups = self.tensor(scales).shape.first().copied();
        let groups = self.check_groups(&said, scales, in_features, groups, |groups| vec![groups, out_features]);
        let GroupCount { groups, group_size } = groups?;
        if is_awq {
            self.check_awq(base, bits, group_size, in_features, g_idx.is_some())?;
        }
        let scale_dtype = self.check_float(scales);
        let zeros = self.check_i32(qzeros, &[groups, out_features / per_word]);
        let table = g_idx.map_or(Some(()), |g_idx| self.check_i32(g_idx, &[in_features]));
        zeros?;
        table?;
        let tensors = [Some(qweight), Some(qzeros), Some(scales), g_idx];
        let format = Grouped {
            bits,
            group: group_size,
            order: if g_idx.is_some() { Order::PerRow } else { Order::Consecutive },
            scale: scale_dtype?,
            shift: if symmetric { Shift::None } else { Shift::Zero },
            values: Values::Linear,
        };
        let claim = said.claim();
        Some(MatrixInfo {
            out_features,
            in_features,
            format: Format::Grouped(format),
            role,
            size_bytes: tensors.iter().flatten().map(|&id| self.tensor(id).size_bytes).sum(),
            numbers: match quantization.reader {
                Reader::Gptq(zero_points) => {
                    Numbers::Gptq(GptqNumbers { qweight, qzeros, scales, g_idx, zero_points, claim })
                }
                _ => Numbers::Awq(AwqNumbers { qweight, qzeros, scales, claim }),
            },
        })
    }
}

/// Output features of a file that have some `rows`, in whole words of zero points.
pub(super) struct Block {
    pub(super) features: Range<usize>,
    /// The words of a line of `qzeros`.
    pub(super) words: Range<usize>,
    /// `rows`, counted from the block's first.
    pub(super) rows: Range<usize>,
}

impl Block {
    pub(super) fn of(rows: &Range<usize>, out_features: usize, per_word: usize) -> Self {
        let start = rows.start.min(out_features - 1) / per_word * per_word;
        let features = start..rows.end.max(start + 1).next_multiple_of(per_word);
        let words = features.start / per_word..features.end / per_word;
        Block { rows: rows.start - features.start..rows.end - features.start, features, words }
    }
}

impl Checkpoint {
    /// The output features `rows`, with zero points if `format` says so.
    pub(crate) fn read_gptq(
        &self,
        info: &MatrixInfo,
        format: Grouped,
        numbers: GptqNumbers,
        rows: Range<usize>,
    ) -> Result<Matrix> {
        let (k, groups) = (info.in_features, format.groups(info.in_features));
        let g_idx = numbers.g_idx.map(|id| self.read_groups(id, 0, info)).transpose()?;
        // The columns of these rows: a matrix of its own.
        let Block { features, words, rows } = Block::of(&rows, info.out_features, format.codes_per_word());
        let qzeros = self.index.read_columns(numbers.qzeros, groups, words, 4)?;
        let qweight = self.index.read_columns(numbers.qweight, k / format.codes_per_word(), features.clone(), 4)?;
        let scales = self.index.read_columns(numbers.scales, groups, features.clone(), format.scale.size_bytes())?;
        let raw = Raw {
            format,
            in_features: k,
            out_features: features.len(),
            zero_points: self.stored_zeros(numbers.zero_points)?,
            qweight: &qweight,
            qzeros: &qzeros,
            scales: &scales,
            g_idx: g_idx.as_deref(),
        };
        Ok(Matrix::Packed(gptq::pack_part(&raw, rows)))
    }
}
