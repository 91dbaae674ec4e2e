//! `argmax.wgsl`: the index of each row's largest value, the lowest on a tie.

use lapidary::testing::gpu::Tensor;
use lapidary::testing::kernels::choice::argmax;
use lapidary::testing::reference::ops;

use crate::common::random::Spread;
use crate::common::{Output, Runner, fresh, gpu, tensor};

/// Lanes of a workgroup: as on software adapters, as on GPUs, and fewer than a column has.
const THREADS: [u32; 3] = [16, 256, 4];

fn choose(threads: u32, width: usize, logits: &[f32]) -> Vec<u32> {
    let n_rows = logits.len() / width;
    let (runner, ids) = (Runner::with_threads(threads), Output::compact(n_rows, 1));
    let scratch = Tensor::compact(gpu(), "scratch", n_rows, argmax::SCRATCH_WIDTH).expect("memory");
    let planned = argmax::plan(&runner.planner, "argmax", &tensor(width, logits), &scratch, &ids.tensor);
    runner.run(&planned.expect("a plan"), n_rows, &[&ids]).remove(0).iter().map(|v| v.to_bits()).collect()
}

pub(super) fn check(what: &str, width: usize, logits: &[f32]) {
    let expected: Vec<u32> = logits.chunks_exact(width).map(ops::argmax).collect();
    for threads in THREADS {
        assert_eq!(choose(threads, width, logits), expected, "{what}, width {width}, {threads} threads");
    }
}

/// Around quads, a workgroup's quads (64 and 1024 values) and the parts of a row (1024 values with 16 lanes).
const WIDTHS: [usize; 11] = [1, 2, 5, 63, 65, 257, 1023, 1024, 1025, 2051, 4097];

#[test]
fn random_rows() {
    let mut random = fresh(760);
    for width in WIDTHS {
        check("random", width, &random.values(7 * width, Spread::Normal));
        let negative: Vec<f32> = random.values(7 * width, Spread::Outliers).iter().map(|v| -1e30 - v.abs()).collect();
        check("negative", width, &negative);
    }
}

#[test]
fn the_largest_at_every_edge() {
    for width in WIDTHS {
        for at in [0, 1, 62, 63, 64, 65, 255, 256, 1023, 1024, width / 2, width - 1] {
            if at < width {
                let mut logits = vec![-1.5; width];
                logits[at] = -1.25;
                check(&format!("largest at {at}"), width, &logits);
            }
        }
    }
}

#[test]
fn ties_go_to_the_lowest_index() {
    let mut random = fresh(761);
    for width in WIDTHS {
        check("all equal", width, &vec![2.5; width]);
        check(
            "all zero, of both signs",
            width,
            &(0..width).map(|i| if i % 2 == 0 { -0.0 } else { 0.0 }).collect::<Vec<_>>(),
        );
        let few: Vec<f32> = (0..9 * width).map(|_| random.below(3) as f32).collect();
        check("three values", width, &few);
        // The tie crosses lanes: a high lane's early index against a low lane's late one.
        let mut crossing = vec![0.0; width];
        crossing[width - 1] = 1.0;
        crossing[width / 2] = 1.0;
        check("two equal", width, &crossing);
    }
}

/// Masked logits are -inf or the lowest finite number.
#[test]
fn lowest_values() {
    for width in WIDTHS {
        for masked in [f32::NEG_INFINITY, f32::MIN] {
            check("all masked", width, &vec![masked; width]);
            let mut logits = vec![masked; width];
            logits[width - 1] = -3.39e38;
            check("one left", width, &logits);
            logits[width - 1] = f32::MIN;
            check("one barely left", width, &logits);
        }
    }
}

#[test]
fn garbage_is_no_choice() {
    for width in WIDTHS {
        for garbage in [f32::NAN, -f32::NAN, f32::INFINITY] {
            for at in [0, width / 2, width - 1] {
                let mut logits = vec![1.0; width];
                logits[at] = garbage;
                assert_eq!(ops::argmax(&logits), argmax::NOT_FINITE);
                check(&format!("{garbage} at {at}"), width, &logits);
            }
        }
    }
}

/// The released vocabulary takes one quad a lane of a GPU's workgroups; one token more takes two.
#[test]
fn whole_vocabularies() {
    for width in [262_144, 262_145] {
        let mut logits = fresh(762).values(width, Spread::Normal);
        for at in [width - 1, 131_073, 3] {
            logits[at] = 100.0;
            check(&format!("largest at {at}"), width, &logits);
        }
    }
}
