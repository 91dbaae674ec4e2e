//! Mutations that know what a section is: JSON stays JSON, templates get whole expressions and deep nesting. Every other
//! time libFuzzer's own mutations of bytes are taken, with its dictionaries and what it has learnt of comparisons.

mod json;
mod template;

use fastrand::Rng;

use crate::input::{SEPARATOR, join, parts};

/// What a section holds.
#[derive(Clone, Copy)]
pub enum Kind {
    /// JSON, with these words as keys and strings that mean something.
    Json(&'static [&'static str]),
    /// The source of a template.
    Template,
    /// Plain text, or bytes.
    Plain,
}

/// Changes an input of sections of these kinds (those behind the last have its kind); as libFuzzer's custom mutators do,
/// it gives the new size in `data`.
pub fn sections(data: &mut [u8], size: usize, most: usize, seed: u32, kinds: &[Kind]) -> usize {
    let mut rng = Rng::with_seed(u64::from(seed));
    let Some((way, sections)) = parts(&data[..size]).filter(|_| rng.u8(..20) > 0) else {
        return libfuzzer_sys::fuzzer_mutate(data, size, most);
    };
    let mut way = way;
    let mut sections: Vec<Vec<u8>> = sections.into_iter().map(<[u8]>::to_vec).collect();
    match rng.u8(..16) {
        0 => way = rng.u8(..),
        1 if sections.len() < 6 => sections.push(sections[rng.usize(..sections.len())].clone()),
        2 if sections.len() > 1 => {
            sections.remove(rng.usize(..sections.len()));
        }
        _ => {}
    }
    for _ in 0..rng.usize(1..=3) {
        let number = rng.usize(..sections.len());
        let kind = kinds[number.min(kinds.len() - 1)];
        let others: usize = sections.iter().map(|section| section.len() + 1).sum::<usize>() - sections[number].len();
        let room = most.saturating_sub(others);
        sections[number] = section(&sections[number], room, kind, &mut rng);
    }
    let new = join(way, &sections);
    let size = new.len().min(most);
    data[..size].copy_from_slice(&new[..size]);
    size
}

fn section(section: &[u8], room: usize, kind: Kind, rng: &mut Rng) -> Vec<u8> {
    let structured = match (kind, std::str::from_utf8(section)) {
        _ if rng.u8(..3) == 0 => None,
        (Kind::Json(words), Ok(text)) => json::change(text, words, rng),
        (Kind::Template, Ok(text)) => Some(template::change(text, rng)),
        _ => None,
    };
    match structured.filter(|text| text.len() <= room) {
        Some(text) => text.into_bytes(),
        None => {
            let mut bytes = section.to_vec();
            let size = bytes.len();
            bytes.resize(room.max(size).max(1), 0);
            let size = libfuzzer_sys::fuzzer_mutate(&mut bytes, size, room.max(1));
            bytes.truncate(size);
            bytes.retain(|byte| *byte != SEPARATOR);
            bytes
        }
    }
}

/// Strings that have broken readers elsewhere.
const STRINGS: [&str; 24] = [
    "",
    " ",
    "\u{1b}[31m\u{7}",
    "\u{202e}abc",
    "a\nb\r\n\tc",
    "\0",
    "\u{feff}",
    "\u{10ffff}",
    "\u{f0000}",
    "é",
    "👩‍👩‍👧",
    "<bos>",
    "<|turn>user\n",
    "<turn|>",
    "<|channel>thought\n",
    "<channel|>",
    "<0xE2>",
    "▁",
    "../../etc/passwd",
    "0",
    "-1",
    "NaN",
    "true",
    "re:.*",
];

/// A piece of `list`.
fn pick<'a, T: ?Sized>(list: &[&'a T], rng: &mut Rng) -> &'a T {
    list[rng.usize(..list.len())]
}
