//! Whether a prompt fits the context.

use crate::{Error, Result};

/// Fails for a prompt that leaves no room for an answer in a context of so many tokens.
///
/// # Errors
/// [`Error::Usage`] with both numbers.
pub fn check_length(tokens: usize, context: usize) -> Result<()> {
    if tokens < context {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "the prompt has {tokens} tokens, but the context is {context}: expected at most {}",
        context.saturating_sub(1)
    )))
}
