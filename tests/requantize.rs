//! Requantized matrices against what the values and the decoded matrix say.

mod common;

use common::fresh;
use common::matrices::{DTYPES, file_bytes};
use common::random::Random;
use lapidary::quant::{DenseMatrix, Dtype, PackedMatrix};
use lapidary::testing::quant::requantize::{Deviation, GROUP_SIZE, Requantized, requantize, size_bytes};
use lapidary::testing::quant::{code, scale};

/// The smallest f16 above zero: the finest step that a scale can be.
const SMALLEST_SCALE: f32 = 5.960_464_5e-8;
/// The largest values that f16 scales reach with 8 and with 4 bits.
const LIMITS: [(u32, f32); 2] = [(8, 127.0 * 65504.0), (4, 7.0 * 65504.0)];
/// A quotient rounds once before it becomes a code.
const HALF: f32 = 0.500_01;

fn matrix(width: usize, dtype: Dtype, values: &[f32]) -> DenseMatrix {
    DenseMatrix::from_bytes(values.len() / width, width, dtype, &file_bytes(dtype, values)).expect("a matrix")
}

fn quantized(matrix: &DenseMatrix, bits: u32, group_size: usize) -> Requantized {
    requantize("head", 0, matrix, bits, group_size).expect("values within limits")
}

/// What a row of `width` values may hold.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fill {
    /// As in a language model's head.
    Normal,
    /// One value in 50 is 100 times as large.
    Outliers,
    /// Groups of zeros among others.
    Zeros,
    /// Groups whose scale is a subnormal f16 or less.
    Tiny,
    /// The value farthest from zero is negative, and the last of its group.
    Negative,
    /// Every exponent up to the limit.
    AnyBits,
}

const FILLS: [Fill; 6] = [Fill::Normal, Fill::Outliers, Fill::Zeros, Fill::Tiny, Fill::Negative, Fill::AnyBits];

fn fill(random: &mut Random, fill: Fill, n: usize, width: usize, limit: f32) -> Vec<f32> {
    let value = |i: usize, random: &mut Random| match fill {
        Fill::Normal => 0.02 * random.normal(),
        Fill::Outliers if random.below(50) == 0 => 2.0 * random.normal(),
        Fill::Outliers => 0.02 * random.normal(),
        Fill::Zeros if (i % width / 32).is_multiple_of(2) => -0.0,
        Fill::Zeros => random.normal(),
        Fill::Tiny => random.normal() * 10f32.powi(-3 - (i / 32 % 8) as i32),
        Fill::Negative if i % width % 32 == 31 => -1.0 - random.uniform().abs(),
        Fill::Negative => random.uniform(),
        Fill::AnyBits => loop {
            let value = f32::from_bits(random.word() as u32);
            // Rounded to 16 bits it must not exceed the limit, nor f16.
            if value.abs() < 0.99 * limit.min(65504.0) {
                return value;
            }
        },
    };
    (0..n * width).map(|i| value(i, random)).collect()
}

/// Runs `check` on matrices of every filling, precision and width, with what they are.
fn for_each_matrix(bits: u32, check: impl Fn(&str, &DenseMatrix, usize)) {
    let mut random = fresh(900);
    let limit = LIMITS.iter().find(|(b, _)| *b == bits).expect("4 or 8").1;
    for kind in FILLS {
        for (i, (n, width)) in [(1, 1), (7, 31), (3, 33), (5, 80), (16, 704), (2, 2112)].into_iter().enumerate() {
            let dtype = DTYPES[i % 3];
            let values = fill(&mut random, kind, n, width, limit);
            for group_size in [32, 64, 128] {
                let what = format!("{bits} bits, {kind:?} {dtype:?} [{n}, {width}], groups of {group_size}");
                check(&what, &matrix(width, dtype, &values), group_size);
            }
        }
    }
}

/// Calls `check` with each group's values, its scale and its codes as signed numbers.
fn for_each_group(m: &DenseMatrix, packed: &PackedMatrix, size: usize, check: impl Fn(&[f32], f32, &[f32])) {
    let zero = (1 << (packed.format.bits - 1)) as f32;
    let mut row = vec![0.0; m.in_features];
    for n in 0..m.out_features {
        m.row(n, &mut row).expect("a row");
        for (g, values) in row.chunks(size).enumerate() {
            let codes: Vec<f32> = (0..values.len()).map(|i| code(packed, n, g * size + i) as f32 - zero).collect();
            check(values, scale(packed, n, g), &codes);
        }
    }
}

