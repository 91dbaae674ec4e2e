//! `moe_group.wgsl`: pairs of rows and slots by expert, and their tiles.

use lapidary::testing::gpu::Tensor;
use lapidary::testing::kernels::experts::moe_group;
use lapidary::testing::kernels::experts::moe_group::Groups;
use lapidary::testing::kernels::product::{self, Product, Rows};
use lapidary::testing::kernels::{Planned, Tile, Weights};
use lapidary::testing::reference::ops;

use crate::common::{Output, Runner, compact, fresh, gpu, is_untouched, tables};

/// Plans the product of `x` with the experts `ids`, grouped; all rows of `ids` count.
pub(super) fn plan_product(
    runner: &Runner,
    weights: &Weights,
    ids: &Tensor,
    repeat: usize,
    x: &Tensor,
    y: &Tensor,
) -> Vec<Planned> {
    let count = compact(1, &[ids.rows as u32]);
    let groups = Groups::new(gpu(), ids.rows, ids.width, weights.n_matrices).expect("memory");
    let experts = weights.first_matrix..weights.first_matrix + weights.n_matrices;
    let mut planned = moe_group::plan(&runner.planner, "moe_group", ids, &count, experts, &groups).expect("a plan");
    let rows = Rows::Grouped { groups: &groups, repeat };
    planned.extend(product::plan(&runner.planner, "experts", &Product::new(weights, rows, x, y)).expect("a plan"));
    planned
}

/// Groups the first `n_rows` rows of `ids`, `[rows, top_k]`, and compares lists and tiles, to the word.
pub(super) fn check(ids: &[u32], top_k: usize, n_rows: usize, experts: std::ops::Range<usize>) {
    for tuning in tables(|table| table.experts.plain.map(Tile::height)) {
        let runner = Runner::with_tiles(tuning);
        let rows = ids.len() / top_k;
        let (ids_tensor, count) = (compact(top_k, ids), compact(1, &[n_rows as u32]));
        let places = Groups::new(gpu(), rows, top_k, experts.len()).expect("memory").tiles.rows;
        let (pairs, tiles) = (Output::compact(rows, top_k), Output::compact(places, 4));
        let groups = Groups { pairs: pairs.tensor.clone(), tiles: tiles.tensor.clone() };
        let planned = moe_group::plan(&runner.planner, "moe_group", &ids_tensor, &count, experts.clone(), &groups);
        let actual = runner.run(&planned.expect("a plan"), n_rows, &[&pairs, &tiles]);
        let tile_rows =
            lapidary::testing::kernels::expert_tile_rows(&runner.planner, n_rows, top_k, experts.len()) as usize;
        let (first, held) = (experts.start as u32, experts.len() as u32);
        let (mut expected, mut expected_tiles) = ops::moe_group(&ids[..n_rows * top_k], first, held, tile_rows);
        let what = format!("{n_rows} of {rows} rows, top {top_k}, experts {experts:?}, tiles of {tile_rows}");
        let (listed, rest) = actual[0].split_at(expected.len());
        let listed: Vec<u32> = listed.iter().map(|v| v.to_bits()).collect();
        assert_eq!(listed, std::mem::take(&mut expected), "{what}: pairs");
        assert!(rest.iter().all(|&v| is_untouched(v)), "{what}: more pairs were written");
        let (written, rest) = actual[1].split_at(expected_tiles.len() * 4);
        for (place, (tile, expected)) in written.chunks_exact(4).zip(expected_tiles.drain(..)).enumerate() {
            let tile: Vec<u32> = tile.iter().map(|v| v.to_bits()).collect();
            // Of a place that is left over only the count says something.
            let same = if expected[2] == 0 { tile[2] == 0 } else { tile == expected };
            assert!(same, "{what}: place {place} is {tile:?}, expected {expected:?}");
        }
        assert!(rest.iter().all(|&v| is_untouched(v)), "{what}: more places were written");
    }
}

pub(super) fn check_some() {
    let mut random = fresh(410);
    for (n_experts, top_k, rows) in [(1, 1, 1), (4, 2, 33), (8, 8, 5), (128, 8, 70), (16, 4, 300)] {
        let ids: Vec<u32> = (0..rows * top_k).map(|_| random.below(n_experts) as u32).collect();
        check(&ids, top_k, rows, 0..n_experts);
        check(&ids, top_k, rows / 2, n_experts / 3..n_experts);
    }
    // Tiles that are just full, or have one row more or less.
    for rows in [3, 4, 5, 31, 32, 33, 64, 65] {
        let ids: Vec<u32> = [2u32, 0].into_iter().flat_map(|e| vec![e; rows]).collect();
        check(&ids, 1, 2 * rows, 0..4);
    }
}

#[test]
fn random_and_full_tiles() {
    check_some();
}

/// All to one expert, none at all, only other ranks' experts, ids beyond the last.
#[test]
fn uneven_choices() {
    check(&[7; 100], 2, 50, 0..8);
    check(&[0; 100], 2, 50, 0..8);
    check(&[3; 100], 2, 0, 0..8);
    check(&[3; 100], 2, 50, 4..8);
    check(&[0, u32::MAX, 8, 7, 1, 9], 3, 2, 0..8);
    check(&[0, u32::MAX, 8, 7, 1, 9], 3, 2, 1..7);
}
