//! `matvec.wgsl` and `matmul_grouped.wgsl` with experts: each row of y has a matrix of its own out of a stack, which may lie in several parts.

use lapidary::quant::Matrix;
use lapidary::testing::kernels::WeightsBuilder;
use lapidary::testing::kernels::product::{self, Product, Rows};
use lapidary::testing::reference::ops;

use super::moe_group;
use super::product::tolerances;
use crate::common::matrices::{DTYPES, Order, Spec, Unpacked, dense};
use crate::common::random::{Random, Spread};
use crate::common::tolerance::{MAX_NMSE, assert_close, nmse};
use crate::common::{Output, Runner, compact, gpu, is_untouched, tables, tensor};

/// One case: a stack, who goes where, and how the stack is cut.
struct Case<'a> {
    what: String,
    stack: &'a [Matrix],
    /// Expert of each row of y, `[tokens, top_k]`.
    ids: &'a [u32],
    top_k: usize,
    /// Rows of y that read one row of x.
    repeat: usize,
    /// Matrices of one part.
    per_part: usize,
}

fn check(random: &mut Random, runner: &Runner, case: &Case) {
    let Case { what, stack, ids, top_k, repeat, per_part } = case;
    let (n_out, n_in) = (stack[0].out_features(), stack[0].in_features());
    let row_bytes = match &stack[0] {
        Matrix::Packed(m) => m.codes.len() * 4 / n_out,
        Matrix::RowShard(m) => m.codes.len() * 4 / n_out,
        Matrix::Dense(m) => m.words.len() * 4 / n_out,
    };
    let part_bytes = (per_part * n_out * row_bytes + 4) as u64;
    let mut builder = WeightsBuilder::new(gpu(), "stack", stack.len(), n_out, n_in).max_part_bytes(part_bytes);
    for (e, matrix) in stack.iter().enumerate() {
        builder.add(e, 0, matrix).expect("memory");
    }
    let weights = builder.finish().expect("a device");
    let x = random.values(ids.len() / repeat * n_in, Spread::Outliers);
    let (x_tensor, ids_tensor) = (tensor(n_in, &x), compact(*top_k, ids));
    let y = Output::new(ids.len(), n_out);
    let rows = Rows::Experts { ids: &ids_tensor, repeat: *repeat, several: false };
    let planned =
        product::plan(&runner.planner, "experts", &Product::new(&weights, rows, &x_tensor, &y.tensor)).expect("a plan");
    assert_eq!(planned.len(), stack.len().div_ceil(*per_part), "{what}: parts");
    let actual = runner.run(&planned, ids.len() / top_k, &[&y]).remove(0);
    compare(&format!("{what}, each"), case, &x, &actual);
    // Each pipeline takes its time: of every case one table.
    let tables = tables(|table| table.experts.plain);
    let table = tables[per_part % tables.len()];
    let runner = Runner::with_tiles(table);
    let y = Output::new(ids.len(), n_out);
    let planned = moe_group::plan_product(&runner, &weights, &ids_tensor, *repeat, &x_tensor, &y.tensor);
    let actual = runner.run(&planned, ids.len() / top_k, &[&y]).remove(0);
    compare(&format!("{what}, grouped, table {}", table.kind), case, &x, &actual);
}

fn compare(what: &str, case: &Case, x: &[f32], actual: &[f32]) {
    let Case { stack, ids, repeat, .. } = case;
    let (n_out, n_in) = (stack[0].out_features(), stack[0].in_features());
    for (p, (&e, actual)) in ids.iter().zip(actual.chunks_exact(n_out)).enumerate() {
        let x = &x[p / repeat * n_in..][..n_in];
        let (matrix, what) = (&stack[e as usize], format!("{what}, row {p}, expert {e}"));
        let expected = ops::matmul(x, matrix);
        let tolerance = tolerances(x, matrix);
        assert_close(&what, &expected, actual, |i| tolerance[i]);
        // Where outputs nearly cancel, an error normalized by them says nothing; each element was held to its own bound.
        let sum_of_squares = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>();
        let size = sum_of_squares(&expected.iter().map(|&e| f64::from(e)).collect::<Vec<_>>());
        if sum_of_squares(&tolerance) < MAX_NMSE * 256.0 * size {
            assert!(nmse(&expected, actual) <= MAX_NMSE, "{what}: NMSE");
        }
    }
}

