//! Where a checkpoint's chat templates are: files of their own, or entries of `tokenizer_config.json`; and which of them
//! a conversation gets. As transformers does it, so that both render the same template.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::Value;

use super::{ChatTemplate, MAX_FILE_BYTES};
use crate::checkpoint::Source;
use crate::decode;
use crate::error::{Error, Fault, Result, harmless};

const CONFIG: &str = "tokenizer_config.json";
const JINJA: &str = "chat_template.jinja";
const LEGACY: &str = "chat_template.json";
const PROCESSOR: &str = "processor_config.json";
const FOLDER: &str = "additional_chat_templates";

/// The template that conversations get.
const DEFAULT: &str = "default";
/// The one that conversations with tools get, where there are templates by name.
const TOOL_USE: &str = "tool_use";

/// Files that can hold templates, as they are, and the templates that were taken from them: what no conversation needs is
/// not even looked at.
#[derive(Debug, Default)]
pub(super) struct Templates {
    config: Option<Cow<'static, [u8]>>,
    jinja: Option<Cow<'static, [u8]>>,
    legacy: Option<Cow<'static, [u8]>>,
    processor: Option<Cow<'static, [u8]>>,
    /// `default.jinja` and `tool_use.jinja` in the folder of further templates; other names are for programs that ask by
    /// name.
    further: Option<Cow<'static, [u8]>>,
    tool_use: Option<Cow<'static, [u8]>>,
    /// For conversations without tools, and with them.
    taken: [OnceLock<ChatTemplate>; 2],
}

impl Templates {
    /// Reads the files that `source` has.
    ///
    /// # Errors
    /// Those of [`Source::read`].
    pub(super) fn read(source: &Source) -> Result<Self> {
        Ok(Self {
            config: source.read(CONFIG)?,
            jinja: source.read(JINJA)?,
            legacy: source.read(LEGACY)?,
            processor: source.read(PROCESSOR)?,
            further: source.read_in(FOLDER, "default.jinja")?,
            tool_use: source.read_in(FOLDER, "tool_use.jinja")?,
            taken: Default::default(),
        })
    }

    /// The contents of `chat_template.jinja` and `tokenizer_config.json`.
    pub(super) fn from_contents(jinja: Option<&str>, config: Option<&[u8]>) -> Self {
        let owned = |bytes: &[u8]| Cow::Owned(bytes.to_vec());
        Self { jinja: jinja.map(|source| owned(source.as_bytes())), config: config.map(owned), ..Self::default() }
    }

    /// The template for conversations with or without tools.
    ///
    /// # Errors
    /// [`Error::Model`] where there is none for them, or a file that is needed is no text or no JSON; those of
    /// [`ChatTemplate::from_source`].
    pub(super) fn get(&self, tools: bool) -> Result<&ChatTemplate> {
        let taken = &self.taken[usize::from(tools)];
        if let Some(template) = taken.get() {
            return Ok(template);
        }
        let config = self.config.as_deref().map_or(Ok(Value::Null), |json| read_json(CONFIG, json))?;
        let bos = token_spelling(&config, "bos_token", "<bos>")?;
        let eos = token_spelling(&config, "eos_token", "<eos>")?;
        let source = self.source(&config, tools)?;
        let template = ChatTemplate::from_source(&source, bos, eos)?.with_tokens(further_tokens(&config));
        Ok(taken.get_or_init(|| template))
    }

    /// Files of their own win over entries of `tokenizer_config.json`, and `chat_template.jinja` over the older
    /// `chat_template.json`.
    fn source(&self, config: &Value, tools: bool) -> Result<Cow<'_, str>> {
        if let (Some(bytes), true) = (&self.tool_use, tools) {
            return read_text(&format!("{FOLDER}/tool_use.jinja"), bytes);
        }
        if let Some(bytes) = &self.jinja {
            let source = read_text(JINJA, bytes)?;
            let further = self.further.as_deref().and_then(|bytes| decode::text(bytes).ok());
            warn_if_other(JINJA, &source, &format!("{FOLDER}/default.jinja"), further.as_deref());
            let legacy = self.legacy.as_deref().and_then(|json| named(LEGACY, &read_json(LEGACY, json).ok()?).ok());
            warn_if_other(
                JINJA,
                &source,
                LEGACY,
                legacy.as_ref().and_then(|entries| entries.get(DEFAULT)).map(String::as_str),
            );
            return Ok(source);
        }
        if let Some(bytes) = &self.further {
            return read_text(&format!("{FOLDER}/default.jinja"), bytes);
        }
        if let Some(json) = &self.legacy
            && let Some(source) = pick(LEGACY, &named(LEGACY, &read_json(LEGACY, json)?)?, tools)?
        {
            let entry = named(CONFIG, config).ok().and_then(|mut entries| entries.remove(DEFAULT));
            warn_if_other(LEGACY, &source, CONFIG, entry.as_deref());
            return Ok(Cow::Owned(source));
        }
        if let Some(source) = pick(CONFIG, &named(CONFIG, config)?, tools)? {
            return Ok(Cow::Owned(source));
        }
        if let Some(json) = &self.processor
            && let Some(source) = pick(PROCESSOR, &named(PROCESSOR, &read_json(PROCESSOR, json)?)?, tools)?
        {
            return Ok(Cow::Owned(source));
        }
        let expected = format!("{JINJA}, {LEGACY}, or chat_template in {CONFIG}");
        let fault = match self.legacy.is_some() {
            true => Fault::template().found(format!("found {LEGACY} without chat_template")),
            false => Fault::template().missing("found none"),
        };
        Err(fault.expected(expected).into())
    }
}

