//! What is said of a source that holds no whole model.

use std::path::Path;

use serde_json::Value;

use super::folder::{folders, is_gguf};
use super::source::{A_MODEL, Source};
use super::weight_map::{INDEX, SINGLE};
use crate::Error;
use crate::error::{Fault, QUOTED, Remedy, harmless, list};
use crate::gemma4::json;

/// Why there is no config.json.
pub(crate) fn no_config(source: &Source) -> Error {
    if let Some(adapter) = adapter(source) {
        return adapter.into();
    }
    let fault = Fault::source(&source.describe()).missing("no config.json").expected(A_MODEL);
    let (Source::Directory(path) | Source::Linked(path)) = source else {
        return fault.into();
    };
    let inner = folders(path).into_iter().filter(|folder| folder.join("config.json").is_file());
    let mut inner: Vec<String> = inner.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect();
    inner.sort();
    let names = source.names();
    let gguf = || names.iter().find(|name| is_gguf(Path::new(name)));
    let fault = match inner.as_slice() {
        [] => match gguf() {
            Some(name) => fault
                .note(format!("its {:?} is GGUF, which is not supported yet", harmless(name, QUOTED)))
                .remedy(Remedy::TakeSafetensors),
            None => fault,
        },
        [one] => fault.note(format!("its folder {:?} has one", harmless(one, QUOTED))),
        many => fault.note(format!("these folders in it have one: {}", list(many.iter().map(String::as_str)))),
    };
    fault.into()
}

/// What is said of a folder that holds an adapter and no model.
fn adapter(source: &Source) -> Option<Fault> {
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
    let fault = Fault::source(&source.describe()).found(format!("is a {kind} adapter for {base}"));
    Some(fault.expected("a whole model").remedy(Remedy::MergeAdapter))
}

/// Says what there is instead of safetensors, where that helps.
pub(crate) fn nothing_found(source: &Source) -> Error {
    if let Some(adapter) = adapter(source) {
        return adapter.into();
    }
    let names = source.names();
    let ending = |ends: &[&str]| names.iter().find(|name| ends.iter().any(|end| name.ends_with(end))).cloned();
    let fault = Fault::source(&source.describe()).missing(format!("no {SINGLE} and no {INDEX}"));
    let fault = if let Some(name) = ending(&[".bin", ".pt", ".pth", ".pkl"]) {
        fault.note(format!("{name:?} is a pickle, which is never opened")).remedy(Remedy::Convert)
    } else if let Some(name) = ending(&[".gguf"]) {
        fault.note(format!("{name:?} is GGUF, which is not supported yet"))
    } else if let Some(name) = ending(&[".part", ".incomplete", ".aria2", ".crdownload", ".download", ".tmp"]) {
        fault.note(format!("{name:?} is an unfinished download")).remedy(Remedy::FinishDownload)
    } else {
        fault
    };
    fault.into()
}
