//! `not_finite.wgsl`: a flag of its own for each buffer that holds a NaN or an infinity.

use lapidary::testing::kernels::rows::not_finite;
use lapidary::testing::reference::ops;

use crate::common::{Output, Runner, compact, fresh, gpu};

/// Flags beside that of the buffer that is looked at.
const FLAGS: usize = 5;

/// Looks at `words` for each flag: that one alone may change, and does where a word is no number.
pub(super) fn check(what: &str, words: &[u32], numbers: &[usize]) {
    let x = compact(words.len(), words);
    for &number in numbers {
        for before in [0, 1] {
            let mut expected = vec![0u32; FLAGS];
            expected[number] = before;
            let values: Vec<f32> = expected.iter().map(|&flag| f32::from_bits(flag)).collect();
            let (runner, flags) = (Runner::new(), Output::in_place(FLAGS, &values));
            let planned = not_finite::plan(&runner.planner, "not_finite", &(&x).into(), &flags.tensor, number);
            let actual = runner.run_raw_rows(planned.expect("a plan"), &flags, 1);
            // What is set stays set: many buffers may share a flag.
            expected[number] |= u32::from(ops::not_finite(words));
            assert_eq!(actual, expected, "{what}, {} words, flag {number}", words.len());
        }
    }
}

/// Buffers around a workgroup's 256 words, with one word that is no number at each edge.
pub(super) fn check_edges() {
    for n in [1, 2, 255, 256, 257, 1000] {
        check("numbers", &vec![1.0f32.to_bits(); n], &[0, 3]);
        for at in [0, 1, 254, 255, 256, n - 1] {
            let mut words = vec![f32::MAX.to_bits(); n];
            if let Some(word) = words.get_mut(at) {
                *word = f32::NAN.to_bits();
                check(&format!("NaN at {at}"), &words, &[0, 3, FLAGS - 1]);
            }
        }
    }
}

#[test]
fn one_word_at_every_edge() {
    check_edges();
}

/// All kinds of words, one at a time among ordinary numbers: what has the largest exponent is no number, whatever its sign
/// and its other bits; what has any other is one.
pub(super) fn check_kinds() {
    let mut random = fresh(791);
    let numbers =
        [0.0, -0.0, f32::MIN_POSITIVE, -f32::MIN_POSITIVE, 1e-45, -1e-45, 65504.0, 65536.0, f32::MAX, f32::MIN];
    let mut words: Vec<u32> = numbers.map(f32::to_bits).into();
    words.extend([f32::INFINITY, f32::NEG_INFINITY].map(f32::to_bits));
    words.extend([
        0x7f80_0001,
        0xff80_0001,
        0x7fc0_0000,
        0x7fff_ffff,
        0xffff_ffff,
        0x7f7f_ffff,
        0xff7f_ffff,
        0x0080_0000,
    ]);
    words.extend((0..16).map(|_| random.word() as u32));
    for word in words {
        let mut all = vec![0x3f80_0000; 300];
        all[259] = word;
        check(&format!("{word:#x}"), &all, &[1]);
    }
}

#[test]
fn every_kind_of_word() {
    check_kinds();
}

/// More workgroups than a dimension holds: the rest goes along z.
pub(super) fn check_large() {
    let n = 256 * gpu().limits().max_compute_workgroups_per_dimension as usize + 1;
    let mut words = vec![0u32; n];
    check("zeros", &words, &[2]);
    words[n - 1] = f32::NAN.to_bits();
    check("the last", &words, &[2]);
}

#[test]
fn more_words_than_a_dimension_holds() {
    check_large();
}
