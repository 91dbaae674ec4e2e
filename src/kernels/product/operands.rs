//! What all products take, of few rows and of many: rows, where the result goes, and how shaders find the weights.

use super::weights::{Extent, Part, Weights, run};
use crate::gpu::{Constants, Tensor, Tier};
use crate::kernels::experts::moe_group::Groups;
use crate::kernels::rounding::int8_by_16;
use crate::kernels::{NamedBuffers, Planner, word};
use crate::quant::{Dtype, Format, PackedMatrix};

crate::kernels::params! {
    /// `shaders/common/product.wgsl`.
    pub struct Params {
        in_words: u32,
        row_words: u32,
        n_rows: u32,
        rows_per_matrix: u32,
        first_matrix: u32,
        n_matrices: u32,
        x_stride: u32,
        x_repeat: u32,
        y_stride: u32,
        y_offset: u32,
        scale_words: u32,
        zero_words: u32,
        groups: u32,
        first_row: u32,
        first_group: u32,
        softcap: f32,
    }
}

/// How a product treats the rows of x.
#[derive(Debug, Clone, Copy)]
pub enum Rows<'a> {
    /// Few rows, each on its own.
    Few,
    /// Two rows, or another even number, of which each two share the weights they read.
    Two,
    /// Few rows that share each weight they read, four at a time; the tensor's first word is their number.
    Several(&'a Tensor),
    /// Many rows that share each weight they read; the tensor's first word is their number.
    Many(&'a Tensor),
    /// The rows of y belong to tokens, `ids.width` each; `repeat` consecutive ones read the same row of x.
    Experts {
        /// Expert of each row of y, `[tokens, top_k]` without padding.
        ids: &'a Tensor,
        /// Rows of y that read one row of x.
        repeat: usize,
        /// Whether steps have several rows, whose experts keep a device busy with fewer lanes each.
        several: bool,
    },
    /// Many rows of y, `groups.pairs.width` for each row of the step; those of an expert share each weight they read.
    Grouped {
        /// What [`crate::kernels::experts::moe_group`] made of the experts' ids, with the same tuning.
        groups: &'a Groups,
        /// Rows of y that read one row of x.
        repeat: usize,
    },
}

impl Rows<'_> {
    /// As kernels of the planner's tier take the rows of a step: without rounded activations each row reads the weights on
    /// its own.
    #[must_use]
    pub fn on(self, planner: &Planner) -> Self {
        match self {
            Rows::Two | Rows::Several(_) if planner.few_tier < Tier::Dot => Rows::Few,
            rows => rows,
        }
    }

    /// Of a tensor of rounded activations, if there is one, what kernels are to round into it for products of such rows: products
    /// of many rows round by themselves.
    pub(crate) fn rounded(self, tensor: &Option<Tensor>) -> Option<&Tensor> {
        tensor.as_ref().filter(|_| self.are_few())
    }

    /// As [`Self::rounded`], where the only product that reads it is the one with `weights`.
    pub(crate) fn rounded_for<'t>(self, tensor: &'t Option<Tensor>, weights: &Weights) -> Option<&'t Tensor> {
        self.rounded(tensor).filter(|_| int8_by_16::suits(weights))
    }

    /// Whether kernels of few rows take them.
    pub(crate) fn are_few(self) -> bool {
        match self {
            Rows::Few | Rows::Two | Rows::Several(_) | Rows::Experts { .. } => true,
            Rows::Many(_) | Rows::Grouped { .. } => false,
        }
    }

    /// Rows of y that belong to a row of the step.
    pub(crate) fn of_y(self) -> usize {
        match self {
            Rows::Few | Rows::Two | Rows::Several(_) | Rows::Many(_) => 1,
            Rows::Experts { ids, .. } => ids.width,
            Rows::Grouped { groups, .. } => groups.pairs.width,
        }
    }
}

/// Where products go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub y: &'a Tensor,
    /// Column of y for the first output feature.
    pub column: usize,
    /// Caps logits; 0 leaves them.
    pub softcap: f32,
}

