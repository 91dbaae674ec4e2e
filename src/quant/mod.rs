//! Weight matrices as the kernels read them, and how quantized checkpoints become such matrices. CPU only.
//!
//! [`Format`] says how a matrix is, in whatever file it lies. Every source of 4 or 8 bits turns into one layout, [`PackedMatrix`]: codes packed along the input dimension, scales
//! (and, where the file is really asymmetric, zero points) per group, and a [`GroupIndex`] that says which group an input
//! row belongs to. `cut` makes shards of it, `join` the whole of these again. No shader knows a file format. `gptq` reads the
//! GPTQ family, `awq` turns AWQ into it, `compressed_tensors` reads what llm-compressor writes, and `requantize`
//! makes such a matrix of a dense one.

pub(crate) mod awq;
pub(crate) mod compressed_tensors;
pub(crate) mod cut;
mod dtype;
mod format;
pub(crate) mod gptq;
pub(crate) mod join;
pub(crate) mod matrix;
pub(crate) mod random;
mod read;
pub(crate) mod requantize;
mod shape;

pub use cut::StoredGroups;
pub use dtype::Dtype;
pub use format::{Codebook, Format, Grouped, Order, Shift, Values};
pub use matrix::{CHUNK, DenseMatrix, GroupIndex, Matrix, PackedMatrix, RowShard, ShardGroups};
pub(crate) use matrix::{Groups, Offset};
pub(crate) use random::{Bits, RandomBits};
pub use requantize::Deviation;
