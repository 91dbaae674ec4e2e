//! One-hot probes: with x = e_k a product returns column k of the dequantized matrix bit for bit. They catch what a mean
//! error hides: a single row in the wrong group, a zero point off by one.

use std::ops::Range;

use lapidary::quant::Matrix;
use lapidary::testing::kernels::experts::moe_group::Groups;
use lapidary::testing::kernels::product::{self, Product, Rows};
use lapidary::testing::kernels::{Tuning, WeightsBuilder};
pub(super) use lapidary::testing::matrices::{columns, interesting, one_hot};
use lapidary::testing::reference::ops;

use super::product::{Path, product, upload};
use crate::common::matrices::{DTYPES, EDGE_SCALES, Order, Spec, Unpacked};
use crate::common::tolerance::check_exact;
use crate::common::{Output, Runner, compact, fresh, gpu, tables, tensor};

/// Probes a linear layer that holds the input rows `rows` of `full`.
pub(super) fn probe(
    runner: &Runner,
    path: Path,
    full: &Unpacked,
    rows: Range<usize>,
    ks: &[usize],
) -> Result<(), String> {
    let weights = upload(&Matrix::RowShard(full.shard(rows.clone())));
    let actual = product(runner, path, &weights, &one_hot(rows.len(), ks), 0.0);
    check_exact(&columns(full, &rows, ks), &actual)
        .map_err(|e| format!("{path:?} of rows {rows:?} of {:?}: {e}", full.spec))
}

/// Probes a stack of experts, each holding `rows` of its matrix; row i of x goes to expert i % experts.
pub(super) fn probe_experts(
    runner: &Runner,
    experts: &[Unpacked],
    rows: Range<usize>,
    ks: &[usize],
) -> Result<(), String> {
    let spec = experts[0].spec;
    let mut builder = WeightsBuilder::new(gpu(), "experts", experts.len(), spec.out_features, rows.len());
    for (e, expert) in experts.iter().enumerate() {
        builder.add(e, 0, &Matrix::RowShard(expert.shard(rows.clone()))).expect("memory");
    }
    let weights = builder.finish().expect("a device");
    let ids: Vec<u32> = (0..ks.len()).map(|i| (i % experts.len()) as u32).collect();
    let (x, ids_tensor) = (tensor(rows.len(), &one_hot(rows.len(), ks)), compact(1, &ids));
    let y = Output::new(ks.len(), spec.out_features);
    let rows_of = Rows::Experts { ids: &ids_tensor, repeat: 1, several: false };
    let planned =
        product::plan(&runner.planner, "experts", &Product::new(&weights, rows_of, &x, &y.tensor)).expect("a plan");
    let actual = runner.run(&planned, ks.len(), &[&y]).remove(0);
    let expected: Vec<f32> =
        ids.iter().zip(ks).flat_map(|(&e, &k)| columns(&experts[e as usize], &rows, &[k])).collect();
    check_exact(&expected, &actual).map_err(|e| format!("experts, rows {rows:?} of {spec:?}: {e}"))
}

/// Probes a stack of experts whose rows are grouped: rows 2 i and 2 i + 1 of y read row i of x, row p goes to expert
/// p % experts. The groups come from the host, so that the product stands alone.
pub(super) fn probe_grouped(
    tuning: Tuning,
    experts: &[Unpacked],
    rows: Range<usize>,
    ks: &[usize],
) -> Result<(), String> {
    let (runner, spec) = (Runner::with_tiles(tuning), experts[0].spec);
    let mut builder = WeightsBuilder::new(gpu(), "experts", experts.len(), spec.out_features, rows.len());
    for (e, expert) in experts.iter().enumerate() {
        builder.add(e, 0, &Matrix::RowShard(expert.shard(rows.clone()))).expect("memory");
    }
    let weights = builder.finish().expect("a device");
    let ids: Vec<u32> = (0..2 * ks.len()).map(|p| (p % experts.len()) as u32).collect();
    let tile_rows = lapidary::testing::kernels::expert_tile_rows(&runner.planner, ks.len(), 2, experts.len()) as usize;
    let (pairs, tiles) = ops::moe_group(&ids, 0, experts.len() as u32, tile_rows);
    let groups = Groups { pairs: compact(2, &pairs), tiles: compact(4, &tiles.concat()) };
    let x = tensor(rows.len(), &one_hot(rows.len(), ks));
    let y = Output::new(ids.len(), spec.out_features);
    let rows_of = Rows::Grouped { groups: &groups, repeat: 2 };
    let planned =
        product::plan(&runner.planner, "experts", &Product::new(&weights, rows_of, &x, &y.tensor)).expect("a plan");
    let actual = runner.run(&planned, ks.len(), &[&y]).remove(0);
    let column = |(p, &e): (usize, &u32)| columns(&experts[e as usize], &rows, &[ks[p / 2]]);
    let expected: Vec<f32> = ids.iter().enumerate().flat_map(column).collect();
    check_exact(&expected, &actual).map_err(|e| format!("grouped experts, rows {rows:?} of {spec:?}: {e}"))
}

