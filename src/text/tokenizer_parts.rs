//! The components of `tokenizer.json` around its model. Only what is listed here is accepted, field by field: components of
//! the tokenizer crate can backtrack, panic, or make gigabytes of a word, and one that is overlooked gives other tokens.

use serde_json::{Map, Value};
use tokenizers::{NormalizerWrapper, PreTokenizerWrapper};

use super::tokenizer_fault::{part, show};
use crate::error::Result;

/// Regular expressions that are known to be harmless. The engine can backtrack, so others are refused.
const KNOWN_PATTERNS: [&str; 1] = [r"[^\n]+|[\n]+"];
/// Bytes of a text that is looked for or put in.
const MAX_TEXT_BYTES: usize = 64;
/// Steps of a sequence.
const MAX_STEPS: usize = 8;
/// How many bytes replacements may make of one, all together: Gemma makes 3 of a space.
const MAX_GROWTH: f64 = 4.0;

/// What is done around the model.
pub(crate) struct Parts {
    pub(crate) normalizer: Option<NormalizerWrapper>,
    pub(crate) pre_tokenizer: Option<PreTokenizerWrapper>,
    /// Text replacements of the decoder, in order.
    pub(crate) replacements: Vec<Replacement>,
    /// Whether `<0xE2>` and the like are bytes.
    pub(crate) byte_fallback: bool,
    /// What the post-processor puts around a text.
    pub(crate) frame: Option<Frame>,
}

/// Special tokens that a tokenizer puts around a text that no template has made.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) before: Vec<u32>,
    pub(crate) after: Vec<u32>,
}

impl Parts {
    /// Checks the four components; null is none.
    ///
    /// # Errors
    /// [`crate::Error::Model`] with the first fault.
    pub(crate) fn read(
        normalizer: &Value,
        pre_tokenizer: &Value,
        post_processor: &Value,
        decoder: &Value,
    ) -> Result<Self> {
        let mut sizes = Sizes::default();
        if !normalizer.is_null() {
            check_normalizer(normalizer, "normalizer", &mut sizes)?;
        }
        if !pre_tokenizer.is_null() {
            check_pre_tokenizer(pre_tokenizer, "pre_tokenizer", &mut Sizes::default())?;
        }
        let Decoder { replacements, byte_fallback } = read_decoder(decoder)?;
        Ok(Self {
            normalizer: made("normalizer", normalizer)?,
            pre_tokenizer: made("pre_tokenizer", pre_tokenizer)?,
            replacements,
            byte_fallback,
            frame: read_post_processor(post_processor)?,
        })
    }
}

/// The crate's component.
fn made<T: serde::de::DeserializeOwned>(place: &str, value: &Value) -> Result<Option<T>> {
    serde_json::from_value(value.clone()).map_err(|error| part(place).found(format!("{error}")).into())
}

/// What a sequence of steps comes to.
struct Sizes {
    steps: usize,
    growth: f64,
}

impl Default for Sizes {
    fn default() -> Self {
        Sizes { steps: 0, growth: 1.0 }
    }
}

impl Sizes {
    fn count(&mut self, place: &str) -> Result<()> {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return Err(part(place).found(format!("more than {MAX_STEPS} steps")).expected("fewer").into());
        }
        Ok(())
    }

    fn grow(&mut self, place: &str, from: &str, to: &str) -> Result<()> {
        self.growth *= (to.len() as f64 / from.len() as f64).max(1.0);
        if self.growth > MAX_GROWTH {
            let (from, growth) = (show(from), self.growth);
            return Err(part(place)
                .found(format!("replacing {from} makes up to {growth} bytes of one"))
                .expected(format!("at most {MAX_GROWTH}"))
                .into());
        }
        Ok(())
    }
}

/// A component of a tokenizer.
struct Component<'v> {
    kind: &'v str,
    map: &'v Map<String, Value>,
}

/// A component's kind, its name in the file.
fn kind<'v>(value: &'v Value, place: &str, expected: &str) -> Result<Component<'v>> {
    match (value.as_object(), value["type"].as_str()) {
        (Some(map), Some(kind)) => Ok(Component { kind, map }),
        _ => Err(part(place).found("found nothing with a type").expected(expected).into()),
    }
}

