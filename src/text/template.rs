//! Chat templates: a conversation in, the prompt's text out, by the Jinja template that comes with the checkpoint.
//!
//! A template is a program from a file that nobody here wrote. It gets no loader (nothing to include or import), a
//! budget of steps (fuel), a bounded output, and nothing but the conversation, two token spellings and the two switches.
//! Clients never send templates. The settings are those of transformers' `apply_chat_template`.

use std::io;
use std::panic::catch_unwind;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use minijinja::value::Value;
use minijinja::{Environment, ErrorKind};
use serde_json::Value as Json;

use super::conversation::{Conversation, Message, Role};
use super::jinja::{Refusal, environment};
use super::special::{Guard, Prompt, Specials, Used};
use crate::error::{Error, Result};

/// Largest template that is read.
pub const MAX_TEMPLATE_BYTES: usize = 256 << 10;

/// Steps that any conversation may take. Gemma 4's template looks back for the last turn at each message and so takes
/// 3.7 steps for each pair of messages (measured: 51 thousand at 101 messages, 3.7 million at 1001); hence the growth.
const FUEL: u64 = 1_000_000;
const FUEL_PER_PAIR: u64 = 5;
const FUEL_MAX: u64 = 8_000_000;

/// Stack for each step. A template can nest a list once a step or so, and dropping, printing or comparing such a list
/// recurses; an overflow would end the process. The memory is reserved, not used.
const STACK_BYTES_PER_STEP: usize = 320;

/// Longest rendering. Fuel does not see everything: a slice of a slice of a slice takes time by the square of its depth.
const TIME: Duration = Duration::from_secs(5);

/// Output that any conversation may have; beyond it, four bytes for each byte of input.
const OUTPUT_BYTES: usize = 1 << 20;

/// Markers that stay markers in what the model said earlier: templates cut past thoughts out by them.
const CHANNEL: [&str; 2] = ["<|channel>", "<channel|>"];

/// A parsed and checked chat template.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    source: String,
    bos_token: String,
    eos_token: String,
    /// Whether the template knows contents that are lists of parts; otherwise it gets their joined text.
    takes_parts: bool,
}

impl ChatTemplate {
    /// Takes the template's source, and the spellings that it gets as `bos_token` and `eos_token`.
    ///
    /// # Errors
    /// [`Error::Model`] if the source is too large or no valid template.
    pub fn from_source(source: &str, bos_token: &str, eos_token: &str) -> Result<Self> {
        if source.len() > MAX_TEMPLATE_BYTES {
            let found = source.len();
            return Err(Error::model(format!("chat template: {found} bytes, expected at most {MAX_TEMPLATE_BYTES}")));
        }
        let parsed = catch_unwind(|| {
            Environment::new().template_from_named_str("chat_template", source).map(|_| ()).map_err(|e| one_line(&e))
        });
        // The real environment parses again at each rendering; this one only looks for syntax errors.
        match parsed {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => return Err(Error::model(format!("chat template: {fault}, expected a Jinja template"))),
            Err(_) => return Err(Error::model("chat template: the parser panicked, expected a Jinja template")),
        }
        Ok(Self {
            source: source.to_owned(),
            bos_token: bos_token.to_owned(),
            eos_token: eos_token.to_owned(),
            takes_parts: source.contains("'text'") || source.contains("\"text\""),
        })
    }

    /// Renders `conversation`. Text that spells one of `specials` inside a message, a tool call or a tool declaration
    /// stays text; only what the template itself writes becomes a special token.
    ///
    /// # Errors
    /// [`Error::Usage`] for a conversation that is invalid or that the template refuses, [`Error::Model`] for a
    /// template that does not end or does not work.
    pub fn render(&self, conversation: &Conversation, specials: &Specials) -> Result<Prompt> {
        conversation.check()?;
        let messages: Vec<Json> = conversation.messages.iter().map(|m| self.message(m)).collect();
        let tools = conversation.tools.as_ref().unwrap_or(&Json::Null);

        let mut used = Used::default();
        used.note(&self.source);
        let mut input_bytes = note(tools, &mut used);
        for message in &messages {
            input_bytes += note(message, &mut used);
        }
        let guard = Guard::new(specials, &used)?;
        let keys = |key: &'static str, value: Value| (Value::from(key), value);
        let context = Value::from_pairs([
            keys("messages", messages.iter().map(|m| message_value(m, &guard)).collect()),
            keys("tools", value(tools, &guard)),
            keys("add_generation_prompt", conversation.add_generation_prompt.into()),
            keys("enable_thinking", conversation.enable_thinking.into()),
            keys("bos_token", self.bos_token.as_str().into()),
            keys("eos_token", self.eos_token.as_str().into()),
        ]);

        let pairs = (messages.len() as u64).saturating_pow(2);
        let steps = FUEL.saturating_add(FUEL_PER_PAIR.saturating_mul(pairs)).saturating_add(input_bytes as u64 / 8);
        let steps = steps.min(FUEL_MAX);
        let mut out = Bounded { bytes: Vec::new(), limit: OUTPUT_BYTES + 4 * input_bytes, over: false };
        let source = self.source.clone();
        let env_guard = guard.clone();
        let (rendered, out) = on_own_thread(steps as usize * STACK_BYTES_PER_STEP, move || {
            let mut env = environment(&env_guard);
            env.set_fuel(Some(steps));
            let rendered = env
                .template_from_named_str("chat_template", &source)
                .and_then(|template| template.render_captured_to(context, &mut out).map(|_| ()));
            (rendered, out)
        })?;
        match rendered {
            Ok(()) => {}
            Err(_) if out.over => {
                let limit = out.limit;
                return Err(Error::model(format!("chat template: makes more than {limit} bytes, expected less")));
            }
            Err(error) => return Err(failure(&error, &guard)),
        }
        let text =
            String::from_utf8(out.bytes).map_err(|_| Error::model("chat template: made text that is no UTF-8"))?;
        Ok(specials.split(&text, &guard))
    }

