//! What cannot be cut or joined is a panic with a message, not another matrix.

use std::panic::catch_unwind;

use lapidary::quant::{Dtype, Matrix, PackedMatrix, RowShard, StoredGroups};

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

#[test]
fn ranges_beyond_the_matrix() {
    let whole = Plain::random(SPEC).read(0..16);
    for range in [0..0, 5..5, 0..49, 48..49] {
        let found = panics("rows", || whole.row_shard(range.clone(), StoredGroups::All));
        assert!(found.contains("of 48"), "{found}");
    }
    for range in [0..0, 16..16, 9..17] {
        let found = panics("columns", || whole.column_shard(range.clone()));
        assert!(found.contains("of 16"), "{found}");
    }
    let shard = Matrix::Packed(whole).row_shard(3..40, StoredGroups::Touched);
    assert!(panics("again", || shard.row_shard(0..8, StoredGroups::All)).contains("not cut again"));
    assert!(panics("again", || shard.column_shard(0..8)).contains("not cut again"));
}

#[test]
fn shards_of_other_matrices() {
    let whole = Plain::random(SPEC).read(0..16);
    let cut = |m: &PackedMatrix| [0..20, 20..48].map(|range| m.row_shard(range, StoredGroups::Touched));
    let rows = |shards: &[RowShard], needle: &str| {
        let found = panics(needle, || PackedMatrix::join_rows(shards));
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
    let columns = |shards: &[PackedMatrix]| panics("columns", || PackedMatrix::join_columns(shards));
    assert!(columns(&[]).contains("at least one"));
    for spec in [
        Spec { bits: 8, ..SPEC },
        Spec { k: 40, ..SPEC },
        Spec { order: Order::Permuted, ..SPEC },
        Spec { group_size: 24, ..SPEC },
        Spec { asymmetric: false, ..SPEC },
    ] {
        let found = columns(&[whole.column_shard(0..8), Plain::random(spec).read(0..16)]);
        assert!(found.contains("of one matrix"), "{found}");
    }
}