/// Fails for a component of another kind.
fn other<T>(place: &str, kind: &str, expected: &str) -> Result<T> {
    Err(part(place).found(format!("found {}", show(kind).trim_matches('"'))).expected(expected).into())
}

/// Fails for fields that are not known: they could mean anything.
fn only(map: &Map<String, Value>, place: &str, known: &[&str]) -> Result<()> {
    match map.keys().find(|key| *key != "type" && !known.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => {
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Err(part(place).found(format!("found the field {}", show(key))).expected(known).into())
        }
    }
}

/// A text of a field, of a bounded length.
fn text<'v>(map: &'v Map<String, Value>, key: &str, place: &str, least: usize) -> Result<&'v str> {
    let found = match map.get(key) {
        Some(Value::String(text)) if (least..=MAX_TEXT_BYTES).contains(&text.len()) => return Ok(text),
        Some(Value::String(text)) => format!("{} of {} bytes", show(text), text.len()),
        Some(_) => "something else".to_owned(),
        None => "nothing".to_owned(),
    };
    Err(part(format!("{place}: {key}"))
        .found(format!("found {found}"))
        .expected(format!("a text of {least} to {MAX_TEXT_BYTES} bytes"))
        .into())
}

/// The steps of a sequence.
fn steps<'v>(map: &'v Map<String, Value>, key: &str, place: &str) -> Result<&'v [Value]> {
    only(map, place, &[key])?;
    match map.get(key) {
        Some(Value::Array(list)) => Ok(list),
        _ => Err(part(place).found(format!("no list of {key}")).expected("one").into()),
    }
}

/// What is looked for: a plain text.
fn plain_pattern<'v>(map: &'v Map<String, Value>, place: &str) -> Result<&'v str> {
    let Some(Value::Object(pattern)) = map.get("pattern") else {
        return Err(part(place).found("no pattern").expected("a plain string").into());
    };
    if let Some(Value::String(regex)) = pattern.get("Regex") {
        return Err(part(place)
            .found(format!("found the regular expression {}", show(regex)))
            .expected("a plain string")
            .into());
    }
    only(pattern, &format!("{place}.pattern"), &["String"])?;
    text(pattern, "String", &format!("{place}.pattern"), 1)
}

fn check_normalizer(value: &Value, place: &str, sizes: &mut Sizes) -> Result<()> {
    const EXPECTED: &str = "Replace of a plain string, Prepend of a character, or a Sequence of these";
    let Component { kind, map } = kind(value, place, EXPECTED)?;
    sizes.count(place)?;
    match kind {
        "Sequence" => {
            let list = steps(map, "normalizers", place)?;
            list.iter().enumerate().try_for_each(|(i, step)| check_normalizer(step, &format!("{place}[{i}]"), sizes))
        }
        "Replace" => {
            only(map, place, &["pattern", "content"])?;
            sizes.grow(place, plain_pattern(map, place)?, text(map, "content", place, 0)?)
        }
        "Prepend" => {
            only(map, place, &["prepend"])?;
            match text(map, "prepend", place, 1)? {
                text if text.chars().count() == 1 => Ok(()),
                text => Err(part(place).found(format!("prepend is {}", show(text))).expected("one character").into()),
            }
        }
        kind => other(place, kind, EXPECTED),
    }
}

fn check_pre_tokenizer(value: &Value, place: &str, sizes: &mut Sizes) -> Result<()> {
    const EXPECTED: &str = "Split at a plain string, or a Sequence of these";
    let Component { kind, map } = kind(value, place, EXPECTED)?;
    sizes.count(place)?;
    match kind {
        "Sequence" => {
            let list = steps(map, "pretokenizers", place)?;
            let check = |(i, step)| check_pre_tokenizer(step, &format!("{place}[{i}]"), sizes);
            list.iter().enumerate().try_for_each(check)
        }
        "Split" => {
            only(map, place, &["pattern", "behavior", "invert"])?;
            let regex = map.get("pattern").and_then(|pattern| pattern["Regex"].as_str());
            if !regex.is_some_and(|regex| KNOWN_PATTERNS.contains(&regex)) {
                plain_pattern(map, place)?;
            }
            match map.get("invert") {
                None | Some(Value::Bool(false)) => Ok(()),
                Some(_) => Err(part(place).found("invert is not false").expected("false").into()),
            }
        }
        kind => other(place, kind, EXPECTED),
    }
}