fn packed_stack(random: &mut Random, count: usize, spec: Spec) -> Vec<Matrix> {
    (0..count).map(|_| Matrix::Packed(Unpacked::random(random, spec).pack())).collect()
}

/// Expert 2 has no token, experts 0 and 4 have several, and one token may name an expert twice.
const IDS: [u32; 12] = [0, 4, 4, 1, 3, 0, 0, 0, 4, 1, 0, 4];

#[test]
fn packed_in_one_part_and_in_several() {
    let mut random = Random::new(400);
    for (i, (n_out, n_in, group_size)) in
        [(1, 8, 16), (63, 48, 32), (65, 80, 16), (64, 272, 64), (33, 704, 128), (17, 704, 704)].into_iter().enumerate()
    {
        for order in [Order::Sequential, Order::Shuffled] {
            let spec = Spec {
                order,
                asymmetric: i % 2 == 0,
                scale_dtype: DTYPES[i % 3],
                ..Spec::new(n_out, n_in, group_size)
            };
            let stack = packed_stack(&mut random, 5, spec);
            for per_part in [5, 2, 1] {
                // gate and up read a token's row for all its experts; down has a row for each.
                for repeat in [1, 4] {
                    let what = format!("{spec:?}, {per_part} a part, repeat {repeat}");
                    let case = Case { what, stack: &stack, ids: &IDS, top_k: 4, repeat, per_part };
                    check(&mut random, &Runner::new(), &case);
                }
            }
        }
    }
}

#[test]
fn dense_stack() {
    check_dense_stack();
}

pub(super) fn check_dense_stack() {
    let mut random = Random::new(401);
    for dtype in DTYPES {
        let stack: Vec<_> = (0..5).map(|_| Matrix::Dense(dense(&mut random, 33, 41, dtype))).collect();
        for per_part in [5, 3] {
            let what = format!("{dtype:?}, {per_part} a part");
            let case = Case { what, stack: &stack, ids: &IDS, top_k: 2, repeat: 2, per_part };
            check(&mut random, &Runner::new(), &case);
        }
    }
}

#[test]
fn lanes_do_not_matter() {
    let mut random = Random::new(402);
    let stack = packed_stack(&mut random, 5, Spec::new(65, 272, 32));
    for lanes in [1, 16, 64] {
        let case = Case { what: format!("{lanes} lanes"), stack: &stack, ids: &IDS, top_k: 4, repeat: 4, per_part: 2 };
        check(&mut random, &Runner::with_lanes(lanes), &case);
    }
}

/// Only some experts have zero points, and only the last ones an act-order table: the stack must serve both.
#[test]
fn mixed_stack() {
    let mut random = Random::new(403);
    let spec = Spec::new(33, 80, 16);
    let specs = [
        spec,
        Spec { asymmetric: true, ..spec },
        spec,
        Spec { order: Order::Shuffled, ..spec },
        Spec { order: Order::Shuffled, asymmetric: true, ..spec },
    ];
    for rotation in 0..5 {
        let mut stack: Vec<_> = specs.map(|s| Matrix::Packed(Unpacked::random(&mut random, s).pack())).to_vec();
        stack.rotate_left(rotation);
        for per_part in [5, 2] {
            let what = format!("rotated by {rotation}, {per_part} a part");
            let case = Case { what, stack: &stack, ids: &IDS, top_k: 4, repeat: 4, per_part };
            check(&mut random, &Runner::new(), &case);
        }
    }
}

/// Shards of act-order experts touch different groups each, but a stack has one count of groups: a clear error, not
/// wrong numbers, where they differ.
#[test]
fn different_kinds_are_refused() {
    let mut random = Random::new(404);
    let a = Unpacked::random(&mut random, Spec::new(3, 80, 16)).pack();
    let b = Unpacked::random(&mut random, Spec::new(3, 80, 40)).pack();
    let mut builder = WeightsBuilder::new(gpu(), "stack", 2, 3, 80);
    builder.add(0, 0, &Matrix::Packed(a)).expect("memory");
    let error = builder.add(1, 0, &Matrix::Packed(b)).expect_err("another group size");
    let (found, first) = ("int4 g40 sym with f16 scales in 2 groups", "int4 g16 sym with f16 scales in 5 groups");
    assert_eq!(error.to_string(), format!("stack 1: {found}, expected {first} as of the first of the stack"));
}

