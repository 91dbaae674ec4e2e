//! `matmul.wgsl`: products of many rows, exact ones. Others, shards and formats are in `product.rs`, those of rounded inputs
//! in `rounded_tiles.rs`.
//!
//! Whole numbers whose sums stay below 2^24 add up exactly in any order, so that each tile, share and tail must give the
//! twin's number to the bit.

use lapidary::gpu::{Kind, Tier};
use lapidary::quant::{DenseMatrix, Matrix};
use lapidary::testing::kernels::product::{self, Product, Rows};
use lapidary::testing::kernels::{Tuning, Weights};
use lapidary::testing::reference::ops;

use super::product::{Path, product, upload};
use super::rounded_tiles::{dot_tiles, expected, matrix_tiles, on_grid, runner};
use crate::common::matrices::{Order, Scales, Spec, Unpacked};
use crate::common::random::Random;
use crate::common::tolerance::assert_close;
use crate::common::{Output, Runner, compact, is_untouched, tables, tensor};

/// All ways of f32.
pub(super) const PATHS: [Path; 5] = [Path::Matmul, Path::Shares, Path::Small, Path::Half, Path::Direct];

/// Whole numbers of up to `most`.
pub(super) fn whole(random: &mut Random, count: usize, most: usize) -> Vec<f32> {
    (0..count).map(|_| random.below(2 * most + 1) as f32 - most as f32).collect()
}

/// A dense matrix of whole numbers.
pub(super) fn whole_matrix(random: &mut Random, n_out: usize, n_in: usize) -> Matrix {
    Matrix::Dense(DenseMatrix::from_f32(n_out, n_in, &whole(random, n_out * n_in, 15)).expect("a matrix"))
}

/// Codes with scales that are powers of two: halves and wholes.
pub(super) fn whole_codes(random: &mut Random, spec: Spec) -> Matrix {
    let mut matrix = Unpacked::random(random, Spec { scales: Scales::Ordinary, ..spec });
    matrix.scales.iter_mut().for_each(|scale| *scale = [0.5, 1.0, -1.0, 2.0][random.below(4)]);
    Matrix::Packed(matrix.pack())
}

fn exact(what: &str, path: Path, weights: &Weights, matrix: &Matrix, x: &[f32]) {
    let actual = product(&Runner::new(), path, weights, x, 0.0);
    assert_close(&format!("{path:?}, {what}"), &ops::matmul(x, matrix), &actual, |_| 0.0);
}

/// Shapes around tiles of 16 to 128 rows and features, and around steps of 8 to 32 input features; none is a whole number
/// of all of these.
const SHAPES: [(usize, usize, usize); 8] =
    [(1, 1, 1), (7, 31, 9), (8, 32, 8), (33, 63, 33), (65, 64, 31), (64, 65, 704), (130, 127, 41), (129, 129, 272)];

/// As few as most bugs show in.
pub(super) const FEW: [(usize, usize, usize); 2] = [(33, 63, 33), (65, 64, 31)];

pub(super) fn check_whole(paths: &[Path], shapes: &[(usize, usize, usize)]) {
    let mut random = Random::new(830);
    for &(n_rows, n_out, n_in) in shapes {
        let x = whole(&mut random, n_rows * n_in, 15);
        let dense = whole_matrix(&mut random, n_out, n_in);
        let spec = Spec { asymmetric: true, ..Spec::new(n_out, n_in, 16) };
        let codes = whole_codes(&mut random, spec);
        for (matrix, weights) in [(&dense, upload(&dense)), (&codes, upload(&codes))] {
            for &path in paths {
                exact(&format!("[{n_out}, {n_in}], {n_rows} rows"), path, &weights, matrix, &x);
            }
        }
    }
}

#[test]
fn whole_numbers_are_exact() {
    check_whole(&PATHS, &SHAPES);
}

#[test]
fn codes_of_all_kinds_are_exact() {
    let mut random = Random::new(831);
    for (bits, order, asymmetric) in [
        (4, Order::Shuffled, true),
        (8, Order::Sequential, false),
        (8, Order::Shuffled, true),
        (4, Order::Sequential, false),
    ] {
        let spec = Spec { bits, order, asymmetric, ..Spec::new(65, 272, 32) };
        let matrix = whole_codes(&mut random, spec);
        let (weights, x) = (upload(&matrix), whole(&mut random, 35 * 272, 3));
        PATHS.iter().for_each(|&path| exact(&format!("{spec:?}"), path, &weights, &matrix, &x));
    }
}

/// One input alone, at the edges of steps, chunks and shares, for every row: a column of the weights.
#[test]
fn one_input_alone() {
    let mut random = Random::new(832);
    let matrix = whole_matrix(&mut random, 67, 530);
    let weights = upload(&matrix);
    let ks = [0, 1, 7, 8, 15, 16, 31, 32, 33, 63, 64, 127, 128, 255, 256, 511, 512, 528, 529];
    let mut x = vec![0.0; ks.len() * 530];
    x.chunks_exact_mut(530).zip(ks).for_each(|(row, k)| row[k] = 1.0);
    PATHS.iter().for_each(|&path| exact("one input", path, &weights, &matrix, &x));
}

