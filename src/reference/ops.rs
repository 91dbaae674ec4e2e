//! The operations, row-major and one row after the other: for each shader a function under its stem. Sums are taken in f64, so
//! that a difference to a kernel is the kernel's rounding and not this one's.

mod attention;
mod choice;
mod experts;
mod norm;
mod product;
mod rounding;
mod rows;

pub use attention::{Share, attention, attention_join, attention_matrix, attention_tile, kv_pack, kv_store, kv_unpack};
pub use choice::{argmax, sample, strip_max, suppress};
pub use experts::{moe_combine, moe_group, moe_sum, router};
pub use norm::{add_norm, gelu, gelu_mul, head_norm_rope, per_layer_inputs, rms_norm, rope};
pub use product::{matmul, matmul_grouped, matvec, softcap, sum_shares};
pub use rounding::{f16_by_row, int8_by_16, int8_by_32};
pub use rows::{embed, fill_random, gather_rows, not_finite};