fn extreme(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |e: f32, v| e.max(v.abs()))
}

#[test]
fn eight_bits_are_within_half_a_step() {
    for_each_matrix(8, |what, m, group_size| {
        let Requantized { packed, .. } = quantized(m, 8, group_size);
        for_each_group(m, &packed, group_size, |values, scale, codes| {
            let extreme = extreme(values);
            if scale == 0.0 {
                assert!(extreme <= SMALLEST_SCALE / 2.0, "{what}: {extreme:e} became zero");
                assert!(codes.iter().all(|&q| q == 0.0), "{what}: codes without a scale");
                return;
            }
            // No finer than needed, no coarser than f16 is.
            let finest = extreme / 127.0;
            let coarsest = (finest * (1.0 + 1.0 / 2048.0)).max(finest + SMALLEST_SCALE);
            assert!(scale <= coarsest, "{what}: a scale of {scale:e}, {extreme:e} needs {finest:e}");
            for (&value, &q) in values.iter().zip(codes) {
                assert!(q >= -127.0, "{what}: {value:e} became {q}");
                let error = (value - scale * q).abs();
                assert!(error <= HALF * scale, "{what}: {value:e} became {q} steps of {scale:e}");
            }
        });
    });
}

#[test]
fn four_bits_are_the_nearest_codes() {
    for_each_matrix(4, |what, m, group_size| {
        let Requantized { packed, .. } = quantized(m, 4, group_size);
        for_each_group(m, &packed, group_size, |values, scale, codes| {
            for (&value, &q) in values.iter().zip(codes) {
                let steps = if scale == 0.0 { 0.0 } else { value / scale };
                let is_clipped = (q == 7.0 && steps > 7.0) || (q == -8.0 && steps < -8.0);
                assert!((steps - q).abs() <= HALF || is_clipped, "{what}: {value:e} became {q} steps of {scale:e}");
            }
            assert!(scale != 0.0 || extreme(values) <= SMALLEST_SCALE / 2.0, "{what}: a group became zero");
        });
    });
}

/// The search must not lose to AutoRound's choice without one: the extreme becomes -8.
#[test]
fn four_bits_are_better_than_without_a_search() {
    for_each_matrix(4, |what, m, group_size| {
        let Requantized { deviation, .. } = quantized(m, 4, group_size);
        let mut row = vec![0.0; m.in_features];
        let mut squared_error = 0.0;
        for n in 0..m.out_features {
            m.row(n, &mut row).expect("a row");
            for values in row.chunks(group_size) {
                let extreme = values.iter().fold(0.0, |e: f32, &v| if v.abs() > e.abs() { v } else { e });
                for &value in values {
                    let scale = f64::from(extreme) / -8.0;
                    let q = if scale == 0.0 { 0.0 } else { (f64::from(value) / scale).round().clamp(-8.0, 7.0) };
                    squared_error += (f64::from(value) - scale * q).powi(2);
                }
            }
        }
        // f16 moves the scale, and with it all values, by 2^-11 at most, and more where it is subnormal.
        let coarse = (m.out_features * m.in_features) as f64 * f64::from(8.0 * SMALLEST_SCALE).powi(2);
        let limit = (squared_error.sqrt() + deviation.squared.sqrt() / 2048.0).powi(2) + coarse;
        assert!(deviation.squared_error <= limit, "{what}: {:e}, {squared_error:e} without", deviation.squared_error);
    });
}

fn deviation_of(m: &DenseMatrix, packed: &PackedMatrix) -> Deviation {
    let mut deviation = Deviation::default();
    let (mut row, mut decoded) = (vec![0.0; m.in_features], vec![0.0; m.in_features]);
    for n in 0..m.out_features {
        m.row(n, &mut row).expect("a row");
        packed.row(n, &mut decoded).expect("a row");
        for (&value, &decoded) in row.iter().zip(&decoded) {
            let error = f64::from(value) - f64::from(decoded);
            deviation.squared_error += error * error;
            deviation.squared += f64::from(value).powi(2);
            deviation.largest = deviation.largest.max(error.abs() as f32);
        }
    }
    deviation
}

fn assert_same(what: &str, a: Deviation, b: Deviation) {
    let is_near = |a: f64, b: f64| (a - b).abs() <= 1e-6 * a.abs().max(b.abs());
    assert!(is_near(a.squared_error, b.squared_error), "{what}: squared error {a:?}, {b:?}");
    assert!(is_near(a.squared, b.squared), "{what}: squared {a:?}, {b:?}");
    assert!(is_near(f64::from(a.largest), f64::from(b.largest)), "{what}: largest {a:?}, {b:?}");
}

