//! Quantized checkpoints of another program against its own dequantized twins, bit for bit: every matrix whole, and every
//! row and column shard at 2, 3, 4 and 8 ranks. `tests/oracle.sh` makes the files and sets LAPIDARY_ORACLE; without it
//! nothing runs here but a line that says so.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::io::Write;
use std::ops::Range;
use std::path::Path;

use lapidary::checkpoint::{Checkpoint, Projection, Source};
use lapidary::quant::{Format, Grouped, Matrix, StoredGroups};
use lapidary::testing::quant::{join_columns, join_rows};
use safetensors::{Dtype, SafeTensors};

const RANKS: [usize; 4] = [2, 3, 4, 8];

/// What was compared.
#[derive(Debug, Default)]
struct Counts {
    quantized: usize,
    dense: usize,
    shards: usize,
    /// Row shards that do not begin or do not end with a group.
    inside_a_group: usize,
}

/// Past the test harness, which keeps what passing tests print to itself.
#[expect(clippy::explicit_write, reason = "the harness takes what eprintln writes")]
fn say(text: &str) {
    writeln!(std::io::stderr(), "{text}").unwrap();
}

#[test]
fn twins_of_the_oracle() {
    let Some(folder) = std::env::var_os("LAPIDARY_ORACLE") else {
        say("oracle: not run, LAPIDARY_ORACLE is not set; sh tests/oracle.sh runs it");
        return;
    };
    let mut sets: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    sets.sort();
    assert!(!sets.is_empty(), "LAPIDARY_ORACLE: {} is empty", folder.display());
    for set in sets {
        let name = set.file_name().unwrap().to_str().unwrap();
        let counts = compare(&set);
        assert!(counts.quantized > 0 && counts.inside_a_group + counts.shards > 0, "{name}: {counts:?}");
        say(&format!("oracle: {name}: {counts:?}, all equal"));
    }
}

/// The checkpoint `quant` against the tensors of `twin`, all of them f32.
fn compare(set: &Path) -> Counts {
    let checkpoint = Checkpoint::open(Source::Directory(set.join("quant"))).unwrap();
    checkpoint.verify_contents().unwrap();
    let bytes = std::fs::read(set.join("twin/model.safetensors")).unwrap();
    let twin = SafeTensors::deserialize(&bytes).unwrap();
    let mut counts = Counts::default();
    for (full, view) in twin.iter() {
        let relative = full.strip_prefix("model.language_model.").or(full.strip_prefix("model.")).unwrap_or(full);
        let shape = view.shape();
        if shape.len() < 2 {
            continue;
        }
        assert_eq!(view.dtype(), Dtype::F32, "{full}");
        let values: Vec<f32> = view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        if let Some((layer, projections)) = as_fused(relative) {
            // Gate rows first, then up.
            let size = values.len() / shape[0] / projections.len();
            for (i, values) in values.chunks_exact(size).enumerate() {
                let (expert, projection) = (i / projections.len(), projections[i % projections.len()]);
                compare_expert(&checkpoint, (layer, expert, projection), values, &mut counts);
            }
        } else if let Some(bare) = relative.strip_suffix(".weight") {
            if let Some(expert) = as_expert(bare) {
                compare_expert(&checkpoint, expert, &values, &mut counts);
            } else if checkpoint.has(bare) {
                let format = checkpoint.matrix_info(bare).unwrap().format;
                compare_matrix(full, format, &checkpoint.load(bare).unwrap(), &values, &mut counts);
            }
        }
    }
    counts
}

/// `layers.3.experts.gate_up_proj`: the layer, and what is one below the other in each expert.
fn as_fused(name: &str) -> Option<(usize, &'static [Projection])> {
    let ["layers", layer, "experts", part] = name.split('.').collect::<Vec<_>>()[..] else { return None };
    let projections: &[Projection] = match part {
        "gate_up_proj" => &[Projection::Gate, Projection::Up],
        "down_proj" => &[Projection::Down],
        _ => return None,
    };
    Some((layer.parse().ok()?, projections))
}

