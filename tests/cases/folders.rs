//! Folders made of others: as the cases' README has it, or a golden checkpoint with changes.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use tempfile::TempDir;

use crate::harness::{Call, Ended, Failures, Kind, here};

/// The folder of shared files; where it is absent, that is said past the test runner's capture.
pub(crate) fn shared(test: &str) -> Option<PathBuf> {
    let folder = here("../shared");
    if folder.join("cases/files").is_dir() && folder.join("fixtures").is_dir() {
        return Some(folder);
    }
    std::io::stderr().write_all(format!("{test}: NOT RUN, ../shared is not there\n").as_bytes()).unwrap();
    None
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
    // The originals may be read-only, and what is copied is changed.
    let mut permissions = fs::metadata(to).unwrap().permissions();
    #[expect(clippy::permissions_set_readonly_false, reason = "a file of a new folder of our own")]
    permissions.set_readonly(false);
    fs::set_permissions(to, permissions).unwrap();
}

/// All files of a folder in a new one.
pub(crate) fn copy_of(folder: &Path) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    lay(folder, dir.path());
    dir
}

fn lay(folder: &Path, over: &Path) {
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let entry = entry.unwrap();
        copy(&entry.path(), &over.join(entry.file_name()));
    }
}

/// The case's folder: what its BASE lists, and its own files over that.
pub(crate) fn case(shared: &Path, name: &str) -> TempDir {
    let own = shared.join("cases/files").join(name);
    let dir = tempfile::tempdir().unwrap();
    if let Ok(base) = fs::read_to_string(own.join("BASE")) {
        let mut lines = base.lines();
        let from = shared.join(lines.next().unwrap());
        lines.for_each(|file| copy(&from.join(file), &dir.path().join(file)));
    }
    lay(&own, dir.path());
    dir
}

/// The logits of a checkpoint on an adapter, in full precision.
static LOGITS: Kind = Kind::new("logits", true, || {
    let output = std::env::temp_dir().join(format!("lapidary-valid-{}.safetensors", std::process::id()));
    logits_of(&here("tests/golden/moe-autoround-sym"), &[2, 5, 6], &output)
});

fn logits_of(model: &Path, ids: &[u32], output: &Path) -> Call {
    let list: Vec<String> = ids.iter().map(u32::to_string).collect();
    let mut call = Call::new(["logits", "--precision", "exact", "--ids", &list.join(","), "--output"]);
    call.arguments.extend([output.as_os_str().to_owned(), "--model".into(), model.as_os_str().to_owned()]);
    call
}

/// The numbers of `name`, ids as well, out of a safetensors file.
fn numbers(file: &Path, name: &str) -> Vec<f64> {
    let bytes = fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = tensors.tensor(name).unwrap();
    let of = |size: usize, number: &dyn Fn(&[u8]) -> f64| tensor.data().chunks_exact(size).map(number).collect();
    match tensor.dtype() {
        safetensors::Dtype::F32 => of(4, &|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))),
        safetensors::Dtype::I32 => of(4, &|b| f64::from(i32::from_le_bytes(b.try_into().unwrap()))),
        safetensors::Dtype::I64 => of(8, &|b| i64::from_le_bytes(b.try_into().unwrap()) as f64),
        other => panic!("{name} is {other}"),
    }
}

/// The folder's logits are those of `golden`, within what exact precision allows; how the run ended.
pub(crate) fn gives_logits(what: &str, dir: &Path, golden: &Path) -> Ended {
    let ids: Vec<u32> = numbers(golden, "input_ids").into_iter().map(|id| id as u32).collect();
    let out = tempfile::tempdir().unwrap();
    let output = out.path().join("logits.safetensors");
    let ended = LOGITS.ends(what, &logits_of(dir, &ids, &output));
    assert_eq!(ended.code, Some(0), "{what}: {}", ended.text());
    let (found, expected) = (numbers(&output, "logits"), numbers(golden, "logits"));
    assert_eq!(found.len(), expected.len(), "{what}");
    let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(worst <= 1e-3, "{what}: logits are off by up to {worst:e}");
    ended
}

/// Runs a test's cases by name; all that fail are told.
pub(crate) fn each<T>(cases: impl IntoIterator<Item = T>, mut check: impl FnMut(T)) {
    let mut failures = Failures::default();
    for case in cases {
        failures.case(|| check(case));
    }
    failures.done();
}
