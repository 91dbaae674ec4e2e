//! Special tokens in text: where a rendered prompt holds a real one, and how text that only spells one stays text.
//!
//! A special token is real only if the *template* wrote it. Looking for spellings in the input is not enough: a template
//! joins strings, so `<turn` and `|>` from two places could meet. Instead every character that begins or ends a
//! special token's spelling (`<` and `>` in Gemma 4) is replaced, in everything that comes from outside, by a stand-in
//! of the same length: one private-use character that occurs nowhere in the input. What is left of `<` and `>` in the
//! rendered text is the template's own. One character for one keeps `trim`, `split`, slices and lengths as they were.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet};

use crate::error::{Error, Result, Usage};

/// A rendered prompt: the text that the template made, and where in it the special tokens are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// Exactly what the template makes.
    pub text: String,
    /// The same text in order, cut at the special tokens that the template wrote.
    pub pieces: Vec<Piece>,
}

/// One piece of a [`Prompt`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A special token, as its id.
    Special(u32),
    /// Plain text; what is spelled like a special token in it is text too.
    Text(String),
}

/// The special tokens of a vocabulary: spellings and ids.
#[derive(Debug, Clone, Default)]
pub struct Specials {
    tokens: HashMap<String, u32>,
    /// Bytes of the spellings, longest first, so that a token which begins another one does not win.
    lengths: BTreeSet<Reverse<usize>>,
    /// First and last characters of the spellings.
    edges: Vec<char>,
}

/// Most first and last characters of special tokens: each is looked for at every character of a prompt. Gemma has two.
const MAX_EDGES: usize = 32;

impl Specials {
    /// The table for these tokens. A spelling that begins or ends with a letter, a digit or white space is left out
    /// with a warning: text could not be kept apart from it without changing ordinary words. So are those with ever more
    /// first and last characters.
    pub fn new(tokens: impl IntoIterator<Item = (String, u32)>) -> Self {
        let (mut specials, mut left_out) = (Self::default(), Vec::new());
        for (spelling, id) in tokens {
            let (Some(first), Some(last)) = (spelling.chars().next(), spelling.chars().next_back()) else { continue };
            let new = [first, last].into_iter().filter(|edge| !specials.edges.contains(edge)).count();
            if [first, last].iter().any(|c| c.is_alphanumeric() || c.is_whitespace())
                || specials.edges.len() + new > MAX_EDGES
            {
                left_out.push(spelling);
                continue;
            }
            for edge in [first, last] {
                if !specials.edges.contains(&edge) {
                    specials.edges.push(edge);
                }
            }
            specials.lengths.insert(Reverse(spelling.len()));
            specials.tokens.insert(spelling, id);
        }
        if let Some(first) = left_out.iter().min() {
            let others = if left_out.len() > 1 { format!(" and {} more", left_out.len() - 1) } else { String::new() };
            log::warn!(
                "special token {first:?}{others}: begins or ends with a letter or a space; prompts cannot use it"
            );
        }
        specials
    }

    /// The id of the special token with this spelling.
    pub fn id(&self, spelling: &str) -> Option<u32> {
        self.tokens.get(spelling).copied()
    }

    /// The special token that `text` begins with, the longest if there are several.
    fn at_start(&self, text: &str) -> Option<(&str, u32)> {
        let known = |Reverse(length): &Reverse<usize>| self.tokens.get_key_value(text.get(..*length)?);
        self.lengths.iter().find_map(known).map(|(name, id)| (name.as_str(), *id))
    }

    /// Cuts `text` behind the first character of everything that is spelled like a special token.
    pub(crate) fn cut_spellings<'t>(&self, text: &'t str) -> Vec<&'t str> {
        let mut parts = Vec::new();
        let mut start = 0;
        for (at, c) in text.char_indices() {
            if self.edges.contains(&c) && self.at_start(&text[at..]).is_some() {
                parts.push(&text[start..at + c.len_utf8()]);
                start = at + c.len_utf8();
            }
        }
        parts.push(&text[start..]);
        parts
    }

    /// Cuts a rendered text, with `guard`'s stand-ins still in it, at the special tokens.
    pub(crate) fn split(&self, rendered: &str, guard: &Guard) -> Prompt {
        let mut pieces = Vec::new();
        let mut start = 0;
        let mut at = 0;
        while let Some(c) = rendered[at..].chars().next() {
            let special = if self.edges.contains(&c) { self.at_start(&rendered[at..]) } else { None };
            let Some((name, id)) = special else {
                at += c.len_utf8();
                continue;
            };
            if start < at {
                pieces.push(Piece::Text(guard.show(&rendered[start..at]).into_owned()));
            }
            pieces.push(Piece::Special(id));
            at += name.len();
            start = at;
        }
        if start < at {
            pieces.push(Piece::Text(guard.show(&rendered[start..]).into_owned()));
        }
        Prompt { text: guard.show(rendered).into_owned(), pieces }
    }
}