/// `layers.3.experts.7.gate_proj`.
fn as_expert(name: &str) -> Option<(usize, usize, Projection)> {
    let parts: Vec<&str> = name.split('.').filter(|part| *part != "moe").collect();
    let ["layers", layer, "experts", expert, projection] = parts[..] else { return None };
    let projection = Projection::ALL.into_iter().find(|p| p.name() == projection)?;
    Some((layer.parse().ok()?, expert.parse().ok()?, projection))
}

fn compare_expert(
    checkpoint: &Checkpoint,
    (layer, expert, projection): (usize, usize, Projection),
    values: &[f32],
    counts: &mut Counts,
) {
    let what = format!("layer {layer}, expert {expert}, {}", projection.name());
    let format = checkpoint.expert_info(layer, expert, projection).unwrap().format;
    let matrix = checkpoint.expert(layer, expert, projection).unwrap();
    compare_matrix(&what, format, &matrix, values, counts);
}

fn compare_matrix(what: &str, format: Format, matrix: &Matrix, values: &[f32], counts: &mut Counts) {
    let (n, k) = (matrix.out_features(), matrix.in_features());
    let twin = Twin { what, values, n, k };
    twin.check(matrix, 0..n, 0..k);
    match format {
        Format::Dense(_) => counts.dense += 1,
        Format::Grouped(_) => counts.quantized += 1,
    }
    for ranks in RANKS {
        let cut = |size: usize| -> Vec<Range<usize>> {
            let edge = |rank: usize| (rank * size).div_ceil(ranks);
            (0..ranks).map(|rank| edge(rank)..edge(rank + 1)).filter(|part| !part.is_empty()).collect()
        };
        for (inputs, stored) in cut(k).into_iter().zip([StoredGroups::Touched, StoredGroups::All].into_iter().cycle()) {
            twin.check(&matrix.row_shard(inputs.clone(), stored).unwrap(), 0..n, inputs.clone());
            counts.shards += 1;
            if let Format::Grouped(Grouped { group, .. }) = format {
                let is_inside = |row: usize| !row.is_multiple_of(group) && row != k;
                counts.inside_a_group += usize::from(is_inside(inputs.start) || is_inside(inputs.end));
            }
        }
        for outputs in cut(n) {
            twin.check(&matrix.column_shard(outputs.clone()).unwrap(), outputs, 0..k);
            counts.shards += 1;
        }
        if let Matrix::Packed(whole) = matrix {
            let rows: Vec<_> =
                cut(k).into_iter().map(|inputs| whole.row_shard(inputs, StoredGroups::Touched).unwrap()).collect();
            assert!(join_rows(&rows) == *whole, "{what}: {ranks} row shards joined");
            let columns: Vec<_> = cut(n).into_iter().map(|outputs| whole.column_shard(outputs).unwrap()).collect();
            assert!(join_columns(&columns) == *whole, "{what}: {ranks} column shards joined");
        }
    }
}

/// A matrix as the oracle dequantized it.
struct Twin<'a> {
    what: &'a str,
    /// `[n, k]`
    values: &'a [f32],
    n: usize,
    k: usize,
}

impl Twin<'_> {
    fn check(&self, matrix: &Matrix, outputs: Range<usize>, inputs: Range<usize>) {
        let Twin { what, values, n, k } = self;
        assert_eq!(values.len(), n * k, "{what}: values of [{n}, {k}]");
        assert_eq!((matrix.out_features(), matrix.in_features()), (outputs.len(), inputs.len()), "{what}");
        let mut row = vec![0.0; inputs.len()];
        for (i, output) in outputs.enumerate() {
            matrix.row(i, &mut row).unwrap();
            for (found, input) in row.iter().zip(inputs.clone()) {
                let expected = values[output * k + input];
                let at = format_args!("[{output}, {input}] of inputs {inputs:?}");
                assert!(found.to_bits() == expected.to_bits(), "{what}: {at} is {found}, expected {expected}");
            }
        }
    }
}
