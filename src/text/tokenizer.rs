//! Text to token ids and back, over the `tokenizers` crate.

use std::collections::HashSet;

use tokenizers::AddedToken;
use tokenizers::models::bpe::BPE;

use super::special::{Guard, Piece, Prompt, Specials};
use super::tokenizer_fault::{fault, part, show};
use super::tokenizer_file::{Added, File, read};
use super::tokenizer_model::{MAX_VOCABULARY, Model};
use super::tokenizer_parts::Frame;
use super::tokenizer_parts::Replacement;
use crate::contained::contained;
use crate::error::Result;

/// A vocabulary, as `tokenizer.json` describes it.
///
/// Special tokens are found by name: ids differ between vocabularies.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// Text replacements of the decoder, in order.
    replacements: Vec<Replacement>,
    /// Whether `<0xE2>` and the like are bytes.
    byte_fallback: bool,
    frame: Option<Frame>,
    specials: Specials,
    special_ids: HashSet<u32>,
    unknown_id: Option<u32>,
}

/// What one id stands for in decoded text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// Text.
    Text(String),
    /// One byte of a character that has no token.
    Byte(u8),
    /// A special token, by name.
    Special(String),
    /// No token has this id.
    Unknown,
}

impl Tokenizer {
    /// Reads `tokenizer.json`.
    ///
    /// # Errors
    /// [`crate::Error::Model`] for a file that is too large, is no byte-pair vocabulary that can be decoded in a stream, or
    /// contradicts itself.
    pub fn from_bytes(json: &[u8]) -> Result<Self> {
        let File { added, parts, model } = read(json)?;
        let unknown = model.unknown.clone();
        let size = model.vocab.len();
        let names: Vec<(String, u32)> = added.iter().map(|token| (token.content.clone(), token.id)).collect();
        let inner = caught("reading", || {
            let mut inner = tokenizers::Tokenizer::new(byte_pairs(model)?);
            inner.with_normalizer(parts.normalizer)?.with_pre_tokenizer(parts.pre_tokenizer);
            inner.set_encode_special_tokens(true);
            inner.add_tokens(added.into_iter().map(added_token))?;
            Ok(inner)
        })?;
        if size + names.len() == 0 || inner.get_vocab_size(true) > MAX_VOCABULARY {
            return Err(fault(format!("{size} tokens")).expected(format!("1 to {MAX_VOCABULARY}")).into());
        }
        for (name, id) in &names {
            match inner.token_to_id(name) {
                Some(found) if found == *id => {}
                found => {
                    let found = found.map_or("none".to_owned(), |id| id.to_string());
                    let name = show(name);
                    return Err(part(format!("added token {name}"))
                        .found(format!("id {found} in the vocabulary"))
                        .expected(format!("{id}"))
                        .into());
                }
            }
        }
        let around = parts.frame.iter().flat_map(|frame| frame.before.iter().chain(&frame.after));
        if let Some(id) = around.copied().find(|id| inner.id_to_token(*id).is_none()) {
            return Err(part("post_processor")
                .found(format!("no token has the id {id}"))
                .expected("ids of the vocabulary")
                .into());
        }
        let special = inner.get_added_tokens_decoder().into_iter().filter(|(_, token)| token.special);
        let mut special: Vec<(String, u32)> = special.map(|(id, token)| (token.content, id)).collect();
        special.sort_by_key(|(_, id)| *id);
        Ok(Self {
            special_ids: special.iter().map(|(_, id)| *id).collect(),
            specials: Specials::new(special),
            unknown_id: unknown.and_then(|name| inner.token_to_id(&name)),
            inner,
            replacements: parts.replacements,
            byte_fallback: parts.byte_fallback,
            frame: parts.frame,
        })
    }