/// Stand-ins of one rendering: `(character, stand-in)`.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    pairs: Vec<(char, char)>,
}

/// Supplementary private use, planes 15 and 16: no character of any language.
const PRIVATE: std::ops::RangeInclusive<char> = '\u{F0000}'..='\u{10FFFD}';

/// Private-use characters seen in the texts of one rendering.
#[derive(Debug, Default)]
pub(crate) struct Used(HashSet<char>);

impl Used {
    /// Notes the private-use characters of `text`.
    pub(crate) fn note(&mut self, text: &str) {
        // All of these planes begin with the UTF-8 bytes F3 or F4.
        if text.bytes().any(|b| b >= 0xF3) {
            self.0.extend(text.chars().filter(|c| PRIVATE.contains(c)));
        }
    }
}

impl Guard {
    /// No stand-ins: what is spelled like a special token is one.
    pub(crate) fn none() -> Self {
        Self { pairs: Vec::new() }
    }

    /// Stand-ins for the edges of `specials` that are not `used`.
    ///
    /// # Errors
    /// [`Error::Usage`] if the input uses up all private-use characters.
    pub(crate) fn new(specials: &Specials, used: &Used) -> Result<Self> {
        let mut free = PRIVATE.filter(|c| !used.0.contains(c));
        let pairs = specials
            .edges
            .iter()
            .map(|edge| free.next().map(|stand_in| (*edge, stand_in)))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| {
                Error::Usage(Usage::Conversation {
                    place: "messages".into(),
                    found: "every private-use character found".into(),
                    expected: "a free one".into(),
                })
            })?;
        Ok(Self { pairs })
    }

    /// `text` with stand-ins in place of the characters that could make a special token.
    pub(crate) fn hide<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.swap(text, |(edge, stand_in)| (edge, stand_in))
    }

    /// As [`Guard::hide`], but leaves each whole occurrence of one of `keep` as it is.
    pub(crate) fn hide_except(&self, text: &str, keep: &[&str]) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((at, found)) = keep.iter().filter_map(|k| Some((rest.find(k)?, *k))).min_by_key(|(at, _)| *at) {
            out.push_str(&self.hide(&rest[..at]));
            out.push_str(found);
            rest = &rest[at + found.len()..];
        }
        out.push_str(&self.hide(rest));
        out
    }

    /// `text` with the stand-ins turned back.
    pub(crate) fn show<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.swap(text, |(edge, stand_in)| (stand_in, edge))
    }

    /// The character that its author wrote.
    pub(crate) fn shown(&self, c: char) -> char {
        self.pairs.iter().find(|(_, stand_in)| *stand_in == c).map_or(c, |(edge, _)| *edge)
    }

    /// Whether the character has a stand-in in text from outside.
    pub(crate) fn is_edge(&self, c: char) -> bool {
        self.pairs.iter().any(|(edge, _)| *edge == c)
    }

    /// Whether there are stand-ins in `text`.
    pub(crate) fn hides(&self, text: &str) -> bool {
        // All stand-ins begin with the UTF-8 bytes F3 or F4.
        text.bytes().any(|b| b >= 0xF3) && text.chars().any(|c| self.shown(c) != c)
    }

    fn swap<'t>(&self, text: &'t str, direction: impl Fn((char, char)) -> (char, char)) -> Cow<'t, str> {
        let swapped = |c: char| self.pairs.iter().map(|p| direction(*p)).find(|(from, _)| *from == c).map(|(_, to)| to);
        if !text.chars().any(|c| swapped(c).is_some()) {
            return Cow::Borrowed(text);
        }
        Cow::Owned(text.chars().map(|c| swapped(c).unwrap_or(c)).collect())
    }
}
