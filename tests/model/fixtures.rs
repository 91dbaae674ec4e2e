//! The golden checkpoints: where they are and what they hold.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use lapidary::checkpoint::{Checkpoint, Source};
use safetensors::{Dtype, SafeTensors};

/// Sets that the project must run; those in `tests/golden` are part of every clone.
pub(crate) const SETS: [&str; 18] = [
    "moe-bf16",
    "moe-autoround-sym",
    "moe-gptq-asym-v1",
    "moe-gptq-asym-v2",
    "moe-gptq-desc-act",
    "moe-gptq-per-channel",
    "moe-gptq-moe-prefix",
    "moe-gptq-8bit",
    "moe-compressed-tensors",
    "moe-ct-fused-experts",
    "moe-awq",
    "moe-index-new-dialect",
    "dense-bf16",
    "dense-gptq-desc-act",
    "e2b-bf16",
    "e2b-autoround-sym",
    "e4b-bf16",
    "e4b-compressed-tensors",
];

/// A checkpoint with its golden numbers.
pub(crate) struct Set {
    pub(crate) name: String,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) input_ids: Vec<u32>,
    pub(crate) greedy_ids: Vec<u32>,
    /// Inner tensors, logits and greedy logits by name, with the width of a row.
    pub(crate) tensors: BTreeMap<String, (usize, Vec<f32>)>,
}

/// The sets that are at hand: all of `LAPIDARY_FIXTURES` where that is set, else those in `tests/golden`.
pub(crate) fn sets() -> Vec<Set> {
    let sets: Vec<Set> = match std::env::var_os("LAPIDARY_FIXTURES") {
        Some(folder) => {
            let folder = PathBuf::from(folder);
            assert!(folder.is_dir(), "LAPIDARY_FIXTURES names {}, which is no folder", folder.display());
            SETS.iter().map(|name| Set::open(&folder.join(name))).collect()
        }
        None => sets_of_every_clone(),
    };
    assert!(!sets.is_empty(), "no golden set found");
    // Past the test runner's capture: how much was checked is always said.
    let line = format!("golden sets: {} of {}\n", sets.len(), SETS.len());
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    sets
}

/// Those in `tests/golden`.
pub(crate) fn sets_of_every_clone() -> Vec<Set> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    SETS.iter().map(|name| here.join(name)).filter(|dir| dir.is_dir()).map(|dir| Set::open(&dir)).collect()
}

impl Set {
    pub(crate) fn open(dir: &Path) -> Self {
        let name = dir.file_name().unwrap().to_string_lossy().into_owned();
        let checkpoint = Checkpoint::open(Source::Directory(dir.into())).unwrap_or_else(|e| panic!("{name}: {e}"));
        let bytes = std::fs::read(dir.join("golden.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let ids = |name: &str| -> Vec<u32> {
            let tensor = file.tensor(name).unwrap();
            // Ids are i64 or i32, and small: the low word says all.
            let size = if tensor.dtype() == Dtype::I64 { 8 } else { 4 };
            tensor.data().chunks_exact(size).map(|b| u32::from_le_bytes(b[..4].try_into().unwrap())).collect()
        };
        let mut tensors = BTreeMap::new();
        for (name, tensor) in file.tensors().into_iter().filter(|(_, t)| t.dtype() == Dtype::F32) {
            let values: Vec<f32> =
                tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
            tensors.insert(name, (values.len() / tensor.shape()[0], values));
        }
        Set { name, checkpoint, input_ids: ids("input_ids"), greedy_ids: ids("greedy_ids"), tensors }
    }
}

/// Fails unless every value is within `limit`; says where it is worst.
pub(crate) fn assert_within(what: &str, actual: &[f32], expected: &[f32], limit: f32) -> f32 {
    assert_eq!(actual.len(), expected.len(), "{what}: values");
    let error = |i: usize| (actual[i] - expected[i]).abs();
    // NaN is worse than anything.
    let worst = (0..actual.len()).max_by(|&a, &b| error(a).total_cmp(&error(b))).unwrap();
    let bad = (0..actual.len()).filter(|&i| error(i).is_nan() || error(i) > limit).count();
    assert!(
        bad == 0,
        "{what}: {bad} of {} values are off by more than {limit:e}; the worst, at {worst}, is {} and should be {}",
        actual.len(),
        actual[worst],
        expected[worst]
    );
    error(worst)
}
