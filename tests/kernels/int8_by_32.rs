//! `int8_by_32.wgsl`: rows as int8 in blocks of 32 with a scale each.
//!
//! Bounds: WGSL's division is good to 2.5 units and a product to half of one, so that the quotient that becomes a code is off
//! by up to 3 units of itself, 127 at most: a code is right where it is within half of the exact quotient and so much more.

use lapidary::testing::kernels::rounding::int8_by_32;
use lapidary::testing::kernels::rounding::int8_by_32::row_words;
use lapidary::testing::reference::ops;

use crate::common::random::{Random, Spread};
use crate::common::tolerance::{EPS, assert_close};
use crate::common::{Output, Runner, is_untouched, tensor};

/// The words of the first rows, `rows_per_row` for each of `n_rows` rows of a step; others must stay as they were.
fn quantized(x: &[f32], width: usize, (n_rows, rows_per_row): (usize, usize), interleaved: bool) -> Vec<Vec<u32>> {
    let (runner, x) = (Runner::new(), tensor(width, x));
    let words = row_words(x.stride);
    let out = Output::compact(x.rows, words);
    let planned = int8_by_32::plan(&runner.planner, "quantize", &x, rows_per_row, interleaved, &out.tensor);
    let all = runner.run_one(planned.expect("a plan"), n_rows, &out);
    let (blocks, codes) = (x.stride / 32, x.stride / 4);
    let mut rows = Vec::new();
    for (t, row) in all.chunks_exact(words).enumerate() {
        let end = if t < n_rows * rows_per_row { codes + blocks } else { 0 };
        assert!(row[end..].iter().all(|&v| is_untouched(v)), "width {width}, row {t}: more was written");
        if end > 0 {
            rows.push(row[..end].iter().map(|v| v.to_bits()).collect());
        }
    }
    rows
}

/// Codes in the order of their words' bytes.
fn codes(words: &[u32]) -> Vec<i8> {
    words.iter().flat_map(|word| word.to_le_bytes().map(|byte| byte as i8)).collect()
}

/// What a code stands for: of each eight, those of even numbers come first where codes are interleaved.
fn in_order(codes: &[i8], interleaved: bool) -> Vec<i8> {
    let order = if interleaved { [0, 4, 1, 5, 2, 6, 3, 7] } else { [0, 1, 2, 3, 4, 5, 6, 7] };
    codes.chunks_exact(8).flat_map(|eight| order.map(|i| eight[i])).collect()
}

fn padded(row: &[f32]) -> Vec<f32> {
    let mut row = row.to_vec();
    row.resize(row.len().next_multiple_of(32), 0.0);
    row
}

/// Scales to 3 units, codes as the head of this file says.
fn check(what: &str, x: &[f32], width: usize, interleaved: bool) {
    for (t, (row, words)) in
        x.chunks_exact(width).zip(quantized(x, width, (x.len() / width, 1), interleaved)).enumerate()
    {
        let row = padded(row);
        let (code_words, scales) = words.split_at(row.len() / 4);
        let twin = ops::int8_by_32(&row, interleaved);
        let found = in_order(&codes(code_words), interleaved);
        for (block, (x, codes)) in row.chunks_exact(32).zip(found.chunks_exact(32)).enumerate() {
            let what = format!("{what}, width {width}, row {t}, block {block}");
            let (scale, wanted) = (f32::from_bits(scales[block]), f32::from_bits(twin[row.len() / 4 + block]));
            // What is below the normal numbers may be taken for zero.
            assert_close(&format!("{what}: scale"), &[wanted], &[scale], |_| {
                3.0 * EPS * f64::from(wanted) + f64::from(f32::MIN_POSITIVE)
            });
            let largest = x.iter().fold(0.0f32, |most, v| most.max(v.abs()));
            for (k, (&v, &code)) in x.iter().zip(codes).enumerate() {
                let quotient = if largest < 1e-30 { 0.0 } else { 127.0 * f64::from(v) / f64::from(largest) };
                let off = (f64::from(code) - quotient).abs();
                assert!(off <= 0.5 + 127.0 * 3.0 * EPS, "{what}: code {code} of {v} ({k}), which is {quotient} steps");
            }
        }
    }
}

/// The largest number that WGSL divides by within a bound.
const MOST: f32 = 8.507_059e37;

/// Widths around whole chunks, and around the 64 blocks of a workgroup.
const WIDTHS: [usize; 11] = [1, 31, 32, 33, 64, 80, 96, 2047, 2048, 2080, 2816];

#[test]
fn rows_of_all_widths() {
    let mut random = Random::new(794);
    for width in WIDTHS {
        for spread in [Spread::Uniform, Spread::Outliers, Spread::Subnormal, Spread::Zero] {
            for interleaved in [false, true] {
                check(&format!("{spread:?}"), &random.values(3 * width, spread), width, interleaved);
            }
        }
    }
}

