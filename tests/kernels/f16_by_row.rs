//! `f16_by_row.wgsl`: rows in f16 with a power of two each.
//!
//! Powers of two change no bit of a number: factors are exact, and so are values of up to 11 bits. Others go to one of the
//! two neighbours in f16, as WGSL has it. Where a device has no f16, a text runs that differs in the last step alone: it
//! packs halves with `pack2x16float`, which every device has.

use half::f16;
use lapidary::testing::kernels::rounding::f16_by_row;
use lapidary::testing::kernels::rounding::f16_by_row::F16Rows;
use lapidary::testing::reference::ops;

use crate::common::random::{Random, Spread};
use crate::common::{Output, Runner, gpu, is_untouched, tensor};

/// The shader without the type f16.
fn packed(text: &str) -> String {
    let halves = "fn halves(v: vec4<f32>) -> vec2<u32> { return vec2(pack2x16float(v.xy), pack2x16float(v.zw)); }\n";
    let text = text.replace("enable f16;", "").replace("array<vec4<f16>>", "array<vec2<u32>>");
    text.replace("vec4<f16>(", "halves(") + halves
}

/// The texts that run here.
fn texts() -> &'static [Text] {
    if gpu().matrix_side().is_some() { &[Text::Own, Text::Packed] } else { &[Text::Packed] }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Text {
    Own,
    Packed,
}

/// Values and factor of each of the first rows, `rows_per_row` for each of `n_rows` rows of a step; others must stay as
/// they were.
fn rounded(
    (text, threads): (Text, u32),
    x: &[f32],
    width: usize,
    (n_rows, rows_per_row): (usize, usize),
) -> Vec<(Vec<f16>, f32)> {
    let (runner, x) = (Runner::with_threads(threads), tensor(width, x));
    let (values, factors) = (Output::compact(x.rows, x.stride / 2), Output::compact(x.rows, 1));
    let to = F16Rows { values: values.tensor.clone(), factors: factors.tensor.clone() };
    let planned = [f16_by_row::plan(&runner.planner, "f16_by_row", &x, rows_per_row, &to).expect("a plan")];
    let outputs = [&values, &factors];
    let made = match text {
        Text::Own => runner.run(&planned, n_rows, &outputs),
        Text::Packed => runner.run_altered(("packed f16", packed), &planned, n_rows, &outputs),
    };
    let mut rows = Vec::new();
    for (t, (words, &factor)) in made[0].chunks_exact(x.stride / 2).zip(&made[1]).enumerate() {
        if t >= n_rows * rows_per_row {
            assert!(words.iter().all(|&w| is_untouched(w)) && is_untouched(factor), "row {t} was written");
            continue;
        }
        let halves = words.iter().flat_map(|w| [w.to_bits() as u16, (w.to_bits() >> 16) as u16]);
        rows.push((halves.map(f16::from_bits).collect::<Vec<f16>>(), factor));
    }
    rows
}

/// Each text with each number of lanes.
fn ways() -> impl Iterator<Item = (Text, u32)> {
    texts().iter().flat_map(|&text| THREADS.map(|threads| (text, threads)))
}

/// Lanes of a row's workgroup.
const THREADS: [u32; 3] = [16, 64, 256];

/// Around whole chunks, and around the quads of a workgroup.
const WIDTHS: [usize; 9] = [1, 31, 32, 33, 64, 260, 1024, 1056, 2816];

fn check(what: &str, x: &[f32], width: usize, is_exact: bool) {
    for way in ways() {
        let rows = rounded(way, x, width, (x.len() / width, 1));
        for (t, (row, (values, factor))) in x.chunks_exact(width).zip(rows).enumerate() {
            let what = format!("{what}, width {width}, {way:?}, row {t}");
            let (wanted, wanted_factor) = ops::f16_by_row(row);
            assert_eq!(factor, wanted_factor, "{what}: factor");
            assert!(values[width..].iter().all(|v| v.to_f32() == 0.0), "{what}: padding");
            for (k, (&v, &half)) in row.iter().zip(&values).enumerate() {
                let exact = f64::from(v) / f64::from(factor);
                let off = (half.to_f64() - exact).abs();
                // A unit of f16 here; what is below its normal numbers may be taken for zero.
                let bound = if is_exact { 0.0 } else { (exact.abs() / 1024.0).max(2f64.powi(-14)) };
                let is_flushed = v.abs() < f32::MIN_POSITIVE && half.to_f32() == 0.0;
                assert!(
                    off <= bound || is_flushed,
                    "{what}: {half} of {v} ({k}), expected {} within {bound:e}",
                    wanted[k]
                );
            }
        }
    }
}

