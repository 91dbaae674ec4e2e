//! `moe_sum.wgsl`: the weighted sum of the chosen experts that a rank holds.

use lapidary::testing::kernels::experts::moe_sum;
use lapidary::testing::reference::ops;

use crate::common::random::{Random, Spread};
use crate::common::tolerance::{EPS, assert_close};
use crate::common::{Output, Runner, compact, tensor};

/// Ranks of all experts, of some, and of none that was chosen. Products of the others' experts are NaN: they must not be
/// read, since nothing has written them.
pub(super) fn check_some() {
    let mut random = Random::new(730);
    for (width, top_k, n_experts, n_rows) in [(1, 1, 1, 1), (63, 2, 8, 3), (65, 8, 16, 2), (2816, 8, 128, 3)] {
        let ids: Vec<u32> = (0..n_rows)
            .flat_map(|_| random.permutation(n_experts).into_iter().take(top_k).map(|e| e as u32).collect::<Vec<_>>())
            .collect();
        let weights: Vec<f32> = ids.iter().map(|_| random.uniform().abs()).collect();
        let all = random.values(ids.len() * width, Spread::Outliers);
        let third = n_experts / 3;
        for held in [0..n_experts, 0..third, third..2 * third, 2 * third..n_experts] {
            let is_held = |slot: usize| held.contains(&(ids[slot] as usize));
            let mut products = all.clone();
            for (slot, row) in products.chunks_exact_mut(width).enumerate().filter(|(slot, _)| !is_held(*slot)) {
                row.fill(if slot % 2 == 0 { f32::NAN } else { f32::INFINITY });
            }
            let (runner, sum) = (Runner::new(), Output::new(n_rows, width));
            let (ids_tensor, weights_tensor) = (compact(top_k, &ids), compact(top_k, &weights));
            let planned = moe_sum::plan(
                &runner.planner,
                "sum",
                &tensor(width, &products),
                &ids_tensor,
                &weights_tensor,
                held.clone(),
                &sum.tensor,
            )
            .expect("a plan");
            let actual = runner.run_one(planned, n_rows, &sum);
            for t in 0..n_rows {
                let slots = t * top_k..(t + 1) * top_k;
                let chosen = slots.filter(|&slot| is_held(slot));
                let chosen: Vec<(f32, &[f32])> =
                    chosen.map(|slot| (weights[slot], &all[slot * width..][..width])).collect();
                let expected = ops::moe_sum(&chosen, width);
                // Each product and each addition rounds.
                let magnitude = |i: usize| chosen.iter().map(|(w, d)| f64::from((w * d[i]).abs())).sum::<f64>();
                let tolerance = |i: usize| (top_k + 1) as f64 * EPS * magnitude(i);
                assert_close(
                    &format!("experts {held:?}, row {t}"),
                    &expected,
                    &actual[t * width..][..width],
                    tolerance,
                );
            }
        }
    }
}

#[test]
fn ranks_of_experts() {
    check_some();
}