fn probe_all(seed: u64, spec: Spec, shards: &[Range<usize>]) {
    let mut random = fresh(seed);
    let experts: Vec<Unpacked> = (0..3).map(|_| Unpacked::random(&mut random, spec)).collect();
    let tables = tables(|table| table.experts.plain);
    for (i, rows) in shards.iter().enumerate() {
        let ks = interesting(&mut random, &experts[0], rows);
        for path in [Path::Matvec, Path::Matmul] {
            probe(&Runner::new(), path, &experts[0], rows.clone(), &ks).unwrap_or_else(|e| panic!("{e}"));
        }
        // Each pipeline takes its time: of every shard one table.
        probe_grouped(tables[i % tables.len()], &experts, rows.clone(), &ks).unwrap_or_else(|e| panic!("{e}"));
        probe_experts(&Runner::new(), &experts, rows.clone(), &ks).unwrap_or_else(|e| panic!("{e}"));
    }
}

/// down_proj's widths and where a shard of them may start: halves, quarters, eighths and an odd third.
fn shards(n_in: usize) -> Vec<Range<usize>> {
    match n_in {
        704 => vec![0..704, 0..352, 352..704, 176..352, 88..176, 616..704, 235..470],
        _ => vec![0..2112, 1056..2112, 528..1056, 704..1408, 1848..2112],
    }
}

#[test]
fn model_shapes_sequential() {
    for n_in in [704, 2112] {
        for (i, group_size) in [32, 64, 128, n_in].into_iter().enumerate() {
            let spec = Spec { asymmetric: i % 2 == 0, scale_dtype: DTYPES[i % 3], ..Spec::new(5, n_in, group_size) };
            probe_all(300 + i as u64, spec, &shards(n_in));
        }
    }
}

#[test]
fn model_shapes_act_order() {
    for (i, (n_in, group_size)) in [(704, 32), (704, 128), (2112, 64)].into_iter().enumerate() {
        let spec = Spec {
            order: Order::Shuffled,
            asymmetric: i % 2 == 0,
            scale_dtype: DTYPES[i % 3],
            ..Spec::new(5, n_in, group_size)
        };
        probe_all(310 + i as u64, spec, &shards(n_in)[..4]);
    }
}

/// Small groups, a short last group, and a shard at every multiple of 8 (and beside it) within two groups.
#[test]
fn shards_anywhere_in_a_group() {
    for (i, group_size) in [16, 32, 64].into_iter().enumerate() {
        let n_in = 2 * group_size + 24;
        let spec = Spec { asymmetric: true, scale_dtype: DTYPES[i], ..Spec::new(3, n_in, group_size) };
        let mut random = fresh(320 + i as u64);
        let full = Unpacked::random(&mut random, spec);
        for start in (0..2 * group_size).step_by(8).flat_map(|start| [start, start + 3]) {
            let rows = start..n_in;
            let ks: Vec<usize> = (0..rows.len()).collect();
            let path = if start % 16 < 8 { Path::Matvec } else { Path::Matmul };
            probe(&Runner::new(), path, &full, rows, &ks).unwrap_or_else(|e| panic!("{e}"));
        }
    }
}

