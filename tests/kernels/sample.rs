//! `sample.wgsl` behind `strip_max.wgsl`: the token that the CPU's sampler draws from the same logits with the same seed.

use lapidary::engine::{Sampler, Sampling};
use lapidary::testing::gpu::Tensor;
use lapidary::testing::kernels::choice::sample::Draw;
use lapidary::testing::kernels::choice::{argmax, sample, strip_max};
use lapidary::testing::reference::ops;
use lapidary::testing::twins::drawable;

use crate::common::random::{Random, Spread};
use crate::common::{Output, Runner, compact, gpu, tensor};

/// Lanes of a workgroup: as on software adapters, as on GPUs, and few.
const THREADS: [u32; 3] = [16, 256, 4];

/// Around a quad, a strip (64), a quad of strips and the strips of a top-k of 64 (4096).
const WIDTHS: [usize; 12] = [1, 2, 5, 33, 63, 64, 65, 255, 257, 1025, 4096, 4101];

/// One token for each draw, from the row of logits of the same number.
fn drawn(threads: u32, width: usize, logits: &[f32], draws: &[Draw]) -> Vec<u32> {
    let (runner, ids) = (Runner::with_threads(threads), Output::compact(draws.len(), 1));
    let logits = tensor(width, logits);
    let maxima = Tensor::compact(gpu(), "maxima", draws.len(), strip_max::strips(width)).expect("memory");
    let planned = [
        strip_max::plan(&runner.planner, "strip_max", &logits, &maxima).expect("a plan"),
        sample::plan(&runner.planner, "sample", &logits, &maxima, &compact(sample::DRAW_WORDS, draws), &ids.tensor)
            .expect("a plan"),
    ];
    runner.run(&planned, draws.len(), &[&ids]).remove(0).iter().map(|v| v.to_bits()).collect()
}

/// Draws from each row with each sampling, and with two seeds; returns how many draws rounding left open.
fn compare(what: &str, threads: u32, width: usize, logits: &[f32], samplings: &[Sampling]) -> usize {
    let (mut rows, mut draws, mut expected) = (Vec::new(), Vec::new(), Vec::new());
    for (number, row) in logits.chunks_exact(width).enumerate() {
        for (sampling, seed) in samplings.iter().flat_map(|sampling| [(sampling, 1), (sampling, 2)]) {
            let sampling = Sampling { seed: seed + 97 * number as u64, ..*sampling };
            let mut sampler = Sampler::new(sampling).expect("valid");
            let draw = sampler.draw().expect("few tokens").expect("no greedy choice");
            rows.extend_from_slice(row);
            draws.push(draw);
            expected.push((sampler.choose(row).expect("finite logits"), sampling));
        }
    }
    let mut open = 0;
    let actual = drawn(threads, width, &rows, &draws);
    for (i, (&id, (wanted, sampling))) in actual.iter().zip(&expected).enumerate() {
        let may_be = {
            let (row, Sampling { top_k, top_p, temperature, .. }) = (&rows[i * width..(i + 1) * width], *sampling);
            drawable(row, top_k, top_p, temperature, f64::from(draws[i].random))
        };
        let what = format!("{what}, width {width}, {threads} threads, draw {i}, {sampling:?}");
        assert!(may_be.contains(wanted), "{what}: the sampler's {wanted} is none of {may_be:?}");
        let twin = ops::sample(&rows[i * width..(i + 1) * width], &draws[i]);
        assert!(may_be.contains(&twin), "{what}: the twin's {twin} is none of {may_be:?}");
        assert!(may_be.contains(&id), "{what}: {id}, expected {wanted} or one of {may_be:?}");
        open += usize::from(may_be.len() > 1);
    }
    open
}

const PLAIN: Sampling = Sampling { temperature: 1.0, top_k: 64, top_p: 0.95, seed: 0 };

fn samplings() -> Vec<Sampling> {
    let mut all = Vec::new();
    for top_k in [2, 3, 64, 127, 128] {
        for (temperature, top_p) in [(1.0, 1.0), (0.7, 0.95), (100.0, 0.5), (0.01, 1.0), (1.5, f32::MIN_POSITIVE)] {
            all.push(Sampling { temperature, top_k, top_p, seed: 0 });
        }
    }
    // No finite number is one divided by the last.
    all.extend([1e-30, 1e-42].map(|temperature| Sampling { temperature, ..PLAIN }));
    all
}

/// As `compare` with all sizes of workgroups and all samplings.
pub(super) fn check(what: &str, width: usize, logits: &[f32]) {
    for threads in THREADS {
        compare(what, threads, width, logits, &samplings());
    }
}

#[test]
fn random_rows() {
    let mut random = Random::new(770);
    let (mut open, mut all) = (0, 0);
    for width in WIDTHS {
        for spread in [Spread::Normal, Spread::Outliers] {
            let logits = random.values(width, spread);
            for threads in THREADS {
                open += compare(&format!("{spread:?}"), threads, width, &logits, &samplings());
                all += 2 * samplings().len();
            }
        }
    }
    assert!(open * 100 < all, "{open} of {all} draws are left open by rounding: this proves little");
}

