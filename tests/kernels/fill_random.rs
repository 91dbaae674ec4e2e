//! `fill_random.wgsl`: words[i] = (hash(seed + i) & keep) | base, bit for bit.

use half::{bf16, f16};
use lapidary::quant::{Dtype, Format, Grouped, Shift};
use lapidary::testing::kernels::product::Product;
use lapidary::testing::kernels::rows::fill_random;
use lapidary::testing::kernels::rows::fill_random::Bits;
use lapidary::testing::kernels::{Weights, product};
use lapidary::testing::reference::ops;

use crate::common::{Output, Runner, gpu, tensor};

#[test]
fn words_are_the_reference_s() {
    check(&[1, 255, 256, 257, 100_003]);
}

/// Workgroups along z: more than one dimension holds.
#[test]
fn large_buffers_are_filled_to_the_end() {
    check(&[65_535 * 256 / 3 + 1]);
}

pub(super) fn check(sizes: &[usize]) {
    for &n in sizes {
        for (seed, bits) in [(7, Bits::ALL), (u32::MAX - 100, Bits::binade(Dtype::F16, -9, false))] {
            let (runner, y) = (Runner::new(), Output::compact(1, n));
            // The guard rows make the buffer longer than what is looked at: it is filled as a whole.
            let planned = fill_random::plan(&runner.planner, "fill", &y.tensor.buffer, seed, bits).expect("a plan");
            let all = n * y.tensor.rows;
            let actual = runner.run_raw(planned, &y, all);
            let expected: Vec<u32> = (0..all).map(|i| ops::fill_random(i as u32, seed, bits.keep, bits.base)).collect();
            assert!(actual == expected, "{n} words, seed {seed}");
        }
    }
}

#[test]
fn binades_are_what_they_say() {
    let words = |bits: Bits| (0..4096).map(move |i| ops::fill_random(i, 3, bits.keep, bits.base));
    let halves = |bits: Bits| words(bits).flat_map(|w| [w as u16, (w >> 16) as u16]);
    let values: [(&str, Vec<f32>); 3] = [
        ("f16", halves(Bits::binade(Dtype::F16, -9, true)).map(|h| f16::from_bits(h).to_f32()).collect()),
        ("bf16", halves(Bits::binade(Dtype::BF16, -9, true)).map(|h| bf16::from_bits(h).to_f32()).collect()),
        ("f32", words(Bits::binade(Dtype::F32, -9, true)).map(f32::from_bits).collect()),
    ];
    for (name, values) in values {
        let unit = 2.0f32.powi(-9);
        assert!(values.iter().all(|v| (unit..2.0 * unit).contains(&v.abs())), "{name}");
        let mean = values.iter().sum::<f32>() / values.len() as f32 / unit;
        assert!(mean.abs() < 0.1, "{name}: a mean of {mean} units");
        assert!(values.iter().any(|v| v.abs() < 1.1 * unit) && values.iter().any(|v| v.abs() > 1.9 * unit), "{name}");
    }
    let positive = halves(Bits::binade(Dtype::F16, -100, false)).map(|h| f16::from_bits(h).to_f32());
    assert!(positive.into_iter().all(|v| v >= f16::MIN_POSITIVE.to_f32()), "below the range: the smallest normal ones");
}

/// Stacks in several parts, a last group that is short, and rows that are padded: all of it gives finite numbers of
/// order 1 from inputs of order 1.
#[test]
fn random_weights_multiply() {
    let runner = Runner::new();
    for kind in [Format::int(4, 128), Format::int(8, 32), Format::Dense(Dtype::BF16), Format::Dense(Dtype::F32)] {
        for k in [100, 704, 2816] {
            let weights = Weights::random(&runner.planner, "w", [1, 300, k], kind, 750_000).expect("weights");
            gpu().wait().expect("the device");
            let x: Vec<f32> = (0..k).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
            let (x, y) = (tensor(k, &x), Output::new(1, 300));
            let rows = product::Rows::Few;
            let planned =
                product::plan(&runner.planner, "p", &Product::new(&weights, rows, &x, &y.tensor)).expect("a plan");
            let values = runner.run(&planned, 1, &[&y]).remove(0);
            let root = (values.iter().map(|v| v * v).sum::<f32>() / 300.0).sqrt();
            assert!((0.3..3.0).contains(&root), "{kind:?}, {k} columns: {root}");
        }
    }
}

/// A format that no kernel multiplies by is refused before memory is taken for it.
#[test]
fn formats_that_nothing_multiplies_by_are_refused() {
    let runner = Runner::new();
    let addend = Grouped { shift: Shift::Addend(Dtype::F32), ..Grouped::symmetric(4, 32, Dtype::F16) };
    for (format, word) in [
        (Format::int(6, 32), "6-bit codes are not supported yet"),
        (Format::Grouped(addend), "groups with an addend (f32) are not supported yet"),
    ] {
        let refused = Weights::random(&runner.planner, "w", [1, 8, 64], format, u64::MAX);
        let refusal = refused.expect_err("a refusal").to_string();
        assert!(refusal.contains(word), "{word:?} in {refusal:?}");
    }
}
