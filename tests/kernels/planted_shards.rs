//! Bugs of shards: planted in the shaders, and as wrong copies of what the host does. The checks of `real_shapes` must see
//! each; the table of them is in `planted`.

use std::ops::Range;

use lapidary::quant::{Dtype, GroupIndex, Matrix, PackedMatrix, RowShard, ShardGroups, StoredGroups};

use super::planted::{BYTES, EXPERTS, MATMUL, MATVEC, PACKED, sees};
use super::product::Path;
use super::real_shapes::{check_experts, cuts, probe_column_shards, probe_row_shards};
use crate::common::Runner;
use crate::common::matrices::{Order, Spec, Unpacked};
use crate::common::random::Random;

const PATHS: [Path; 2] = [Path::Matvec, Path::Matmul];

/// A shard of the rows, made wrongly.
type WrongRows = fn(&PackedMatrix, Range<usize>) -> RowShard;
/// A shard of the columns, made wrongly.
type WrongColumns = fn(&PackedMatrix, Range<usize>) -> Matrix;

/// Groups of 128 of 704 input features, the last one short; f32 scales, so that a line of them is a word each.
fn spec() -> Spec {
    Spec { scale_dtype: Dtype::F32, ..Spec::new(5, 704, 128) }
}

fn touched(whole: &PackedMatrix, rows: Range<usize>) -> RowShard {
    whole.row_shard(rows, StoredGroups::Touched).expect("a part")
}

/// Only the stored groups `groups` of a symmetric shard with f32 scales.
fn with_groups(shard: RowShard, groups: Range<usize>) -> RowShard {
    let scales = shard.scales.chunks_exact(shard.groups).flat_map(|line| line[groups.clone()].to_vec()).collect();
    RowShard { scales, groups: groups.len(), ..shard }
}

fn group_size(whole: &PackedMatrix) -> usize {
    assert_eq!(whole.group_index, GroupIndex::Sequential, "a bug of sequential groups");
    whole.format.group
}

/// The probes of row shards, three ranks and four: cuts inside a group, one of them inside a word of codes.
fn row_shards(
    spec: Spec,
    paths: &[Path],
    shard: impl Fn(&PackedMatrix, Range<usize>) -> RowShard,
) -> Result<(), String> {
    let full = Unpacked::random(&mut Random::new(860), spec);
    let whole = full.pack();
    for cut in &cuts(spec.in_features)[1..3] {
        for &path in paths {
            probe_row_shards(&Runner::new(), path, &full, cut, |rows| Matrix::RowShard(shard(&whole, rows)))?;
        }
    }
    Ok(())
}

/// Asserts that the probes of each path fail.
fn assert_caught(name: &str, probe: impl Fn(Path) -> Result<(), String>) {
    for path in PATHS {
        let failure = probe(path).err().unwrap_or_else(|| panic!("wrong copy \"{name}\": no probe of {path:?} saw it"));
        println!("{name}: {failure}");
    }
}

/// Panics with what the probes of any of `specs` say.
fn assert_right(specs: &[Spec], paths: &[Path]) {
    for &spec in specs {
        row_shards(spec, paths, touched).unwrap_or_else(|e| panic!("{e}"));
    }
}

#[test]
fn bugs_of_shaders_with_shards_are_caught() {
    let spec = Spec::new(5, 704, 128);
    let (asymmetric, order) = (Spec { asymmetric: true, ..spec }, Spec { order: Order::Shuffled, ..spec });
    // More groups of a shard than zero points a word.
    let fine = Spec { group_size: 16, ..asymmetric };
    let four = [spec, fine, asymmetric, order];
    let eight = [Spec { bits: 8, ..spec }, Spec { bits: 8, ..order }];
    for path in PATHS {
        assert_right(&four, &[path]);
        assert_right(&eight, &[path]);
        let of_path = if path == Path::Matvec { &MATVEC[..] } else { &MATMUL[..] };
        for &bug in PACKED.iter().chain(of_path) {
            sees(bug, || assert_right(&four, &[path]));
        }
        for bug in BYTES {
            sees(bug, || assert_right(&eight, &[path]));
        }
    }
    for bug in EXPERTS {
        sees(bug, || check_experts(&cuts(704)[..1]));
    }
}

