//! A model's reply while it is generated: ids in, pieces of text out, sorted into answer, thinking and tool calls.

use super::channel::{ChannelSplitter, Event, Kind};
use super::stream::StreamDecoder;
use super::tokenizer::{Token, Tokenizer};

/// Longest name of a channel; a longer first line is thought, not a name.
const MAX_NAME: usize = 32;

/// A piece of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// What it belongs to.
    pub kind: Kind,
    /// The piece; it is not empty.
    pub text: String,
}

/// Collects one reply. The pieces that [`Reply::push`] and [`Reply::finish`] return, joined by kind, are the texts that
/// the accessors return.
#[derive(Debug)]
pub struct Reply<'t> {
    tokenizer: &'t Tokenizer,
    decoder: StreamDecoder<'t>,
    splitter: ChannelSplitter,
    /// The line behind `<|channel>` so far.
    name: String,
    answer: String,
    thinking: String,
    calls: Vec<String>,
    open_call: Option<String>,
}

impl<'t> Reply<'t> {
    /// A reply to this prompt. The prompt's last turn decides where the reply starts: a template may have opened the
    /// thinking channel already, or closed it.
    pub fn new(tokenizer: &'t Tokenizer, prompt_ids: &[u32]) -> Self {
        let mut reply = Self {
            tokenizer,
            decoder: StreamDecoder::new(tokenizer),
            splitter: ChannelSplitter::new(tokenizer),
            name: String::new(),
            answer: String::new(),
            thinking: String::new(),
            calls: Vec::new(),
            open_call: None,
        };
        let turn = tokenizer.token_id("<|turn>");
        let start = prompt_ids.iter().rposition(|id| Some(*id) == turn).unwrap_or(0);
        for id in &prompt_ids[start..] {
            reply.push(*id);
        }
        // The prompt's own text is not part of the reply; its state is, and so is the name of an open channel.
        reply.decoder.finish();
        reply.answer.clear();
        reply.thinking.clear();
        reply.calls.clear();
        if let Some(call) = &mut reply.open_call {
            call.clear();
        }
        reply
    }

    /// Takes the next id and returns the text that it completes. Stop ids and other special tokens are no text.
    pub fn push(&mut self, id: u32) -> Vec<Said> {
        let mut out = Vec::new();
        let before = self.splitter.kind();
        match self.splitter.push(id) {
            Event::Text(Kind::ToolCall) => {
                if let Token::Special(name) = self.tokenizer.token(id) {
                    self.flush(Kind::ToolCall, &mut out);
                    self.emit(Kind::ToolCall, name, &mut out);
                } else if let Some(text) = self.decoder.push(id) {
                    self.emit(Kind::ToolCall, text, &mut out);
                }
            }
            Event::Text(kind) => {
                if let Some(text) = self.decoder.push(id) {
                    self.emit(kind, text, &mut out);
                }
            }
            Event::Name => {
                if let Some(text) = self.decoder.push(id) {
                    self.name.push_str(&text);
                    self.read_name(&mut out);
                }
            }
            Event::Marker => {
                self.flush(before, &mut out);
                self.name.clear();
                if self.splitter.kind() == Kind::ToolCall {
                    self.open_call = Some(String::new());
                }
            }
            Event::CallEnd => {
                self.flush(before, &mut out);
                self.calls.extend(self.open_call.take());
            }
        }
        out
    }

    /// The end of the reply: what was held back of a character that did not become whole.
    pub fn finish(&mut self) -> Vec<Said> {
        let mut out = Vec::new();
        self.flush(self.splitter.kind(), &mut out);
        out
    }

    /// The answer so far.
    pub fn text(&self) -> &str {
        &self.answer
    }

    /// The thoughts so far, if there are any.
    pub fn thinking(&self) -> Option<&str> {
        Some(self.thinking.as_str()).filter(|text| !text.is_empty())
    }

    /// The tool calls that are complete, as raw text between their markers.
    pub fn tool_calls(&self) -> &[String] {
        &self.calls
    }

    /// The tool call that was begun and not closed.
    pub fn open_tool_call(&self) -> Option<&str> {
        self.open_call.as_deref()
    }

    /// Ends a run of text: bytes that make no character are passed on as U+FFFD.
    fn flush(&mut self, kind: Kind, out: &mut Vec<Said>) {
        if let Some(text) = self.decoder.finish() {
            // A broken character in a channel's name is dropped with the name.
            if !self.splitter.in_name() {
                self.emit(kind, text, out);
            }
        }
    }

    /// Looks for the end of the channel's name. A line that cannot be a name is thinking.
    fn read_name(&mut self, out: &mut Vec<Said>) {
        let is_name = |line: &str| line.len() <= MAX_NAME && !line.contains(|c: char| c.is_whitespace());
        let rest = match self.name.split_once('\n') {
            Some((line, rest)) if is_name(line.trim_end()) => rest.to_owned(),
            None if is_name(self.name.trim_end()) => return,
            _ => self.name.clone(),
        };
        self.name.clear();
        self.splitter.end_name();
        self.emit(Kind::Thinking, rest, out);
    }

    fn emit(&mut self, kind: Kind, text: String, out: &mut Vec<Said>) {
        if text.is_empty() {
            return;
        }
        match kind {
            Kind::Answer => self.answer.push_str(&text),
            Kind::Thinking => self.thinking.push_str(&text),
            Kind::ToolCall => self.open_call.get_or_insert_default().push_str(&text),
        }
        out.push(Said { kind, text });
    }
}
