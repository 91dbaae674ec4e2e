//! Activations rounded for the products of a tier.

pub mod quantize_rows;
pub mod round_rows;
pub mod rounded;
