//! Dense matrices requantized on load: a head of 16 bits a value becomes one of 8 or 4.
//!
//! Symmetric groups of [`GROUP_SIZE`] input features with f16 scales. Of 8 bits, the group's largest value becomes 127
//! or -127: nothing is clipped, and every value is within half a step. Of 4 bits, a short search chooses the scale with
//! the least squared error, as ggml does for its 4-bit formats (`make_qx_quants` in ggml-quants.c).
//!
//! On normal values, 8 bits differ by 0.54 % (root mean square) in groups of 32, by 0.59 % of 64 and by 0.65 % of 128,
//! at 8.5, 8.25 and 8.125 bits a value: the last 4 % of the bytes would cost 20 % more error, and more than that where
//! single columns are large, since an outlier coarsens the steps of its whole group. 4 bits differ by 8.1 % in groups of
//! 32 and by 9.0 % of 64, at 4.5 and 4.25 bits.

use half::f16;

use super::dtype::Dtype;
use super::format::Grouped;
use super::matrix::{CHUNK, DenseMatrix, GroupIndex, PackedMatrix};
use crate::{Fault, Result};

/// Input features that share a scale: what kernels decode at a time, so that a finer scale costs no more instructions.
pub const GROUP_SIZE: usize = 32;

/// How far a requantized matrix is from what it was.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Deviation {
    /// Sum of the squared errors.
    pub squared_error: f64,
    /// Sum of the squared values.
    pub squared: f64,
    /// The largest error of a value.
    pub largest: f32,
}

impl Deviation {
    /// Adds what was found elsewhere in the matrix.
    pub fn merge(&mut self, other: Deviation) {
        self.squared_error += other.squared_error;
        self.squared += other.squared;
        self.largest = self.largest.max(other.largest);
    }

    /// The root mean square error as a share of the root mean square value; 0 without any error.
    pub fn relative(&self) -> f64 {
        if self.squared_error == 0.0 { 0.0 } else { (self.squared_error / self.squared).sqrt() }
    }
}

/// A requantized matrix.
#[derive(Debug, Clone, PartialEq)]
pub struct Requantized {
    /// The matrix.
    pub packed: PackedMatrix,
    /// How far it is from what it was.
    pub deviation: Deviation,
}

/// Bytes of a requantized matrix `[out_features, in_features]`.
pub fn size_bytes(out_features: usize, in_features: usize, bits: u32, group_size: usize) -> u64 {
    let scale_words = SCALE_DTYPE.words(in_features.div_ceil(group_size));
    4 * out_features as u64 * (PackedMatrix::code_words(in_features, bits) + scale_words) as u64
}

/// `matrix` in codes of `bits` (4 or 8) bits with a scale for each `group_size` input features, and how far that is from
/// it. `matrix` may be a block of rows: errors count them from `first_row` of the tensor `name`. The result of a row does not
/// depend on the block.
///
/// # Errors
/// [`crate::Error::Model`] where a value is not finite, or so large that no f16 scale reaches it.
///
/// # Panics
/// If `bits` is neither 4 nor 8, or `group_size` is no multiple of [`CHUNK`].
pub fn requantize(
    name: &str,
    first_row: usize,
    matrix: &DenseMatrix,
    bits: u32,
    group_size: usize,
) -> Result<Requantized> {
    assert!(matches!(bits, 4 | 8), "{name}: codes of {bits} bits");
    assert!(group_size > 0 && group_size.is_multiple_of(CHUNK), "{name}: groups of {group_size}");
    let (n, k) = (matrix.out_features, matrix.in_features);
    assert!(k > 0, "{name}: no columns");
    let groups = k.div_ceil(group_size);
    let (code_words, scale_words) = (PackedMatrix::code_words(k, bits), SCALE_DTYPE.words(groups));
    let mut codes = vec![0; n * code_words];
    let mut scales = vec![0; n * scale_words];
    let mut row = Row::new(bits, group_size, groups);
    let mut deviation = Deviation::default();
    let rows = codes.chunks_exact_mut(code_words).zip(scales.chunks_exact_mut(scale_words));
    for (i, (codes, scales)) in rows.enumerate() {
        matrix.read_row(i, &mut row.values);
        let fault = |bad: BadValue| {
            let found = format!("row {}, column {} is {:e}", first_row + i, bad.column, bad.value);
            Fault::tensor(name).found(found).expected(bad.expected)
        };
        deviation.merge(row.quantize(k, codes, scales).map_err(fault)?);
    }
    let (out_features, in_features, zeros) = (n, k, None);
    let (format, group_index) = (Grouped::symmetric(bits, group_size, SCALE_DTYPE), GroupIndex::Sequential);
    let addends = Vec::new();
    let packed = PackedMatrix { out_features, in_features, format, codes, groups, scales, zeros, addends, group_index };
    Ok(Requantized { packed, deviation })
}

