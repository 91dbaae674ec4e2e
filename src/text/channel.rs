//! Which channel a generated id belongs to: thinking, answer or tool call. Decided by token ids, never by text.

use super::tokenizer::Tokenizer;

/// What a piece of generated text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Meant for the user.
    Answer,
    /// What the model thinks before it answers.
    Thinking,
    /// The raw text of a tool call.
    ToolCall,
}

/// What the splitter says about one id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// The id is text of this kind.
    Text(Kind),
    /// The id belongs to the line behind `<|channel>` that names the channel.
    Name,
    /// The id is a marker and no text; what follows is [`ChannelSplitter::kind`].
    Marker,
    /// The id closes a tool call.
    CallEnd,
}

/// Follows the markers through the ids of a turn. It starts in the answer; prompts that open or close a channel for the
/// model are followed by pushing their last turn first, see [`super::Reply::new`].
#[derive(Debug, Clone)]
pub(super) struct ChannelSplitter {
    channel_open: Option<u32>,
    channel_close: Option<u32>,
    call_open: Option<u32>,
    call_close: Option<u32>,
    /// Tokens that end every channel: turns, texts, and the hand-over to a tool.
    ends: Vec<u32>,
    kind: Kind,
    in_name: bool,
}

impl ChannelSplitter {
    /// A splitter for this vocabulary. A marker that the vocabulary does not have never comes.
    pub(super) fn new(tokenizer: &Tokenizer) -> Self {
        let special = |name: &str| tokenizer.token_id(name).filter(|id| tokenizer.is_special(*id));
        Self {
            channel_open: special("<|channel>"),
            channel_close: special("<channel|>"),
            call_open: special("<|tool_call>"),
            call_close: special("<tool_call|>"),
            ends: ["<|turn>", "<turn|>", "<eos>", "<bos>", "<|tool_response>"]
                .into_iter()
                .filter_map(special)
                .collect(),
            kind: Kind::Answer,
            in_name: false,
        }
    }

    /// The kind of the text that comes next.
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether the next text belongs to the line that names the channel.
    pub(super) fn in_name(&self) -> bool {
        self.in_name
    }

    /// The channel's name is complete; what follows is thinking.
    pub(super) fn end_name(&mut self) {
        self.in_name = false;
    }

    /// Takes the next id.
    pub(super) fn push(&mut self, id: u32) -> Event {
        let is = |marker: Option<u32>| marker == Some(id);
        let in_call = self.kind == Kind::ToolCall;
        let (kind, in_name, event) = if self.ends.contains(&id) {
            (Kind::Answer, false, Event::Marker)
        } else if in_call && is(self.call_close) {
            (Kind::Answer, false, Event::CallEnd)
        } else if in_call {
            // A call's quotes are special tokens too, and part of its text.
            (Kind::ToolCall, false, Event::Text(Kind::ToolCall))
        } else if is(self.channel_open) {
            (Kind::Thinking, true, Event::Marker)
        } else if is(self.channel_close) || is(self.call_close) {
            (Kind::Answer, false, Event::Marker)
        } else if is(self.call_open) {
            (Kind::ToolCall, false, Event::Marker)
        } else if self.in_name {
            (self.kind, true, Event::Name)
        } else {
            (self.kind, false, Event::Text(self.kind))
        };
        self.kind = kind;
        self.in_name = in_name;
        event
    }
}
