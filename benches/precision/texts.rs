//! Texts to measure on: what a model says itself at temperature 1, prose about Rust, random ids.

use std::fs;
use std::path::{Path, PathBuf};

use lapidary::checkpoint::Source;
use lapidary::engine::{Sampler, Sampling};
use lapidary::error::Place;
use lapidary::model::{Gemma4, Row, Want};
use lapidary::text::{Conversation, Message, Role, TextModel};
use lapidary::{Error, Fault, Result};

use super::compare::Sequence;

/// Tokens of a text at most: what the demo model was trained on.
pub(crate) const LONGEST: usize = 512;
/// Conversations that are sampled together.
pub(crate) const SLOTS: usize = 16;

/// What conversations are about, in this order and again.
const THINGS: [&str; 48] = [
    "Vec::push",
    "Vec::pop",
    "Vec::retain",
    "Vec::drain",
    "Vec::with_capacity",
    "Option::map",
    "Option::unwrap_or",
    "Option::take",
    "Result::ok",
    "Result::and_then",
    "HashMap::entry",
    "HashMap::insert",
    "BTreeMap::range",
    "String::push_str",
    "str::split",
    "str::trim",
    "str::parse",
    "str::chars",
    "slice::windows",
    "slice::chunks",
    "slice::sort_by",
    "slice::binary_search",
    "Iterator::map",
    "Iterator::filter",
    "Iterator::fold",
    "Iterator::zip",
    "Iterator::collect",
    "Box",
    "Rc",
    "Arc",
    "RefCell",
    "Cell",
    "Mutex",
    "RwLock",
    "mpsc::channel",
    "thread::spawn",
    "ownership",
    "borrowing",
    "lifetimes",
    "traits",
    "generics",
    "closures",
    "pattern matching",
    "macros",
    "modules",
    "Cargo",
    "unsafe",
    "iterators",
];

/// Conversations whose answers `model` samples at temperature 1, together `tokens` or a few more; prompts do not count.
///
/// # Errors
/// Those of template, tokenizer and model.
pub(crate) fn sampled(model: &mut Gemma4, text: &TextModel, stop: &[u32], tokens: usize) -> Result<Vec<Sequence>> {
    let (mut sequences, mut counted, mut begun) = (Vec::new(), 0, 0);
    while counted < tokens {
        for talk in talk_in_slots(model, text, stop, begun)? {
            // The last token is a prediction only: nothing is predicted from it.
            let ids = talk.ids[..talk.ids.len() - 1].to_vec();
            let sequence = Sequence { ids, counted_from: talk.prompt - 1 };
            if counted < tokens {
                counted += sequence.counted();
                sequences.push(sequence);
            }
        }
        begun += SLOTS;
    }
    Ok(sequences)
}

/// A conversation that is being sampled.
struct Talk {
    ids: Vec<u32>,
    /// Tokens of the prompt.
    prompt: usize,
    sampler: Sampler,
    ended: bool,
}

/// Samples one answer in each slot.
fn talk_in_slots(model: &mut Gemma4, text: &TextModel, stop: &[u32], begun: usize) -> Result<Vec<Talk>> {
    let mut talks = Vec::new();
    for slot in 0..SLOTS {
        let number = begun + slot;
        let (thing, round) = (THINGS[number % THINGS.len()], number / THINGS.len());
        let question = match round % 3 {
            0 => format!("What does {thing} do?"),
            1 => format!("Explain {thing}."),
            _ => format!("Show me an example of {thing}."),
        };
        let ids = text.ids(&text.prompt(&Conversation::new(vec![Message::new(Role::User, question)]))?)?;
        let sampling = Sampling { temperature: 1.0, top_k: 0, top_p: 1.0, seed: number as u64 };
        model.truncate(slot, 0);
        talks.push(Talk { prompt: ids.len(), ids, sampler: Sampler::new(sampling)?, ended: false });
    }
    // Prompts one by one, then a token of each conversation a step.
    for (slot, talk) in talks.iter_mut().enumerate() {
        step(model, &mut [(slot, talk)], stop)?;
    }
    loop {
        let mut running: Vec<_> = talks.iter_mut().enumerate().filter(|(_, talk)| !talk.ended).collect();
        if running.is_empty() {
            return Ok(talks);
        }
        step(model, &mut running, stop)?;
    }
}

