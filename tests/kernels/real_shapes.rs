//! Shards of the model's own shapes through the shaders, bit for bit: the row-parallel inputs 704 and 2112 of down_proj,
//! the column-parallel outputs 704 and 2112 of gate and up, 2816 of down. Shards are cut from whole matrices; one-hot
//! probes stand at every group edge and at every cut.

use std::collections::BTreeSet;
use std::ops::Range;

use lapidary::quant::{Matrix, PackedMatrix, StoredGroups};
use lapidary::testing::kernels::product::{self, Product, Rows};
use lapidary::testing::kernels::{Weights, WeightsBuilder};

use super::probes::{columns, one_hot};
use super::product::{Path, product, upload};
use crate::common::matrices::{DTYPES, Order, Spec, Unpacked};
use crate::common::random::{Random, Spread};
use crate::common::tolerance::check_exact;
use crate::common::{Output, Runner, compact, gpu, tensor};

/// Even cuts, and one of 5 to 3: rank i of n begins at `ceil(i size / n)`.
pub(super) fn cuts(size: usize) -> Vec<Vec<Range<usize>>> {
    let even =
        |ranks: usize| (0..ranks).map(|i| (i * size).div_ceil(ranks)..((i + 1) * size).div_ceil(ranks)).collect();
    let uneven = vec![0..size * 5 / 8, size * 5 / 8..size];
    [2, 3, 4, 8].into_iter().map(even).chain([uneven]).collect()
}

/// Input features within 1 of each group edge and of each cut, of all the matrix.
fn edges(full: &Unpacked, cut: &[Range<usize>]) -> Vec<usize> {
    let n_in = full.spec.in_features;
    let groups = (0..=n_in).step_by(full.spec.group_size);
    let at = groups.chain(cut.iter().map(|rows| rows.end));
    let near: BTreeSet<usize> = at.flat_map(|edge| edge.saturating_sub(1)..=edge + 1).collect();
    near.into_iter().filter(|&k| k < n_in).collect()
}

/// Probes each shard of `whole`, which `full` is; what all of them answer must be the columns of the whole.
pub(super) fn probe_row_shards(
    runner: &Runner,
    path: Path,
    full: &Unpacked,
    cut: &[Range<usize>],
    row_shard: impl Fn(Range<usize>) -> Matrix,
) -> Result<(), String> {
    let ks = edges(full, cut);
    let mut actual = Vec::new();
    for rows in cut {
        let of_shard: Vec<usize> = ks.iter().filter(|k| rows.contains(k)).map(|k| k - rows.start).collect();
        assert!(!of_shard.is_empty(), "probes of rows {rows:?}");
        let weights = upload(&row_shard(rows.clone()));
        actual.extend(product(runner, path, &weights, &one_hot(rows.len(), &of_shard), 0.0));
    }
    check_exact(&columns(full, &(0..full.spec.in_features), &ks), &actual)
        .map_err(|e| format!("{path:?}, row shards {cut:?} of {:?}: {e}", full.spec))
}

/// Probes column shards: outputs are slices, and of any x the same bits as the whole matrix has on the device.
pub(super) fn probe_column_shards(
    runner: &Runner,
    path: Path,
    full: &Unpacked,
    cut: &[Range<usize>],
    column_shard: impl Fn(Range<usize>) -> Matrix,
) -> Result<(), String> {
    let (n_out, n_in) = (full.spec.out_features, full.spec.in_features);
    let ks = edges(full, &[]);
    let mut x = one_hot(n_in, &ks);
    x.extend(Random::new(7).values(n_in, Spread::Uniform));
    let whole = product(runner, path, &upload(&Matrix::Packed(full.pack())), &x, 0.0);
    check_exact(&columns(full, &(0..n_in), &ks), &whole[..ks.len() * n_out])
        .map_err(|e| format!("{path:?} of {:?}: {e}", full.spec))?;
    for outputs in cut {
        let actual = product(runner, path, &upload(&column_shard(outputs.clone())), &x, 0.0);
        let expected: Vec<f32> = whole.chunks_exact(n_out).flat_map(|row| row[outputs.clone()].to_vec()).collect();
        check_exact(&expected, &actual)
            .map_err(|e| format!("{path:?}, column shard {outputs:?} of {:?}: {e}", full.spec))?;
    }
    Ok(())
}

fn check_rows(seed: u64, spec: Spec, cuts: &[Vec<Range<usize>>]) {
    let full = Unpacked::random(&mut Random::new(seed), spec);
    let whole = full.pack();
    let runner = Runner::new();
    for (i, cut) in cuts.iter().enumerate() {
        for (path, stored) in [(Path::Matvec, StoredGroups::Touched), (Path::Matmul, StoredGroups::All)] {
            // Every other cut the other way round.
            let stored = if i % 2 == 0 { stored } else { StoredGroups::Touched };
            let shard = |rows| Matrix::RowShard(whole.row_shard(rows, stored).expect("a part"));
            probe_row_shards(&runner, path, &full, cut, shard).unwrap_or_else(|e| panic!("{e}"));
        }
    }
}

