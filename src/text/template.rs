//! Chat templates: a conversation in, the prompt's text out, by the Jinja template that comes with the checkpoint.
//!
//! A template is a program from a file that nobody here wrote. It gets no loader (nothing to include or import), a
//! budget of steps and bytes, a bounded output, and nothing but the conversation, two token spellings and the two
//! switches. Clients never send templates. The language is [`super::jinja`].

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde_json::{Map, Value as Json};

use super::conversation::{Conversation, Message, Role};
use super::jinja::{self, Fault, Limits, STACK_BYTES, Variable};
use super::special::{Guard, Prompt, Specials, Used};
use crate::error::{self, Bound, Error, NoRoom, Result, Usage, harmless};
use crate::threads::{self, NoResult};

/// Largest template that is read.
pub const MAX_TEMPLATE_BYTES: usize = 256 << 10;

/// Most messages of a conversation.
const MAX_MESSAGES: usize = 100_000;

/// Steps that any conversation may take. Gemma 4's template looks back for the last turn at each message and so takes
/// 6 steps for each pair of messages; hence the growth. All of them take about a second.
const STEPS: u64 = 1_000_000;
const STEPS_PER_PAIR: u64 = 10;
const STEPS_MAX: u64 = 20_000_000;

/// A conversation with no more than this is not the cause of a rendering that finds no end.
const SMALL: (usize, usize) = (64, 64 << 10);

/// Longest rendering, on a machine so busy or slow that the steps do not end it first.
const TIME: Duration = Duration::from_secs(20);

/// Output that any conversation may have; beyond it, four bytes for each byte of input.
const OUTPUT_BYTES: usize = 1 << 20;

/// Characters of what a template says that an error quotes.
const QUOTED: usize = 200;

/// Markers that stay markers in what the model said earlier: templates cut past thoughts out by them.
const CHANNEL: [&str; 2] = ["<|channel>", "<channel|>"];

/// A parsed and checked chat template.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    source: String,
    /// Variables that spell special tokens, `bos_token` and `eos_token` among them.
    tokens: Vec<(String, String)>,
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
            return Err(wrong(format!("{found} bytes")).expected(format!("at most {MAX_TEMPLATE_BYTES}")).into());
        }
        let checked = source.to_owned();
        match on_own_thread(move |_| jinja::check(&checked))? {
            Ok(()) => {}
            Err(Fault::Syntax(fault)) => {
                return Err(wrong(harmless(&fault, QUOTED)).expected("a Jinja template").into());
            }
            Err(fault) => return Err(wrong(format!("{fault:?}")).expected("a Jinja template").into()),
        }
        Ok(Self {
            source: source.to_owned(),
            tokens: [("bos_token", bos_token), ("eos_token", eos_token)]
                .map(|(name, token)| (name.to_owned(), token.to_owned()))
                .into(),
            takes_parts: source.contains("'text'") || source.contains("\"text\""),
        })
    }

    /// With these variables that spell special tokens, such as `pad_token`, beside or instead of those it has.
    #[must_use]
    pub fn with_tokens(mut self, tokens: impl IntoIterator<Item = (String, String)>) -> Self {
        for (name, token) in tokens {
            self.tokens.retain(|(other, _)| *other != name);
            self.tokens.push((name, token));
        }
        self
    }

    /// Renders `conversation`. Text that spells one of `specials` inside a message, a tool call or a tool declaration
    /// stays text; only what the template itself writes becomes a special token.
    ///
    /// # Errors
    /// [`Error::Usage`] for a conversation that is invalid or that the template refuses, [`Error::Model`] for a
    /// template that does not end or does not work.
    pub fn render(&self, conversation: &Conversation, specials: &Specials) -> Result<Prompt> {
        conversation.check()?;
        let found = conversation.messages.len();
        if found > MAX_MESSAGES {
            return Err(Error::Usage(Usage::Conversation {
                place: "messages".into(),
                found: format!("found {found} messages"),
                expected: format!("at most {MAX_MESSAGES}"),
            }));
        }
        let messages: Vec<Json> = conversation.messages.iter().map(|m| self.message(m)).collect();
        let tools = conversation.tools.as_ref().unwrap_or(&Json::Null);

        let mut used = Used::default();
        used.note(&self.source);
        let mut input_bytes = note(tools, &mut used);
        for message in &messages {
            input_bytes += note(message, &mut used);
        }
        let guard = Guard::new(specials, &used)?;
        let n_messages = messages.len();
        let pairs = (n_messages as u64).saturating_pow(2);
        let steps = STEPS.saturating_add(STEPS_PER_PAIR.saturating_mul(pairs)).saturating_add(input_bytes as u64);
        let steps = steps.min(STEPS_MAX);
        let output = OUTPUT_BYTES + 4 * input_bytes;
        let variables = self.variables(conversation, messages);
        match self.run(variables, &guard, steps, output)? {
            Ok(text) => Ok(specials.split(&text, &guard)),
            Err(Fault::Failed(text)) if self.fails_anyway(&text, &guard)? => {
                let why = harmless(&guard.show(&text), QUOTED);
                Err(wrong(format!("fails, whatever the conversation is: {why}")).into())
            }
            Err(fault) => Err(failure(fault, &guard, n_messages, input_bytes, steps)),
        }
    }

    /// What the template sees of `conversation`, whose messages it gets as `messages`.
    fn variables(&self, conversation: &Conversation, messages: Vec<Json>) -> Vec<(String, Variable)> {
        let tools = conversation.tools.clone().unwrap_or(Json::Null);
        let own = [
            ("messages", Variable::Messages(messages, &CHANNEL)),
            ("tools", Variable::Guarded(tools)),
            ("documents", Variable::Guarded(Json::Null)),
            ("add_generation_prompt", Variable::Truth(conversation.add_generation_prompt)),
            ("enable_thinking", Variable::Truth(conversation.enable_thinking)),
        ];
        let tokens = self.tokens.iter().map(|(name, token)| (name.clone(), Variable::Text(token.clone())));
        tokens.chain(own.map(|(name, value)| (name.to_owned(), value))).collect()
    }

    /// Renders within so many steps and bytes.
    fn run(
        &self,
        variables: Vec<(String, Variable)>,
        guard: &Guard,
        steps: u64,
        output: usize,
    ) -> Result<std::result::Result<String, Fault>> {
        let (source, guard) = (self.source.clone(), guard.clone());
        on_own_thread(move |given_up| jinja::render(&source, variables, guard, Limits { steps, output, given_up }))
    }

    /// Whether the plainest of conversations ends in the same failure: then the template is to blame.
    fn fails_anyway(&self, text: &str, guard: &Guard) -> Result<bool> {
        let plain = Conversation::new(vec![Message::new(Role::User, "Hello")]);
        let messages = plain.messages.iter().map(|m| self.message(m)).collect();
        let failed = self.run(self.variables(&plain, messages), guard, STEPS, OUTPUT_BYTES)?;
        Ok(matches!(failed, Err(Fault::Failed(other)) if other == text))
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
        // As transformers does it: what is null is not there.
        let mut fields = message.fields(fields, content);
        fields.retain(|_, value| !value.is_null());
        Json::Object(with_reasoning(fields))
    }
}

