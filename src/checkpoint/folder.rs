//! Which folder is meant, and what is said of one that holds no whole model.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::source::{Source, is_gguf};
use super::{blob, json};
use crate::error::harmless;
use crate::paths::{quoted, shown};
use crate::{Error, Result};

/// Most of a name out of a file that is quoted.
const QUOTED: usize = 100;
/// Most names that a message lists.
const LISTED: usize = 8;

/// The folder with the model's files: `path`, or for the root of a cached repository (`models--org--name` with `snapshots` and
/// `refs`) its one snapshot, or else the one that `refs/main` names.
pub(super) fn find(path: &Path) -> Result<Cow<'_, Path>> {
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
    Err(Error::model(format!(
        "model {}: is a cached repository with {} snapshots and no refs/main that names one, expected one of \
         snapshots/: {names}",
        quoted(&shown(path)),
        found.len()
    )))
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).map(|entries| entries.flatten().map(|entry| entry.path()).collect::<Vec<_>>());
    entries.unwrap_or_default().into_iter().filter(|path| path.is_dir()).collect()
}

/// The commit in `refs/main`.
fn named_by_main(path: &Path) -> Option<String> {
    let reference = blob::open_in(&path.join("refs"), "main", false).ok()??;
    let text = String::from_utf8(reference.head(QUOTED).ok()?).ok()?;
    Some(text.trim().to_owned())
}

/// `"a", "b" and 5 more`.
pub(super) fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    let mut text =
        names.iter().take(LISTED).map(|name| format!("{:?}", harmless(name, QUOTED))).collect::<Vec<_>>().join(", ");
    if names.len() > LISTED {
        text.push_str(&format!(" and {} more", names.len() - LISTED));
    }
    text
}

/// Why there is no config.json.
pub(super) fn no_config(source: &Source) -> Error {
    let expected = "expected a directory with config.json and *.safetensors";
    if let Some(adapter) = adapter(source) {
        return adapter;
    }
    let (Source::Directory(path) | Source::Linked(path)) = source else {
        return Error::model(format!("model {}: no config.json, {expected}", quoted(&source.describe())));
    };
    let inner = folders(path).into_iter().filter(|folder| folder.join("config.json").is_file());
    let mut inner: Vec<String> = inner.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect();
    inner.sort();
    let names = source.names();
    let hint = match inner.as_slice() {
        [] => names.iter().find(|name| is_gguf(Path::new(name))).map_or(String::new(), |name| {
            format!("; its {:?} is GGUF, which is not supported yet: take the safetensors", harmless(name, QUOTED))
        }),
        [one] => format!("; its folder {:?} has one", harmless(one, QUOTED)),
        many => format!("; these folders in it have one: {}", list(many.iter().map(String::as_str))),
    };
    Error::model(format!("model {}: no config.json, {expected}{hint}", quoted(&source.describe())))
}

/// What is said of a folder that holds an adapter and no model.
pub(super) fn adapter(source: &Source) -> Option<Error> {
    let names = source.names();
    let is_there = |name: &str| names.iter().any(|found| found == name);
    if !is_there("adapter_config.json") && !is_there("adapter_model.safetensors") {
        return None;
    }
    let config = source.read("adapter_config.json").ok().flatten();
    let config = config.and_then(|bytes| json::parse("adapter_config.json", &bytes).ok()).unwrap_or_default();
    let text = |key: &str| config.get(key).and_then(Value::as_str).map(|text| harmless(text, QUOTED));
    let kind =
        text("peft_type").map_or_else(|| "LoRA".to_owned(), |kind| if kind == "LORA" { "LoRA".into() } else { kind });
    let base = text("base_model_name_or_path").map_or_else(|| "another model".to_owned(), |base| format!("{base:?}"));
    Some(Error::model(format!(
        "model {}: is a {kind} adapter for {base}, expected a whole model: merge the two first (with PEFT: \
         merge_and_unload, then save_pretrained)",
        quoted(&source.describe())
    )))
}
