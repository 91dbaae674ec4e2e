//! Where in a model's files something is wrong.

use std::fmt;

use super::harmless::{inside_quotes, spelled};

/// Where a fault is. Names are as messages spell them between quotation marks: what would steer a terminal is escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// The model's files together.
    Checkpoint,
    /// The model by its folder: `model "NAME"`.
    Source(String),
    /// One of its files: `file "model.safetensors"`.
    File(String),
    /// What is to be the name of a file.
    FileName(String),
    /// A file that describes the model, or the index of its tensors: `config.json`.
    Config(String),
    /// What such a file has under a key: `config.json: text_config.hidden_size`.
    Key {
        /// The file.
        file: String,
        /// The key, with those of the objects around it.
        key: String,
    },
    /// `tokenizer.json`.
    Tokenizer {
        /// The part of it, where it is one: `pre_tokenizer[1]`.
        part: Option<String>,
    },
    /// The chat template itself.
    Template,
    /// A file where chat templates and the spellings of their tokens are: `tokenizer_config.json`.
    TemplateFile {
        /// The file.
        file: String,
        /// The key in it.
        key: Option<String>,
    },
    /// A tensor: `tensor "model.norm.weight"`.
    Tensor {
        /// Its name.
        name: String,
        /// The file whose header says it, where the fault is in the header.
        file: Option<String>,
    },
    /// The names of all tensors together.
    TensorNames,
    /// A matrix of several that a device holds as one.
    Stacked {
        /// What they are together.
        stack: String,
        /// The number of this one.
        number: usize,
    },
    /// Whole layers.
    Layers {
        /// How many.
        count: usize,
        /// The first.
        first: usize,
        /// The last.
        last: usize,
        /// Layers of the model.
        of: usize,
    },
}

impl Place {
    /// The model in this folder, or whatever its source is called.
    pub fn source(name: &str) -> Self {
        Place::Source(inside_quotes(name))
    }

    /// This file.
    pub fn file(name: &str) -> Self {
        Place::File(spelled(name))
    }

    /// This tensor.
    pub fn tensor(name: &str) -> Self {
        Place::Tensor { name: spelled(name), file: None }
    }

    /// The code of faults at such a place.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Place::Checkpoint => "E-CHECKPOINT",
            Place::Source(_) => "E-SOURCE",
            Place::File(_) => "E-FILE",
            Place::FileName(_) => "E-FILE-NAME",
            Place::Config(_) | Place::Key { .. } => "E-CONFIG",
            Place::Tokenizer { .. } => "E-TOKENIZER",
            Place::Template | Place::TemplateFile { .. } => "E-CHAT-TEMPLATE",
            Place::Tensor { .. } | Place::TensorNames | Place::Stacked { .. } | Place::Layers { .. } => "E-WEIGHTS",
        }
    }

    /// What comes between the place and what was found there.
    pub(super) fn joint(&self) -> &'static str {
        match self {
            Place::Checkpoint => "",
            Place::Key { .. } => " ",
            _ => ": ",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Checkpoint => Ok(()),
            Place::Source(name) => write!(f, "model \"{name}\""),
            Place::File(name) => write!(f, "file \"{name}\""),
            Place::FileName(name) => write!(f, "file name \"{name}\""),
            Place::Config(file) | Place::TemplateFile { file, key: None } => f.write_str(file),
            Place::Key { file, key } | Place::TemplateFile { file, key: Some(key) } => write!(f, "{file}: {key}"),
            Place::Tokenizer { part: None } => f.write_str("tokenizer.json"),
            Place::Tokenizer { part: Some(part) } => write!(f, "tokenizer.json: {part}"),
            Place::Template => f.write_str("chat template"),
            Place::Tensor { name, file: None } => write!(f, "tensor \"{name}\""),
            Place::Tensor { name, file: Some(file) } => write!(f, "file \"{file}\": tensor \"{name}\""),
            Place::TensorNames => f.write_str("tensor names"),
            Place::Stacked { stack, number } => write!(f, "{stack} {number}"),
            Place::Layers { count: 1, first, of, .. } => write!(f, "layer {first} of {of}"),
            Place::Layers { count, first, last, of } if last - first + 1 == *count => {
                write!(f, "layers {first} to {last} of {of}")
            }
            Place::Layers { count, first, last, of } => write!(f, "{count} layers from {first} to {last} of {of}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_named_as_their_files_are() {
        let said = |place: Place| place.to_string();
        assert_eq!(said(Place::source("C:\\a \"b\"\x1b")), "model \"C:\\a \\\"b\\\"\\u{1b}\"");
        assert_eq!(said(Place::file("a\\b")), "file \"a\\\\b\"");
        assert_eq!(said(Place::tensor("w\u{202e}\"")), format!("tensor {:?}", "w\u{202e}\""));
        let layers = |count, first, last| said(Place::Layers { count, first, last, of: 9 });
        assert_eq!(layers(1, 2, 2), "layer 2 of 9");
        assert_eq!(layers(3, 2, 4), "layers 2 to 4 of 9");
        assert_eq!(layers(2, 2, 4), "2 layers from 2 to 4 of 9");
    }
}