/// Runs what `talks` have new, and chooses the next token of each.
fn step(model: &mut Gemma4, talks: &mut [(usize, &mut Talk)], stop: &[u32]) -> Result<()> {
    let (mut rows, mut last) = (Vec::new(), Vec::new());
    for (slot, talk) in talks.iter() {
        let new = (model.len(*slot)..talk.ids.len()).map(|i| Row { slot: *slot, position: i, token: talk.ids[i] });
        rows.extend(new);
        last.push(rows.len() - 1);
    }
    let logits = model.step(&rows, Want::Logits(&last))?.logits;
    for ((_, talk), row) in talks.iter_mut().zip(logits.chunks_exact(logits.len() / last.len())) {
        let id = talk.sampler.choose(row)?;
        talk.ids.push(id);
        talk.ended = stop.contains(&id) || talk.ids.len() == LONGEST;
    }
    Ok(())
}

/// English prose about Rust code: the documentation comments of this crate in the order of their files, up to `tokens`
/// tokens, cut into texts that begin with `<bos>`.
///
/// # Errors
/// [`Error::Io`] where the sources cannot be read; those of the tokenizer.
pub(crate) fn prose(text: &TextModel, tokens: usize) -> Result<Vec<Sequence>> {
    let mut files = Vec::new();
    list(Path::new("src"), &mut files)?;
    files.sort();
    let mut prose = String::new();
    for file in files {
        let source = fs::read_to_string(&file).map_err(|e| unreadable(&file, &e))?;
        let comments =
            source.lines().map(str::trim_start).filter_map(|line| line.strip_prefix("//")?.strip_prefix(['/', '!']));
        for line in comments {
            prose.push_str(line.trim());
            prose.push('\n');
        }
        prose.push('\n');
    }
    let bos = text.tokenizer.token_id("<bos>");
    let ids = text.tokenizer.encode(&prose)?;
    let parts = ids[..tokens.min(ids.len())].chunks(LONGEST - 1);
    Ok(parts
        .map(|part| Sequence { ids: bos.into_iter().chain(part.iter().copied()).collect(), counted_from: 0 })
        .collect())
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(|e| unreadable(folder, &e))? {
        let path = entry.map_err(|e| unreadable(folder, &e))?.path();
        match path.is_dir() {
            true => list(&path, files)?,
            false if path.extension().is_some_and(|end| end == "rs") => files.push(path),
            false => {}
        }
    }
    Ok(())
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::usage(format!("{}: {error}", path.display()))
}

/// `tokens` ids below `vocab_size` from a fixed seed (PCG-RXS-M-XS-32), in texts of [`LONGEST`].
pub(crate) fn random(vocab_size: usize, tokens: usize) -> Vec<Sequence> {
    let id = |i: usize| {
        let state = (i as u32).wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
        let word = ((state >> ((state >> 28) + 4)) ^ state).wrapping_mul(277_803_737);
        ((word >> 22) ^ word) % vocab_size as u32
    };
    let ids: Vec<u32> = (0..tokens).map(id).collect();
    ids.chunks(LONGEST).map(|part| Sequence { ids: part.to_vec(), counted_from: 0 }).collect()
}

/// The tokenizer and template of a checkpoint.
///
/// # Errors
/// [`Error::Model`] for a file that is missing or cannot be used.
pub(crate) fn text_model(source: &Source) -> Result<TextModel> {
    TextModel::open(source)?
        .ok_or_else(|| Fault::new(Place::source(&source.describe())).missing("no tokenizer.json").into())
}
