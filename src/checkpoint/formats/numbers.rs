//! Where the data of a matrix lies: numbers of tensors in the index, and the part of them that is the matrix. Private to the
//! readers; how the matrix is, its [`Format`](crate::quant::Format) says.

use crate::checkpoint::claimed::Claim;
use crate::quant::gptq::ZeroPoints;

/// The tensors of a matrix, by the reader that knows them.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Numbers {
    Dense(DenseNumbers),
    Gptq(GptqNumbers),
    Awq(AwqNumbers),
    Compressed(CompressedNumbers),
}

/// The tensor of a dense matrix.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DenseNumbers {
    pub(crate) tensor: usize,
    /// Of the matrix in the tensor.
    pub(crate) first_byte: u64,
}

/// The tensors of [`super::gptq`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct GptqNumbers {
    pub(crate) qweight: usize,
    pub(crate) qzeros: usize,
    pub(crate) scales: usize,
    pub(crate) g_idx: Option<usize>,
    /// How `qzeros` are stored, as the configuration says.
    pub(crate) zero_points: ZeroPoints,
    pub(crate) claim: Claim,
}

/// The tensors of [`super::awq`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct AwqNumbers {
    pub(crate) qweight: usize,
    pub(crate) qzeros: usize,
    pub(crate) scales: usize,
    pub(crate) claim: Claim,
}

/// The tensors of [`super::compressed`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct CompressedNumbers {
    pub(crate) packed: usize,
    pub(crate) scales: usize,
    pub(crate) zero_points: Option<usize>,
    pub(crate) g_idx: Option<usize>,
    pub(crate) shape: Option<usize>,
    pub(crate) slice: Slice,
    pub(crate) claim: Claim,
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

impl Numbers {
    /// Tensors in the file; a slice of a fused one counts as none.
    pub(crate) fn tensors(&self) -> usize {
        match self {
            Numbers::Dense(numbers) => usize::from(numbers.first_byte == 0),
            Numbers::Gptq(numbers) => 3 + usize::from(numbers.g_idx.is_some()),
            Numbers::Awq(_) => 3,
            Numbers::Compressed(numbers) if !numbers.slice.is_first() => 0,
            Numbers::Compressed(CompressedNumbers { zero_points, g_idx, shape, .. }) => {
                2 + [zero_points, g_idx, shape].into_iter().flatten().count()
            }
        }
    }
}