#[test]
fn deviation_is_that_of_the_decoded_matrix() {
    for bits in [4, 8] {
        for_each_matrix(bits, |what, m, group_size| {
            let Requantized { packed, deviation } = quantized(m, bits, group_size);
            let expected = deviation_of(m, &packed);
            assert_same(what, expected, deviation);
            let relative =
                if expected.squared == 0.0 { 0.0 } else { (expected.squared_error / expected.squared).sqrt() };
            assert!((deviation.relative() - relative).abs() <= 1e-6, "{what}: {} {relative}", deviation.relative());
        });
    }
}

/// Numbers that 8 bits hold: -127 to 127 times a power of two, one of them at an end in each group.
#[test]
fn integers_of_eight_bits_are_exact() {
    let mut random = fresh(901);
    for power in [-24, -20, -14, -9, 0, 3, 15] {
        for dtype in [Dtype::BF16, Dtype::F32] {
            let values: Vec<f32> = (0..5 * 80)
                .map(|i| match i % 80 % 32 {
                    3 => 127.0 * random.uniform().signum(),
                    _ => random.below(255) as f32 - 127.0,
                })
                .map(|q| q * 2f32.powi(power))
                .collect();
            let what = format!("{dtype:?} 2^{power}");
            assert_exact(&what, &matrix(80, dtype, &values), 8);
        }
    }
}

/// Numbers that 4 bits hold, with either sign of the scale.
#[test]
fn integers_of_four_bits_are_exact() {
    let mut random = fresh(902);
    for power in [-24, -20, -14, -9, 0, 3, 15] {
        for (end, others) in [(-8.0, 16), (8.0, 16), (7.0, 15), (-7.0, 15)] {
            let values: Vec<f32> = (0..5 * 80)
                .map(|i| match i % 80 % 32 {
                    3 => end,
                    _ if end > 0.0 => 7.0 - random.below(others.min(15)) as f32,
                    _ => random.below(others.min(15)) as f32 - 7.0,
                })
                .map(|q| q * 2f32.powi(power))
                .collect();
            assert_exact(&format!("{end} * 2^{power}"), &matrix(80, Dtype::BF16, &values), 4);
        }
    }
}

fn assert_exact(what: &str, m: &DenseMatrix, bits: u32) {
    let Requantized { packed, deviation } = quantized(m, bits, GROUP_SIZE);
    let (mut row, mut decoded) = (vec![0.0; m.in_features], vec![0.0; m.in_features]);
    for n in 0..m.out_features {
        m.row(n, &mut row).expect("a row");
        packed.row(n, &mut decoded).expect("a row");
        assert_eq!(row, decoded, "{what}: row {n}");
    }
    assert_eq!((deviation.squared_error, deviation.largest), (0.0, 0.0), "{what}");
    assert_eq!(deviation.relative(), 0.0, "{what}");
}

#[test]
fn zeros_stay_zeros() {
    for bits in [4, 8] {
        for value in [0.0, -0.0, 1e-40, SMALLEST_SCALE / 2.0] {
            let m = matrix(48, Dtype::F32, &[value; 3 * 48]);
            let Requantized { packed, deviation } = quantized(&m, bits, GROUP_SIZE);
            assert!(packed.scales.iter().all(|&word| word == 0), "{bits} bits, {value:e}: scales");
            let mut row = vec![1.0; 48];
            packed.row(1, &mut row).expect("a row");
            assert!(row.iter().all(|v| v.to_bits() == 0), "{bits} bits, {value:e}: {row:?}");
            assert_eq!(deviation.largest, value.abs(), "{bits} bits, {value:e}");
            assert_eq!(deviation.relative(), if value == 0.0 { 0.0 } else { 1.0 }, "{bits} bits, {value:e}");
        }
        assert_eq!(Deviation::default().relative(), 0.0);
    }
}

