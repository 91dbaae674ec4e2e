//! Which files hold the tensors where there is neither `model.safetensors` nor an index: all shards of one set, or the only file.

use std::collections::BTreeMap;

use super::missing::nothing_found;
use super::source::Source;
use super::weight_map::{FILE_LIMIT, INDEX};
use crate::Result;
use crate::error::{Fault, Remedy, list};

const ENDING: &str = ".safetensors";

/// The names of the files to read, with a note about the choice.
///
/// # Errors
/// [`crate::Error::Model`] where there is none, a set is not whole, or more than one could be meant.
pub(crate) fn find(source: &Source) -> Result<Vec<String>> {
    let names = source.names();
    let names: Vec<&str> = names.iter().map(String::as_str).filter(|name| is_weights(name)).collect();
    let mut sets: BTreeMap<(&str, usize), Vec<(usize, &str)>> = BTreeMap::new();
    let mut others = Vec::new();
    for name in names {
        match parse(name) {
            Some(Shard { stem, number, count }) => sets.entry((stem, count)).or_default().push((number, name)),
            None => others.push(name),
        }
    }
    let fault = Fault::source(&source.describe());
    let set = match (sets.len(), others.as_slice()) {
        (0, []) => return Err(nothing_found(source)),
        (0, [one]) => {
            log::warn!("{}: {one} is used, the only {ENDING} file", source.describe());
            return Ok(vec![(*one).to_owned()]);
        }
        (0, many) => {
            let names = list(many.iter().copied());
            return Err(fault.missing(format!("no {INDEX}, and more than one file could be meant: {names}")).into());
        }
        (1, _) => sets.pop_first(),
        // Of several sets the one with the usual name.
        _ => sets
            .keys()
            .find(|(stem, _)| *stem == "model")
            .copied()
            .filter(|key| sets.keys().filter(|(stem, _)| *stem == key.0).count() == 1)
            .and_then(|key| sets.remove_entry(&key)),
    };
    let Some(((stem, count), mut files)) = set else {
        let fault = fault.missing(format!("no {INDEX}, and shards of more than one set"));
        return Err(fault.expected("those of one").into());
    };
    files.sort_unstable();
    // Some writers count from 0.
    let first = usize::from(files.first().is_none_or(|(number, _)| *number != 0));
    let missing: Vec<usize> =
        (first..first + count).filter(|number| files.binary_search_by_key(number, |(n, _)| *n).is_err()).collect();
    if let Some(number) = missing.first() {
        let (width, found) = (5, files.len());
        let name = format!("{stem}-{number:0width$}-of-{count:0width$}{ENDING}");
        let more = if missing.len() > 1 { format!(" and {} more", missing.len() - 1) } else { String::new() };
        let fault = fault.missing(format!("{found} of {count} shards, missing {name:?}{more}"));
        return Err(fault.remedy(Remedy::DownloadRest).into());
    }
    if files.len() != count {
        let names = list(files.iter().map(|f| f.1));
        return Err(fault.found(format!("{} shards that say they are of {count}: {names}", files.len())).into());
    }
    log::warn!("{}: no {INDEX}, the {count} shards {stem}-*-of-*{ENDING} are used", source.describe());
    Ok(files.into_iter().map(|(_, name)| name.to_owned()).collect())
}

fn is_weights(name: &str) -> bool {
    name.ends_with(ENDING) && !name.starts_with('.') && name != "adapter_model.safetensors"
}

/// What the name of a shard says.
struct Shard<'n> {
    stem: &'n str,
    number: usize,
    count: usize,
}

/// What `model-00001-of-00003.safetensors` says.
fn parse(name: &str) -> Option<Shard<'_>> {
    let (rest, count) = name.strip_suffix(ENDING)?.rsplit_once("-of-")?;
    let (stem, number) = rest.rsplit_once('-')?;
    let number_of = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    let (number, count): (usize, usize) = (number_of(number)?, number_of(count)?);
    ((1..=FILE_LIMIT).contains(&count) && number <= count).then_some(Shard { stem, number, count })
}