/// Precision of the scales.
pub const SCALE_DTYPE: Dtype = Dtype::F16;

/// Independent sums, which the compiler can put in vectors.
const LANES: usize = 8;

/// The largest f16.
const LARGEST_SCALE: f32 = 65504.0;

/// At most half of the smallest f16 above zero: no scale makes such a value anything but zero.
const NEGLIGIBLE: f32 = 2.980_232_2e-8;

/// What the extreme of a group of 4 bits is to become; each is tried, with the scale that then fits best. AutoRound's
/// -8 stands among them, which uses the one code more that there is below zero; beyond -8 the extreme is clipped, and all
/// others get finer steps. On normal values that leaves 8.09 % (root mean square), AutoRound's choice of -8 or 7 leaves
/// 8.49 %, and 114 trials from -12 to 12 leave 8.08 %.
const EXTREMES: [f32; 9] = [-7.0, -7.25, -7.5, -7.75, -8.0, -8.25, -8.5, -8.75, -9.0];

/// The codes of a width, as signed numbers.
#[derive(Debug, Clone, Copy)]
struct Range {
    low: f32,
    high: f32,
    /// The unsigned code of 0.
    zero: u8,
    /// A code's bits in a byte.
    mask: u8,
}

/// As many steps below zero as above.
const INT8: Range = Range { low: -127.0, high: 127.0, zero: 128, mask: 255 };
const INT4: Range = Range { low: -8.0, high: 7.0, zero: 8, mask: 15 };

/// A row in work.
struct Row {
    bits: u32,
    group_size: usize,
    /// Padded with zeros to whole groups.
    values: Vec<f32>,
    /// Unsigned codes of the values.
    codes: Vec<u8>,
}

impl Row {
    fn new(bits: u32, group_size: usize, groups: usize) -> Self {
        let padded = groups * group_size;
        Row { bits, group_size, values: vec![0.0; padded], codes: vec![0; padded] }
    }

    /// Writes codes and scales of the row's `k` values; or says which column holds what cannot be quantized.
    fn quantize(
        &mut self,
        k: usize,
        codes: &mut [u32],
        scales: &mut [u32],
    ) -> std::result::Result<Deviation, BadValue> {
        let range = if self.bits == 8 { INT8 } else { INT4 };
        let limit = range.high * LARGEST_SCALE;
        let per_group = self.group_size / CHUNK;
        let groups_of_values = self.values.as_chunks().0.chunks_exact(per_group);
        let groups_of_codes = self.codes.as_chunks_mut().0.chunks_exact_mut(per_group);
        let mut deviation = Deviation::default();
        for (g, (values, codes)) in groups_of_values.zip(groups_of_codes).enumerate() {
            let extreme = extreme(values.as_flattened());
            // Also where the extreme is infinite; a NaN is taken for one.
            if extreme.abs() > limit {
                return Err(bad_value(g * self.group_size, values.as_flattened(), limit));
            }
            let scale = match self.bits {
                _ if extreme.abs() <= NEGLIGIBLE => f16::ZERO,
                8 => f16_scale(extreme.abs() / range.high),
                _ => f16_scale(fitting_scale(values, extreme)),
            };
            scales[g / 2] |= u32::from(scale.to_bits()) << (16 * (g % 2));
            deviation.merge(write_codes(values, scale.to_f32(), range, codes));
        }
        let per_word = 32 / self.bits as usize;
        for (word, fields) in codes.iter_mut().zip(self.codes[..k].chunks(per_word)) {
            let fields = fields.iter().enumerate();
            *word = fields.fold(0, |word, (i, &code)| word | u32::from(code) << (self.bits as usize * i));
        }
        Ok(deviation)
    }
}

/// The value farthest from zero, the positive one of two; where a value is not finite, an infinity.
fn extreme(values: &[f32]) -> f32 {
    let largest = values.iter().fold(0, |largest, value| largest.max(magnitude(*value)));
    let largest = f32::from_bits(largest as u32);
    if !largest.is_finite() {
        return f32::INFINITY;
    }
    if values.contains(&largest) { largest } else { -largest }
}

/// A value that no code stands for.
struct BadValue {
    column: usize,
    value: f32,
    expected: String,
}