/// The ends of f32 pass, and what is no number stays in its row.
#[test]
fn ends_of_the_range() {
    let matrix = Matrix::Dense(DenseMatrix::from_f32(5, 40, &[1.0; 200]).expect("a matrix"));
    let weights = upload(&matrix);
    for path in PATHS {
        let mut x = vec![0.0; 6 * 40];
        (x[39], x[40], x[2 * 40 + 8]) = (f32::MAX, f32::MIN_POSITIVE, -f32::MAX);
        (x[3 * 40 + 39], x[5 * 40]) = (f32::NAN, f32::INFINITY);
        let y = product(&Runner::new(), path, &weights, &x, 0.0);
        let rows: Vec<&[f32]> = y.chunks_exact(5).collect();
        assert_eq!((rows[0], rows[2], rows[4]), (&[f32::MAX; 5][..], &[-f32::MAX; 5][..], &[0.0; 5][..]), "{path:?}");
        assert_eq!(rows[1], [f32::MIN_POSITIVE; 5], "{path:?}");
        assert!(rows[3].iter().all(|v| v.is_nan()), "{path:?}: {:?}", rows[3]);
        assert!(rows[5].iter().all(|v| !v.is_finite()), "{path:?}: {:?}", rows[5]);
    }
}

/// The count of rows, not the grid, says where a step ends: with none, nothing is written, in every way and tier.
pub(super) fn check_counts() {
    let mut random = Random::new(833);
    let matrix = whole_codes(&mut random, Spec::new(65, 96, 32));
    let (weights, x) = (upload(&matrix), on_grid(&mut random, 70, 96));
    let plain = PATHS.iter().filter_map(|path| path.tiles()).map(|runner| (Tier::Plain, runner));
    let others = [Tier::Dot, Tier::Matrix].into_iter();
    let others = others.filter_map(|tier| Some((tier, runner(tier, Tuning::of(Kind::Nvidia))?)));
    for (tier, runner) in plain.chain(others) {
        for n_rows in [0, 1, 32, 33, 69] {
            let (count, y, x_tensor) = (compact(1, &[n_rows as u32]), Output::new(70, 65), tensor(96, &x));
            let rows = Rows::Many(&count);
            let planned =
                product::plan(&runner.planner, "product", &Product::new(&weights, rows, &x_tensor, &y.tensor));
            let actual = runner.run(&planned.expect("a plan"), 70, &[&y]).remove(0);
            let (written, rest) = actual.split_at(n_rows * 65);
            assert!(rest.iter().all(|&v| is_untouched(v)), "{tier}, {n_rows} rows: more were written");
            let of = if tier == Tier::Plain { Tier::Dot } else { tier };
            let (expected, bound) = expected(of, &x[..n_rows * 96], &matrix);
            assert_close(&format!("{tier}, {n_rows} rows"), &expected, written, |i| bound[i]);
        }
    }
}

#[test]
fn rows_beyond_the_count_are_left_alone() {
    check_counts();
}

/// The fast tiers with the same shapes: inputs that int8 holds, whose products are as good as those of f32.
#[test]
fn tails_of_fast_tiers() {
    let of_dot = tables(dot_tiles).into_iter().map(|table| (Tier::Dot, table));
    let of_matrix = tables(matrix_tiles).into_iter().map(|table| (Tier::Matrix, table));
    for (tier, table) in of_dot.chain(of_matrix) {
        let Some(runner) = runner(tier, table) else { continue };
        let mut random = Random::new(834);
        for (n_rows, n_out, n_in) in [(1, 1, 32), (33, 63, 33), (65, 65, 96), (130, 127, 41)] {
            let matrix = whole_codes(&mut random, Spec { asymmetric: true, ..Spec::new(n_out, n_in, 32) });
            let x = on_grid(&mut random, n_rows, n_in);
            let (count, y) = (compact(1, &[n_rows as u32]), Output::new(n_rows, n_out));
            let (weights, x_tensor, rows) = (upload(&matrix), tensor(n_in, &x), Rows::Many(&count));
            let planned =
                product::plan(&runner.planner, "product", &Product::new(&weights, rows, &x_tensor, &y.tensor));
            let actual = runner.run(&planned.expect("a plan"), n_rows, &[&y]).remove(0);
            let (expected, bound) = expected(tier, &x, &matrix);
            let what = format!("{tier}, table {}, [{n_out}, {n_in}], {n_rows} rows", table.kind);
            assert_close(&what, &expected, &actual, |i| bound[i]);
        }
    }
}
