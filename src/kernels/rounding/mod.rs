//! Activations rounded for the products of a tier, by what comes out: int8 in blocks of 16 for integer products of few rows, int8
//! in blocks of 32 for those of many, f16 with a factor a row for cooperative matrices.

pub mod f16_by_row;
pub mod int8_by_16;
pub mod int8_by_32;
