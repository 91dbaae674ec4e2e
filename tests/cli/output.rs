//! `--output`: what is replaced, what is refused, and when.

use std::fs;
use std::path::Path;

use safetensors::SafeTensors;

use crate::process::{Run, run};

fn logits(output: &Path) -> Run {
    run(&["logits", "--ids", "2,5", "--output", output.to_str().unwrap()])
}

/// The one line of a refusal, which comes before the model is loaded.
fn refusal(output: &Path) -> String {
    let run = logits(output);
    assert_eq!((run.code, run.out.as_str(), run.err.lines().count()), (Some(2), "", 1), "{}", run.err);
    let start = format!("error: --output {}: ", output.display());
    run.err.trim_end().strip_prefix(&start).unwrap_or_else(|| panic!("{}", run.err)).to_owned()
}

fn assert_logits(path: &Path) {
    let bytes = fs::read(path).unwrap();
    assert_eq!(SafeTensors::deserialize(&bytes).unwrap().names(), ["logits"]);
}

#[test]
fn what_cannot_be_written_is_refused_before_the_model_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let line = refusal(&missing.join("out.safetensors"));
    assert!(line.starts_with(&format!("no file can be made in {}: ", missing.display())), "{line}");
    assert_eq!(refusal(folder.path()), "found a directory, expected a file");
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    refusal(&file.join("out.safetensors"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was made");
    assert_eq!(fs::read(&file).unwrap(), b"x");
}

#[test]
fn a_file_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out.safetensors");
    fs::write(&file, "old").unwrap();
    logits(&file).ok();
    assert_logits(&file);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// A limit on the size of files stands in for a full disk: what was there stays, and nothing half-written does.
#[cfg(unix)]
#[test]
fn a_disk_that_is_full_ends_with_3() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    fs::write(&old, "old").unwrap();
    for file in [&old, &new] {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_lapidary")]);
        shell.args(["logits", "--ids", "2,5,9", "--output", file.to_str().unwrap()]).env("LAPIDARY_NO_CACHE", "1");
        let found = shell.output().unwrap();
        let err = String::from_utf8(found.stderr).unwrap();
        assert_eq!((found.status.code(), found.stdout.len()), (Some(3), 0), "{err}");
        let line = err.lines().last().unwrap();
        assert!(line.starts_with(&format!("error: --output {}: ", file.display())), "{err}");
    }
    assert_eq!(fs::read(&old).unwrap(), b"old");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no part is left");
}

#[cfg(unix)]
#[test]
fn a_link_stays_and_its_target_is_replaced() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    let folder = tempfile::tempdir().unwrap();
    let there = folder.path().join("there");
    fs::create_dir(&there).unwrap();
    let (old, new) = (there.join("old"), there.join("new"));
    fs::write(&old, "old").unwrap();
    fs::set_permissions(&old, fs::Permissions::from_mode(0o600)).unwrap();
    // The second leads over another link to what is not there yet.
    symlink("there/old", folder.path().join("a")).unwrap();
    symlink("c", folder.path().join("b")).unwrap();
    symlink(&new, folder.path().join("c")).unwrap();
    for (link, target) in [("a", &old), ("b", &new)] {
        let link = folder.path().join(link);
        logits(&link).ok();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(fs::symlink_metadata(target).unwrap().is_file());
        assert_logits(target);
    }
    assert_eq!(fs::metadata(&old).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(&there).unwrap().count(), 2);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
}

#[cfg(unix)]
#[test]
fn a_pipe_is_refused_and_stays() {
    use std::os::unix::fs::{FileTypeExt, symlink};

    let folder = tempfile::tempdir().unwrap();
    let (pipe, link) = (folder.path().join("pipe"), folder.path().join("link"));
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    symlink(&pipe, &link).unwrap();
    for path in [&pipe, &link] {
        assert_eq!(refusal(path), "found a device, pipe or socket, expected a regular file or a new name");
    }
    assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
}
