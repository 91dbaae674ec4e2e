//! Which folder is meant.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use super::blob;
use crate::Result;
use crate::error::{Fault, QUOTED, list};
use crate::paths::shown;

/// The folder with the model's files: `path`, or for the root of a cached repository (`models--org--name` with `snapshots` and
/// `refs`) its one snapshot, or else the one that `refs/main` names.
pub(crate) fn find(path: &Path) -> Result<Cow<'_, Path>> {
    let snapshots = path.join("snapshots");
    if fs::symlink_metadata(path.join("config.json")).is_ok() || !snapshots.is_dir() {
        return Ok(Cow::Borrowed(path));
    }
    let mut found: Vec<PathBuf> = folders(&snapshots);
    found.sort();
    match found.as_slice() {
        [] => return Ok(Cow::Borrowed(path)),
        [one] => return Ok(Cow::Owned(one.clone())),
        _ => {}
    }
    let main = named_by_main(path);
    if let Some(main) =
        found.iter().find(|snapshot| main.as_deref() == snapshot.file_name().and_then(|name| name.to_str()))
    {
        return Ok(Cow::Owned(main.clone()));
    }
    let names = list(found.iter().filter_map(|snapshot| snapshot.file_name()?.to_str()));
    let what = format!("is a cached repository with {} snapshots and no refs/main that names one", found.len());
    Err(Fault::source(&shown(path)).found(what).expected(format!("one of snapshots/: {names}")).into())
}

/// The folders in `path`.
pub(crate) fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).map(|entries| entries.flatten().map(|entry| entry.path()).collect::<Vec<_>>());
    entries.unwrap_or_default().into_iter().filter(|path| path.is_dir()).collect()
}

/// The commit in `refs/main`.
fn named_by_main(path: &Path) -> Option<String> {
    let reference = blob::open_in(&path.join("refs"), "main", false).ok()??;
    let text = String::from_utf8(reference.head(QUOTED).ok()?).ok()?;
    Some(text.trim().to_owned())
}

/// Whether a path is a GGUF file, by its name: it is not opened.
pub(crate) fn is_gguf(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"))
}