/// What stands before and behind a text that is tokenized with special tokens. Nothing else is asked of it here.
fn read_post_processor(value: &Value) -> Result<Option<Frame>> {
    const PLACE: &str = "post_processor";
    const EXPECTED: &str = "TemplateProcessing";
    if value.is_null() {
        return Ok(None);
    }
    let Component { kind, map } = kind(value, PLACE, EXPECTED)?;
    if kind != "TemplateProcessing" {
        return other(PLACE, kind, EXPECTED);
    }
    only(map, PLACE, &["single", "pair", "special_tokens"])?;
    let (mut frame, mut texts) = (Frame::default(), 0);
    for (i, piece) in map.get("single").and_then(Value::as_array).into_iter().flatten().enumerate() {
        let place = format!("{PLACE}.single[{i}]");
        match (piece["SpecialToken"]["id"].as_str(), piece["Sequence"]["id"].as_str()) {
            (Some(name), None) => {
                let listed = map.get("special_tokens").map_or(&Value::Null, |tokens| &tokens[name]);
                let ids = special_ids(listed, name, &place)?;
                if texts == 0 { &mut frame.before } else { &mut frame.after }.extend(ids);
            }
            (None, Some("A")) => texts += 1,
            _ => {
                return Err(part(place)
                    .found("found something else")
                    .expected("a SpecialToken or the Sequence A")
                    .into());
            }
        }
    }
    let special = frame.before.len() + frame.after.len();
    if texts != 1 || special > MAX_STEPS {
        return Err(part(format!("{PLACE}.single"))
            .found(format!("{texts} texts and {special} special tokens"))
            .expected(format!("one text and at most {MAX_STEPS}"))
            .into());
    }
    Ok(Some(frame))
}

fn special_ids(token: &Value, name: &str, place: &str) -> Result<Vec<u32>> {
    let ids = token["ids"].as_array().into_iter().flatten();
    let ids: Option<Vec<u32>> = ids.map(|id| id.as_u64().and_then(|id| u32::try_from(id).ok())).collect();
    ids.filter(|ids| !ids.is_empty()).ok_or_else(|| {
        part(place).found(format!("special token {} has no ids in special_tokens", show(name))).expected("them").into()
    })
}

/// A text that is replaced by another.
#[derive(Debug, Clone)]
pub(crate) struct Replacement {
    pub(crate) from: String,
    pub(crate) to: String,
}

/// What a decoder does.
struct Decoder {
    replacements: Vec<Replacement>,
    byte_fallback: bool,
}

/// The decoder must work token by token, as a stream does: replacements, then bytes, then joining.
fn read_decoder(decoder: &Value) -> Result<Decoder> {
    const EXPECTED: &str = "Replace of a string, ByteFallback, Fuse, in this order";
    let found = |step: &Value| show(step["type"].as_str().unwrap_or("nothing")).trim_matches('"').to_owned();
    let list = match (decoder["type"].as_str(), decoder.as_object()) {
        (Some("Sequence"), Some(map)) => steps(map, "decoders", "decoder")?,
        _ => std::slice::from_ref(decoder),
    };
    let mut sizes = Sizes::default();
    let (mut replacements, mut byte_fallback, mut joined) = (Vec::new(), false, false);
    for (i, step) in list.iter().enumerate() {
        let place = format!("decoder[{i}]");
        let Some(map) = step.as_object() else {
            return Err(part("decoder").found("found nothing").expected(EXPECTED).into());
        };
        sizes.count(&place)?;
        match step["type"].as_str() {
            Some("Replace") if !byte_fallback && !joined => {
                only(map, &place, &["pattern", "content"])?;
                let (from, to) = (plain_pattern(map, &place)?, text(map, "content", &place, 0)?);
                sizes.grow(&place, from, to)?;
                replacements.push(Replacement { from: from.to_owned(), to: to.to_owned() });
            }
            Some("ByteFallback") if !joined => {
                only(map, &place, &[])?;
                byte_fallback = true;
            }
            Some("Fuse") => {
                only(map, &place, &[])?;
                joined = true;
            }
            _ => return Err(part("decoder").found(format!("found {}", found(step))).expected(EXPECTED).into()),
        }
    }
    Ok(Decoder { replacements, byte_fallback })
}
