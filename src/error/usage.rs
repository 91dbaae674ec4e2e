//! Requests that cannot be met as they are.

use super::remedy::{Remedy, Speller, any_of};

/// What is wrong with a request: options, a prompt, a step, a conversation, an argument. Nothing was changed by it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Usage {
    /// An argument or an input of a program, in its own words.
    #[error("{0}")]
    Argument(String),
    /// A text that is not of the form that something has.
    #[error("{name}: found {found}, expected {expected}")]
    Value {
        /// What the text is for.
        name: String,
        /// The text, and what is wrong with it.
        found: String,
        /// The form.
        expected: String,
    },
    /// A setting of sampling out of its range.
    #[error("{name} {found}: expected {expected}")]
    Sampling {
        /// The setting.
        name: &'static str,
        /// Its value.
        found: f32,
        /// The range.
        expected: &'static str,
    },
    /// A name that nothing has.
    #[error("unknown {what} {name:?}, expected {expected}")]
    Name {
        /// What should have it.
        what: &'static str,
        /// The name.
        name: String,
        /// The names that there are.
        expected: String,
    },
    /// A model that is no preset.
    #[error("found no model {name:?}, expected one of {}", known.join(", "))]
    Preset {
        /// The name.
        name: String,
        /// The presets.
        known: Vec<String>,
    },
    /// Parts of a preset that it does not have at all.
    #[error("{asked} {what} were asked for, but {model} has no {what}")]
    PresetWithout {
        /// The preset.
        model: String,
        /// What is counted.
        what: &'static str,
        /// How many were asked for.
        asked: usize,
    },
    /// A preset cut to a size that it cannot have.
    #[error("{asked} {what} of {model} were asked for, expected {least} to {most}")]
    PresetSize {
        /// The preset.
        model: String,
        /// What is counted.
        what: &'static str,
        /// How many were asked for.
        asked: usize,
        /// The fewest.
        least: usize,
        /// The most.
        most: usize,
    },
    /// A tensor or matrix that the model does not have.
    #[error("no {what} {name:?} in this model")]
    Tensor {
        /// Vector or matrix.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// An expert that the model does not have.
    #[error("expert {expert} of layer {layer} was asked for, but the model has {experts} experts in {layers} layers")]
    Expert {
        /// The layer.
        layer: usize,
        /// The expert.
        expert: usize,
        /// Layers that there are.
        layers: usize,
        /// Experts of a layer; 0 in a dense model.
        experts: usize,
    },
    /// Rows or columns that a tensor does not have.
    #[error("{name}: {what} {}..{} were asked for, but there are {found}", asked.start, asked.end)]
    Range {
        /// The tensor.
        name: String,
        /// Rows or columns.
        what: &'static str,
        /// Those that were asked for.
        asked: std::ops::Range<usize>,
        /// How many there are.
        found: usize,
    },
    /// A tensor, matrix or product whose parts do not go together.
    #[error("{name}: {what}: found {found}, expected {expected}")]
    Shape {
        /// Its label.
        name: String,
        /// What of it.
        what: &'static str,
        /// What that is.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// A context that holds nothing.
    #[error("a context of 0 holds no token, expected at least 1")]
    NoContext,
    /// A context beyond the model's.
    #[error("a context of {asked} was asked for, but the model's is {most}")]
    Context {
        /// Positions that were asked for.
        asked: usize,
        /// Those of the model.
        most: usize,
    },
    /// A context beyond what the device can address.
    #[error(
        "a context of {asked} was asked for, but \"{device}\" binds at most {most} positions of a layer's KV cache"
    )]
    ContextOnDevice {
        /// The device's name.
        device: String,
        /// Positions that were asked for.
        asked: usize,
        /// Those that the device can bind.
        most: usize,
    },
    /// No slots at all.
    #[error("0 slots were asked for, expected at least 1")]
    NoSlots,
    /// A tier that the device does not have.
    #[error("tier {asked} was asked for, but the strongest that \"{device}\" can run is {strongest}")]
    Tier {
        /// The device's name.
        device: String,
        /// The tier that was asked for.
        asked: String,
        /// The strongest that there is.
        strongest: String,
        /// What would bring it.
        remedies: Vec<Remedy>,
    },
    /// A format of the KV cache that the device is to do without.
    #[error("a KV cache in {asked} was asked for, but it is switched off on \"{device}\"")]
    Cache {
        /// The device's name.
        device: String,
        /// The format.
        asked: String,
    },
    /// Experts in host memory in more layers than have experts.
    #[error(
        "experts of {asked} layer{} in host memory: the model has {}",
        if *asked == 1 { "" } else { "s" },
        if *layers == 0 { "no experts, expected 0".into() } else { format!("experts in {layers} layers, expected at most {layers}") }
    )]
    HostExperts {
        /// Layers that were asked for.
        asked: usize,
        /// Layers that have experts.
        layers: usize,
    },
    /// Experts in host memory for a model that is made on the device.
    #[error("experts in host memory: a synthetic model's are made on the device, expected a model of files")]
    SyntheticHostExperts,
    /// A split by experts of a model without them.
    #[error("split expert: the model has no experts, expected split tensor")]
    ExpertSplit,
    /// Too many ranks or none.
    #[error("{found} ranks, expected 1 to {most}")]
    Ranks {
        /// Ranks that were asked for.
        found: usize,
        /// The most that there can be.
        most: usize,
    },
    /// A rank that would get nothing.
    #[error("shares: rank {rank} has 0, expected at least 1 for each rank")]
    EmptyShare {
        /// The rank.
        rank: usize,
    },
    /// More ranks than the model can be cut for.
    #[error("{ranks} ranks, but the model has {size} {what}, expected at most {size} ranks")]
    TooManyRanks {
        /// Ranks that were asked for.
        ranks: usize,
        /// What is cut.
        what: String,
        /// How many of them there are.
        size: usize,
    },
    /// Shares so uneven that a rank would get nothing of something.
    #[error("shares {shares}: rank {rank} gets none of the model's {size} {what}, expected at least 1")]
    UnevenShares {
        /// The shares.
        shares: String,
        /// The rank.
        rank: usize,
        /// What is cut.
        what: String,
        /// How many of them there are.
        size: usize,
    },
    /// More devices than ranks, or none.
    #[error("{devices} adapters for {ranks} rank{}, expected {}", if *ranks == 1 { "" } else { "s" },
        if *devices == 0 { "at least one" } else { "at most one for each rank" })]
    Devices {
        /// Devices that were given.
        devices: usize,
        /// Ranks that were asked for.
        ranks: usize,
    },
    /// A prompt without tokens.
    #[error("the prompt has no tokens, expected at least 1")]
    EmptyPrompt,
    /// A prompt that leaves no room for an answer.
    #[error("the prompt has {tokens} tokens, but the context is {context}: expected at most {}", context.saturating_sub(1))]
    PromptTooLong {
        /// Tokens of the prompt.
        tokens: usize,
        /// Positions that prompt and answer have together.
        context: usize,
    },
    /// Too many token ids, or none.
    #[error("found {found} token ids, but the context is {context}: expected {}", match found { 0 => "at least 1".into(), _ => format!("at most {context}") })]
    Ids {
        /// How many there are.
        found: usize,
        /// Positions of the context.
        context: usize,
    },
    /// A token that the vocabulary does not have.
    #[error("token id {token} is beyond the vocabulary of {vocab}")]
    Token {
        /// The id.
        token: u32,
        /// Tokens of the vocabulary.
        vocab: usize,
    },
    /// A position beyond the context.
    #[error("position {position} is beyond the context of {context}")]
    Position {
        /// The position.
        position: usize,
        /// Positions of the context.
        context: usize,
    },
    /// A slot that the KV cache does not have.
    #[error("slot {slot} of {slots}, expected one below {slots}")]
    Slot {
        /// The slot.
        slot: usize,
        /// Slots that there are.
        slots: usize,
    },
    /// A step without rows, or with too many.
    #[error("a step of {found} rows, expected 1 to {most}")]
    Rows {
        /// Rows of the step.
        found: usize,
        /// The most that it can have.
        most: usize,
    },
    /// A row that does not continue what its slot holds, or the row before it.
    #[error(
        "a row at position {found} of slot {slot}, expected position {expected}: rows continue what the slot holds"
    )]
    NotContinued {
        /// The slot.
        slot: usize,
        /// The row's position.
        found: usize,
        /// The position that comes next.
        expected: usize,
    },
    /// Rows of one slot with rows of another between them.
    #[error("rows of slot {slot} are apart, expected them together")]
    Apart {
        /// The slot.
        slot: usize,
    },
    /// A result that was asked of a row that the step does not have.
    #[error("row {row} of a step of {rows} rows was asked for, expected one of its rows")]
    Row {
        /// The row.
        row: usize,
        /// Rows of the step.
        rows: usize,
    },
    /// A step of so many rows that is not to be waited for: this model does not run them ahead.
    #[error("a step of {rows} rows ahead: this model does not run so many without waiting")]
    NotAhead {
        /// Rows of the step.
        rows: usize,
    },
    /// A row without a token whose slot is not in the step submitted before.
    #[error("no step submitted before chose a token for slot {slot}, expected its token")]
    NoToken {
        /// The slot.
        slot: usize,
    },
    /// The ids of a step were asked for, and none is under way.
    #[error("ids of a step were asked for, but none is under way")]
    NothingUnderWay,
    /// A choice of tokens that the device cannot make.
    #[error("{found} {what}, but a device takes {least} to {most}")]
    OnDevice {
        /// What is counted.
        what: &'static str,
        /// How many.
        found: usize,
        /// The fewest.
        least: usize,
        /// The most.
        most: usize,
    },
    /// A part of a conversation.
    #[error("{place}: {found}, expected {expected}")]
    Conversation {
        /// Where it stands: `messages[2].content` for instance.
        place: String,
        /// What stands there.
        found: String,
        /// What should.
        expected: String,
    },
    /// A conversation that is no JSON of the form that is read.
    #[error("{0}")]
    ConversationText(String),
    /// A conversation that the chat template does not take.
    #[error("chat template: {0}")]
    Template(String),
    /// A conversation that is too long for the chat template.
    #[error(
        "messages: found {messages} messages of {bytes} bytes, expected fewer: the chat template does not come to its end \
         with them in {steps} steps and {most_bytes} bytes"
    )]
    LongConversation {
        /// Its messages.
        messages: usize,
        /// Bytes of text in it.
        bytes: usize,
        /// Steps that the template has.
        steps: u64,
        /// Bytes that it may hold at a time.
        most_bytes: usize,
    },
    /// A folder to write into that holds something.
    #[error("directory {directory:?} is not empty, expected a new or an empty one")]
    NotEmpty {
        /// The folder.
        directory: String,
    },
}