#[test]
fn all_magnitudes() {
    let mut random = Random::new(775);
    for width in [5, 331] {
        check("negative", width, &random.values(width, Spread::Uniform).iter().map(|v| v - 1e4).collect::<Vec<_>>());
        check("huge", width, &random.values(width, Spread::Uniform).iter().map(|v| v * 3e38).collect::<Vec<_>>());
        check("tiny", width, &random.values(width, Spread::Uniform).iter().map(|v| v * 1e-20).collect::<Vec<_>>());
        // A device may take subnormal differences for zero, which only a temperature as small as they would show.
        let subnormal = random.values(width, Spread::Subnormal);
        for threads in THREADS {
            compare("subnormal", threads, width, &subnormal, &[PLAIN, Sampling { top_p: 1.0, ..PLAIN }]);
        }
    }
}

#[test]
fn ties_go_to_the_lowest_ids() {
    let mut random = Random::new(771);
    for width in [1, 5, 63, 65, 257, 4101] {
        check("all equal", width, &vec![-2.5; width]);
        let zeros: Vec<f32> = (0..width).map(|i| if i % 2 == 0 { -0.0 } else { 0.0 }).collect();
        check("all zero, of both signs", width, &zeros);
        check("three values", width, &(0..2 * width).map(|_| random.below(3) as f32).collect::<Vec<_>>());
        let mut last = vec![0.0; width];
        last[width - 1] = 0.5;
        check("the last above equals", width, &last);
    }
}

/// Where the largest stand, in one strip or in many, changes nothing.
#[test]
fn the_largest_anywhere() {
    let mut random = Random::new(772);
    for width in [257, 4101] {
        for (begin, step) in [(0, 1), (1, 2), (60, 1), (0, 63), (3, 64), (width - 130, 1)] {
            let mut logits: Vec<f32> = random.values(width, Spread::Uniform);
            for i in (begin..width).step_by(step).take(130) {
                logits[i] += 3.0;
            }
            check(&format!("from {begin} by {step}"), width, &logits);
        }
    }
}

#[test]
fn masked_logits_are_never_drawn() {
    for width in [1, 5, 65, 257, 1025] {
        for n_left in [1, 2, 3, 70] {
            let mut logits = vec![f32::NEG_INFINITY; width];
            for i in 0..n_left.min(width) {
                logits[width - 1 - i * (width / n_left.min(width))] = f32::MIN + i as f32 * 1e36;
            }
            check(&format!("{n_left} left"), width, &logits);
        }
    }
}

/// Garbage is seen wherever it stands, and nothing is drawn where nothing is left; other rows are not disturbed.
#[test]
fn garbage_is_no_draw() {
    let draw = Draw { top_k: 2, top_p: 0.5, inverse_temperature: 1.0, random: 0.0 };
    for width in WIDTHS {
        for threads in THREADS {
            let mut logits = vec![1.0; 2 * width];
            for garbage in [f32::NAN, -f32::NAN, f32::INFINITY] {
                for at in [0, width / 2, width - 1] {
                    logits[..width].fill(1.0);
                    logits[at] = garbage;
                    let chosen = drawn(threads, width, &logits, &[draw; 2]);
                    assert_eq!(chosen, [argmax::NOT_FINITE, 0], "width {width}, {garbage} at {at}, {threads} threads");
                }
            }
            logits[..width].fill(f32::NEG_INFINITY);
            assert_eq!(drawn(threads, width, &logits, &[draw; 2]), [argmax::NOT_FINITE, 0], "width {width}, none");
        }
    }
}

/// A row of a batch may be greedy: a draw among one.
#[test]
fn one_of_one_is_the_largest() {
    let mut random = Random::new(773);
    let draw = |random| Draw { top_k: 1, top_p: 1.0, inverse_temperature: 1.0, random };
    for width in WIDTHS {
        let logits: Vec<f32> = (0..3 * width).map(|_| random.below(width.min(50)) as f32).collect();
        let expected: Vec<u32> = logits.chunks_exact(width).map(ops::argmax).collect();
        for threads in THREADS {
            assert_eq!(drawn(threads, width, &logits, &[draw(0.0), draw(0.5), draw(1.0)]), expected, "width {width}");
        }
    }
}

/// A random number that was rounded up to 1 draws the last that top-p keeps, if it has any weight.
#[test]
fn a_random_number_of_one() {
    let logits = [0.0, 3.0, 2.0, f32::NEG_INFINITY, -300.0];
    let draw = |top_p| Draw { top_k: 5, top_p, inverse_temperature: 1.0, random: 1.0 };
    let rows = [logits, logits].concat();
    assert_eq!(drawn(16, 5, &rows, &[draw(1.0), draw(0.8)]), [0, 2]);
}

/// The released vocabulary.
#[test]
fn whole_vocabularies() {
    let mut random = Random::new(774);
    for width in [262_144, 262_145] {
        let logits: Vec<f32> = random.values(width, Spread::Normal).iter().map(|v| 3.0 * v).collect();
        for threads in [16, 256] {
            compare("normal", threads, width, &logits, &[PLAIN, Sampling { top_k: 128, top_p: 1.0, ..PLAIN }]);
            compare("equal", threads, width, &vec![0.5; width], &[PLAIN]);
        }
    }
}
