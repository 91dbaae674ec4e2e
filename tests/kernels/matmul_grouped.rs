//! `matmul_grouped.wgsl`: products of many rows by expert, exact ones as those of `matmul.rs`. Others are in `experts.rs`,
//! those of rounded inputs in `rounded_tiles.rs`.

use lapidary::gpu::{Kind, Tier};
use lapidary::quant::Matrix;
use lapidary::testing::kernels::{Tuning, Weights, WeightsBuilder};
use lapidary::testing::reference::ops;

use super::matmul::{whole, whole_codes, whole_matrix};
use super::moe_group::plan_product;
use super::rounded_tiles::{expected, on_grid, runner};
use crate::common::matrices::Spec;
use crate::common::random::Random;
use crate::common::tolerance::assert_close;
use crate::common::{Output, Runner, compact, gpu, is_untouched, tables, tensor};

/// Matrices `first_matrix` and the following, `per_part` in a part, if that many fit.
fn stack(matrices: &[Matrix], first_matrix: usize, per_part: usize) -> Weights {
    let (n_out, n_in) = (matrices[0].out_features(), matrices[0].in_features());
    let row_bytes = match &matrices[0] {
        Matrix::Packed(m) => m.codes.len() * 4 / n_out,
        Matrix::RowShard(m) => m.codes.len() * 4 / n_out,
        Matrix::Dense(m) => m.words.len() * 4 / n_out,
    };
    let part_bytes = (per_part * n_out * row_bytes + 4) as u64;
    let builder = WeightsBuilder::new(gpu(), "stack", matrices.len(), n_out, n_in).max_part_bytes(part_bytes);
    let mut builder = builder.first_matrix(first_matrix);
    for (e, matrix) in matrices.iter().enumerate() {
        builder.add(e, 0, matrix).expect("memory");
    }
    builder.finish().expect("a device")
}

/// Products of the rows of `ids`, `[rows, top_k]`, against the twin, to the bit; rows of other experts stay as they were.
fn exact(
    what: &str,
    (weights, matrices): (&Weights, &[Matrix]),
    ids: &[u32],
    (top_k, repeat): (usize, usize),
    x: &[f32],
) {
    let (n_out, n_in) = (weights.out_features, weights.in_features);
    let first = weights.first_matrix as u32;
    let expected = ops::matmul_grouped(x, repeat, matrices, first, ids);
    let (x, ids_tensor) = (tensor(n_in, x), compact(top_k, ids));
    for table in tables(|table| table.experts.plain) {
        let (runner, y) = (Runner::with_tiles(table), Output::new(ids.len(), n_out));
        let planned = plan_product(&runner, weights, &ids_tensor, repeat, &x, &y.tensor);
        let actual = runner.run(&planned, ids.len() / top_k, &[&y]).remove(0);
        for (p, (expected, actual)) in expected.iter().zip(actual.chunks_exact(n_out)).enumerate() {
            let what = format!("{what}, table {}, row {p} of expert {}", table.kind, ids[p]);
            match expected {
                Some(expected) => assert_close(&what, expected, actual, |_| 0.0),
                None => assert!(actual.iter().all(|&v| is_untouched(v)), "{what} was written"),
            }
        }
    }
}

/// Experts with no row, with one, with a full tile and one more; ids of other ranks and beyond all.
fn uneven(random: &mut Random, rows: usize) -> Vec<u32> {
    (0..rows)
        .map(|p| if p % 7 == 6 { [3, 5, 9, u32::MAX][random.below(4)] } else { [0, 0, 0, 1, 4][random.below(5)] })
        .collect()
}

/// Of each output and input features, rows and experts of a row.
pub(super) fn check_whole(shapes: &[(usize, usize, usize, usize)]) {
    let mut random = Random::new(840);
    for &(n_out, n_in, rows, top_k) in shapes {
        let rows = rows * top_k;
        let ids = uneven(&mut random, rows);
        for is_dense in [true, false] {
            let one = |random: &mut Random| match is_dense {
                true => whole_matrix(random, n_out, n_in),
                false => whole_codes(random, Spec { asymmetric: true, ..Spec::new(n_out, n_in, 16) }),
            };
            let matrices: Vec<Matrix> = (0..6).map(|_| one(&mut random)).collect();
            for (repeat, per_part) in [(1, 6), (top_k, 2)] {
                let x = whole(&mut random, rows / repeat * n_in, 15);
                let what = format!("[{n_out}, {n_in}], {rows} rows, repeat {repeat}, dense {is_dense}");
                exact(&what, (&stack(&matrices, 0, per_part), &matrices), &ids, (top_k, repeat), &x);
                // A rank that begins with another expert.
                let held = &matrices[1..5];
                exact(&format!("{what}, a rank"), (&stack(held, 1, 4), held), &ids, (top_k, repeat), &x);
            }
        }
    }
}