/// The codes beyond the last column are 0, as in every packed matrix, and zero points are not stored.
#[test]
fn layout_is_that_of_every_packed_matrix() {
    for (bits, width) in [(4, 33), (8, 33), (4, 64), (8, 97)] {
        let m = matrix(width, Dtype::F32, &fresh(903).values(7 * width, common::random::Spread::Normal));
        let Requantized { packed, .. } = quantized(&m, bits, GROUP_SIZE);
        let words = PackedMatrix::code_words(width, bits);
        assert_eq!((packed.codes.len(), packed.zeros.is_none()), (7 * words, true));
        assert_eq!(size_bytes(7, width, bits, GROUP_SIZE), 4 * (packed.codes.len() + packed.scales.len()) as u64);
        for (n, row) in packed.codes.chunks_exact(words).enumerate() {
            for k in width..width.next_multiple_of(32) {
                let per_word = 32 / bits as usize;
                let code = row[k / per_word] >> (bits as usize * (k % per_word)) & ((1 << bits) - 1);
                assert_eq!(code, 0, "{bits} bits, row {n}, column {k}");
            }
        }
    }
}

#[test]
fn blocks_of_rows_are_the_whole() {
    let (n, width) = (101, 80);
    let values = fill(&mut fresh(904), Fill::Outliers, n, width, 1.0);
    for bits in [4, 8] {
        let Requantized { packed: whole, deviation } =
            quantized(&matrix(width, Dtype::BF16, &values), bits, GROUP_SIZE);
        let (mut codes, mut scales, mut sum) = (Vec::new(), Vec::new(), Deviation::default());
        for block in values.chunks(33 * width) {
            let Requantized { packed: part, deviation } =
                quantized(&matrix(width, Dtype::BF16, block), bits, GROUP_SIZE);
            codes.extend(part.codes);
            scales.extend(part.scales);
            sum.merge(deviation);
        }
        assert!(codes == whole.codes && scales == whole.scales, "{bits} bits: blocks differ");
        assert_same(&format!("{bits} bits"), deviation, sum);
    }
}

#[test]
// Within a percent of what was measured: luck could move that.
fn normal_values_lose_what_is_said() {
    let values: Vec<f32> = Random::new(905).values(64 * 2816, common::random::Spread::Normal);
    let m = matrix(2816, Dtype::BF16, &values.iter().map(|v| 0.02 * v).collect::<Vec<_>>());
    for (bits, group_size, expected) in [(8, 32, 0.0054), (8, 64, 0.0059), (8, 128, 0.0065), (4, 32, 0.081)] {
        let relative = quantized(&m, bits, group_size).deviation.relative();
        assert!((relative / expected - 1.0).abs() < 0.01, "{bits} bits, groups of {group_size}: {relative}");
    }
}

#[test]
fn values_that_no_code_can_stand_for_are_named() {
    let fault_of = |bits, row: usize, column: usize, value: f32| {
        let mut values = vec![0.5; 200 * 80];
        values[row * 80 + column] = value;
        // A later one is not what is reported.
        values[199 * 80 + 79] = f32::NAN;
        let m = matrix(80, Dtype::F32, &values);
        requantize("lm_head.weight", 1000, &m, bits, GROUP_SIZE).expect_err("a fault").to_string()
    };
    for bits in [4, 8] {
        for (row, column, value, shown) in [
            (0, 0, f32::NAN, "NaN"),
            (57, 33, -f32::NAN, "NaN"),
            (150, 79, f32::INFINITY, "inf"),
            (99, 64, f32::NEG_INFINITY, "-inf"),
        ] {
            let expected = format!(
                "tensor \"lm_head.weight\": row {}, column {column} is {shown}, expected a finite number",
                1000 + row
            );
            assert_eq!(fault_of(bits, row, column, value), expected);
        }
    }
    let too_large = "tensor \"lm_head.weight\": row 1003, column 5 is -9e6, expected at most 8.319008e6 from zero";
    assert_eq!(fault_of(8, 3, 5, -9e6), too_large);
    let too_large = "tensor \"lm_head.weight\": row 1003, column 5 is 5e5, expected at most 4.58528e5 from zero";
    assert_eq!(fault_of(4, 3, 5, 5e5), too_large);
}

#[test]
fn largest_values_are_reached() {
    for (bits, limit) in LIMITS {
        for sign in [1.0, -1.0] {
            let mut values = vec![0.25 * limit; 64];
            values[7] = sign * limit;
            let Requantized { packed, deviation } = quantized(&matrix(64, Dtype::F32, &values), bits, GROUP_SIZE);
            assert!(scale(&packed, 0, 0).is_finite(), "{bits} bits: scale {}", scale(&packed, 0, 0));
            let step = scale(&packed, 0, 0).abs();
            assert!(deviation.largest <= 1.5 * step, "{bits} bits: {} with steps of {step}", deviation.largest);
        }
    }
}
