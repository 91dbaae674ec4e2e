//! What is said of a source that holds no whole model.

use std::path::Path;

use serde_json::Value;

use super::folder::{folders, is_gguf};
use super::source::Source;
use super::weight_map::{INDEX, SINGLE};
use crate::Error;
use crate::error::{QUOTED, harmless, list, quoted};
use crate::gemma4::json;

/// Why there is no config.json.
pub(crate) fn no_config(source: &Source) -> Error {
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
fn adapter(source: &Source) -> Option<Error> {
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

/// Says what there is instead of safetensors, where that helps.
pub(crate) fn nothing_found(source: &Source) -> Error {
    if let Some(adapter) = adapter(source) {
        return adapter;
    }
    let names = source.names();
    let ending = |ends: &[&str]| names.iter().find(|name| ends.iter().any(|end| name.ends_with(end))).cloned();
    let found = if let Some(name) = ending(&[".bin", ".pt", ".pth", ".pkl"]) {
        format!("; {name:?} is a pickle, which is never opened: convert it to safetensors")
    } else if let Some(name) = ending(&[".gguf"]) {
        format!("; {name:?} is GGUF, which is not supported yet")
    } else if let Some(name) = ending(&[".part", ".incomplete", ".aria2", ".crdownload", ".download", ".tmp"]) {
        format!("; {name:?} is an unfinished download: let it end, or download the model again")
    } else {
        String::new()
    };
    Error::model(format!("model {}: no {SINGLE} and no {INDEX}{found}", quoted(&source.describe())))
}
