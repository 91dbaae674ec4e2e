//! `sum_shares.wgsl`: `y[t, n] = sum_s parts[s, t, n]`.

use lapidary::testing::kernels::product::sum_shares;
use lapidary::testing::reference::ops;

use crate::common::random::{Random, Spread};
use crate::common::tolerance::{EPS, assert_close};
use crate::common::{Output, Runner, compact, fresh, is_untouched};

/// Shares of so many rows and columns.
#[derive(Debug, Clone, Copy)]
struct Case {
    shares: usize,
    rows: usize,
    width: usize,
    /// Columns of y before and behind those that are made.
    beside: (usize, usize),
}

/// Adds up `parts`, `[shares, rows, width]`, of which `count` rows count.
fn run(case: Case, parts: &[f32], count: usize) -> Vec<f32> {
    let Case { shares, rows, width, beside } = case;
    let y_width = beside.0 + width + beside.1;
    let (runner, y) = (Runner::new(), Output::new(rows, y_width));
    let (parts, row_count) = (compact(width, parts), compact(1, &[count as u32]));
    let planned = sum_shares::plan(&runner.planner, "sum_shares", &parts, shares, &row_count, &y.tensor, beside.0);
    let actual = runner.run_one(planned.expect("a plan"), rows, &y);
    let mut made = Vec::new();
    for (t, row) in actual.chunks_exact(y_width).enumerate() {
        let (of_row, others): (Vec<_>, Vec<_>) =
            row.iter().enumerate().partition(|(i, _)| t < count && (beside.0..beside.0 + width).contains(i));
        assert!(others.iter().all(|(_, v)| is_untouched(**v)), "{case:?}, {count} rows count: more of row {t}");
        made.extend(of_row.into_iter().map(|(_, &v)| v));
    }
    made
}

/// The rows of all shares that count, share by share.
fn counting(case: Case, parts: &[f32], count: usize) -> Vec<f32> {
    parts.chunks_exact(case.rows * case.width).flat_map(|share| &share[..count * case.width]).copied().collect()
}

fn check(case: Case, spread: Option<Spread>, random: &mut Random) {
    let n = case.shares * case.rows * case.width;
    let parts: Vec<f32> = match spread {
        // Whole numbers add up exactly in any order.
        None => (0..n).map(|_| random.below(1 << 12) as f32 - 2048.0).collect(),
        Some(spread) => random.values(n, spread),
    };
    for count in [case.rows, case.rows / 2, 0] {
        let counted = counting(case, &parts, count);
        let expected = ops::sum_shares(&counted, case.shares);
        let sizes: Vec<f32> = counted.iter().map(|v| v.abs()).collect();
        let sizes = ops::sum_shares(&sizes, case.shares);
        // Each addition rounds by half an epsilon of what there is so far; subnormal parts may be taken for zero.
        let tolerance = |i: usize| match spread {
            None => 0.0,
            Some(_) => case.shares as f64 * (EPS / 2.0 * f64::from(sizes[i]) + f64::from(f32::MIN_POSITIVE)),
        };
        let actual = run(case, &parts, count);
        assert_close(&format!("{case:?}, {spread:?}, {count} rows count"), &expected, &actual, tolerance);
    }
}

/// Exact sums of several shapes, around the 64 columns of a workgroup.
pub(super) fn check_whole_numbers() {
    let mut random = fresh(792);
    for (shares, rows, width) in [(1, 1, 1), (2, 3, 63), (3, 2, 64), (7, 5, 65), (16, 2, 130), (4, 33, 17)] {
        for beside in [(0, 0), (5, 3)] {
            check(Case { shares, rows, width, beside }, None, &mut random);
        }
    }
}

#[test]
fn whole_numbers_are_exact() {
    check_whole_numbers();
}

#[test]
fn values_of_all_magnitudes() {
    let mut random = Random::new(793);
    for spread in [Spread::Uniform, Spread::Outliers, Spread::Subnormal, Spread::Zero] {
        for (shares, rows, width) in [(2, 3, 65), (5, 1, 128), (23, 4, 33)] {
            check(Case { shares, rows, width, beside: (2, 1) }, Some(spread), &mut random);
        }
    }
}

/// One part that is not zero, in each share: no share, row or column takes another's place.
#[test]
fn one_part_alone() {
    let case = Case { shares: 3, rows: 2, width: 66, beside: (1, 0) };
    for share in 0..3 {
        for (t, n) in [(0, 0), (0, 63), (0, 64), (1, 65)] {
            let mut parts = vec![0.0; 3 * 2 * 66];
            parts[(share * 2 + t) * 66 + n] = 0.1;
            let mut expected = vec![0.0; 2 * 66];
            expected[t * 66 + n] = 0.1;
            assert_eq!(run(case, &parts, 2), expected, "share {share}, row {t}, column {n}");
        }
    }
}

/// The ends of f32: what is no number stays none, in its own column, and what cancels is nothing.
#[test]
fn ends_of_the_range() {
    let case = Case { shares: 2, rows: 1, width: 5, beside: (0, 0) };
    let parts =
        [f32::INFINITY, f32::MAX, f32::MAX, f32::NAN, f32::INFINITY, 1.0, f32::MAX, -f32::MAX, 2.0, f32::NEG_INFINITY];
    let actual = run(case, &parts, 1);
    assert!(actual[0] == f32::INFINITY && actual[1] == f32::INFINITY && actual[2] == 0.0, "{actual:?}");
    assert!(actual[3].is_nan() && actual[4].is_nan(), "{actual:?}");
}