/// All 16 codes with all 16 zero points and the scales at the ends of each precision.
#[test]
fn all_codes_zeros_and_scales() {
    for order in [Order::Sequential, Order::Shuffled] {
        for scale_dtype in DTYPES {
            // Group g has zero point g; row n has scale n of the list; each group of 16 holds every code.
            let spec = Spec { order, asymmetric: true, scale_dtype, ..Spec::new(EDGE_SCALES.len(), 256, 16) };
            let mut full = Unpacked::random(&mut fresh(330), spec);
            let mut seen = [0u32; 16];
            for k in 0..256 {
                let code = seen[full.group[k]];
                seen[full.group[k]] += 1;
                (0..spec.out_features).for_each(|n| full.codes[n * 256 + k] = code);
            }
            for (n, &scale) in EDGE_SCALES.iter().enumerate() {
                for g in 0..16 {
                    full.scales[n * 16 + g] = crate::common::matrices::round(scale_dtype, scale);
                    full.zeros[n * 16 + g] = g as u32;
                }
            }
            let ks: Vec<usize> = (0..256).collect();
            for path in [Path::Matvec, Path::Matmul, Path::Direct] {
                probe(&Runner::new(), path, &full, 0..256, &ks).unwrap_or_else(|e| panic!("{e}"));
            }
            let stack = [full.clone(), full.clone()];
            probe_experts(&Runner::new(), &stack, 0..256, &ks).unwrap_or_else(|e| panic!("{e}"));
        }
    }
}

/// 8-bit codes: whole matrices and shards, sequential groups of every run length and act-order, each input feature.
#[test]
fn eight_bits() {
    for (i, group_size) in [16, 24, 32, 128].into_iter().enumerate() {
        for order in [Order::Sequential, Order::Shuffled] {
            let spec = Spec { bits: 8, order, asymmetric: i % 2 == 0, ..Spec::new(5, 272, group_size) };
            let spec = Spec { scale_dtype: DTYPES[i % 3], ..spec };
            let mut random = fresh(350 + i as u64);
            let stack: Vec<Unpacked> = (0..3).map(|_| Unpacked::random(&mut random, spec)).collect();
            // Of a few rows out of order, each expert would keep other groups.
            let last = if order == Order::Sequential { 8..16 } else { 0..272 };
            for rows in [0..272, 43..200, last] {
                let ks: Vec<usize> = (0..rows.len()).collect();
                for path in [Path::Matvec, Path::Matmul] {
                    probe(&Runner::new(), path, &stack[0], rows.clone(), &ks).unwrap_or_else(|e| panic!("{e}"));
                }
                probe_experts(&Runner::new(), &stack, rows, &ks).unwrap_or_else(|e| panic!("{e}"));
            }
        }
    }
}

/// All 256 codes with zero points at the ends and in the middle.
#[test]
fn all_bytes() {
    for scale_dtype in DTYPES {
        let spec = Spec { bits: 8, asymmetric: true, scale_dtype, ..Spec::new(EDGE_SCALES.len(), 1024, 256) };
        let mut full = Unpacked::random(&mut fresh(360), spec);
        for (n, &scale) in EDGE_SCALES.iter().enumerate() {
            (0..1024).for_each(|k| full.codes[n * 1024 + k] = k as u32 % 256);
            full.zeros[4 * n..4 * n + 4].copy_from_slice(&[0, 1, 127, 255]);
            full.scales[4 * n..4 * n + 4].fill(crate::common::matrices::round(scale_dtype, scale));
        }
        let ks: Vec<usize> = (0..1024).collect();
        for path in [Path::Matvec, Path::Matmul, Path::Direct] {
            probe(&Runner::new(), path, &full, 0..1024, &ks).unwrap_or_else(|e| panic!("{e}"));
        }
    }
}

/// The builder of these tests against `PackedMatrix::row`, the CPU twin of the shader's dequantization.
#[test]
fn reference_dequantizes_the_same() {
    let mut random = fresh(340);
    for (order, bits) in [(Order::Sequential, 4), (Order::Shuffled, 4), (Order::Sequential, 8), (Order::Shuffled, 8)] {
        for scale_dtype in DTYPES {
            let spec = Spec { bits, order, asymmetric: true, scale_dtype, ..Spec::new(3, 272, 64) };
            let full = Unpacked::random(&mut random, spec);
            for rows in [0..272, 100..200, 8..272] {
                let shard = full.shard(rows.clone());
                let mut row = vec![0.0; rows.len()];
                for n in 0..3 {
                    shard.row(n, &mut row).expect("a row");
                    let expected: Vec<f32> = rows.clone().map(|k| full.value(n, k)).collect();
                    check_exact(&expected, &row)
                        .unwrap_or_else(|e| panic!("{bits} bits {order:?} {scale_dtype:?} {rows:?}: {e}"));
                }
            }
        }
    }
}