#[test]
fn rows_of_all_widths() {
    let mut random = Random::new(798);
    for width in WIDTHS {
        for spread in [Spread::Normal, Spread::Outliers, Spread::Zero] {
            check(&format!("{spread:?}"), &random.values(3 * width, spread), width, false);
        }
    }
}

/// Whole numbers of up to 11 bits times a power of two, whose largest stands anywhere: bit for bit.
pub(super) fn check_exact() {
    let mut random = Random::new(799);
    for width in [32, 33, 260, 1056] {
        let mut x: Vec<f32> = (0..4 * width).map(|_| random.below(2047) as f32 - 1023.0).collect();
        for (row, exponent) in x.chunks_exact_mut(width).zip([0, -90, 100, 7]) {
            row[random.below(width)] = if exponent == 7 { -2047.0 } else { 1024.0 };
            row.iter_mut().for_each(|v| *v *= 2f32.powi(exponent));
        }
        check("11 bits", &x, width, true);
        // The largest at each end of a row.
        for at in [0, 3, 4, width - 1] {
            let mut x = vec![1.0; width];
            x[at] = 1536.0;
            check(&format!("largest at {at}"), &x, width, true);
        }
    }
}

#[test]
fn eleven_bits_are_exact() {
    check_exact();
}

/// Powers of two and their neighbours, where factors change; the ends of f32.
pub(super) fn check_ends() {
    let below = |v: f32| f32::from_bits(v.to_bits() - 1);
    for largest in [1.0, below(1.0), 2.0, 16384.0, below(16384.0), 65504.0, 65536.0, f32::MAX, 2f32.powi(-112)] {
        check(&format!("{largest:e}"), &[largest, -largest / 2.0, 0.0, largest / 4.0, -largest], 5, false);
    }
    // Rows of the smallest numbers have the smallest factor; subnormal ones may be taken for zero.
    check("smallest", &[f32::MIN_POSITIVE, -f32::MIN_POSITIVE, 0.0], 3, true);
    check("subnormal", &[1e-40, -1e-42, 0.0], 3, false);
}

#[test]
fn ends_of_the_range() {
    check_ends();
}

/// NaN and infinity stay what they are, in their row; other rows keep their factors.
#[test]
fn no_numbers_stay_none() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for at in [0, 40, 63] {
            let mut x = vec![0.5; 2 * 64];
            x[at] = value;
            for way in ways() {
                let rows = rounded(way, &x, 64, (2, 1));
                let bad: Vec<usize> = (0..64).filter(|&k| !rows[0].0[k].is_finite()).collect();
                assert_eq!(bad, [at], "{value} at {at}, {way:?}");
                assert_eq!(rows[1], ops::f16_by_row(&x[64..]), "{value} at {at}, {way:?}: the other row");
            }
        }
    }
}

/// A row of the step may have several rows of x; what lies behind the step's rows is left alone.
#[test]
fn rows_of_a_step() {
    let x = Random::new(800).values(10 * 40, Spread::Normal);
    for way in ways() {
        let all = rounded(way, &x, 40, (10, 1));
        for (n_rows, rows_per_row) in [(1, 1), (2, 4), (5, 2)] {
            let rows = rounded(way, &x, 40, (n_rows, rows_per_row));
            assert!(
                rows.len() == n_rows * rows_per_row && rows == all[..rows.len()],
                "{n_rows} rows of {rows_per_row}"
            );
        }
    }
}