impl Usage {
    /// The code of this kind.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Usage::Argument(_) => "E-ARGUMENT",
            Usage::Value { .. } => "E-VALUE",
            Usage::Sampling { .. } => "E-SAMPLING",
            Usage::Name { .. } => "E-NAME",
            Usage::Preset { .. } => "E-PRESET",
            Usage::PresetWithout { .. } | Usage::PresetSize { .. } => "E-PRESET-SIZE",
            Usage::Tensor { .. } | Usage::Expert { .. } => "E-TENSOR",
            Usage::Range { .. } => "E-RANGE",
            Usage::Shape { .. } => "E-SHAPE",
            Usage::NoContext | Usage::Context { .. } | Usage::ContextOnDevice { .. } => "E-CONTEXT",
            Usage::NoSlots | Usage::Slot { .. } => "E-SLOT",
            Usage::Tier { .. } => "E-TIER",
            Usage::Cache { .. } => "E-CACHE",
            Usage::HostExperts { .. } | Usage::SyntheticHostExperts => "E-HOST-EXPERTS",
            Usage::ExpertSplit
            | Usage::Ranks { .. }
            | Usage::EmptyShare { .. }
            | Usage::TooManyRanks { .. }
            | Usage::UnevenShares { .. } => "E-RANKS",
            Usage::Devices { .. } => "E-DEVICES",
            Usage::EmptyPrompt => "E-EMPTY-PROMPT",
            Usage::PromptTooLong { .. } | Usage::Ids { .. } => "E-PROMPT-LENGTH",
            Usage::Token { .. } => "E-TOKEN",
            Usage::Position { .. } => "E-POSITION",
            Usage::Rows { .. } | Usage::NotContinued { .. } | Usage::Apart { .. } | Usage::Row { .. } => "E-ROWS",
            Usage::NotAhead { .. } | Usage::NoToken { .. } | Usage::NothingUnderWay | Usage::OnDevice { .. } => {
                "E-AHEAD"
            }
            Usage::Conversation { .. } | Usage::ConversationText(_) => "E-CONVERSATION",
            Usage::Template(_) => "E-TEMPLATE",
            Usage::LongConversation { .. } => "E-CONVERSATION-LENGTH",
            Usage::NotEmpty { .. } => "E-NOT-EMPTY",
        }
    }

    /// What would help, as far as it is known.
    pub(super) fn remedies(&self) -> Vec<Remedy> {
        match *self {
            Usage::Tier { ref remedies, .. } => remedies.clone(),
            Usage::Context { most, .. } | Usage::ContextOnDevice { most, .. } => vec![Remedy::ShorterContext(most)],
            Usage::HostExperts { layers: most, .. } if most > 0 => vec![Remedy::ExpertsOnHost(most)],
            Usage::Ranks { most, .. } | Usage::TooManyRanks { size: most, .. } => vec![Remedy::FewerRanks(most)],
            _ => Vec::new(),
        }
    }

    /// Only the remedies of a tier are told: other sentences say already what is possible.
    pub(super) fn message(&self, spell: &Speller) -> String {
        let Usage::Tier { remedies, .. } = self else { return self.to_string() };
        match remedies.as_slice() {
            [] => self.to_string(),
            // Another compiler helps where the one that there is has not the tier.
            remedies @ [Remedy::Compiler { .. }] => {
                format!("{self}, since FXC compiles its shaders; for {}", spell(remedies))
            }
            remedies => format!("{self}; what helps: {}", any_of(remedies, spell)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::remedy::plain;
    use super::*;

    #[test]
    fn what_is_possible_is_a_remedy_that_is_not_told_twice() {
        let context = Usage::Context { asked: 9, most: 4 };
        assert_eq!(
            (context.remedies(), context.message(&plain)),
            (vec![Remedy::ShorterContext(4)], context.to_string())
        );
        let ranks = Usage::TooManyRanks { ranks: 9, what: "heads".into(), size: 4 };
        assert_eq!((ranks.remedies(), ranks.message(&plain)), (vec![Remedy::FewerRanks(4)], ranks.to_string()));
        assert_eq!(Usage::HostExperts { asked: 3, layers: 0 }.remedies(), []);
        assert_eq!(Usage::HostExperts { asked: 3, layers: 2 }.remedies(), [Remedy::ExpertsOnHost(2)]);
    }

    #[test]
    fn a_tier_is_explained_by_its_remedy() {
        let said = |remedies| {
            let (device, asked, strongest) = ("a GPU".into(), "dot".into(), "plain".into());
            Usage::Tier { device, asked, strongest, remedies }.message(&plain)
        };
        let refused = "tier dot was asked for, but the strongest that \"a GPU\" can run is plain";
        assert_eq!(said(Vec::new()), refused);
        let fxc = format!("{refused}, since FXC compiles its shaders; for DXC: put it there");
        assert_eq!(said(vec![Remedy::Compiler { how: "put it there".into() }]), fxc);
        let others = format!("{refused}; what helps: the doctor, or ignoring the record of its checks");
        assert_eq!(said(vec![Remedy::Examine, Remedy::IgnoreRecord]), others);
    }
}