/// What all products with a part of some weights have in common: parameters, constants, the buffers of the weights and of y, the
/// variant.
pub(crate) struct Setup {
    pub params: Params,
    pub constants: Constants,
    pub buffers: NamedBuffers,
    pub variant: &'static str,
}

impl Setup {
    pub(crate) fn new(label: &str, weights: &Weights, part: &Part, x: &Tensor, target: Target) -> Self {
        let Target { y, column, softcap } = target;
        assert_eq!(x.width, weights.in_features, "{label}: width of x");
        assert!(x.stride >= x.width.next_multiple_of(crate::quant::CHUNK), "{label}: x is padded");
        let mut params = Params {
            in_words: word(weights.in_features.next_multiple_of(crate::quant::CHUNK) / 8),
            row_words: word(weights.row_words()),
            n_rows: word(part.n_rows),
            rows_per_matrix: word(part.n_rows),
            first_matrix: word(weights.first_matrix + part.first_matrix),
            n_matrices: word(part.n_matrices),
            x_stride: word(x.stride),
            x_repeat: 1,
            y_stride: word(y.stride),
            y_offset: word(column + part.first_row),
            softcap,
            ..Params::default()
        };
        let mut constants = Vec::new();
        let mut buffers = weight_buffers(&weights.format, part);
        buffers.push(("y", y.into()));
        let variant = match weights.format {
            Format::Dense(dtype) => {
                constants.push(("DTYPE", dtype_number(dtype)));
                "dense"
            }
            Format::Grouped(_) => {
                add_groups(weights, part, &mut params, &mut constants);
                "packed"
            }
        };
        Setup { params, constants, buffers, variant }
    }
}

/// What quantized weights add: how their codes are grouped, scaled and shifted.
fn add_groups(weights: &Weights, part: &Part, params: &mut Params, constants: &mut Constants) {
    let (Some(format), Extent { groups, first_row, first_group }) = (weights.format.grouped(), weights.extent) else {
        return;
    };
    params.scale_words = word(format.scale.words(groups));
    params.zero_words = word(PackedMatrix::zero_words(groups, format.bits));
    params.groups = word(groups);
    params.first_row = word(first_row);
    params.first_group = word(first_group);
    constants.extend(group_constants(weights, part));
}

/// The constants of `common/packed.wgsl` for quantized weights; none for dense ones.
pub(crate) fn group_constants(weights: &Weights, part: &Part) -> Constants {
    let Some(format) = weights.format.grouped() else { return Vec::new() };
    // Tables say it all.
    let (size, run) = match part.g_idx {
        Some(_) => (weights.in_features, 1),
        None => (format.group, run(weights.extent.first_row, format.group)),
    };
    vec![
        ("BITS", format.bits),
        ("SCALE_DTYPE", dtype_number(format.scale)),
        ("GROUP_SIZE", word(size)),
        ("PER_ROW", u32::from(part.g_idx.is_some())),
        ("RUN", run),
        ("HAS_ZEROS", u32::from(part.zeros.is_some())),
    ]
}

/// The buffers of `common/dense.wgsl` or `common/packed.wgsl`.
pub(crate) fn weight_buffers(format: &Format, part: &Part) -> NamedBuffers {
    let data = &part.data;
    match format {
        Format::Dense(_) => vec![("weights", data.into())],
        // A binding must be filled also where a constant keeps the shader from reading it.
        Format::Grouped(_) => vec![
            ("codes", data.into()),
            ("scales", part.scales.as_ref().expect("packed weights have scales").into()),
            ("zeros", part.zeros.as_ref().unwrap_or(data).into()),
            ("g_idx", part.g_idx.as_ref().unwrap_or(data).into()),
        ],
    }
}

/// The number by which shaders know a precision.
pub(crate) fn dtype_number(dtype: Dtype) -> u32 {
    match dtype {
        Dtype::F16 => 0,
        Dtype::BF16 => 1,
        Dtype::F32 => 2,
    }
}