#[test]
fn wrong_row_shards_are_caught() {
    let wrong: [(&str, WrongRows); 6] = [
        ("local instead of global group", |whole, rows| {
            let shard = touched(whole, rows);
            let group_index = ShardGroups { first_row: 0, first_group: 0, ..shard.group_index };
            RowShard { group_index, ..shard }
        }),
        ("first stored group forgotten", |whole, rows| {
            let shard = touched(whole, rows);
            RowShard { group_index: ShardGroups { first_group: 0, ..shard.group_index }, ..shard }
        }),
        ("floor instead of ceil groups", |whole, rows| {
            let groups = (rows.len() / group_size(whole)).max(1);
            with_groups(touched(whole, rows), 0..groups)
        }),
        ("group before the cut not stored", |whole, rows| {
            let first = rows.start.div_ceil(group_size(whole));
            let shard = touched(whole, rows);
            let groups = (first - shard.group_index.first_group).min(shard.groups - 1)..shard.groups;
            let shard = with_groups(shard, groups);
            RowShard { group_index: ShardGroups { first_group: first, ..shard.group_index }, ..shard }
        }),
        ("cut at a word of codes", |whole, rows| {
            let start = rows.start / 8 * 8;
            let shard = touched(whole, rows.clone());
            RowShard { codes: touched(whole, start..start + rows.len()).codes, ..shard }
        }),
        ("last word of codes missing", |whole, rows| {
            let mut shard = touched(whole, rows.clone());
            let (width, last) = (PackedMatrix::code_words(rows.len(), 4), (rows.len() - 1) / 8);
            shard.codes.chunks_exact_mut(width).for_each(|line| line[last] = 0);
            shard
        }),
    ];
    assert_right(&[spec()], &PATHS);
    for (name, shard) in wrong {
        assert_caught(name, |path| row_shards(spec(), &[path], shard));
    }

    let order = Spec { order: Order::Shuffled, ..spec() };
    assert_right(&[order], &PATHS);
    let first_rows: WrongRows = |whole, rows| {
        let GroupIndex::PerRow(table) = &whole.group_index else { panic!("a bug of act-order") };
        let index = GroupIndex::PerRow(table[..rows.len()].to_vec());
        let shard = whole.row_shard(rows, StoredGroups::All).expect("a part");
        RowShard { group_index: ShardGroups { index, ..shard.group_index }, ..shard }
    };
    assert_caught("table of the first rows", |path| row_shards(order, &[path], first_rows));

    let asymmetric = Spec { asymmetric: true, ..spec() };
    let minus_one: WrongRows = |whole, rows| {
        let shard = touched(whole, rows);
        let zeros = shard.zeros.as_ref().map(|zeros| zeros.iter().map(|word| word.wrapping_sub(0x1111_1111)).collect());
        RowShard { zeros, ..shard }
    };
    assert_right(&[asymmetric], &PATHS);
    assert_caught("zero points minus one", |path| row_shards(asymmetric, &[path], minus_one));
}

#[test]
fn wrong_column_shards_are_caught() {
    let wrong: [(&str, WrongColumns); 2] = [
        ("column shard with a row offset", |whole, outputs| {
            let PackedMatrix {
                out_features,
                in_features,
                format,
                codes,
                groups,
                scales,
                zeros,
                addends,
                group_index: index,
            } = whole.column_shard(outputs.clone()).expect("a part");
            let group_index = ShardGroups { first_row: outputs.start, first_group: 0, index };
            Matrix::RowShard(RowShard {
                out_features,
                in_features,
                format,
                codes,
                groups,
                scales,
                zeros,
                addends,
                group_index,
            })
        }),
        ("column shard with the neighbour's zero points", |whole, outputs| {
            let start = outputs.start / 8 * 8;
            let zeros = whole.column_shard(start..start + outputs.len()).expect("a part").zeros;
            Matrix::Packed(PackedMatrix { zeros, ..whole.column_shard(outputs).expect("a part") })
        }),
    ];
    let full = Unpacked::random(&mut Random::new(861), Spec { asymmetric: true, ..Spec::new(100, 352, 32) });
    let whole = full.pack();
    let probe = |path, shard: WrongColumns| {
        let shard = |outputs| shard(&whole, outputs);
        probe_column_shards(&Runner::new(), path, &full, &cuts(100)[1], shard)
    };
    for path in PATHS {
        probe(path, |whole, outputs| Matrix::Packed(whole.column_shard(outputs).expect("a part")))
            .unwrap_or_else(|e| panic!("{e}"));
    }
    for (name, shard) in wrong {
        assert_caught(name, |path| probe(path, shard));
    }
}
