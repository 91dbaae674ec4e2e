//! Joining shards again: what tests hold the cuts against.

use super::format::Shift;
use super::matrix::{GroupIndex, PackedMatrix, RowShard};

/// The matrix that `shards` were cut from: their output features one after the other.
///
/// # Panics
/// If there is no shard or they are not of one matrix.
pub fn join_columns(shards: &[PackedMatrix]) -> PackedMatrix {
    let first = shards.first().expect("at least one shard");
    let like = |m: &PackedMatrix| (m.in_features, m.groups, m.format);
    let same = |m: &PackedMatrix| like(m) == like(first) && m.group_index == first.group_index;
    assert!(shards.iter().all(same), "column shards of one matrix");
    PackedMatrix {
        out_features: shards.iter().map(|m| m.out_features).sum(),
        codes: shards.iter().flat_map(|m| &m.codes).copied().collect(),
        scales: shards.iter().flat_map(|m| &m.scales).copied().collect(),
        zeros: first.zeros.is_some().then(|| shards.iter().flat_map(|m| m.zeros.iter().flatten()).copied().collect()),
        addends: shards.iter().flat_map(|m| &m.addends).copied().collect(),
        group_index: first.group_index.clone(),
        ..*first
    }
}

/// The matrix that `shards` were cut from: their input features one after the other. Groups that two shards store must
/// agree.
///
/// # Panics
/// If there is no shard, the first does not begin with row 0, or they are not neighbours of one matrix.
pub fn join_rows(shards: &[RowShard]) -> PackedMatrix {
    let first = shards.first().expect("at least one shard");
    let like = |m: &RowShard| (m.out_features, m.format);
    assert!(shards.iter().all(|m| like(m) == like(first)), "row shards of one matrix");
    let in_features = shards.iter().fold(0, |end, m| {
        assert_eq!(m.group_index.first_row, end, "row shards are neighbours");
        end + m.in_features
    });
    let group_index = join_indices(shards);
    let groups = shards.iter().map(|m| m.group_index.first_group + m.groups).max().expect("at least one");
    let (n, format) = (first.out_features, first.format);
    let (bits, scale_bits) = (format.bits as usize, 8 * format.scale.size_bytes());
    let mut codes = vec![0; n * PackedMatrix::code_words(in_features, format.bits)];
    let mut scales = vec![0; n * format.scale.words(groups)];
    let mut zeros = first.zeros.as_ref().map(|_| vec![0; n * PackedMatrix::zero_words(groups, format.bits)]);
    let addend = match format.shift {
        Shift::Addend(dtype) => Some(dtype),
        Shift::None | Shift::Zero => None,
    };
    let mut addends = vec![0; addend.map_or(0, |dtype| n * dtype.words(groups))];
    let mut known = vec![false; groups];
    for m in shards {
        let (row, group) = (m.group_index.first_row, m.group_index.first_group);
        let known = &mut known[group..group + m.groups];
        place(&mut codes, n, row, &m.codes, &vec![false; m.in_features], bits);
        place(&mut scales, n, group, &m.scales, known, scale_bits);
        if let (Some(zeros), Some(source)) = (&mut zeros, &m.zeros) {
            place(zeros, n, group, source, known, bits);
        }
        if let Some(dtype) = addend {
            place(&mut addends, n, group, &m.addends, known, 8 * dtype.size_bytes());
        }
        known.fill(true);
    }
    PackedMatrix { out_features: n, in_features, format, codes, groups, scales, zeros, addends, group_index }
}

/// The group index of the matrix that `shards` were cut from.
fn join_indices(shards: &[RowShard]) -> GroupIndex {
    let of_one_matrix = "row shards of one matrix";
    let indices = || shards.iter().map(|m| &m.group_index.index);
    match &shards[0].group_index.index {
        GroupIndex::PerRow(_) => {
            let tables = indices().map(|index| match index {
                GroupIndex::PerRow(table) => table.as_slice(),
                GroupIndex::Sequential => panic!("{of_one_matrix}"),
            });
            GroupIndex::PerRow(tables.collect::<Vec<_>>().concat())
        }
        sequential => {
            assert!(indices().all(|index| index == sequential), "{of_one_matrix}");
            sequential.clone()
        }
    }
}

/// Writes the fields, of `bits` bits each, of every line of `source` into the lines of `out`, from field `first` on.
/// Beside `source` stands of each field whether `out` has it already.
///
/// # Panics
/// If a field that `out` has already is another.
fn place(out: &mut [u32], count: usize, first: usize, source: &[u32], known: &[bool], bits: usize) {
    let (out_width, width) = (out.len() / count, source.len() / count);
    let mask = if bits == 32 { u32::MAX } else { (1 << bits) - 1 };
    for (to, from) in out.chunks_exact_mut(out_width).zip(source.chunks_exact(width)) {
        for (field, &is_known) in known.iter().enumerate() {
            let value = (from[field * bits / 32] >> (field * bits % 32)) & mask;
            let (word, shift) = ((first + field) * bits / 32, (first + field) * bits % 32);
            assert!(!is_known || (to[word] >> shift) & mask == value, "shards that overlap agree");
            to[word] |= value << shift;
        }
    }
}
