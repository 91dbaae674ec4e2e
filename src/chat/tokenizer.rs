//! Opening a tokenizer, and whether it is the model's.

use crate::checkpoint::{Checkpoint, Source};
use crate::error::Place;
use crate::text::TextModel;
use crate::{Fault, Result};

/// The tokenizer and templates, for a caller that cannot go on without them.
///
/// # Errors
/// Those of [`TextModel::open`], and [`no_tokenizer`].
pub fn required_text(source: &Source) -> Result<TextModel> {
    TextModel::open(source)?.ok_or_else(|| no_tokenizer(source).into())
}

/// The fault of a model without a tokenizer, where one is needed.
pub fn no_tokenizer(source: &Source) -> Fault {
    Fault::new(Place::source(&source.describe())).missing("no tokenizer.json").expected("one to turn text into tokens")
}

/// Fails for a tokenizer of another model: it could make ids that this one does not have.
///
/// # Errors
/// [`crate::Error::Model`] with both sizes.
pub fn check_vocabulary(text: &TextModel, checkpoint: &Checkpoint) -> Result<()> {
    let (found, most) = (text.tokenizer.vocab_size(), checkpoint.config.vocab_size);
    if found <= most {
        return Ok(());
    }
    let fault = Fault::tokenizer().found(format!("{found} tokens"));
    Err(fault.expected(format!("at most the {most} of the model's vocab_size")).into())
}
