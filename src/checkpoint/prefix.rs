//! What tensor names begin with: the layouts of releases and exporters, and what training frameworks wrap around them.

use std::collections::BTreeMap;

use super::files::index::Index;
use super::skipped;
use crate::Result;
use crate::error::{Fault, Place, Remedy, harmless, list};

/// What the text model's tensors begin with, in releases, in vLLM's layout, in text-only exports, and bare.
pub(super) const PREFIXES: [&str; 4] = ["model.language_model.", "language_model.model.", "model.", ""];

/// Segments that wrappers put between those of a name: of torch.compile, FSDP and activation checkpointing.
const INNER: [&str; 3] = ["_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module."];

/// What the names of an adapter's tensors have in them, which is not merged into the model then.
const ADAPTER: [&str; 2] = [".lora_", ".base_layer."];

/// The prefix under which most layers lie.
pub(super) fn find(index: &Index) -> &'static str {
    let count = |prefix: &str| index.names().filter(|name| is_text(name, prefix)).count();
    // The first of equals: with no layers at all, messages name the released layout.
    PREFIXES.into_iter().rev().max_by_key(|prefix| count(prefix)).unwrap_or(PREFIXES[0])
}

/// Whether `name` is one of the text model's under `prefix`.
pub(super) fn is_text(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix)
        .is_some_and(|rest| rest.starts_with("layers.") || rest.starts_with("embed_tokens.") || rest == "norm.weight")
}

/// Leaves out of all names what is wrapped around a known layout, with a note.
///
/// # Errors
/// [`crate::Error::Model`] if more than one thing could be meant, two names become one, or there are tensors of an adapter.
pub(super) fn unwrap_names(index: &mut Index) -> Result<()> {
    if let Some(name) = index.names().find(|name| ADAPTER.iter().any(|part| name.contains(part))) {
        let fault = Fault::tensor(name).found("is of an adapter that is not merged").expected("a whole model");
        return Err(fault.remedy(Remedy::MergeAdapter).into());
    }
    let inner: Vec<&str> = INNER.into_iter().filter(|part| index.names().any(|name| name.contains(part))).collect();
    if !inner.is_empty() {
        log::warn!("tensor names have {} in them, which is left out", list(inner.iter().copied()));
        index.rename(|name| {
            let bare = inner.iter().fold(name.to_owned(), |name, part| name.replace(part, ""));
            (bare != name).then_some(bare)
        })?;
    }
    if index.names().any(|name| PREFIXES.iter().any(|prefix| is_text(name, prefix))) {
        return Ok(());
    }
    let found = foreign(index);
    let wrapper = match found.keys().collect::<Vec<_>>().as_slice() {
        [] => return Err(none_found(index).into()),
        [one] => (*one).clone(),
        many => {
            let names = list(many.iter().map(|name| name.as_str()));
            let fault = Fault::new(Place::TensorNames).found(format!("begin with {names} before a text model's"));
            return Err(fault.expected(format!("one such model, which begins with {}", known())).into());
        }
    };
    log::warn!("tensor names begin with {:?}, which is left out", harmless(&wrapper, 100));
    index.rename(|name| name.strip_prefix(&wrapper).map(str::to_owned))
}

/// What comes before a known prefix, for each text model that there seems to be: with its tensors.
fn foreign(index: &Index) -> BTreeMap<String, usize> {
    let mut found: BTreeMap<&str, (usize, bool)> = BTreeMap::new();
    for name in index.names().filter(|name| !name.split('.').any(skipped::is_tower)) {
        for (part, is_layer) in [("layers.", true), ("embed_tokens.", false)] {
            let Some(at) = name.find(part).filter(|at| *at > 0 && name.as_bytes()[at - 1] == b'.') else { continue };
            if is_layer && !name[at + part.len()..].starts_with(|c: char| c.is_ascii_digit()) {
                continue;
            }
            let entry = found.entry(&name[..at]).or_default();
            entry.0 += usize::from(is_layer);
            entry.1 |= !is_layer;
            break;
        }
    }
    let is_whole = found.values().any(|(layers, embedding)| *layers > 0 && *embedding);
    let mut wrappers = BTreeMap::new();
    for (prefix, (layers, embedding)) in found {
        if layers == 0 || embedding != is_whole {
            continue;
        }
        let inside = PREFIXES.iter().find_map(|known| {
            let before = prefix.strip_suffix(known)?;
            (before.ends_with('.')).then_some(before)
        });
        *wrappers.entry(inside.unwrap_or(prefix).to_owned()).or_insert(0) += layers;
    }
    wrappers
}

/// There is nothing of a text model at all.
fn none_found(index: &Index) -> Fault {
    match index.names().next() {
        None => Fault::checkpoint().missing("the files of the model hold no tensors"),
        Some(first) => Fault::new(Place::TensorNames)
            .found(format!("none of {} is of a text model", index.names().count()))
            .expected_in(", which begin with ", known(), ", as \"model.language_model.embed_tokens.weight\"")
            .note(format!("the first is {:?}", harmless(first, 100))),
    }
}

fn known() -> String {
    list(PREFIXES.iter().copied().filter(|prefix| !prefix.is_empty()))
}
