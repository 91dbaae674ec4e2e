//! Shards of quantized matrices on the CPU: from the tensors of a file to the matrix, cut anywhere and joined again, with
//! every value against the raw codes. [`CASES`] random matrices a source, [`SOURCES`] sources.

mod common;

mod cuts {
    pub(super) mod dense;
    pub(super) mod plain;
    pub(super) mod refused;
}

use std::cell::Cell;
use std::ops::Range;

use lapidary::quant::{Dtype, PackedMatrix, RowShard, StoredGroups};
use lapidary::testing::quant::{Groups, join_columns, join_rows};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use common::seed::seed;
use cuts::plain::{Format, Order, Plain, Spec};

/// Random matrices of each source, and the sources: GPTQ v1 and v2, AWQ, compressed-tensors, dense.
pub(crate) const CASES: u32 = 12_000;
const SOURCES: u32 = 5;
const _: () = assert!(CASES * SOURCES >= 20_000, "cases in all");

/// Runs `property` on exactly [`CASES`] values.
pub(crate) fn check<S: Strategy>(what: &str, cases: S, property: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let ran = Cell::new(0);
    let rng_seed = RngSeed::Fixed(seed(what.bytes().map(u64::from).sum()));
    let config = Config { cases: CASES, failure_persistence: None, rng_seed, ..Config::default() };
    let result = TestRunner::new(config).run(&cases, |case| {
        ran.set(ran.get() + 1);
        property(case)
    });
    result.unwrap_or_else(|failure| panic!("{what}: {failure}"));
    assert_eq!(ran.get(), CASES, "{what}: cases");
    println!("{what}: {CASES} cases");
}

pub(crate) fn dtypes() -> impl Strategy<Value = Dtype> {
    prop::sample::select(vec![Dtype::F16, Dtype::BF16, Dtype::F32])
}

/// Where to cut, as fractions of 2^16: 1 to 8 pieces.
pub(crate) fn cuts() -> impl Strategy<Value = Vec<u16>> {
    prop::collection::vec(any::<u16>(), 0..8)
}

/// Pieces of `0..size`, all of them nonempty.
pub(crate) fn pieces(size: usize, cuts: &[u16]) -> Vec<Range<usize>> {
    let mut edges: Vec<usize> = cuts.iter().map(|&cut| (usize::from(cut) * size) >> 16).collect();
    edges.extend([0, size]);
    edges.sort_unstable();
    edges.dedup();
    edges.windows(2).map(|edge| edge[0]..edge[1]).collect()
}

/// Small groups, the usual ones, any, and all input features (-1): within the size, or beyond it.
fn group_size(k: usize) -> impl Strategy<Value = usize> {
    prop_oneof![1..=16usize, prop::sample::select(vec![8, 16, 32, 64, 128]), 1..=k, Just(k)]
}

fn specs(format: Format) -> impl Strategy<Value = Spec> {
    let bits = if format == Format::Awq { vec![4] } else { vec![4, 8] };
    let shape = prop::sample::select(bits).prop_flat_map(move |bits| {
        let unit = format.unit(bits);
        let sizes = (1..=40 / unit, 1..=200 / unit).prop_map(move |(n, k)| (n * unit, k * unit));
        (Just(bits), sizes)
    });
    let grouped = shape.prop_flat_map(move |(bits, (n, k))| {
        let orders = match format {
            Format::Awq => vec![Order::Sequential],
            _ => vec![Order::Sequential, Order::SequentialTable, Order::Permuted, Order::Arbitrary],
        };
        (Just((bits, n, k)), group_size(k), prop::sample::select(orders))
    });
    (grouped, dtypes(), any::<bool>(), any::<u64>()).prop_map(
        move |(((bits, n, k), group_size, order), scale_dtype, asymmetric, seed)| {
            // AWQ has whole groups only.
            let fits = |size: &usize| format != Format::Awq || k.is_multiple_of(*size);
            let group_size = (1..=group_size).rev().find(fits).expect("1 divides");
            Spec { format, bits, n, k, group_size, order, scale_dtype, asymmetric, seed }
        },
    )
}