#[test]
fn row_shards_sequential() {
    for n_in in [704, 2112] {
        for (i, group_size) in [32, 64, 128, n_in].into_iter().enumerate() {
            let spec = Spec { asymmetric: i % 2 == 1, scale_dtype: DTYPES[i % 3], ..Spec::new(5, n_in, group_size) };
            check_rows(800 + i as u64, spec, &cuts(n_in));
        }
    }
}

#[test]
fn row_shards_act_order() {
    for n_in in [704, 2112] {
        for (i, group_size) in [32, 64, 128, n_in].into_iter().enumerate() {
            let spec = Spec { asymmetric: i % 2 == 0, scale_dtype: DTYPES[i % 3], ..Spec::new(5, n_in, group_size) };
            check_rows(810 + i as u64, Spec { order: Order::Shuffled, ..spec }, &cuts(n_in));
        }
    }
}

/// All the 2816 outputs of down_proj.
#[test]
fn row_shards_of_down_proj() {
    for (i, (n_in, group_size)) in [(704, 128), (2112, 128)].into_iter().enumerate() {
        let spec = Spec { asymmetric: i == 0, ..Spec::new(2816, n_in, group_size) };
        check_rows(820 + i as u64, spec, &cuts(n_in)[2 * i..2 * i + 1]);
    }
}

#[test]
fn eight_bit_row_shards() {
    for (i, (n_in, order)) in [(704, Order::Sequential), (2112, Order::Shuffled)].into_iter().enumerate() {
        let spec = Spec { bits: 8, order, asymmetric: i == 0, ..Spec::new(5, n_in, 128) };
        check_rows(830 + i as u64, spec, &cuts(n_in));
    }
}

#[test]
fn row_shards_of_experts() {
    check_experts(&cuts(704));
}

/// A rank's row shards of several experts in one stack; one of three is not in act-order.
pub(super) fn check_experts(cuts: &[Vec<Range<usize>>]) {
    let mut random = Random::new(840);
    let orders = [Order::Sequential, Order::Shuffled, Order::Shuffled];
    let spec = Spec { asymmetric: true, ..Spec::new(5, 704, 64) };
    let experts = orders.map(|order| Unpacked::random(&mut random, Spec { order, ..spec }));
    let wholes = experts.clone().map(|expert| expert.pack());
    for cut in cuts {
        let ks = edges(&experts[0], cut);
        for rows in cut {
            let of_shard: Vec<usize> = ks.iter().filter(|k| rows.contains(k)).map(|k| k - rows.start).collect();
            // Each probe with every expert.
            let ids: Vec<u32> = of_shard.iter().flat_map(|_| [0, 1, 2]).collect();
            let weights = stack(&wholes, rows);
            let (x, ids) = (tensor(rows.len(), &one_hot(rows.len(), &of_shard)), compact(3, &ids));
            let y = Output::new(of_shard.len() * 3, 5);
            let runner = Runner::new();
            let rows_of = Rows::Experts { ids: &ids, repeat: 3, several: false };
            let plan = product::plan(&runner.planner, "experts", &Product::new(&weights, rows_of, &x, &y.tensor));
            let actual = runner.run(&plan.expect("a plan"), of_shard.len(), &[&y]).remove(0);
            let expected: Vec<f32> = of_shard
                .iter()
                .flat_map(|&k| experts.iter().flat_map(move |expert| columns(expert, &(0..704), &[rows.start + k])))
                .collect();
            check_exact(&expected, &actual).unwrap_or_else(|e| panic!("rows {rows:?} of {cut:?}: {e}"));
        }
    }
}

fn stack(wholes: &[PackedMatrix], rows: &Range<usize>) -> Weights {
    let mut builder = WeightsBuilder::new(gpu(), "experts", wholes.len(), wholes[0].out_features, rows.len());
    for (e, whole) in wholes.iter().enumerate() {
        // Of act-order each expert touches other groups; a stack stores equally many of each.
        builder
            .add(e, 0, &Matrix::RowShard(whole.row_shard(rows.clone(), StoredGroups::All).expect("a part")))
            .expect("memory");
    }
    builder.finish().expect("a device")
}

#[test]
fn column_shards() {
    for (i, n_out) in [704, 2112, 2816].into_iter().enumerate() {
        for order in [Order::Sequential, Order::Shuffled] {
            // A short last group.
            let spec = Spec { order, asymmetric: true, scale_dtype: DTYPES[i], ..Spec::new(n_out, 352, 128) };
            let full = Unpacked::random(&mut Random::new(850 + i as u64), spec);
            let whole = full.pack();
            let cuts = cuts(n_out);
            for (j, cut) in cuts.iter().enumerate() {
                let path = if (i + j) % 2 == 0 { Path::Matvec } else { Path::Matmul };
                let shard = |outputs| Matrix::Packed(whole.column_shard(outputs).expect("a part"));
                probe_column_shards(&Runner::new(), path, &full, cut, shard).unwrap_or_else(|e| panic!("{e}"));
            }
        }
    }
}
