//! What is known of a weight matrix before its data is read.

use std::fmt;

use crate::checkpoint::claimed::{Claim, Packing};
use crate::gemma4::tensors::{Role, Table};
use crate::quant::Dtype;
use crate::quant::gptq::{Layout, ZeroPoints};

/// A weight matrix of the checkpoint.
#[derive(Debug, Clone)]
pub struct MatrixInfo {
    /// Rows.
    pub out_features: usize,
    /// Columns.
    pub in_features: usize,
    /// How the file stores it.
    pub format: MatrixFormat,
    /// What it is for.
    pub role: Role,
    /// Bytes in the file, all its tensors together.
    pub size_bytes: u64,
    pub(crate) storage: Storage,
}

impl MatrixInfo {
    /// Weights, however many bits each has.
    pub fn parameters(&self) -> u64 {
        self.out_features as u64 * self.in_features as u64
    }

    /// The shapes of a quantized matrix, with zero points as they are.
    pub(crate) fn layout(&self) -> Layout {
        let MatrixFormat::Packed { bits, group_size, groups, scale_dtype, .. } = self.format else {
            unreachable!("a packed matrix has a packed format");
        };
        let (in_features, out_features, zero_points) = (self.in_features, self.out_features, ZeroPoints::AsStored);
        Layout { bits, in_features, out_features, groups, group_size, scale_dtype, zero_points }
    }

    /// Tensors in the file; a slice of a fused one counts as none.
    pub(crate) fn tensors(&self) -> usize {
        match self.storage {
            Storage::Dense { first_byte, .. } => usize::from(first_byte == 0),
            Storage::Packed { g_idx, .. } => 3 + usize::from(g_idx.is_some()),
            Storage::Compressed { slice, .. } if !slice.is_first() => 0,
            Storage::Compressed { zero_points, g_idx, shape, .. } => {
                2 + [zero_points, g_idx, shape].iter().flatten().count()
            }
        }
    }
}

/// How a file stores a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MatrixFormat {
    /// Plain numbers.
    Dense(Dtype),
    /// Group-wise quantized.
    Packed {
        /// Bits of a code.
        bits: u32,
        /// Input features of a group; all of them where the file says -1.
        group_size: usize,
        /// Groups of a row, a short last one included.
        groups: usize,
        /// Precision of the scales.
        scale_dtype: Dtype,
        /// Whether zero points are `2^(bits - 1)`, as far as the configuration and the names of tensors say; what counts
        /// are the zero points.
        symmetric: bool,
        /// The file carries a `g_idx`. It may still say what `group_size` says.
        per_row: bool,
    },
}

impl MatrixFormat {
    /// The format of a matrix with `in_features`, in a few words: `bf16`, `int4 g32 sym`, `int4 per-channel asym g_idx`.
    pub fn describe(&self, in_features: usize) -> String {
        match *self {
            MatrixFormat::Dense(dtype) => dtype_label(dtype).to_owned(),
            MatrixFormat::Packed { bits, group_size, symmetric, per_row, .. } => {
                let group = if group_size == in_features { "per-channel".to_owned() } else { format!("g{group_size}") };
                let symmetry = if symmetric { "sym" } else { "asym" };
                format!("int{bits} {group} {symmetry}{}", if per_row { " g_idx" } else { "" })
            }
        }
    }

    /// As [`Self::describe`], with what else [`Self::stacks_with`] looks at.
    pub(crate) fn describe_stack(&self, in_features: usize) -> String {
        let format = self.describe(in_features);
        match *self {
            MatrixFormat::Dense(_) => format,
            MatrixFormat::Packed { scale_dtype, .. } => format!("{format} with {} scales", dtype_label(scale_dtype)),
        }
    }

    /// Whether two equally shaped matrices can be of one stack: they may differ in zero points and in the order of groups.
    pub(crate) fn stacks_with(self, other: MatrixFormat) -> bool {
        let alike = |format| match format {
            MatrixFormat::Packed { bits, group_size, groups, scale_dtype, .. } => {
                MatrixFormat::Packed { bits, group_size, groups, scale_dtype, symmetric: false, per_row: false }
            }
            dense @ MatrixFormat::Dense(_) => dense,
        };
        alike(self) == alike(other)
    }
}

pub(crate) fn dtype_label(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F16 => "f16",
        Dtype::BF16 => "bf16",
        Dtype::F32 => "f32",
    }
}

/// Where the data lies: numbers of tensors in the index.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Storage {
    Dense {
        tensor: usize,
        first_byte: u64,
    },
    /// GPTQ and AWQ.
    Packed {
        qweight: usize,
        qzeros: usize,
        scales: usize,
        g_idx: Option<usize>,
        packing: Packing,
        claim: Claim,
    },
    Compressed {
        packed: usize,
        scales: usize,
        zero_points: Option<usize>,
        g_idx: Option<usize>,
        shape: Option<usize>,
        slice: Slice,
        claim: Claim,
    },
}

/// Which part of its tensors a matrix is: all, or, of fused experts, some rows of one matrix of a stack.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slice {
    pub(crate) n_matrices: usize,
    pub(crate) matrix: usize,
    /// Rows of each matrix of the stack.
    pub(crate) n_rows: usize,
    pub(crate) first_row: usize,
}

impl Slice {
    /// Whether this is the slice that stands for the tensors as a whole.
    pub(crate) fn is_first(self) -> bool {
        self.matrix == 0 && self.first_row == 0
    }
}

/// Which of an expert's three matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Projection {
    /// `gate_proj`.
    Gate,
    /// `up_proj`.
    Up,
    /// `down_proj`.
    Down,
}

impl Projection {
    /// All three, in this order.
    pub const ALL: [Projection; 3] = [Projection::Gate, Projection::Up, Projection::Down];

    /// The name in the checkpoint.
    pub fn name(self) -> &'static str {
        match self {
            Projection::Gate => "gate_proj",
            Projection::Up => "up_proj",
            Projection::Down => "down_proj",
        }
    }

    /// Its number among the projections that `table` gives an expert.
    pub(crate) fn number(self, table: &Table) -> usize {
        let is_this = |name: &str| name.strip_prefix("experts.") == Some(self.name());
        table.of_experts().position(|entry| is_this(entry.name)).expect("the table has the three of every expert")
    }
}

impl fmt::Display for Projection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
