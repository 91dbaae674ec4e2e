//! AWQ gemm: `qweight`, `qzeros`, `scales`, with codes packed along the output features, in an order of their own. Moving nibbles
//! makes GPTQ of it.

use std::ops::Range;

use super::gptq::Block;
use super::matrix_info::MatrixInfo;
use super::numbers::AwqNumbers;
use crate::Result;
use crate::checkpoint::Checkpoint;
use crate::checkpoint::resolve::Resolver;
use crate::error::Fault;
use crate::quant::gptq::{self, Raw, ZeroPoints};
use crate::quant::{Grouped, Matrix, awq};

impl Resolver<'_> {
    /// What AWQ cannot say.
    pub(super) fn check_awq(
        &mut self,
        base: &str,
        bits: u32,
        group: usize,
        in_features: usize,
        has_g_idx: bool,
    ) -> Option<()> {
        let tensor = |part: &str| format!("{base}.{part}");
        let (name, reason, fault) = if bits != 4 {
            let fault = Fault::tensor(&tensor("qweight")).found(format!("has {bits}-bit codes"));
            (tensor("qweight"), "bits", fault.expected("4-bit codes, the only ones of AWQ"))
        } else if has_g_idx {
            let fault = Fault::tensor(&tensor("g_idx")).found("is there");
            (tensor("g_idx"), "g_idx", fault.but("AWQ has no order of input features"))
        } else if !in_features.is_multiple_of(group) {
            let found =
                format!("has groups of {group}, which do not divide the {in_features} input features as AWQ must");
            (tensor("scales"), "short groups", Fault::tensor(&tensor("scales")).found(found))
        } else {
            return Some(());
        };
        self.fault_of_many(&format!("AWQ: {reason}"), &name, fault);
        None
    }
}

impl Checkpoint {
    /// The output features `rows`, with zero points if `format` says so.
    pub(crate) fn read_awq(
        &self,
        info: &MatrixInfo,
        format: Grouped,
        numbers: AwqNumbers,
        rows: Range<usize>,
    ) -> Result<Matrix> {
        let (k, groups) = (info.in_features, format.groups(info.in_features));
        // The columns of these rows: a matrix of its own.
        let Block { features, words, rows } = Block::of(&rows, info.out_features, format.codes_per_word());
        let qzeros = self.index.read_columns(numbers.qzeros, groups, words.clone(), 4)?;
        let qweight = self.index.read_columns(numbers.qweight, k, words, 4)?;
        let scales = self.index.read_columns(numbers.scales, groups, features.clone(), format.scale.size_bytes())?;
        let raw = Raw {
            format,
            in_features: k,
            out_features: features.len(),
            zero_points: ZeroPoints::AsStored,
            qweight: &awq::repack_codes(&qweight, features.len()),
            qzeros: &awq::repack_zeros(&qzeros),
            scales: &scales,
            g_idx: None,
        };
        Ok(Matrix::Packed(gptq::pack_part(&raw, rows)))
    }
}