/// Names that clients have for what the model thought. As transformers does it, templates find it under the first two.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

fn with_reasoning(mut fields: Map<String, Json>) -> Map<String, Json> {
    let Some(reasoning) = REASONING.iter().find_map(|name| fields.get(*name)).cloned() else { return fields };
    let thinking = fields.shift_remove("thinking").unwrap_or_else(|| reasoning.clone());
    fields.shift_insert(0, "thinking".to_owned(), thinking);
    fields.insert("reasoning_content".to_owned(), reasoning);
    fields
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

/// Runs `work` on a thread with stack enough for every template that is parsed. A panic there is an error here, and so
/// is a thread that does not come back in time; it is told to end.
fn on_own_thread<T: Send + 'static>(work: impl FnOnce(Arc<AtomicBool>) -> T + Send + 'static) -> Result<T> {
    threads::with_stack("chat template", STACK_BYTES, TIME, work).map_err(|error| match error {
        NoResult::NoThread(e) => {
            NoRoom::new(None, "chat template", STACK_BYTES as u64, 0, Bound::Stack(e.to_string())).into()
        }
        NoResult::TooLong => wrong(format!("still running after {TIME:?}")).expected("a prompt").into(),
        NoResult::Panicked => wrong("rendering panicked").expected("a prompt").into(),
    })
}

/// Says whose fault a failed rendering is: the conversation's (the template refused it, something it needs is not there,
/// or it is too long) or the template's.
fn failure(fault: Fault, guard: &Guard, messages: usize, bytes: usize, steps: u64) -> Error {
    let shown = |text: &str| harmless(&guard.show(text), QUOTED);
    let template = |fault| Error::Usage(Usage::Template(fault));
    let large = messages > SMALL.0 || bytes > SMALL.1;
    match fault {
        Fault::Refused(reason) => template(format!("refuses the conversation: {}", shown(&reason))),
        Fault::Failed(text) => template(format!("cannot render the conversation: {}", shown(&text))),
        Fault::Steps | Fault::Bytes | Fault::GivenUp if large => {
            Error::Usage(Usage::LongConversation { messages, bytes, steps, most_bytes: jinja::LIVE_BYTES })
        }
        Fault::Steps => wrong("ran out of steps").expected(format!("it to end within {steps}")).into(),
        Fault::GivenUp => wrong("given up").expected("a prompt").into(),
        Fault::Bytes => wrong(format!("needs more than {} bytes of memory", jinja::LIVE_BYTES)).expected("less").into(),
        Fault::Output(most) => wrong(format!("makes more than {most} bytes")).expected("less").into(),
        Fault::Deep(what) => wrong(format!("{what} are nested too deep")).expected("less nesting").into(),
        Fault::Syntax(text) | Fault::Forbidden(text) => wrong(shown(&text)).into(),
    }
}

/// A fault of the template, of which this was found.
fn wrong(found: impl AsRef<str>) -> error::Fault {
    error::Fault::template().found(found)
}