    /// The ids of plain text: what is spelled like a special token stays text, and nothing is put in front.
    ///
    /// # Errors
    /// [`crate::Error::Model`] if the tokenizer fails.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let ids = self.encode_part(text)?;
        if !ids.iter().any(|id| self.is_forbidden(*id)) {
            return Ok(ids);
        }
        // Some vocabularies merge the characters of a special token's name back into that token.
        let mut ids = Vec::new();
        for part in self.specials.cut_spellings(text) {
            ids.extend(self.encode_part(part)?);
        }
        match ids.iter().find(|id| self.is_forbidden(**id)) {
            None => Ok(ids),
            Some(id) => {
                Err(fault(format!("plain text gives the special token {id}")).expected("ordinary tokens only").into())
            }
        }
    }

    /// The ids of a rendered prompt. The template has written all special tokens, `<bos>` among them; nothing is added.
    ///
    /// # Errors
    /// [`crate::Error::Model`] if the tokenizer fails.
    pub fn encode_prompt(&self, prompt: &Prompt) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        for piece in &prompt.pieces {
            match piece {
                Piece::Special(id) => ids.push(*id),
                Piece::Text(text) => ids.extend(self.encode(text)?),
            }
        }
        Ok(ids)
    }

    /// The ids of a text that no template has made, for models that only go on with it: with what the tokenizer puts around
    /// a text, `<bos>` in front unless it is there already. A special token's name in it is that token.
    ///
    /// # Errors
    /// [`crate::Error::Model`] if the tokenizer fails.
    pub fn encode_raw(&self, text: &str) -> Result<Vec<u32>> {
        let ids = self.encode_prompt(&self.specials.split(text, &Guard::none()))?;
        let bos = || Frame { before: self.specials.id("<bos>").into_iter().collect(), after: Vec::new() };
        let Frame { before, after } = self.frame.clone().unwrap_or_else(bos);
        let before = if ids.starts_with(&before) { Vec::new() } else { before };
        Ok([before, ids, after].concat())
    }

    /// The id of the token with this name, special or not.
    pub fn token_id(&self, name: &str) -> Option<u32> {
        self.inner.token_to_id(name)
    }

    /// The ids of tokens that end the model's turn, or wait for a tool's answer, by name: a checkpoint's own list may leave
    /// them out. `<end_of_turn>` is the name that older families have, and a word like any other where it is not special.
    pub fn turn_ends(&self) -> Vec<u32> {
        let always = ["<turn|>", "<|tool_response>"].into_iter().filter_map(|name| self.token_id(name));
        let special = ["<eos>", "<end_of_turn>"].into_iter().filter_map(|name| self.specials.id(name));
        always.chain(special).collect()
    }

    /// The ids of tokens that mean nothing: `<unused0>` and its like, padding, masks. No answer has them.
    pub fn reserved_ids(&self) -> Vec<u32> {
        let named = ["<pad>", "<unk>", "<mask>", "[multimodal]"].into_iter().filter_map(|name| self.token_id(name));
        let unused = (0..).map_while(|i| self.token_id(&format!("<unused{i}>")));
        named.chain(unused).collect()
    }

    /// Number of tokens, those that are added by name included.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Whether `id` is a special token, that is, never text.
    pub fn is_special(&self, id: u32) -> bool {
        self.special_ids.contains(&id)
    }

    /// The special tokens, by spelling.
    pub fn specials(&self) -> &Specials {
        &self.specials
    }

    pub(crate) fn token(&self, id: u32) -> Token {
        let Some(mut text) = self.inner.id_to_token(id) else { return Token::Unknown };
        if self.is_special(id) {
            return Token::Special(text);
        }
        for Replacement { from, to } in &self.replacements {
            if text.contains(from) {
                text = text.replace(from, to);
            }
        }
        match byte(&text) {
            Some(byte) if self.byte_fallback => Token::Byte(byte),
            _ => Token::Text(text),
        }
    }

    /// Special tokens do not come from text, except the one for what the vocabulary does not have.
    fn is_forbidden(&self, id: u32) -> bool {
        self.is_special(id) && Some(id) != self.unknown_id
    }

    fn encode_part(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = caught("encoding", || self.inner.encode_fast(text, false))?;
        Ok(encoding.get_ids().to_vec())
    }
}

/// `<0xE2>` is byte E2.
fn byte(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() != 2 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u8::from_str_radix(digits, 16).ok()
}

/// The crate's model of a checked vocabulary.
fn byte_pairs(model: Model) -> tokenizers::Result<BPE> {
    let mut builder = BPE::builder()
        .vocab_and_merges(model.vocab, model.merges)
        .fuse_unk(model.fuse_unknown)
        .byte_fallback(model.byte_fallback)
        .ignore_merges(model.ignore_merges);
    if let Some(unknown) = model.unknown {
        builder = builder.unk_token(unknown);
    }
    builder.build()
}

/// The crate's added token.
fn added_token(token: Added) -> AddedToken {
    AddedToken::from(token.content, token.special).normalized(token.normalized)
}

/// Runs a call of the tokenizer crate; an error or a panic there becomes an error here.
fn caught<T>(doing: &str, call: impl FnOnce() -> tokenizers::Result<T>) -> Result<T> {
    match contained(call) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(fault(error).into()),
        Err(_) => Err(fault(format!("the tokenizer panicked while {doing}")).expected("a result").into()),
    }
}
