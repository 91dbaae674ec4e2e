//! What a prompt must be, asked before anything is loaded or run.

use crate::Result;
use crate::checkpoint::Checkpoint;
use crate::engine::check_length;
use crate::error::Usage;

/// Fails for ids that cannot be a prompt in a context of so many tokens.
///
/// # Errors
/// [`crate::Error::Usage`] with what was found and what was expected.
pub fn check_prompt(ids: &[u32], checkpoint: &Checkpoint, context: usize) -> Result<()> {
    check_ids(ids, checkpoint)?;
    check_length(ids.len(), context)
}

/// Fails for ids that the model does not have.
///
/// # Errors
/// [`crate::Error::Usage`] with the first of them.
pub fn check_ids(ids: &[u32], checkpoint: &Checkpoint) -> Result<()> {
    let vocab = checkpoint.config.vocab_size;
    if let Some(&token) = ids.iter().find(|id| **id as usize >= vocab) {
        return Err(Usage::Token { token, vocab }.into());
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::checkpoint::Source;

    #[test]
    fn a_prompt_has_the_model_s_tokens_and_leaves_room() {
        let checkpoint = Checkpoint::open(Source::Directory("examples/demo-model".into())).unwrap();
        let vocab = checkpoint.config.vocab_size;
        let last = vocab as u32 - 1;
        check_prompt(&[2, last], &checkpoint, 3).unwrap();
        for (ids, expected) in [
            (&[2, last + 1, last + 2][..], format!("token id {vocab} is beyond the vocabulary of {vocab}")),
            (&[2, 3, 4], "the prompt has 3 tokens, but the context is 3: expected at most 2".into()),
        ] {
            let error = check_prompt(ids, &checkpoint, 3).unwrap_err();
            assert!(matches!(error, crate::Error::Usage(_)) && error.to_string() == expected, "{error}");
        }
    }
}