/// All that `m` says is what the raw codes say of `outputs` and `inputs`.
fn check_values<G: Groups>(
    plain: &Plain,
    m: &PackedMatrix<G>,
    outputs: Range<usize>,
    inputs: Range<usize>,
) -> Result<(), TestCaseError> {
    prop_assert_eq!((m.out_features, m.in_features), (outputs.len(), inputs.len()));
    let mut row = vec![0.0; inputs.len()];
    for (i, n) in outputs.clone().enumerate() {
        m.row(i, &mut row).expect("a row");
        for (k, value) in inputs.clone().zip(&row) {
            let expected = plain.value(n, k);
            prop_assert_eq!(expected.to_bits(), value.to_bits(), "[{}, {}]: {} is {}", n, k, expected, value);
        }
    }
    let (code_bits, scale_bits) = (m.format.bits as usize, 8 * m.format.scale.size_bytes());
    check_padding("codes", &m.codes, m.out_features, inputs.len() * code_bits)?;
    check_padding("scales", &m.scales, m.out_features, m.groups * scale_bits)?;
    prop_assert_eq!(m.codes.len(), m.out_features * PackedMatrix::code_words(m.in_features, m.format.bits));
    prop_assert_eq!(m.zeros.is_none(), plain.is_symmetric());
    m.zeros.as_ref().map_or(Ok(()), |zeros| check_padding("zeros", zeros, m.out_features, m.groups * code_bits))
}

/// Each of `count` lines is zero from bit `used` on: kernels read whole chunks.
fn check_padding(what: &str, words: &[u32], count: usize, used: usize) -> Result<(), TestCaseError> {
    for line in words.chunks_exact(words.len() / count) {
        let is_zero = (used..32 * line.len()).all(|bit| line[bit / 32] >> (bit % 32) & 1 == 0);
        prop_assert!(is_zero, "{} beyond bit {}", what, used);
    }
    Ok(())
}

fn column_shards(plain: &Plain, whole: &PackedMatrix, cuts: &[u16]) -> Result<(), TestCaseError> {
    let Spec { n, k, .. } = plain.spec;
    let pieces = pieces(n, cuts);
    let shards: Vec<PackedMatrix> =
        pieces.iter().map(|piece| whole.column_shard(piece.clone()).expect("a part")).collect();
    for (shard, piece) in shards.iter().zip(&pieces) {
        check_values(plain, shard, piece.clone(), 0..k)?;
        // Zero points lie across output features in the file: a cut goes through their words.
        prop_assert_eq!(shard, &plain.read(piece.clone()), "outputs {:?} from the file", piece);
    }
    prop_assert_eq!(&join_columns(&shards), whole);
    Ok(())
}

fn row_shards(plain: &Plain, whole: &PackedMatrix, cuts: &[u16]) -> Result<(), TestCaseError> {
    let Spec { n, k, group_size, order, .. } = plain.spec;
    let pieces = pieces(k, cuts);
    for stored in [StoredGroups::All, StoredGroups::Touched] {
        let shards: Vec<RowShard> =
            pieces.iter().map(|piece| whole.row_shard(piece.clone(), stored).expect("a part")).collect();
        for (shard, piece) in shards.iter().zip(&pieces) {
            check_values(plain, shard, 0..n, piece.clone())?;
            let touched = &plain.group[piece.clone()];
            let expected = match (stored, order) {
                (StoredGroups::All, _) => 0..plain.groups,
                (_, Order::Sequential | Order::SequentialTable) => {
                    piece.start / group_size..(piece.end - 1) / group_size + 1
                }
                _ => *touched.iter().min().expect("a row")..touched.iter().max().expect("a row") + 1,
            };
            let first = shard.group_index.first_group;
            prop_assert_eq!(first..first + shard.groups, expected, "groups of inputs {:?}", piece);
            prop_assert_eq!(shard.group_index.first_row, piece.start);
        }
        prop_assert_eq!(&join_rows(&shards), whole);
    }
    Ok(())
}

fn check_format(format: Format) {
    check(&format!("{format:?}"), (specs(format), cuts(), cuts()), |(spec, columns, rows)| {
        let plain = Plain::random(spec);
        let whole = plain.read(0..spec.n);
        check_values(&plain, &whole, 0..spec.n, 0..spec.k)?;
        column_shards(&plain, &whole, &columns)?;
        row_shards(&plain, &whole, &rows)?;
        // Both ways: a corner of the matrix.
        let (outputs, inputs) = (pieces(spec.n, &columns).pop(), pieces(spec.k, &rows).pop());
        let (outputs, inputs) = (outputs.expect("a piece"), inputs.expect("a piece"));
        let corner = whole
            .column_shard(outputs.clone())
            .expect("a part")
            .row_shard(inputs.clone(), StoredGroups::Touched)
            .expect("a part");
        check_values(&plain, &corner, outputs, inputs)
    });
}

#[test]
fn gptq_v1() {
    check_format(Format::GptqV1);
}

#[test]
fn gptq_v2() {
    check_format(Format::GptqV2);
}

#[test]
fn awq() {
    check_format(Format::Awq);
}

#[test]
fn compressed_tensors() {
    check_format(Format::Compressed);
}
