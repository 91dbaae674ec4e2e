//! `int8_by_16.wgsl`: activations rounded to int8 in blocks of 16, by themselves. What kernels round that make them is in
//! `rounding.rs`, the products that read them in `rounded.rs`.
//!
//! Bounds are those of `int8_by_32.rs`.

use lapidary::testing::kernels::rounding::int8_by_16;
use lapidary::testing::reference::ops;

use super::rounded::{output, round};
use crate::common::random::{Random, Spread};
use crate::common::tolerance::{EPS, assert_close};
use crate::common::{Output, Runner, is_untouched, tensor};

/// The words of each row of `x`, with guard words where nothing is to be written.
fn words_of(x: &[f32], width: usize) -> Vec<Vec<u32>> {
    let (runner, out): (_, Output) = (Runner::new(), output(x.len() / width, width));
    let planned = int8_by_16::plan(&runner.planner, "round", &tensor(width, x), &out.tensor).expect("a plan");
    let words = runner.run_raw_rows(planned, &out, x.len() / width);
    words.chunks_exact(out.tensor.stride).map(<[u32]>::to_vec).collect()
}

/// Of a row of so many chunks, the words of block `block`: codes, scale and sum.
fn block_of(words: &[u32], block: usize) -> (&[u32], f32, f32) {
    let (chunks, chunk, half) = (words.len() / 12, block / 2, block % 2);
    let scales = &words[4 * (2 * chunks + chunk)..][..4];
    let codes = &words[4 * (half * chunks + chunk)..][..4];
    (codes, f32::from_bits(scales[half]), f32::from_bits(scales[2 + half]))
}

/// The codes of a block in the order of its activations.
fn codes_of(words: &[u32]) -> Vec<i8> {
    (0..16).map(|k| (words[2 * (k / 8) + k % 2] >> (8 * (k % 8 / 2))) as i8).collect()
}

/// Each block against its twin, and nothing behind the last one.
fn check(what: &str, x: &[f32], width: usize) {
    for (t, (row, words)) in x.chunks_exact(width).zip(words_of(x, width)).enumerate() {
        let twin = ops::int8_by_16(row);
        for (block, x) in row.chunks(16).enumerate() {
            let what = format!("{what}, width {width}, row {t}, block {block}");
            let (codes, scale, sum) = block_of(&words, block);
            let (_, wanted, _) = block_of(&twin, block);
            // What is below the normal numbers may be taken for zero.
            assert_close(&format!("{what}: scale"), &[wanted], &[scale], |_| {
                3.0 * EPS * f64::from(wanted) + f64::from(f32::MIN_POSITIVE)
            });
            let (codes, largest) = (codes_of(codes), x.iter().fold(0.0f32, |most, v| most.max(v.abs())));
            for (k, &code) in codes.iter().enumerate() {
                let v = x.get(k).copied().unwrap_or(0.0);
                let quotient = if largest < 1e-30 { 0.0 } else { 127.0 * f64::from(v) / f64::from(largest) };
                let off = (f64::from(code) - quotient).abs();
                assert!(off <= 0.5 + 127.0 * 3.0 * EPS, "{what}: code {code} of {v} ({k}), which is {quotient} steps");
            }
            let total: i32 = codes.iter().map(|&code| i32::from(code)).sum();
            let exact = (f64::from(scale) * f64::from(total)) as f32;
            assert_close(&format!("{what}: sum"), &[exact], &[sum], |_| {
                EPS * f64::from(exact.abs()) + f64::from(f32::MIN_POSITIVE)
            });
        }
        if width.div_ceil(16) % 2 == 1 {
            let (codes, scale, sum) = block_of(&words, width.div_ceil(16));
            let is_left =
                codes.iter().all(|&w| is_untouched(f32::from_bits(w))) && is_untouched(scale) && is_untouched(sum);
            assert!(is_left, "{what}, width {width}, row {t}: a block behind the row was written");
        }
    }
}