#[test]
fn whole_numbers_are_exact() {
    check_whole(&[(1, 8, 1, 1), (63, 33, 33, 3), (65, 272, 66, 2), (130, 41, 140, 4)]);
}

/// As many rows as tiles of any table hold, less one and one more, all of one expert.
#[test]
fn full_tiles() {
    let mut random = Random::new(841);
    let matrices: Vec<Matrix> = (0..3).map(|_| whole_matrix(&mut random, 33, 40)).collect();
    let weights = stack(&matrices, 0, 3);
    for rows in [7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 128, 129] {
        let x = whole(&mut random, rows * 40, 15);
        exact("one expert", (&weights, &matrices), &vec![2; rows], (1, 1), &x);
    }
}

/// What is no number stays in its row.
#[test]
fn no_numbers_stay_none() {
    let mut random = Random::new(842);
    let matrices: Vec<Matrix> = (0..2).map(|_| whole_matrix(&mut random, 9, 40)).collect();
    let (weights, ids) = (stack(&matrices, 0, 2), [0u32, 1, 1, 0, 1, 0]);
    let mut x = vec![1.0; 6 * 40];
    (x[40 + 39], x[3 * 40]) = (f32::NAN, f32::NAN);
    for table in tables(|table| table.experts.plain) {
        let (runner, y) = (Runner::with_tiles(table), Output::new(6, 9));
        let planned = plan_product(&runner, &weights, &compact(1, &ids), 1, &tensor(40, &x), &y.tensor);
        let actual = runner.run(&planned, 6, &[&y]).remove(0);
        let bad: Vec<usize> = (0..6).filter(|p| actual[p * 9..][..9].iter().all(|v| v.is_nan())).collect();
        let good = (0..6).filter(|p| actual[p * 9..][..9].iter().all(|v| v.is_finite())).count();
        assert_eq!((bad, good), (vec![1, 3], 4), "table {}", table.kind);
    }
}

/// The fast tiers with the same uneven experts: inputs that int8 holds, whose products are as good as those of f32.
#[test]
fn tails_of_fast_tiers() {
    for (tier, kind) in [(Tier::Dot, Kind::Nvidia), (Tier::Dot, Kind::Unknown), (Tier::Matrix, Kind::Nvidia)] {
        let Some(runner) = runner(tier, Tuning::of(kind)) else { continue };
        let mut random = Random::new(843);
        for (n_out, n_in, rows, repeat) in [(1, 32, 2, 2), (63, 33, 66, 1), (65, 96, 140, 2)] {
            let spec = Spec { asymmetric: true, ..Spec::new(n_out, n_in, 32) };
            let matrices: Vec<Matrix> = (0..5).map(|_| whole_codes(&mut random, spec)).collect();
            let (ids, x) = (uneven(&mut random, rows), on_grid(&mut random, rows / repeat, n_in));
            let (weights, y) = (stack(&matrices, 0, 5), Output::new(rows, n_out));
            let planned = plan_product(&runner, &weights, &compact(2, &ids), repeat, &tensor(n_in, &x), &y.tensor);
            let actual = runner.run(&planned, rows / 2, &[&y]).remove(0);
            for (p, (&id, actual)) in ids.iter().zip(actual.chunks_exact(n_out)).enumerate() {
                let what = format!("{tier}, table {kind}, [{n_out}, {n_in}], row {p} of expert {id}");
                match matrices.get(id as usize) {
                    None => assert!(actual.iter().all(|&v| is_untouched(v)), "{what} was written"),
                    Some(matrix) => {
                        let (expected, bound) = expected(tier, &x[p / repeat * n_in..][..n_in], matrix);
                        assert_close(&what, &expected, actual, |i| bound[i]);
                    }
                }
            }
        }
    }
}
