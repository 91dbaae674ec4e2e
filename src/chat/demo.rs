//! For tests: the demo model.

use std::sync::Arc;

use super::generator::generator;
use crate::checkpoint::{Checkpoint, Source};
use crate::engine::Generator;
use crate::gpu::Gpu;
use crate::model::{Gemma4, Options};
use crate::text::TextModel;

/// Where its files are.
pub(super) fn source() -> Source {
    Source::Directory("examples/demo-model".into())
}

/// Its text side.
pub(super) fn text() -> TextModel {
    TextModel::open(&source()).expect("files of the repository").expect("a tokenizer")
}

/// It, exact, as a chat has it; `text` has ids that end a turn by their name.
pub(super) fn load(context: usize, text: Option<&TextModel>) -> Generator {
    let checkpoint = Arc::new(Checkpoint::open(source()).expect("files of the repository"));
    let options = Options { context: Some(context), marks: true, ..Options::exact() };
    let load =
        move |checkpoint: &Checkpoint, _: Option<&str>| Gemma4::load(Gpu::open(None)?, checkpoint, &options, &|_| ());
    generator(&checkpoint, text, load).expect("an adapter")
}
