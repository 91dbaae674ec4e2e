//! What a chat template gets: messages, tools and switches, checked so that a fault names its place.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::decode;
use crate::error::{Error, Result, Usage, harmless};
use crate::strict;

/// A conversation to be rendered. In a file: `{"messages": [...], "tools": [...], "enable_thinking": false,
/// "add_generation_prompt": true}` with all but the messages optional, or the bare list of messages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value")]
pub struct Conversation {
    /// At least one message.
    pub messages: Vec<Message>,
    /// Declarations of tools, a list of `{"type": "function", "function": {"name": ...}}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<Value>,
    /// Whether the model may think before it answers.
    pub enable_thinking: bool,
    /// Whether the prompt ends with the opening of the model's turn.
    pub add_generation_prompt: bool,
}

/// Who a message is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions ahead of the conversation.
    System,
    /// The newer name of `system`.
    Developer,
    /// The user.
    User,
    /// The model; Gemma's own name for it, `model`, is read as well.
    Assistant,
    /// The result of a tool call.
    Tool,
}

/// One message. Fields that only templates know (`tool_calls`, `tool_call_id`, `name`, `reasoning_content` ...) are kept
/// as JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Message {
    /// Who it is from.
    pub role: Role,
    /// A string, a list of `{"type": "text", "text": ...}`, for tools also an object; the model's own may be null.
    pub content: Value,
    /// All other fields.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
    #[serde(skip)]
    places: Places,
}

/// Where role and content stood among a message's fields, as templates may print it whole; content may be left out.
/// Two messages that say the same are equal wherever it stands.
#[derive(Debug, Clone, Copy)]
struct Places {
    role: usize,
    content: Option<usize>,
}

impl PartialEq for Places {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Message {
    /// A message of plain text.
    pub fn new(role: Role, text: impl Into<String>) -> Self {
        let places = Places { role: 0, content: Some(1) };
        Self { role, content: Value::String(text.into()), rest: Map::new(), places }
    }

    /// All fields in the order in which they came, with these others in place of the rest.
    pub(crate) fn fields(&self, mut rest: Map<String, Value>, content: Value) -> Map<String, Value> {
        let role = (self.places.role, "role", self.role.as_str().into());
        let content = self.places.content.map(|place| (place, "content", content));
        let mut known: Vec<(usize, &str, Value)> = std::iter::once(role).chain(content).collect();
        known.sort_by_key(|(place, ..)| *place);
        for (place, key, value) in known {
            rest.shift_insert(place.min(rest.len()), key.to_owned(), value);
        }
        rest
    }

    fn read(value: Value, place: &str) -> Result<Self> {
        let Value::Object(mut fields) = value else {
            return Err(fault(place, Some(&value), "an object with role and content"));
        };
        let place_of = |key| fields.keys().position(|known| known == key);
        let places = Places { role: place_of("role").unwrap_or(0), content: place_of("content") };
        let role = match fields.shift_remove("role") {
            Some(Value::String(name)) => Role::read(&name).ok_or(Some(Value::String(name))),
            other => Err(other),
        }
        .map_err(|found| {
            fault(&format!("{place}.role"), found.as_ref(), "system, developer, user, assistant or tool")
        })?;
        let content = fields.shift_remove("content").unwrap_or(Value::Null);
        Ok(Self { role, content, rest: fields, places })
    }

    fn check(&self, place: &str) -> Result<()> {
        let calls = self.rest.get("tool_calls").filter(|calls| !calls.is_null());
        if let Some(calls) = calls {
            check_named(calls, &format!("{place}.tool_calls"))?;
            check_arguments(calls, &format!("{place}.tool_calls"))?;
        }
        let place = format!("{place}.content");
        match &self.content {
            Value::String(_) => Ok(()),
            // A bare tool call, or whatever else the model did without saying anything.
            Value::Null if self.role == Role::Assistant => Ok(()),
            Value::Object(_) if self.role == Role::Tool => Ok(()),
            Value::Array(parts) => parts.iter().enumerate().try_for_each(|(i, part)| {
                let kind = part.get("type");
                if kind.and_then(Value::as_str) != Some("text") {
                    return Err(fault(&format!("{place}[{i}].type"), kind, "\"text\""));
                }
                match part.get("text") {
                    Some(Value::String(_)) => Ok(()),
                    other => Err(fault(&format!("{place}[{i}].text"), other, "a string")),
                }
            }),
            Value::Null => Err(fault(&place, None, "a string or a list of text parts")),
            other if self.role == Role::Tool => {
                Err(fault(&place, Some(other), "a string, a list of text parts or an object"))
            }
            other => Err(fault(&place, Some(other), "a string or a list of text parts")),
        }
    }
}

impl Role {
    fn read(name: &str) -> Option<Self> {
        Some(match name {
            "system" => Role::System,
            "developer" => Role::Developer,
            "user" => Role::User,
            "assistant" | "model" => Role::Assistant,
            "tool" => Role::Tool,
            _ => return None,
        })
    }

    /// The name that templates see.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::Developer => "developer",
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Tool => "tool",
        }
    }
}

impl Conversation {
    /// These messages, no tools, no thinking, with the opening of the model's turn.
    pub fn new(messages: Vec<Message>) -> Self {
        Self { messages, tools: None, enable_thinking: false, add_generation_prompt: true }
    }