/// A stack whose single matrices exceed a binding cannot be cut.
#[test]
fn too_large_a_matrix_is_refused() {
    let mut random = Random::new(405);
    let matrix = Matrix::Packed(Unpacked::random(&mut random, Spec::new(70, 80, 16)).pack());
    let mut builder = WeightsBuilder::new(gpu(), "stack", 2, 70, 80).max_part_bytes(65 * 48);
    let error = builder.add(0, 0, &matrix).expect_err("no part holds a matrix");
    assert!(error.to_string().contains("stack: a matrix of"), "{error}");
}

/// An id beyond the stack (a router gone wrong) leaves its row alone and harms nothing else.
#[test]
fn ids_out_of_range_write_nothing() {
    let mut random = Random::new(406);
    let stack = packed_stack(&mut random, 2, Spec::new(33, 48, 16));
    let mut builder = WeightsBuilder::new(gpu(), "stack", 2, 33, 48);
    for (e, matrix) in stack.iter().enumerate() {
        builder.add(e, 0, matrix).expect("memory");
    }
    let weights = builder.finish().expect("a device");
    let x = tensor(48, &random.values(48, Spread::Normal));
    let ids = compact(3, &[1u32, 2, u32::MAX]);
    let y = Output::new(3, 33);
    let runner = Runner::new();
    let rows = Rows::Experts { ids: &ids, repeat: 3, several: false };
    let planned =
        product::plan(&runner.planner, "experts", &Product::new(&weights, rows, &x, &y.tensor)).expect("a plan");
    let each = runner.run(&planned, 1, &[&y]).remove(0);
    let y = Output::new(3, 33);
    let planned = moe_group::plan_product(&runner, &weights, &ids, 3, &x, &y.tensor);
    let grouped = runner.run(&planned, 1, &[&y]).remove(0);
    for actual in [each, grouped] {
        assert!(actual[..33].iter().all(|v| v.is_finite()), "the good row");
        assert!(actual[33..].iter().all(|&v| is_untouched(v)), "rows without an expert were written");
    }
}

/// More rows than a tile, uneven: one expert has most, one has none; two ranks hold half of the experts each.
#[test]
fn many_rows_and_ranks() {
    check_many();
}

pub(super) fn check_many() {
    let mut random = Random::new(407);
    let stack = packed_stack(&mut random, 6, Spec { asymmetric: true, ..Spec::new(67, 80, 32) });
    let ids: Vec<u32> = (0..2 * 75).map(|i| if i % 3 == 0 { 4 } else { [0, 1, 2, 5][random.below(4)] }).collect();
    let what = "many rows".to_string();
    check(&mut random, &Runner::new(), &Case { what, stack: &stack, ids: &ids, top_k: 2, repeat: 2, per_part: 4 });
    let x = random.values(150 * 80, Spread::Normal);
    let (x_tensor, ids_tensor) = (tensor(80, &x), compact(2, &ids));
    for tuning in tables(|table| table.experts.plain) {
        let (runner, y) = (Runner::with_tiles(tuning), Output::new(150, 67));
        for first in [0, 3] {
            let mut builder = WeightsBuilder::new(gpu(), "stack", 3, 67, 80).first_matrix(first);
            (0..3).for_each(|e| builder.add(e, 0, &stack[first + e]).expect("memory"));
            let weights = builder.finish().expect("a device");
            let fresh = Output::new(150, 67);
            let planned = moe_group::plan_product(&runner, &weights, &ids_tensor, 1, &x_tensor, &fresh.tensor);
            let actual = runner.run(&planned, 75, &[&fresh]).remove(0);
            for (row, &e) in actual.chunks_exact(67).zip(&ids) {
                let held = (first..first + 3).contains(&(e as usize));
                assert!(row.iter().all(|&v| is_untouched(v) != held), "a row of expert {e}, rank from {first}");
            }
            let planned = moe_group::plan_product(&runner, &weights, &ids_tensor, 1, &x_tensor, &y.tensor);
            let actual = runner.run(&planned, 75, &[&y]).remove(0);
            if first == 3 {
                let case = Case { what: String::new(), stack: &stack, ids: &ids, top_k: 2, repeat: 1, per_part: 3 };
                compare("both ranks", &case, &x, &actual);
            }
        }
    }
}
