//! Rows that are looked up, gathered, copied, filled and examined.

pub mod copy_words;
pub mod embed;
pub mod fill_random;
pub mod gather_rows;
pub mod not_finite;
