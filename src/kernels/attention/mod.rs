//! Attention and the cache that it reads: few rows, tiles of rows, matrices, and the join of shares of a context.

#[expect(clippy::module_inception, reason = "each kernel keeps its stem: shader, host, twin and test are found by it")]
pub mod attention;
pub mod attention_join;
pub mod attention_matrix;
pub mod attention_tile;
pub mod head_norm_rope;
pub(crate) mod heads;
pub(crate) mod kv;
pub mod kv_store;