/// Other programs may take the other one of two templates.
fn warn_if_other(taken: &str, source: &str, other: &str, text: Option<&str>) {
    if text.is_some_and(|text| text.trim_end() != source.trim_end()) {
        log::warn!("chat template: {taken} and {other} differ; the first is taken");
    }
}

/// The template for a conversation among those of `file`, if it has any.
fn pick(file: &str, named: &BTreeMap<String, String>, tools: bool) -> Result<Option<String>> {
    let found = named.get(TOOL_USE).filter(|_| tools).or_else(|| named.get(DEFAULT)).cloned();
    if found.is_some() || named.is_empty() {
        return Ok(found);
    }
    let names: Vec<String> = named.keys().map(|name| format!("\"{}\"", harmless(name, 40))).collect();
    let found = format!("found {} without \"default\"", names.join(", "));
    Err(Fault::template_key(file, "chat_template").found(found).expected("one").into())
}

/// `chat_template` in a JSON file, by name: a string, or a list or an object of named templates. Where a name occurs twice
/// in a list, the last one counts.
fn named(file: &str, json: &Value) -> Result<BTreeMap<String, String>> {
    let wrong = || {
        let fault = Fault::template_key(file, "chat_template").found("found neither a string nor a list");
        Error::from(fault.expected("a string or a list of named templates"))
    };
    let entry = |name: &str, source: &Value| Some((name.to_owned(), source.as_str()?.to_owned()));
    let entries: Option<BTreeMap<String, String>> = match &json["chat_template"] {
        Value::Null => Some(BTreeMap::new()),
        Value::String(source) => Some(BTreeMap::from([(DEFAULT.to_owned(), source.clone())])),
        Value::Object(entries) => entries.iter().map(|(name, source)| entry(name, source)).collect(),
        Value::Array(list) => list.iter().map(|e| entry(e["name"].as_str()?, &e["template"])).collect(),
        _ => None,
    };
    entries.ok_or_else(wrong)
}

/// A token's spelling in `tokenizer_config.json`: a string, or an object with `content`.
fn token_spelling<'c>(config: &'c Value, key: &str, fallback: &'c str) -> Result<&'c str> {
    match &config[key] {
        Value::Null => Ok(fallback),
        Value::String(spelling) => Ok(spelling),
        other => other["content"].as_str().ok_or_else(|| {
            let fault = Fault::template_key(CONFIG, key).found("found no spelling");
            fault.expected("a string or an object with content").into()
        }),
    }
}

/// Special tokens beside `bos_token` and `eos_token` that transformers gives to templates: Gemma's defaults, every key of
/// `tokenizer_config.json` that ends in `_token`, and those that it lists by name.
fn further_tokens(config: &Value) -> Vec<(String, String)> {
    const DEFAULTS: [(&str, &str); 3] = [("unk_token", "<unk>"), ("pad_token", "<pad>"), ("mask_token", "<mask>")];
    const MOST: usize = 256;
    let spelling = |value: &Value| value.as_str().or_else(|| value["content"].as_str()).map(str::to_owned);
    let mut tokens: BTreeMap<String, String> =
        DEFAULTS.iter().map(|(name, token)| ((*name).to_owned(), (*token).to_owned())).collect();
    let named = ["model_specific_special_tokens", "extra_special_tokens"].map(|key| config[key].as_object());
    let plain = config.as_object().into_iter().flatten().filter(|(name, _)| name.ends_with("_token"));
    for (name, value) in plain.chain(named.into_iter().flatten().flatten()) {
        match spelling(value) {
            Some(token) if name != "bos_token" && name != "eos_token" && tokens.len() < MOST => {
                tokens.insert(name.clone(), token);
            }
            _ => {}
        }
    }
    tokens.into_iter().collect()
}

fn read_text<'b>(file: &str, bytes: &'b [u8]) -> Result<Cow<'b, str>> {
    let fault = |error: decode::NotText| Fault::template_file(file).found(format!("found {}", error.found()));
    decode::text(bytes).map_err(|error| fault(error).expected(decode::EXPECTED).into())
}

fn read_json(file: &str, bytes: &[u8]) -> Result<Value> {
    if bytes.len() > MAX_FILE_BYTES {
        let fault = Fault::template_file(file).found(format!("{} bytes", bytes.len()));
        return Err(fault.expected(format!("at most {MAX_FILE_BYTES}")).into());
    }
    let value = serde_json::from_str(&read_text(file, bytes)?);
    value.map_err(|error| Fault::template_file(file).found(format!("not valid JSON: {error}")).into())
}