    /// Reads a conversation file, UTF-8 or what its byte order mark says. A key that occurs twice in an object is an error:
    /// which of the two values counts, other programs decide otherwise.
    ///
    /// # Errors
    /// [`Error::Usage`] that names the place, what was found and what was expected.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        Self::from_json_within(json, json.len())
    }

    /// As [`Conversation::from_json`], with at most so many bytes of text: strings, keys, and one for each value.
    ///
    /// # Errors
    /// As [`Conversation::from_json`]; [`Error::Usage`] with both numbers for more text.
    pub fn from_json_within(json: &[u8], most_bytes: usize) -> Result<Self> {
        let text = decode::text(json).map_err(|e| conversation_text(format!("conversation: {e}")))?;
        let value = strict::parse(text.as_bytes(), most_bytes).map_err(|fault| {
            conversation_text(match fault {
                strict::Fault::Twice { ref place, .. } if place.starts_with('[') => format!("messages{fault}"),
                strict::Fault::Large(most) => {
                    let found = text.len();
                    format!("conversation: found {found} bytes, more than {most} of them text, expected at most {most}")
                }
                fault => format!("conversation: {fault}"),
            })
        })?;
        Self::try_from(value)
    }

    /// Checks what no type says: at least one message, contents that fit the roles, named tools.
    ///
    /// # Errors
    /// [`Error::Usage`] that names the place, what was found and what was expected.
    pub fn check(&self) -> Result<()> {
        if self.messages.is_empty() {
            return Err(wrong_text("messages", "found an empty list", "at least one message"));
        }
        for (i, message) in self.messages.iter().enumerate() {
            message.check(&format!("messages[{i}]"))?;
        }
        match self.tools.as_ref().filter(|tools| !tools.is_null()) {
            Some(tools) => check_named(tools, "tools"),
            None => Ok(()),
        }
    }
}

impl TryFrom<Value> for Conversation {
    type Error = Error;

    fn try_from(value: Value) -> Result<Self> {
        let mut fields = match value {
            Value::Array(_) => Map::from_iter([("messages".to_owned(), value)]),
            Value::Object(fields) => fields,
            other => return Err(fault("conversation", Some(&other), "an object with messages, or a list of messages")),
        };
        let messages = match fields.shift_remove("messages") {
            Some(Value::Array(list)) => list,
            other => return Err(fault("messages", other.as_ref(), "a list of messages")),
        };
        let read = messages.into_iter().enumerate().map(|(i, m)| Message::read(m, &format!("messages[{i}]")));
        let mut conversation = Conversation::new(read.collect::<Result<Vec<_>>>()?);
        for (key, value) in fields {
            match (key.as_str(), value) {
                ("tools", value) => conversation.tools = Some(value).filter(|tools| !tools.is_null()),
                ("enable_thinking", Value::Bool(on)) => conversation.enable_thinking = on,
                ("add_generation_prompt", Value::Bool(on)) => conversation.add_generation_prompt = on,
                ("enable_thinking" | "add_generation_prompt", other) => {
                    return Err(fault(&key, Some(&other), "true or false"));
                }
                _ => {
                    let known = "messages, tools, enable_thinking or add_generation_prompt";
                    let key = harmless(&key, 60);
                    return Err(wrong_text("conversation", &format!("found the key \"{key}\""), known));
                }
            }
        }
        conversation.check()?;
        Ok(conversation)
    }
}

/// `list` must be a list of objects with a `function.name`.
fn check_named(list: &Value, place: &str) -> Result<()> {
    let Value::Array(list) = list else { return Err(fault(place, Some(list), "a list")) };
    for (i, entry) in list.iter().enumerate() {
        let Some(function) = entry.get("function").filter(|f| f.is_object()) else {
            return Err(fault(&format!("{place}[{i}].function"), entry.get("function"), "an object"));
        };
        if !function.get("name").is_some_and(Value::is_string) {
            return Err(fault(&format!("{place}[{i}].function.name"), function.get("name"), "a string"));
        }
    }
    Ok(())
}

/// A call's arguments that are a string of JSON become an object: no key may occur twice in it either.
fn check_arguments(calls: &Value, place: &str) -> Result<()> {
    for (i, call) in calls.as_array().into_iter().flatten().enumerate() {
        let Some(text) = call["function"]["arguments"].as_str() else { continue };
        if let Err(fault @ strict::Fault::Twice { .. }) = strict::parse(text.as_bytes(), text.len()) {
            return Err(conversation_text(format!("{place}[{i}].function.arguments: {fault}")));
        }
    }
    Ok(())
}

/// `place: found X, expected Y`.
fn fault(place: &str, found: Option<&Value>, expected: &str) -> Error {
    let found = match found {
        None => "found nothing".to_owned(),
        Some(Value::Null) => "found null".to_owned(),
        Some(Value::Bool(_)) => "found a boolean".to_owned(),
        Some(Value::Number(_)) => "found a number".to_owned(),
        Some(Value::String(text)) => format!("found {:?}", text.chars().take(40).collect::<String>()),
        Some(Value::Array(_)) => "found a list".to_owned(),
        Some(Value::Object(_)) => "found an object".to_owned(),
    };
    wrong_text(place, &found, expected)
}

fn wrong_text(place: &str, found: &str, expected: &str) -> Error {
    Usage::Conversation { place: place.into(), found: found.into(), expected: expected.into() }.into()
}

fn conversation_text(fault: String) -> Error {
    Usage::ConversationText(fault).into()
}
