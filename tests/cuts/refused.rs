//! What cannot be cut is an error, what cannot be joined a panic with a message: not another matrix.

use std::panic::catch_unwind;

use lapidary::quant::{Dtype, Matrix, PackedMatrix, RowShard, StoredGroups};
use lapidary::testing::quant::{join_columns, join_rows};

use super::plain::{Format, Order, Plain, Spec};

const SPEC: Spec = Spec {
    format: Format::GptqV2,
    bits: 4,
    n: 16,
    k: 48,
    group_size: 16,
    order: Order::Sequential,
    scale_dtype: Dtype::F16,
    asymmetric: true,
    seed: 3,
};

/// The message of the panic that `action` ends in.
fn panics<T>(what: &str, action: impl FnOnce() -> T + std::panic::UnwindSafe) -> String {
    let Err(panic) = catch_unwind(action) else { panic!("{what}: was accepted") };
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).expect("a message")
}

/// `what` is an error of this code whose message has `words`.
#[track_caller]
fn refused<T>(what: lapidary::Result<T>, code: &str, words: &str) {
    let Err(error) = what else { panic!("expected {code}, found a part") };
    assert_eq!(error.code(), code, "{error}");
    assert!(error.to_string().contains(words), "{words:?} in {error}");
}

#[test]
fn ranges_beyond_the_matrix() {
    let whole = Plain::random(SPEC).read(0..16);
    let rows = |range| whole.row_shard(range, StoredGroups::All).map(|_| ());
    let columns = |range| whole.column_shard(range).map(|_| ());
    for range in [0..49, 48..49, usize::MAX - 1..usize::MAX] {
        refused(rows(range), "E-RANGE", "there are 48");
    }
    for range in [9..17, 17..17] {
        refused(columns(range), "E-RANGE", "there are 16");
    }
    for range in [0..0, 5..5, 16..16] {
        refused(rows(range.clone()), "E-SHAPE", &format!("input features: found {range:?}, expected at least one"));
        refused(columns(range.clone()), "E-SHAPE", &format!("output features: found {range:?}"));
    }
    let shard = Matrix::Packed(whole).row_shard(3..40, StoredGroups::Touched).expect("a part");
    refused(shard.row_shard(0..8, StoredGroups::All), "E-SHAPE", "part: found a row shard");
    refused(shard.column_shard(0..8), "E-SHAPE", "part: found a row shard");
}

#[test]
fn shards_of_other_matrices() {
    let whole = Plain::random(SPEC).read(0..16);
    let cut =
        |m: &PackedMatrix| [0..20, 20..48].map(|range| m.row_shard(range, StoredGroups::Touched).expect("a part"));
    let rows = |shards: &[RowShard], needle: &str| {
        let found = panics(needle, || join_rows(shards));
        assert!(found.contains(needle), "{found}");
    };
    let [first, second] = cut(&whole);
    rows(&[], "at least one");
    rows(&[second.clone(), first.clone()], "neighbours");
    rows(std::slice::from_ref(&second), "neighbours");
    rows(&[first.clone(), first.clone()], "neighbours");
    // Group 1 is of both shards: one with other scales is of another matrix, also where one of the two is zero.
    for flipped in [1, u32::MAX] {
        let mut other = second.clone();
        other.scales.iter_mut().for_each(|word| *word ^= flipped);
        rows(&[first.clone(), other.clone()], "agree");
        other.scales.fill(0);
        rows(&[first.clone(), other], "agree");
        let mut other = first.clone();
        other.zeros.as_mut().expect("asymmetric").fill(0);
        rows(&[other, second.clone()], "agree");
    }
    for spec in [
        Spec { bits: 8, ..SPEC },
        Spec { n: 24, ..SPEC },
        Spec { scale_dtype: Dtype::BF16, ..SPEC },
        Spec { asymmetric: false, ..SPEC },
        Spec { order: Order::Permuted, ..SPEC },
        Spec { group_size: 24, ..SPEC },
    ] {
        let [other_first, other] = cut(&Plain::random(spec).read(0..spec.n));
        rows(&[first.clone(), other], "of one matrix");
        rows(&[other_first, second.clone()], "of one matrix");
    }
    let columns = |shards: &[PackedMatrix]| panics("columns", || join_columns(shards));
    assert!(columns(&[]).contains("at least one"));
    for spec in [
        Spec { bits: 8, ..SPEC },
        Spec { k: 40, ..SPEC },
        Spec { order: Order::Permuted, ..SPEC },
        Spec { group_size: 24, ..SPEC },
        Spec { asymmetric: false, ..SPEC },
    ] {
        let found = columns(&[whole.column_shard(0..8).expect("a part"), Plain::random(spec).read(0..16)]);
        assert!(found.contains("of one matrix"), "{found}");
    }
}