/// The first value that is too large or not finite.
fn bad_value(first_column: usize, values: &[f32], limit: f32) -> BadValue {
    let is_bad = |value: &f32| !value.is_finite() || value.abs() > limit;
    let column = values.iter().position(is_bad).expect("a bad value");
    let expected =
        if values[column].is_finite() { format!("at most {limit:e} from zero") } else { "a finite number".to_string() };
    BadValue { column: first_column + column, value: values[column], expected }
}

/// The f16 for `scale`: the nearest, save where f16 is coarse, below its normal numbers. There it is the next one away
/// from zero, so that the group's extreme is not clipped.
fn f16_scale(scale: f32) -> f16 {
    let nearest = f16::from_f32(scale.clamp(-LARGEST_SCALE, LARGEST_SCALE));
    let is_short = nearest.to_f32().abs() < scale.abs();
    if is_short && !nearest.is_normal() { f16::from_bits(nearest.to_bits() + 1) } else { nearest }
}

/// The scale of 4-bit codes with about the least squared error. With the codes `q` that a trial scale gives, the best
/// scale is `sum x q / sum q^2`, and the error is smaller the larger `(sum x q)^2 / sum q^2` is.
fn fitting_scale(values: &[[f32; CHUNK]], extreme: f32) -> f32 {
    let (mut best, mut best_scale) = (0.0, 0.0);
    for target in EXTREMES {
        let inverse = target / extreme;
        let (mut xq, mut qq) = ([0.0f32; LANES], [0.0f32; LANES]);
        for x in values {
            let mut q = [0.0; CHUNK];
            for i in 0..CHUNK {
                q[i] = rounded(x[i] * inverse, INT4) - ROUND;
            }
            add_products(x, &q, &mut xq);
            add_products(&q, &q, &mut qq);
        }
        let (xq, qq) = (xq.iter().sum::<f32>(), qq.iter().sum::<f32>());
        if xq * xq > best * qq {
            (best, best_scale) = (xq * xq / qq, xq / qq);
        }
    }
    best_scale
}

/// 1.5 * 2^23: the sum with a number up to 2^22 has no bits below 1, so that adding it rounds to the nearest integer, ties
/// to even, and leaves that integer in the lowest bits. `f32::round_ties_even` would be a call for each value.
const ROUND: f32 = 12_582_912.0;

/// The nearest integer to `value` in the range, plus [`ROUND`].
fn rounded(value: f32, range: Range) -> f32 {
    // Two selects, which the compiler can put in vectors; f32::clamp would also look for NaN.
    let value = if value > range.low { value } else { range.low };
    let value = if value < range.high { value } else { range.high };
    value + ROUND
}

/// The nearest codes with this scale, and how far they are from the values.
fn write_codes(values: &[[f32; CHUNK]], scale: f32, range: Range, codes: &mut [[u8; CHUNK]]) -> Deviation {
    // Of a group without a scale every code is worth 0.
    let divisor = if scale == 0.0 { 1.0 } else { scale };
    let (mut squared_error, mut squared, mut largest) = ([0.0f64; LANES], [0.0f64; LANES], 0);
    for (x, codes) in values.iter().zip(codes) {
        let mut error = [0.0; CHUNK];
        for i in 0..CHUNK {
            let sum = rounded(x[i] / divisor, range);
            codes[i] = (sum.to_bits() as u8).wrapping_add(range.zero) & range.mask;
            error[i] = x[i] - scale * (sum - ROUND);
        }
        add_squares(x, &mut squared);
        add_squares(&error, &mut squared_error);
        largest = error.iter().fold(largest, |largest, &error| largest.max(magnitude(error)));
    }
    let largest = f32::from_bits(largest as u32);
    Deviation { squared_error: squared_error.iter().sum(), squared: squared.iter().sum(), largest }
}

fn add_products(x: &[f32; CHUNK], y: &[f32; CHUNK], sums: &mut [f32; LANES]) {
    for (x, y) in x.as_chunks::<LANES>().0.iter().zip(y.as_chunks::<LANES>().0) {
        for i in 0..LANES {
            sums[i] += x[i] * y[i];
        }
    }
}

fn add_squares(x: &[f32; CHUNK], sums: &mut [f64; LANES]) {
    for x in x.as_chunks::<LANES>().0 {
        for i in 0..LANES {
            sums[i] += f64::from(x[i]) * f64::from(x[i]);
        }
    }
}

/// The bits of `value` without its sign, which stand in the order of the magnitudes.
fn magnitude(value: f32) -> i32 {
    value.to_bits() as i32 & i32::MAX
}