/// Widths around blocks and chunks, and around the 64 blocks of a workgroup.
const WIDTHS: [usize; 13] = [1, 15, 16, 17, 31, 32, 33, 704, 1023, 1024, 1040, 2816, 5376];

#[test]
fn rows_of_all_widths() {
    let mut random = Random::new(900);
    for width in WIDTHS {
        for spread in [Spread::Normal, Spread::Outliers, Spread::Subnormal, Spread::Zero] {
            let x = random.values(3 * width, spread);
            check(&format!("{spread:?}"), &x, width);
            // And as products find them: the codes stand for the values to half a step.
            round(&Runner::new(), width, &x);
        }
    }
}

/// Whole steps are no matter of rounding: codes are the twin's to the bit.
pub(super) fn check_grid() {
    let mut random = Random::new(797);
    for width in [16, 17, 96, 1056] {
        let mut x: Vec<f32> = (0..3 * width).map(|_| random.below(255) as f32 - 127.0).collect();
        for row in x.chunks_exact_mut(width) {
            for (block, values) in row.chunks_mut(16).enumerate() {
                values[random.below(values.len())] = if block % 2 == 0 { 127.0 } else { -127.0 };
                let step = [0.125, 1.0, 64.0, 1e-20f32][random.below(4)];
                values.iter_mut().for_each(|v| *v *= step);
            }
        }
        for (t, (row, words)) in x.chunks_exact(width).zip(words_of(&x, width)).enumerate() {
            let twin = ops::int8_by_16(row);
            for block in 0..width.div_ceil(16) {
                let ((codes, ..), (wanted, ..)) = (block_of(&words, block), block_of(&twin, block));
                assert_eq!(codes, wanted, "width {width}, row {t}: codes of block {block}");
            }
        }
        check("whole steps", &x, width);
    }
}

#[test]
fn whole_steps_are_exact() {
    check_grid();
}

/// A one at each edge of blocks and words becomes 127 there, and all else 0.
pub(super) fn check_one_hot() {
    for k in [0, 1, 2, 3, 4, 6, 7, 8, 9, 15, 16, 17, 31, 32, 47, 48, 63] {
        for sign in [1.0f32, -1.0] {
            let mut x = vec![0.0; 64];
            x[k] = sign;
            let words = words_of(&x, 64).remove(0);
            let found: Vec<i8> = (0..4).flat_map(|block| codes_of(block_of(&words, block).0)).collect();
            let expected: Vec<i8> = (0..64).map(|i| if i == k { 127 * sign as i8 } else { 0 }).collect();
            assert_eq!(found, expected, "{sign} at {k}");
            for block in 0..4 {
                let (_, scale, sum) = block_of(&words, block);
                assert!((scale > 0.0) == (block == k / 16), "{sign} at {k}: scale {scale} of block {block}");
                let size = if block == k / 16 { sign } else { 0.0 };
                assert!((sum - size).abs() <= 8.0 * f32::EPSILON, "{sign} at {k}: sum {sum} of block {block}");
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
    let row = |values: [f32; 3]| -> Vec<f32> { (0..48).map(|i| values[i % 3]).collect() };
    check("largest", &row([f32::MAX / 16.0, -f32::MAX / 32.0, 0.0]), 48);
    check("around the smallest with an inverse", &row([1.01e-30, -1e-30, 0.5e-30]), 48);
    check("just below it", &row([0.99e-30, -0.9e-30, 0.0]), 48);
    check("zeros of both signs", &row([-0.0, 0.0, -0.0]), 48);
}

#[test]
fn what_is_no_number_stays_none() {
    let mut x = vec![0.5; 2 * 64];
    (x[20], x[40]) = (f32::NAN, f32::INFINITY);
    let rows = words_of(&x, 64);
    let is_finite = |row: usize| [0, 1, 2, 3].map(|block| block_of(&rows[row], block).1.is_finite());
    assert_eq!((is_finite(0), is_finite(1)), ([true, false, false, true], [true; 4]));
}