/// Whole numbers of up to 127 steps, of which some are 127 or -127, are no matter of rounding: codes are the twin's to the
/// bit, wherever they stand.
pub(super) fn check_grid() {
    let mut random = Random::new(795);
    for width in [32, 33, 96, 2080] {
        let mut x: Vec<f32> = (0..3 * width).map(|_| random.below(255) as f32 - 127.0).collect();
        for row in x.chunks_exact_mut(width) {
            for (block, values) in row.chunks_mut(32).enumerate() {
                values[random.below(values.len())] = if block % 2 == 0 { 127.0 } else { -127.0 };
                let step = [0.125, 1.0, 64.0, 1e-20f32][random.below(4)];
                values.iter_mut().for_each(|v| *v *= step);
            }
        }
        for interleaved in [false, true] {
            let rows = quantized(&x, width, (3, 1), interleaved);
            for (t, (row, words)) in x.chunks_exact(width).zip(&rows).enumerate() {
                let n_codes = width.next_multiple_of(32) / 4;
                let twin = ops::int8_by_32(&padded(row), interleaved);
                assert_eq!(
                    words[..n_codes],
                    twin[..n_codes],
                    "width {width}, row {t}, interleaved {interleaved}: codes"
                );
                let scales = |words: &[u32]| words.iter().map(|&w| f32::from_bits(w)).collect::<Vec<f32>>();
                let (wanted, found) = (scales(&twin[n_codes..words.len()]), scales(&words[n_codes..]));
                let tolerance = |i: usize| 3.0 * EPS * f64::from(wanted[i]);
                assert_close(&format!("width {width}, row {t}: scales"), &wanted, &found, tolerance);
            }
        }
    }
}

#[test]
fn whole_steps_are_exact() {
    check_grid();
}

/// A one at each edge of blocks and words becomes 127 there, and all else 0.
pub(super) fn check_one_hot() {
    let width = 96;
    for k in [0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 31, 32, 33, 63, 64, 95] {
        for sign in [1.0f32, -1.0] {
            for interleaved in [false, true] {
                let mut x = vec![0.0; width];
                x[k] = sign;
                let words = quantized(&x, width, (1, 1), interleaved).remove(0);
                let found = in_order(&codes(&words[..24]), interleaved);
                let expected: Vec<i8> = (0..width).map(|i| if i == k { 127 * sign as i8 } else { 0 }).collect();
                assert_eq!(found, expected, "{sign} at {k}, interleaved {interleaved}");
                let scales: Vec<f32> = words[24..].iter().map(|&word| f32::from_bits(word)).collect();
                assert!(scales.iter().enumerate().all(|(b, &s)| (s != 0.0) == (b == k / 32)), "{k}: {scales:?}");
            }
        }
    }
}

#[test]
fn ones_at_every_edge() {
    check_one_hot();
}

/// The ends of f32, and blocks whose largest value has no finite inverse.
#[test]
fn ends_of_the_range() {
    let row = |values: [f32; 3]| -> Vec<f32> { (0..64).map(|i| values[i % 3]).collect() };
    // WGSL bounds the error of a division by up to 2^126; beyond that GPUs take the inverse for zero.
    check("largest", &row([MOST, -MOST / 2.0, 0.0]), 64, true);
    check("around the smallest with an inverse", &row([1.01e-30, -1e-30, 0.5e-30]), 64, false);
    check("just below it", &row([0.99e-30, -0.9e-30, 0.0]), 64, false);
    check("zeros of both signs", &row([-0.0, 0.0, -0.0]), 64, true);
}

/// NaN and infinity of one block make its scale none, and no other's.
pub(super) fn check_no_numbers() {
    for (value, interleaved) in
        [(f32::NAN, true), (-f32::NAN, false), (f32::INFINITY, true), (f32::NEG_INFINITY, false)]
    {
        for at in [32, 47, 63] {
            let mut x = vec![0.5; 2 * 96];
            x[at] = value;
            let rows = quantized(&x, 96, (2, 1), interleaved);
            for (t, words) in rows.iter().enumerate() {
                let finite = words[24..].iter().map(|&w| f32::from_bits(w).is_finite()).collect::<Vec<_>>();
                assert_eq!(finite, [true, t != 0, true], "{value} at {at}: scales of row {t}");
            }
        }
    }
}

#[test]
fn no_numbers_stay_none() {
    check_no_numbers();
}

/// A row of the step may have several rows of x; what lies behind the step's rows is left alone.
#[test]
fn rows_of_a_step() {
    let mut random = Random::new(796);
    let x: Vec<f32> = random.values(10 * 40, Spread::Normal);
    for (n_rows, rows_per_row) in [(1, 1), (2, 4), (5, 2), (10, 1)] {
        let rows = quantized(&x, 40, (n_rows, rows_per_row), true);
        assert_eq!(rows.len(), n_rows * rows_per_row);
        let all = quantized(&x, 40, (10, 1), true);
        assert_eq!(rows, all[..rows.len()], "{n_rows} rows of {rows_per_row}");
    }
}