    /// The message as the template sees it, before its special spellings are hidden.
    fn message(&self, message: &Message) -> Json {
        let mut fields = message.rest.clone();
        if let Some(Json::Array(calls)) = fields.get_mut("tool_calls") {
            calls.iter_mut().for_each(parse_arguments);
        }
        let mut content = message.content.clone();
        // Templates trim a system text as a string, even those that take lists elsewhere.
        let joined = !self.takes_parts || matches!(message.role, Role::System | Role::Developer);
        if let (true, Json::Array(parts)) = (joined, &content) {
            let texts: Vec<&str> = parts.iter().filter_map(|part| part.get("text")?.as_str()).collect();
            content = Json::String(texts.join("\n"));
        }
        fields.insert("role".to_owned(), message.role.as_str().into());
        fields.insert("content".to_owned(), content);
        Json::Object(fields)
    }
}

/// Chat clients send a call's arguments as a string of JSON; templates want the object.
fn parse_arguments(call: &mut Json) {
    if let Some(arguments) = call.pointer_mut("/function/arguments")
        && let Json::String(text) = arguments
        && let Ok(parsed @ Json::Object(_)) = serde_json::from_str(text)
    {
        *arguments = parsed;
    }
}

/// Notes private-use characters and counts the bytes of all strings.
fn note(json: &Json, used: &mut Used) -> usize {
    match json {
        Json::String(text) => {
            used.note(text);
            text.len()
        }
        Json::Array(list) => list.iter().map(|entry| 1 + note(entry, used)).sum(),
        Json::Object(map) => map
            .iter()
            .map(|(key, entry)| {
                used.note(key);
                key.len() + note(entry, used)
            })
            .sum(),
        _ => 8,
    }
}

/// A message for the template: the role is known and stays as it is; in the model's own text, so do channel markers.
fn message_value(message: &Json, guard: &Guard) -> Value {
    let assistant = message["role"] == "assistant";
    let field = |key: &str, entry: &Json| match (key, entry) {
        ("role", Json::String(role)) => Value::from(role),
        ("content", content) if assistant => own_text(content, guard),
        _ => value(entry, guard),
    };
    let Json::Object(fields) = message else { return value(message, guard) };
    Value::from_pairs(fields.iter().map(|(key, entry)| (guard.hide(key).into_owned(), field(key, entry))))
}

/// The model's own text, or list of text parts.
fn own_text(content: &Json, guard: &Guard) -> Value {
    match content {
        Json::String(text) => Value::from(guard.hide_except(text, &CHANNEL)),
        Json::Array(parts) => parts.iter().map(|part| own_text(part, guard)).collect(),
        Json::Object(part) => Value::from_pairs(part.iter().map(|(key, e)| (key.as_str(), own_text(e, guard)))),
        other => value(other, guard),
    }
}

/// JSON as a template's value, with every string and key guarded.
fn value(json: &Json, guard: &Guard) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(b) => Value::from(*b),
        Json::Number(n) => match (n.as_i64(), n.as_u64()) {
            (Some(n), _) => Value::from(n),
            (None, Some(n)) => Value::from(n),
            _ => Value::from(n.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::from(guard.hide(text)),
        Json::Array(list) => list.iter().map(|entry| value(entry, guard)).collect(),
        Json::Object(map) => {
            Value::from_pairs(map.iter().map(|(key, entry)| (guard.hide(key).into_owned(), value(entry, guard))))
        }
    }
}

/// Runs `render` on a thread with `bytes` of stack. A panic there is an error here, and so is a thread that does not
/// come back in time; it is left to its fuel.
fn on_own_thread<T: Send + 'static>(bytes: usize, render: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let (sender, receiver) = mpsc::channel();
    std::thread::Builder::new()
        .name("chat template".into())
        .stack_size(bytes)
        // The receiver may have given up; then nobody wants the result.
        .spawn(move || drop(sender.send(render())))
        .map_err(|e| Error::Memory(format!("chat template: no thread with {bytes} bytes of stack: {e}")))?;
    receiver.recv_timeout(TIME).map_err(|error| match error {
        RecvTimeoutError::Timeout => {
            Error::model(format!("chat template: still running after {TIME:?}, expected a prompt"))
        }
        RecvTimeoutError::Disconnected => Error::model("chat template: rendering panicked, expected a prompt"),
    })
}

/// Says whose fault a failed rendering is: the conversation's (the template refused it, or something it needs is not
/// there) or the template's.
fn failure(error: &minijinja::Error, guard: &Guard) -> Error {
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(Refusal(reason)) = inner.downcast_ref() {
            return Error::Usage(format!("chat template: refuses the conversation: {}", guard.show(reason)));
        }
        source = inner.source();
    }
    let text = guard.show(&one_line(error)).into_owned();
    match error.kind() {
        ErrorKind::UndefinedError | ErrorKind::InvalidOperation | ErrorKind::NonPrimitive => {
            Error::Usage(format!("chat template: cannot render the conversation: {text}"))
        }
        ErrorKind::OutOfFuel => Error::model("chat template: ran out of steps, expected it to end"),
        _ => Error::model(format!("chat template: {text}")),
    }
}

/// An error as one line.
fn one_line(error: &minijinja::Error) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Output that ends with an error at a limit.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
    over: bool,
}

impl io::Write for Bounded {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + data.len() > self.limit {
            self.over = true;
            return Err(io::Error::other("output limit"));
        }
        self.bytes.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
